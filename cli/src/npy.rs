//! NumPy's `.npy` files: arrays of floats, read a picture at a time, written a row at a time.
//!
//! The format is documented in NumPy's `numpy.lib.format`. Only what the command needs is here: C
//! order, `f4` and `f8` of either byte order to read, little-endian `f4` to write. A header that
//! claims more than the file holds is refused before anything is allocated.

use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use resnet_runtime::file::open_stream;

use crate::stdin::{is_stdin, stdin};

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// A header is a line of a hundred bytes; a file that claims more than this is not one.
const LONGEST_HEADER: usize = 1 << 16;

/// An array in a file.
pub(crate) struct Reader {
    source: Box<dyn ReadSeek>,
    element: Element,
    shape: Vec<usize>,
    /// Where the elements start in the file.
    start: u64,
    /// The bytes of one read, kept for the next.
    bytes: Vec<u8>,
}

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    size: usize,
    big_endian: bool,
}

impl Reader {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::of(path).with_context(|| format!("cannot read the array `{}`", path.display()))
    }

    fn of(path: &Path) -> Result<Self> {
        if is_stdin(path) {
            return Self::of_pipe(stdin()?);
        }
        let file = open_stream(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            return Self::new(Box::new(BufReader::new(file)), metadata.len());
        }
        Self::of_pipe(file)
    }

    /// A pipe does not seek. It is read as far as its header says, as it may go on for ever.
    fn of_pipe(mut pipe: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        pipe.by_ref().take(LONGEST_HEADER as u64).read_to_end(&mut bytes)?;
        let mut head = Cursor::new(&bytes);
        let (element, shape) = parse_header(&read_header(&mut head)?)?;
        let end = head.position().saturating_add(claimed(element, &shape)? as u64);
        let rest = end.saturating_add(1).saturating_sub(bytes.len() as u64);
        pipe.take(rest).read_to_end(&mut bytes)?;
        let len = bytes.len() as u64;
        Self::new(Box::new(Cursor::new(bytes)), len)
    }

    fn new(mut source: Box<dyn ReadSeek>, len: u64) -> Result<Self> {
        let header = read_header(&mut source)?;
        let (element, shape) = parse_header(&header)?;
        let start = source.stream_position()?;
        let claimed = claimed(element, &shape)?;
        let found = len.saturating_sub(start);
        ensure!(
            found == claimed as u64,
            "the shape {shape:?} needs {claimed} bytes of elements, but the file has {found}"
        );
        Ok(Self { source, element, shape, start, bytes: Vec::new() })
    }

    /// The shape; there are as many elements in the file.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads `values.len()` elements from element `first` on.
    pub(crate) fn read(&mut self, first: usize, values: &mut [f32]) -> io::Result<()> {
        let Element { size, big_endian } = self.element;
        self.source.seek(SeekFrom::Start(self.start + (first * size) as u64))?;
        self.bytes.resize(values.len() * size, 0);
        self.source.read_exact(&mut self.bytes)?;
        if size == 4 {
            for (value, &bytes) in values.iter_mut().zip(self.bytes.as_chunks().0) {
                let from = if big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
                *value = from(bytes);
            }
        } else {
            for (value, &bytes) in values.iter_mut().zip(self.bytes.as_chunks().0) {
                let from = if big_endian { f64::from_be_bytes } else { f64::from_le_bytes };
                *value = from(bytes) as f32;
            }
        }
        Ok(())
    }
}

/// The bytes of an array's elements.
fn claimed(element: Element, shape: &[usize]) -> Result<usize> {
    let bytes = shape.iter().try_fold(element.size, |bytes, &extent| bytes.checked_mul(extent));
    bytes.with_context(|| format!("the shape {shape:?} is larger than any memory"))
}

fn read_header(source: &mut dyn Read) -> Result<String> {
    let mut start = [0; 8];
    source.read_exact(&mut start).context("the file is too short for a .npy file")?;
    ensure!(start.starts_with(MAGIC), "it is no .npy file (NumPy's `save` writes them)");
    let len = match start[6] {
        1 => {
            let mut len = [0; 2];
            source.read_exact(&mut len).context("the header is truncated")?;
            usize::from(u16::from_le_bytes(len))
        }
        2 | 3 => {
            let mut len = [0; 4];
            source.read_exact(&mut len).context("the header is truncated")?;
            u32::from_le_bytes(len) as usize
        }
        version => bail!("version {version} of the .npy format is not known; 1 to 3 are"),
    };
    ensure!(len <= LONGEST_HEADER, "the header claims to have {len} bytes");
    let mut header = vec![0; len];
    source.read_exact(&mut header).context("the header is truncated")?;
    String::from_utf8(header).context("the header is no text")
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse_header(header: &str) -> Result<(Element, Vec<usize>)> {
    let descr = field(header, "descr")?;
    let element = match descr.trim_start_matches(['\'', '"']) {
        text if text.starts_with("<f4") => Element { size: 4, big_endian: false },
        text if text.starts_with(">f4") => Element { size: 4, big_endian: true },
        text if text.starts_with("<f8") => Element { size: 8, big_endian: false },
        text if text.starts_with(">f8") => Element { size: 8, big_endian: true },
        text => {
            let end = text.find(['\'', '"', ',']).unwrap_or(text.len());
            bail!(
                "its elements are `{}`; float32 (`<f4`) is expected: normalise the pictures, then \
                 `x.astype(\"float32\")`",
                &text[..end]
            )
        }
    };
    let order = field(header, "fortran_order")?;
    ensure!(
        order.starts_with("False"),
        "it is in Fortran order; save `numpy.ascontiguousarray(x)` instead"
    );
    let shape = field(header, "shape")?;
    let extents = shape
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .with_context(|| format!("the header has no shape: {}", header.trim()))?
        .0;
    let extents = extents.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    let shape: Result<Vec<usize>, _> = extents.map(str::parse).collect();
    Ok((element, shape.with_context(|| format!("the header has no shape: {}", header.trim()))?))
}

/// What follows a key of the header's dictionary.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|quoted| header.split_once(quoted.as_str()))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix(':'))
        .map(str::trim_start)
        .with_context(|| format!("the header has no `{key}`: {}", header.trim()))
}

/// Writes the header of an array of little-endian `f32`; its elements follow.
pub(crate) fn write_header(out: &mut dyn Write, shape: &[usize]) -> io::Result<()> {
    let extents: Vec<String> = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let extents = extents.concat();
    // A tuple of one keeps its comma; others need none at the end.
    let extents =
        if shape.len() == 1 { extents.trim_end() } else { extents.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    // Elements start at a multiple of 64, the header ends with a newline.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())
}

/// Writes elements.
pub(crate) fn write_values(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    out.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, rest: &str, elements: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, {rest}}}\n");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(elements);
        bytes
    }

    fn reader(bytes: Vec<u8>) -> Result<Reader> {
        let len = bytes.len() as u64;
        Reader::new(Box::new(Cursor::new(bytes)), len)
    }

    fn fails(bytes: Vec<u8>, expected: &str) {
        let message = format!("{:#}", reader(bytes).err().expect("an error"));
        assert!(message.contains(expected), "{message}");
    }

    const ORDER: &str = "'fortran_order': False, ";

    #[test]
    fn reads_what_it_writes() {
        for shape in [vec![], vec![3], vec![2, 3], vec![1, 3, 2, 1]] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 - 0.5).collect();
            let mut bytes = Vec::new();
            write_header(&mut bytes, &shape).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            write_values(&mut bytes, &values).unwrap();
            let mut reader = reader(bytes).unwrap();
            assert_eq!(reader.shape(), shape);
            let mut found = vec![0.0; values.len()];
            reader.read(0, &mut found).unwrap();
            assert_eq!(found, values);
            let mut last = [0.0];
            reader.read(values.len() - 1, &mut last).unwrap();
            assert_eq!(last, values[values.len() - 1..]);
        }
    }

    #[test]
    fn reads_every_float() {
        let shape = format!("{ORDER}'shape': (2,), ");
        let values = [1.5_f32, -2.25];
        let little: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
        let double: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        for (descr, elements) in [("'<f4'", little), ("\">f4\"", big), ("'<f8'", double)] {
            let mut found = [0.0; 2];
            reader(file(descr, &shape, &elements)).unwrap().read(0, &mut found).unwrap();
            assert_eq!(found, values, "{descr}");
        }
    }

    #[test]
    fn bad_files_are_explained() {
        let shape = |text: &str| format!("{ORDER}'shape': {text}, ");
        fails(b"abc".to_vec(), "too short");
        fails(b"hello, world".to_vec(), "it is no .npy file");
        fails(b"\x93NUMPY\x07\x00rest".to_vec(), "version 7");
        fails(b"\x93NUMPY\x01\x00\x40\x00{".to_vec(), "the header is truncated");
        fails(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f".to_vec(), "claims to have 2147483647 bytes");
        fails(file("'|u1'", &shape("(2,)"), &[0; 2]), "its elements are `|u1`; float32");
        fails(file("[('a', '<f4')]", &shape("(2,)"), &[0; 8]), "float32");
        fails(file("'<f4'", "'fortran_order': True, 'shape': (1,)", &[0; 4]), "Fortran order");
        fails(
            file("'<f4'", &shape("(3,)"), &[0; 8]),
            "needs 12 bytes of elements, but the file has 8",
        );
        fails(
            file("'<f4'", &shape("(1,)"), &[0; 8]),
            "needs 4 bytes of elements, but the file has 8",
        );
        fails(file("'<f4'", &shape("(4294967296, 4294967296)"), &[]), "larger than any memory");
        fails(file("'<f4'", &shape("(-1,)"), &[]), "no shape");
        fails(file("'<f4'", &shape("(x"), &[]), "no shape");
        fails(file("'<f4'", ORDER, &[]), "no `shape`");
    }
}
