//! The files of `torch.save`: a zip archive, or before PyTorch 1.6 pickles in a row; and pickles alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Dtype;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::dicts::StateDict;
use super::pickle::{Object, Pickle, Quantiser, Source, Storage, TensorRecord, Value};
use super::{Checkpoint, Quantised as Layer, Stored, Unread};
use crate::error::{Fault, corrupt};

/// What a file of the old form begins with, after the opcode for a number of ten bytes.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// More entries than tensors of any network; bounds the memory for the archive's directory.
const MOST_ENTRIES: u64 = 100_000;

/// Elements of a tensor that was expanded, `torch.ones(1).expand(64)`: what a norm or a classifier has, so that a small
/// file cannot claim a large one.
const MOST_REPEATED: usize = 1 << 20;

const BIG_ENDIAN: Fault = Fault::Foreign("a PyTorch file of a big-endian machine");

/// The bytes of each storage, by its key.
type Places<'a> = HashMap<&'a str, Range<usize>>;

/// Reads a zip archive.
pub(super) fn zipped(
    mut archive: Archive<'_>,
    bytes: &[u8],
    key: Option<&str>,
) -> Result<Placed, Fault> {
    let root = archive.names.iter().find_map(|name| name.strip_suffix("data.pkl"));
    let Some(root) = root.map(str::to_owned) else {
        return Err(Fault::Foreign("a zip archive without a `data.pkl`"));
    };
    if archive.names.iter().any(|name| name.strip_prefix(&*root) == Some("constants.pkl")) {
        return Err(Fault::Foreign("a TorchScript program"));
    }
    let order = format!("{root}byteorder");
    let has_order = archive.names.contains(&order);
    let mut entry = |name: &str| archive.entry(name);
    let pickle = Pickle::read(&bytes[entry(&format!("{root}data.pkl"))?])?;
    if has_order && &bytes[entry(&order)?] != b"little" {
        return Err(BIG_ENDIAN);
    }
    let dict = StateDict::find(&pickle, key)?;
    let mut places = Places::new();
    for tensor in dict.tensors.iter().flat_map(|(_, tensor)| tensor.with_scales()) {
        if let Source::Key(key) = tensor.storage.source
            && !places.contains_key(key)
        {
            let place = entry(&format!("{root}data/{key}"))?;
            places.insert(key, place);
        }
    }
    place(dict, &places, bytes)
}

/// A zip archive, and the names of what is in it.
pub(super) struct Archive<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) names: Vec<String>,
    zip: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        check_entries(bytes)?;
        // The directory is where the end record says, nothing stands before the archive. Looked for from the
        // end, an entry of it is taken for its beginning where the folder's name has 21 bytes.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(in_zip)?;
        let mut names = Vec::new();
        for name in zip.file_names() {
            names.push(name.map_err(in_zip)?.into_owned());
        }
        Ok(Self { bytes, names, zip })
    }

    /// Where the bytes of an entry stand, after its checksum was verified.
    pub(super) fn entry(&mut self, name: &str) -> Result<Range<usize>, Fault> {
        let damaged =
            |reason: &dyn fmt::Display| Fault::Corrupt(format!("entry `{name}`: {reason}"));
        let mut file = self.zip.by_name(name).map_err(|error| damaged(&error))?;
        if file.compression() != CompressionMethod::Stored {
            return Err(damaged(
                &"it is compressed, which `torch.save` and `numpy.savez` never do",
            ));
        }
        let length = io::copy(&mut file, &mut io::sink()).map_err(|error| damaged(&error))?;
        let start = file.data_start();
        drop(file);
        let range = start.and_then(|start| {
            let end = usize::try_from(start.checked_add(length)?).ok()?;
            Some(usize::try_from(start).ok()?..end)
        });
        range
            .filter(|range| range.end <= self.bytes.len())
            .ok_or_else(|| damaged(&"it reaches past the end of the file"))
    }
}

/// Refuses archives without a directory, and those whose directory would take much memory: the reader makes a record of every
/// entry before anything can be asked of it.
fn check_entries(bytes: &[u8]) -> Result<(), Fault> {
    /// The end record and the longest comment.
    const TAIL: usize = 22 + 0xffff + 20 + 56;
    let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
    if !tail.windows(4).any(|window| window == b"PK\x05\x06") {
        return corrupt(
            "the directory at the end of the archive is missing, so that it was cut short",
        );
    }
    let counts = tail.windows(40).filter_map(|window| {
        let count = window.strip_prefix(b"PK\x06\x06")?.get(28..36)?;
        Some(u64::from_le_bytes(count.try_into().ok()?))
    });
    match counts.max() {
        Some(count) if count > MOST_ENTRIES => {
            Err(Fault::Corrupt(format!("the archive claims {count} entries")))
        }
        _ => Ok(()),
    }
}

fn in_zip(error: zip::result::ZipError) -> Fault {
    Fault::Corrupt(format!("the zip archive: {error}"))
}

/// Whether this is a file of the old form. From protocol 4 on a pickle begins with a frame.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let rest = match bytes {
        [0x80, 4 | 5, 0x95, _, _, _, _, _, _, _, _, rest @ ..] | [0x80, _, rest @ ..] => rest,
        _ => return false,
    };
    matches!(rest, [0x8a, 10, rest @ ..] if rest.starts_with(&MAGIC))
}

/// Reads the old form.
pub(super) fn legacy(bytes: &[u8], key: Option<&str>) -> Result<Placed, Fault> {
    let Legacy { pickle, places } = Legacy::read(bytes)?;
    place(StateDict::find(&pickle, key)?, &places, bytes)
}

/// Reads a pickle alone, which has its elements in it.
pub(super) fn pickled(bytes: &[u8], key: Option<&str>) -> Result<Placed, Fault> {
    pickle_of(bytes, bytes, key)
}

/// Reads a pickle that is the end of a file.
pub(super) fn pickle_of(bytes: &[u8], file: &[u8], key: Option<&str>) -> Result<Placed, Fault> {
    let pickle = Pickle::read(bytes)?;
    if pickle.length < bytes.len() {
        let rest = bytes.len() - pickle.length;
        return corrupt(format!("{rest} bytes follow the end of the pickle"));
    }
    place(StateDict::find(&pickle, key)?, &Places::new(), file)
}

/// The elements of a storage that was saved as a file of the old form, and their type.
fn stored_alone(bytes: &[u8]) -> Result<(Range<usize>, Dtype), Fault> {
    if !is_legacy(bytes) {
        return corrupt("no file of `torch.save` in the older form");
    }
    let Legacy { pickle, places } = Legacy::read(bytes)?;
    match pickle.object(pickle.root) {
        Some(&Object::Storage(Storage { source: Source::Key(key), dtype: Some(dtype) })) => {
            let place = places.get(key).cloned();
            Ok((place.ok_or_else(|| Fault::Corrupt("no elements".to_owned()))?, dtype))
        }
        _ => corrupt("something other than a storage"),
    }
}

/// A file of the old form: pickles of a magic number, the version, the machine, the object and the keys
/// of the storages; then for each of these the number of its elements in eight bytes, and the elements.
struct Legacy<'a> {
    pickle: Pickle<'a>,
    places: Places<'a>,
}

impl<'a> Legacy<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut at = 0;
        let mut next = || {
            let pickle = Pickle::read(&bytes[at..])?;
            at += pickle.length;
            Ok(pickle)
        };
        let (_magic, _version) = (next()?, next()?);
        let machine = next()?;
        if machine.get(machine.root, "little_endian") == Some(Value::Bool(false)) {
            return Err(BIG_ENDIAN);
        }
        let pickle = next()?;
        let keys = next()?;
        let Some(keys) = keys.texts(keys.root) else {
            return corrupt("the storages are not named by a list of strings");
        };
        let mut places = Places::new();
        for key in keys {
            let Some((&key, dtype)) = pickle.storages.get_key_value(key) else {
                return corrupt(format!("nothing refers to storage `{key}`"));
            };
            let ends = || Fault::Corrupt(format!("the file ends inside storage `{key}`"));
            let (count, _) = bytes[at..].split_first_chunk().ok_or_else(ends)?;
            let start = at + 8;
            let end = usize::try_from(u64::from_le_bytes(*count))
                .ok()
                .and_then(|count| count.checked_mul(dtype.bitsize() / 8)?.checked_add(start))
                .filter(|&end| end <= bytes.len())
                .ok_or_else(ends)?;
            places.insert(key, start..end);
            at = end;
        }
        Ok(Self { pickle, places })
    }
}

/// A checkpoint, and what in its file is not yet in its form.
pub(super) struct Placed {
    checkpoint: Checkpoint,
    /// UTF-8 text, each character of which stands for a byte.
    texts: BTreeMap<usize, usize>,
}

impl Placed {
    /// Turns texts into the bytes that they stand for, which are fewer.
    pub(super) fn decode(self, file: &mut [u8]) -> Result<Checkpoint, Fault> {
        for (start, end) in self.texts {
            let (mut from, mut to) = (start, start);
            while from < end {
                let first = file[from];
                // Two bytes, where the character is no ASCII: `latin1_length` has looked.
                let wide = first >= 0x80;
                file[to] = if wide { first << 6 | file[from + 1] & 0x3f } else { first };
                from += 1 + usize::from(wide);
                to += 1;
            }
        }
        Ok(self.checkpoint)
    }
}

/// How many bytes a text stands for; `None` if one of its characters stands for none.
fn latin1_length(text: &str) -> Option<usize> {
    text.chars().try_fold(0, |length, c| (c <= '\u{ff}').then_some(length + 1))
}

/// Where a part of a file is.
fn within(part: &[u8], file: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - file.as_ptr().addr();
    start..start + part.len()
}

/// Checks every tensor against the bytes of its storage.
fn place(dict: StateDict<'_, '_>, places: &Places<'_>, file: &[u8]) -> Result<Placed, Fault> {
    let mut checkpoint = Checkpoint { notes: dict.notes, ..Checkpoint::default() };
    for (name, maker) in dict.unread {
        let why = match (maker.module, maker.name) {
            ("torch._utils", "_rebuild_qtensor") => Unread::Quantised,
            ("numpy", "ndarray") => Unread::Array,
            _ => Unread::Call(maker.to_string()),
        };
        checkpoint.unread.insert(name.into_owned(), why);
    }
    let mut texts = BTreeMap::new();
    for (name, tensor) in dict.tensors {
        let mut stored = locate(&name, tensor, places, file, &mut texts)?;
        if let Some(quantiser) = &tensor.quantiser {
            let layer = match quantiser {
                Quantiser::Tensor { scale, zero } => Layer::new(&[*scale], &[*zero], 0, &stored),
                Quantiser::Channels { scales, zeros, axis } => {
                    let [scales, zeros] = [scales, zeros].map(|numbers| {
                        let stored = locate(&name, numbers, places, file, &mut texts)?;
                        Ok(stored.small(file).unwrap_or_default())
                    });
                    let zeros: Vec<i64> = zeros?.iter().map(|&zero| zero as i64).collect();
                    Layer::new(&scales?, &zeros, *axis, &stored)
                }
            };
            let Some(layer) = layer else {
                checkpoint.unread.insert(name.into_owned(), Unread::Quantised);
                continue;
            };
            stored.quantised = Some(Arc::new(layer));
        }
        checkpoint.tensors.insert(name.into_owned(), stored);
    }
    Ok(Placed { checkpoint, texts })
}

/// Where the elements of a tensor are, checked against the bytes of its storage.
fn locate(
    name: &str,
    tensor: &TensorRecord<'_>,
    places: &Places<'_>,
    file: &[u8],
    texts: &mut BTreeMap<usize, usize>,
) -> Result<Stored, Fault> {
    let TensorRecord { storage, offset, shape, strides, .. } = tensor;
    let (place, found) = match storage.source {
        Source::Key(key) => match places.get(key) {
            Some(place) => (place.clone(), storage.dtype),
            None => return corrupt(format!("storage `{key}` of `{name}` is missing")),
        },
        Source::Bytes(bytes) => (within(bytes, file), storage.dtype),
        Source::Latin1(text) => {
            let Range { start, end } = within(text.as_bytes(), file);
            let Some(length) = latin1_length(text) else {
                return corrupt(format!("the elements of `{name}` are no bytes"));
            };
            texts.insert(start, end);
            (start..start + length, storage.dtype)
        }
        Source::File(bytes) => {
            let (place, dtype) = stored_alone(bytes)
                .map_err(|fault| fault.inside(&format!("the elements of `{name}`")))?;
            let start = within(bytes, file).start;
            (start + place.start..start + place.end, Some(dtype))
        }
    };
    let Some(dtype) = found else {
        return corrupt(format!("the elements of `{name}` have no type"));
    };
    let size = dtype.bitsize() / 8;
    let reach = reach(shape, strides).and_then(|reach| reach.checked_add(*offset));
    if reach.is_none_or(|reach| reach > place.len() / size) {
        return corrupt(format!(
            "`{name}` of shape {shape:?}, strides {strides:?} and offset {offset} does not fit its \
             storage of {} bytes",
            place.len()
        ));
    }
    let strides = (!is_contiguous(shape, strides)).then(|| strides.clone());
    Ok(Stored::at(dtype, shape.clone(), place.start + offset * size, strides))
}

/// One past the last element of a tensor, counted from its first; `None` if that is more than there
/// are addresses, or if more elements repeat one another than [`MOST_REPEATED`].
fn reach(shape: &[usize], strides: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    if count == 0 {
        return Some(0);
    }
    let mut last = 0_usize;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    let reach = last.checked_add(1)?;
    (count <= reach.max(MOST_REPEATED)).then_some(reach)
}

/// Whether elements stand in row-major order without gaps.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size <= 1 || stride == expected;
        expected = expected.saturating_mul(size);
        fits
    })
}
