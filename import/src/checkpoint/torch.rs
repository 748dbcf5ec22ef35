//! The files of `torch.save`: a zip archive, or before PyTorch 1.6 pickles in a row.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Cursor};
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Pickle, TensorRecord, Value};
use super::{Checkpoint, Stored};
use crate::error::Fault;

/// Keys under which training scripts keep the state dict, by preference.
const WRAPPERS: [&str; 8] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "state_dict_ema",
    "model_ema",
];

/// What a file of the old form begins with, after the opcode for a number of ten bytes.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// More entries than tensors of any network; bounds the memory for the archive's directory.
const MOST_ENTRIES: u64 = 100_000;

const BIG_ENDIAN: Fault = Fault::Foreign("a PyTorch file of a big-endian machine");

/// The bytes of each storage, by its key.
type Places<'a> = HashMap<&'a str, Range<usize>>;

/// Reads a zip archive.
pub(super) fn zipped(bytes: &[u8], key: Option<&str>) -> Result<Checkpoint, Fault> {
    check_entries(bytes)?;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(in_zip)?;
    let mut names = Vec::new();
    for name in archive.file_names() {
        names.push(name.map_err(in_zip)?.into_owned());
    }
    let Some(root) = names.iter().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err(Fault::Foreign("a zip archive without a `data.pkl`"));
    };
    if names.iter().any(|name| name.strip_prefix(root) == Some("constants.pkl")) {
        return Err(Fault::Foreign("a TorchScript program"));
    }
    let mut entry = |name: &str| entry(&mut archive, bytes.len(), name);
    let pickle = Pickle::read(&bytes[entry(&format!("{root}data.pkl"))?])?;
    let order = format!("{root}byteorder");
    if names.contains(&order) && &bytes[entry(&order)?] != b"little" {
        return Err(BIG_ENDIAN);
    }
    let dict = StateDict::find(&pickle, key)?;
    let mut places = Places::new();
    for (_, tensor) in &dict.tensors {
        let storage = tensor.storage.key;
        if !places.contains_key(storage) {
            let place = entry(&format!("{root}data/{storage}"))?;
            places.insert(storage, place);
        }
    }
    dict.place(&places)
}

/// Refuses archives whose directory would take much memory: the reader makes a record of every
/// entry before anything can be asked of it.
fn check_entries(bytes: &[u8]) -> Result<(), Fault> {
    /// The end record and the longest comment.
    const TAIL: usize = 22 + 0xffff + 20 + 56;
    let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
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

/// Where the bytes of an entry stand, after its checksum was verified.
fn entry(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    file_length: usize,
    name: &str,
) -> Result<Range<usize>, Fault> {
    let damaged = |reason: &dyn fmt::Display| Fault::Corrupt(format!("entry `{name}`: {reason}"));
    let mut file = archive.by_name(name).map_err(|error| damaged(&error))?;
    if file.compression() != CompressionMethod::Stored {
        return Err(damaged(&"it is compressed, which `torch.save` never does"));
    }
    let length = io::copy(&mut file, &mut io::sink()).map_err(|error| damaged(&error))?;
    let start = file.data_start();
    drop(file);
    let range = start.and_then(|start| {
        let end = usize::try_from(start.checked_add(length)?).ok()?;
        Some(usize::try_from(start).ok()?..end)
    });
    range
        .filter(|range| range.end <= file_length)
        .ok_or_else(|| damaged(&"it reaches past the end of the file"))
}

/// Whether this is a file of the old form.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, _, 0x8a, 10, rest @ ..] if rest.starts_with(&MAGIC))
}

/// Reads the old form: pickles of a magic number, the version, the machine, the object and the keys of
/// the storages; then for each of these the number of its elements in eight bytes, and the elements.
pub(super) fn legacy(bytes: &[u8], key: Option<&str>) -> Result<Checkpoint, Fault> {
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
        return Err(Fault::Corrupt("the storages are not named by a list of strings".to_owned()));
    };
    let mut places = Places::new();
    for key in keys {
        let Some((&key, dtype)) = pickle.storages.get_key_value(key) else {
            return Err(Fault::Corrupt(format!("nothing refers to storage `{key}`")));
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
    StateDict::find(&pickle, key)?.place(&places)
}

/// The tensors of a pickle that make up the network.
struct StateDict<'p, 'a> {
    tensors: Vec<(&'a str, &'p TensorRecord<'a>)>,
    notes: Vec<String>,
}

impl<'p, 'a> StateDict<'p, 'a> {
    /// The dict under `key`, or else the pickle itself if it is one of tensors, or else the one under
    /// the best known key.
    fn find(pickle: &'p Pickle<'a>, key: Option<&str>) -> Result<Self, Fault> {
        let mut notes = Vec::new();
        let root = pickle.root;
        let mut dict = root;
        let Some(pairs) = pickle.dict(root) else {
            let what = "it holds something other than a dict of tensors; save `model.state_dict()`";
            return Err(Fault::Unknown(what.to_owned()));
        };
        if let Some(key) = key {
            dict = pickle.get(root, key).filter(|&dict| holds_tensors(pickle, dict)).ok_or_else(
                || Fault::Unknown(format!("no dict of tensors under `{key}`; {}", keys(pairs))),
            )?;
        } else if !holds_tensors(pickle, dict) {
            let mut found = WRAPPERS.iter().filter_map(|&wrapper| {
                let dict = pickle.get(root, wrapper)?;
                holds_tensors(pickle, dict).then_some((wrapper, dict))
            });
            let Some((wrapper, inner)) = found.next() else {
                return Err(Fault::Unknown(match pairs {
                    [] => "it is an empty dict; save `model.state_dict()`".to_owned(),
                    _ => format!(
                        "there are no tensors in it, nor under one of the usual keys; {}. Name the state \
                         dict's with `--key`, or save `model.state_dict()`",
                        keys(pairs)
                    ),
                }));
            };
            dict = inner;
            notes.push(format!("the state dict is the one under `{wrapper}`"));
            for (other, _) in found {
                notes.push(format!("there is another one under `{other}`: `--key {other}`"));
            }
        }
        let pairs = pickle.dict(dict).unwrap_or_default();
        let tensors = pairs.iter().filter_map(|&(key, value)| match key {
            Value::Text(name) => Some((name, pickle.tensor(value)?)),
            _ => None,
        });
        Ok(Self { tensors: tensors.collect(), notes })
    }

    /// Checks every tensor against the bytes of its storage.
    fn place(self, places: &Places<'_>) -> Result<Checkpoint, Fault> {
        let mut checkpoint = Checkpoint { notes: self.notes, ..Checkpoint::default() };
        for (name, tensor) in self.tensors {
            let TensorRecord { storage, offset, shape, strides } = tensor;
            let key = storage.key;
            let Some(place) = places.get(key) else {
                return Err(Fault::Corrupt(format!("storage `{key}` of `{name}` is missing")));
            };
            let size = storage.dtype.bitsize() / 8;
            let reach = reach(shape, strides).and_then(|reach| reach.checked_add(*offset));
            if reach.is_none_or(|reach| reach > place.len() / size) {
                return Err(Fault::Corrupt(format!(
                    "`{name}` of shape {shape:?}, strides {strides:?} and offset {offset} does not \
                     fit its storage of {} bytes",
                    place.len()
                )));
            }
            let strides = (!is_contiguous(shape, strides)).then(|| strides.clone());
            let start = place.start + offset * size;
            let stored = Stored::at(storage.dtype, shape.clone(), start, strides);
            checkpoint.tensors.insert(name.to_owned(), stored);
        }
        Ok(checkpoint)
    }
}

fn holds_tensors(pickle: &Pickle<'_>, dict: Value<'_>) -> bool {
    let pairs = pickle.dict(dict).unwrap_or_default();
    pairs.iter().any(|&(_, value)| pickle.tensor(value).is_some())
}

/// The first keys of a dict, for a message.
fn keys(pairs: &[(Value<'_>, Value<'_>)]) -> String {
    let texts = pairs.iter().filter_map(|(key, _)| match key {
        Value::Text(text) => Some(format!("`{text}`")),
        _ => None,
    });
    let texts: Vec<String> = texts.take(10).collect();
    match &*texts {
        [] => "none of its keys is a text".to_owned(),
        _ => format!("its keys are {}", texts.join(", ")),
    }
}

/// One past the last element of a tensor, counted from its first; `None` if that is more than there
/// are addresses, or if elements repeat one another.
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
    (count <= reach).then_some(reach)
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
