//! NumPy's files: an array alone (`.npy`), one that holds a pickled dict, and archives of arrays (`.npz`).
//!
//! Their format is that of `numpy/lib/format.py`: a magic number, a version, a Python dict as text with the type
//! of the elements, the order and the shape, and the elements.

use safetensors::tensor::Dtype;

use super::pickle::{dtype, strides};
use super::torch::{Archive, Placed, pickle_of};
use super::{Checkpoint, Stored, Unread};
use crate::error::{Fault, corrupt};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// No array of a network has a longer one.
const LONGEST_HEADER: usize = 1 << 16;

/// What stands before the elements.
struct Header<'a> {
    /// The type of the elements as NumPy writes it, such as `<f4`.
    descr: &'a str,
    fortran: bool,
    shape: Vec<usize>,
    /// Where the elements begin.
    length: usize,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let wrong = || Fault::Corrupt("the header of a NumPy array is none".to_owned());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(wrong)?;
        let (length, start) = match *rest {
            [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 10),
            [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
            _ => return Err(wrong()),
        };
        if length > LONGEST_HEADER {
            return corrupt(format!("a header of {length} bytes before a NumPy array"));
        }
        let text = bytes.get(start..start + length).and_then(|text| str::from_utf8(text).ok());
        let text = text.ok_or_else(wrong)?;
        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let descr = value("descr").ok_or_else(wrong)?;
        // A list is that of a structure's fields.
        let descr = descr.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
        let fortran = value("fortran_order").ok_or_else(wrong)?.starts_with("True");
        let shape = value("shape").and_then(|shape| shape.strip_prefix('(')?.split(')').next());
        let sizes =
            shape.ok_or_else(wrong)?.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>();
        let shape = shape.ok_or_else(wrong)?;
        Ok(Self { descr: descr.unwrap_or("a structure"), fortran, shape, length: start + length })
    }

    /// The elements' type; `None` for those of another byte order and for what are no numbers.
    fn dtype(&self) -> Option<Dtype> {
        if self.descr.starts_with('>') { None } else { dtype(self.descr) }
    }
}

/// Reads an array of one object, the dict of `np.save(path, state_dict)`.
pub(super) fn object(bytes: &[u8], key: Option<&str>) -> Result<Placed, Fault> {
    let header = Header::read(bytes)?;
    if !header.descr.ends_with('O') {
        return Err(Fault::Foreign(
            "one NumPy array alone, without a name; `numpy.savez` keeps the names of several",
        ));
    }
    pickle_of(&bytes[header.length..], bytes, key)
}

/// Reads an archive of arrays, each of which has its name in the state dict; nothing if there is no array in it.
pub(super) fn archive(archive: &mut Archive<'_>) -> Result<Option<Checkpoint>, Fault> {
    let mut checkpoint = Checkpoint::default();
    for name in std::mem::take(&mut archive.names) {
        let Some(tensor) = name.strip_suffix(".npy") else { continue };
        let place = archive.entry(&name)?;
        let bytes = &archive.bytes[place.clone()];
        let header = Header::read(bytes)?;
        let Some(dtype) = header.dtype() else {
            checkpoint.unread.insert(tensor.to_owned(), Unread::Array);
            continue;
        };
        let count = header.shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        let size = count.and_then(|count| count.checked_mul(dtype.bitsize() / 8));
        if size != Some(bytes.len() - header.length) {
            return corrupt(format!(
                "the array `{tensor}` of shape {:?} does not have {} bytes",
                header.shape,
                bytes.len() - header.length
            ));
        }
        let strides = header.fortran.then(|| strides(&header.shape, true));
        let stored = Stored::at(dtype, header.shape, place.start + header.length, strides);
        checkpoint.tensors.insert(tensor.to_owned(), stored);
    }
    let is_empty = checkpoint.tensors.is_empty() && checkpoint.unread.is_empty();
    Ok((!is_empty).then_some(checkpoint))
}
