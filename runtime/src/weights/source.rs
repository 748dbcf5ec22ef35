//! Weights: named tensors from a safetensors file, from memory, or drawn from a seed; or packed
//! weights, which have no tensors any more.
//!
//! Names and shapes are PyTorch's: a convolution's weight is `[out, in / groups, rows, columns]`, a
//! linear layer's `[out, in]`. [`Weights::check`] compares everything at once with what a network
//! needs; [`Weights::read_range`] hands out elements of a tensor as `f32`. A file is read piece by piece
//! as they are asked for, so that it never is in memory as a whole.

mod foreign;
mod random;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use self::foreign::Foreign;
use super::dtype::floats;
use super::error::{Found, Mismatch, WeightsError};
use super::file::{self, PackedFile};
use super::tensor::{Init, TensorSpec};
use crate::file as files;
use crate::kernels::Element;

/// Named tensors that a network is loaded from, or packed weights.
#[derive(Debug)]
pub struct Weights {
    origin: String,
    store: Store,
}

/// One tensor's values, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The shape, as PyTorch has it.
    pub shape: &'a [usize],
    /// The values, all finite.
    pub values: Vec<f32>,
}

#[derive(Debug)]
enum Store {
    File { bytes: Bytes, index: BTreeMap<String, Entry> },
    Random { seed: u64, index: BTreeMap<String, (Vec<usize>, Init)> },
    Packed(Arc<PackedFile>),
}

#[derive(Debug)]
enum Bytes {
    Memory(Cow<'static, [u8]>),
    File(File),
}

#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where the values stand in the whole file; inside its length and as long as shape and dtype
    /// ask, which the safetensors crate has checked.
    range: Range<usize>,
}

impl Weights {
    /// Opens a safetensors file or a file of packed weights, told apart by how they begin, and reads
    /// its header.
    ///
    /// Tensors are read when a network is loaded. Packed weights stay mapped as long as a network
    /// uses them: until then the file must not be changed or truncated, or the process is killed (SIGBUS
    /// on Unix). Write a new file and rename it over the old one, as `resnet pack` and all careful
    /// writers do; where others may not, [`Weights::read`] takes the file into memory.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, that is no regular file, that is of another format, or that is
    /// damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        let unreadable = |reason: String| WeightsError::Open { path: origin.clone(), reason };
        let file = files::open(path).map_err(|error| unreadable(unopened(&error)))?;
        let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
        if metadata.len() == 0 {
            return Err(unreadable("the file is empty".into()));
        }
        // SAFETY: the map is private to this function, read-only, and never longer than the file
        // was when it was mapped. What the type system cannot promise is that no other process
        // writes to the file or truncates it meanwhile; this function's documentation asks for
        // that, as every user of a memory map must. Any bytes at all are handled.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| unreadable(error.to_string()))?;
        if PackedFile::recognises(&map) {
            return Self::of_packed(origin, file::Bytes::Mapped(map));
        }
        let index = index(&origin, &map)?;
        Ok(Self { origin, store: Store::File { bytes: Bytes::File(file), index } })
    }

    /// Reads a whole file into memory, where [`Weights::open`] maps packed weights and reads tensors one
    /// by one: for a file that others may change or cut short meanwhile. Loading it then takes its
    /// memory twice.
    ///
    /// # Errors
    ///
    /// See [`open`](Weights::open).
    pub fn read(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        let unreadable = |reason: String| WeightsError::Open { path: origin.clone(), reason };
        let bytes = files::read(path).map_err(|error| unreadable(unopened(&error)))?;
        if bytes.is_empty() {
            return Err(unreadable("the file is empty".into()));
        }
        Self::in_memory(origin, bytes.into())
    }

    /// Takes a file that is in memory already, such as `include_bytes!` or a download.
    ///
    /// # Errors
    ///
    /// Bytes of another format, or damaged.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, WeightsError> {
        Self::in_memory("weights in memory".to_owned(), bytes.into())
    }

    fn in_memory(origin: String, bytes: Cow<'static, [u8]>) -> Result<Self, WeightsError> {
        if PackedFile::recognises(&bytes) {
            return Self::of_packed(origin, file::Bytes::Memory(bytes));
        }
        let index = index(&origin, &bytes)?;
        Ok(Self { origin, store: Store::File { bytes: Bytes::Memory(bytes), index } })
    }

    fn of_packed(origin: String, bytes: file::Bytes) -> Result<Self, WeightsError> {
        match PackedFile::parse(bytes) {
            Ok(file) => Ok(Self { origin, store: Store::Packed(Arc::new(file)) }),
            Err(reason) => Err(WeightsError::Packed { origin, reason: reason.into() }),
        }
    }

    /// The file of packed weights, if these are packed already: they have no tensors.
    pub fn packed(&self) -> Option<&Arc<PackedFile>> {
        match &self.store {
            Store::Packed(file) => Some(file),
            Store::File { .. } | Store::Random { .. } => None,
        }
    }

    /// Random weights for the tensors of a network, the same for a seed on every platform.
    ///
    /// A tensor's values depend on the seed, its name and its [`Init`] alone, so that two variants
    /// of a network share the weights of the layers they share. Values are drawn when a tensor is
    /// asked for.
    pub fn random(tensors: &[TensorSpec], seed: u64) -> Self {
        let index =
            tensors.iter().map(|t| (t.name.to_string(), (t.shape.to_vec(), t.init))).collect();
        Self {
            origin: format!("random weights of seed {seed}"),
            store: Store::Random { seed, index },
        }
    }

    /// Where the weights come from, for messages: a path, or a phrase.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.found().map(|found| found.name)
    }

    /// Name, shape and element type of every tensor, sorted by name.
    pub fn found(&self) -> impl Iterator<Item = Found<'_>> {
        let (file, random) = match &self.store {
            Store::File { index, .. } => (Some(index), None),
            Store::Random { index, .. } => (None, Some(index)),
            Store::Packed(_) => (None, None),
        };
        let file = file.into_iter().flatten().map(|(name, entry)| Found {
            name,
            shape: &entry.shape,
            dtype: entry.dtype,
        });
        let random = random.into_iter().flatten().map(|(name, (shape, _))| Found {
            name,
            shape,
            dtype: Dtype::F32,
        });
        file.chain(random)
    }

    /// Compares with what a network needs: every missing, surplus, misshapen or unreadable tensor
    /// is reported, all in one error.
    ///
    /// `num_batches_tracked`, a counter that PyTorch keeps in every batch norm, may be there.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Mismatch`] if anything differs; [`WeightsError::NoTensors`] if these weights
    /// are packed.
    pub fn check(&self, tensors: &[TensorSpec]) -> Result<(), WeightsError> {
        if self.packed().is_some() {
            return Err(WeightsError::NoTensors { origin: self.origin.clone() });
        }
        match Mismatch::between(&self.origin, self.found(), tensors) {
            Some(mismatch) => Err(WeightsError::Mismatch(Box::new(mismatch))),
            None => Ok(()),
        }
    }

    /// One tensor as `f32`. `F16`, `BF16` and `F64` are converted.
    ///
    /// # Errors
    ///
    /// A name that is not there, an element type that is no floating-point number of 16 to 64
    /// bits, a value that is not finite, or a file that cannot be read any more.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        let shape = self.shape(name)?;
        let mut values = Vec::new();
        self.read_range(name, 0..shape.iter().product(), &mut values)?;
        Ok(Tensor { shape, values })
    }

    /// Elements `range` of a tensor of bytes, in row-major order: they replace what `out` has.
    ///
    /// # Errors
    ///
    /// A name that is not there, other elements than bytes, or a file that cannot be read any more.
    ///
    /// # Panics
    ///
    /// If the range goes over the tensor's end.
    pub fn read_bytes(
        &self,
        name: &str,
        range: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), WeightsError> {
        let shape = self.shape(name)?;
        assert!(range.start <= range.end && range.end <= shape.iter().product(), "{range:?}");
        let other = |dtype: Dtype| WeightsError::Dtype {
            origin: self.origin.clone(),
            tensor: name.into(),
            dtype: format!("{dtype:?}"),
        };
        let Store::File { bytes, index } = &self.store else { return Err(other(Dtype::F32)) };
        let Entry { dtype, range: at, .. } = &index[name];
        if !matches!(dtype, Dtype::I8 | Dtype::U8) {
            return Err(other(*dtype));
        }
        let at = at.start + range.start..at.start + range.end;
        bytes.read(at, out).map_err(|error| WeightsError::Open {
            path: self.origin.clone(),
            reason: error.to_string(),
        })
    }

    /// The names of the weights that are quantised: a network is compiled for them.
    pub fn quantised(&self) -> BTreeSet<String> {
        match &self.store {
            Store::File { index, .. } => {
                let bytes = index.iter().filter(|(_, entry)| entry.dtype == Dtype::I8);
                bytes.map(|(name, _)| name.clone()).collect()
            }
            Store::Packed(file) => file.about().quantised.iter().cloned().collect(),
            Store::Random { .. } => BTreeSet::new(),
        }
    }

    /// The shape of a tensor, as PyTorch has it.
    ///
    /// # Errors
    ///
    /// A name that is not there.
    pub fn shape(&self, name: &str) -> Result<&[usize], WeightsError> {
        let shape = match &self.store {
            Store::File { index, .. } => index.get(name).map(|entry| &entry.shape),
            Store::Random { index, .. } => index.get(name).map(|(shape, _)| shape),
            Store::Packed(_) => {
                return Err(WeightsError::NoTensors { origin: self.origin.clone() });
            }
        };
        shape.map(Vec::as_slice).ok_or_else(|| WeightsError::Missing {
            origin: self.origin.clone(),
            tensor: name.into(),
        })
    }

    /// Elements `range` of a tensor, in row-major order, as `f32`: they replace what `out` has.
    ///
    /// # Errors
    ///
    /// See [`tensor`](Weights::tensor).
    ///
    /// # Panics
    ///
    /// If the range goes over the tensor's end.
    pub fn read_range(
        &self,
        name: &str,
        range: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), WeightsError> {
        let shape = self.shape(name)?;
        assert!(range.start <= range.end && range.end <= shape.iter().product(), "{range:?}");
        match &self.store {
            // It has no shapes.
            Store::Packed(_) => {}
            Store::Random { seed, index } => {
                out.clear();
                random::draw(*seed, name, index[name].1, range.clone(), out);
            }
            Store::File { bytes, index } => {
                let Entry { dtype, range: at, .. } = &index[name];
                let size = dtype.bitsize() / 8;
                let at = at.start + range.start * size..at.start + range.end * size;
                let converted = bytes.floats(at, *dtype, out);
                let converted = converted.map_err(|error| WeightsError::Open {
                    path: self.origin.clone(),
                    reason: error.to_string(),
                })?;
                if !converted {
                    return Err(WeightsError::Dtype {
                        origin: self.origin.clone(),
                        tensor: name.into(),
                        dtype: format!("{dtype:?}"),
                    });
                }
            }
        }
        // Whole runs first, without a branch per value, so that the check costs one pass at the
        // speed of the cache.
        let bad = |run: &[f32]| run.iter().fold(false, |bad, value| bad | !value.is_finite());
        if !out.chunks(4096).any(bad) {
            return Ok(());
        }
        let mut values = out.iter().enumerate();
        let (index, value) = values.find(|(_, v)| !v.is_finite()).unwrap_or((0, &f32::NAN));
        Err(WeightsError::NonFinite {
            origin: self.origin.clone(),
            tensor: name.into(),
            index: position(range.start + index, shape),
            value: *value,
        })
    }
}

/// Where each tensor stands in a safetensors file that consists of `bytes`.
fn index(origin: &str, bytes: &[u8]) -> Result<BTreeMap<String, Entry>, WeightsError> {
    if let Some(Foreign { found, advice, importable }) = foreign::recognise(bytes, origin) {
        return Err(WeightsError::Foreign { origin: origin.into(), found, advice, importable });
    }
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|e| WeightsError::Corrupt { origin: origin.into(), reason: e.to_string() })?;
    // The header follows its own length, a u64; the offsets count from the header's end.
    let start = size_of::<u64>() + header;
    let tensors: HashMap<_, _> = metadata.tensors();
    let entries = tensors.into_iter().map(|(name, info)| {
        let (from, to) = info.data_offsets;
        let range = start + from..start + to;
        (name, Entry { dtype: info.dtype, shape: info.shape.clone(), range })
    });
    Ok(entries.collect())
}

impl Bytes {
    /// Replaces `out` by the bytes at `range`.
    fn read(&self, range: Range<usize>, out: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::Memory(bytes) => {
                out.clear();
                out.extend_from_slice(&bytes[range]);
                Ok(())
            }
            Self::File(file) => {
                out.resize(range.len(), 0);
                read_at(file, out, range.start as u64)
            }
        }
    }

    /// Replaces `out` by the numbers at `range`, which are little-endian of type `dtype`. False if
    /// the type is not supported.
    fn floats(
        &self,
        range: Range<usize>,
        dtype: Dtype,
        out: &mut Vec<f32>,
    ) -> std::io::Result<bool> {
        match self {
            Self::Memory(bytes) => Ok(floats(&bytes[range], dtype, out)),
            Self::File(file) if dtype == Dtype::F32 && cfg!(target_endian = "little") => {
                // Without clearing it first: only what it grows by is filled in vain.
                out.resize(range.len() / Element::F32.bytes(), 0.0);
                read_at(file, bytemuck::cast_slice_mut(out), range.start as u64)?;
                Ok(true)
            }
            Self::File(_) => {
                let mut bytes = Vec::new();
                self.read(range, &mut bytes)?;
                Ok(floats(&bytes, dtype, out))
            }
        }
    }
}

/// Fills `bytes` from a place of a file, whatever other threads read of it.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from a place of a file, whatever other threads read of it.
#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        match std::os::windows::fs::FileExt::seek_read(file, &mut bytes[done..], at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(())
}

/// There are no files.
#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The coordinates of a flat index.
fn position(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut coordinates: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let coordinate = flat % extent.max(1);
            flat /= extent.max(1);
            coordinate
        })
        .collect();
    coordinates.reverse();
    coordinates
}

/// Why weights could not be opened.
fn unopened(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::IsADirectory => format!("{error}; a .safetensors file is expected"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
