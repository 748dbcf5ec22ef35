//! Weights: named tensors from a safetensors file, from memory, or drawn from a seed.
//!
//! Names and shapes are PyTorch's: a convolution's weight is `[out, in / groups, rows, columns]`, a
//! linear layer's `[out, in]`. [`Weights::check`] compares everything at once with what a network
//! needs; [`Weights::tensor`] hands out one tensor as `f32`, without a copy where the file allows.

mod error;
mod foreign;
mod random;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

pub use error::{Found, Mismatch, WeightsError};

use crate::tensors::{Init, TensorSpec};

/// Named tensors that a network is loaded from.
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
    /// The values, all finite; borrowed if the file has them as aligned little-endian `f32`.
    pub values: Cow<'a, [f32]>,
}

#[derive(Debug)]
enum Store {
    File { bytes: Bytes, index: BTreeMap<String, Entry> },
    Random { seed: u64, index: BTreeMap<String, (Vec<usize>, Init)> },
}

#[derive(Debug)]
enum Bytes {
    Memory(Cow<'static, [u8]>),
    Mapped(Mmap),
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
    /// Maps a safetensors file into memory.
    ///
    /// The file must not be changed or truncated while it is mapped: write a new file and rename
    /// it over the old one, as all careful writers do.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, that is of another format, or that is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let origin = path.display().to_string();
        let unreadable = |reason: String| WeightsError::Open { path: origin.clone(), reason };
        let file = File::open(path).map_err(|e| unreadable(describe_io(&e)))?;
        let metadata = file.metadata().map_err(|e| unreadable(describe_io(&e)))?;
        if metadata.is_dir() {
            return Err(unreadable("it is a folder; a .safetensors file is expected".into()));
        }
        if !metadata.is_file() {
            // A pipe or a device cannot be mapped, but it can be read.
            let bytes = std::fs::read(path).map_err(|e| unreadable(describe_io(&e)))?;
            return Self::parse(origin, Bytes::Memory(bytes.into()));
        }
        if metadata.len() == 0 {
            return Err(unreadable("the file is empty".into()));
        }
        // SAFETY: the map is private to this value, read-only, and never longer than the file was
        // when it was mapped. What the type system cannot promise is that no other process writes
        // to the file or truncates it meanwhile; this function's documentation asks for that, as
        // every user of a memory map must. Any bytes at all are handled: tensors are copied or
        // read as plain numbers, and nothing that was checked once is trusted to bound an access
        // to anything but the map itself.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| unreadable(describe_io(&e)))?;
        Self::parse(origin, Bytes::Mapped(map))
    }

    /// Takes a safetensors file that is in memory already, such as `include_bytes!` or a download.
    ///
    /// # Errors
    ///
    /// Bytes of another format, or damaged.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, WeightsError> {
        Self::parse("weights in memory".into(), Bytes::Memory(bytes.into()))
    }

    /// Random weights for the tensors of a network, the same for a seed on every platform.
    ///
    /// A tensor's values depend on the seed, its name and its [`Init`] alone, so that two variants
    /// of a network share the weights of the layers they share. Values are drawn when a tensor is
    /// asked for.
    pub fn random(tensors: &[TensorSpec], seed: u64) -> Self {
        let index = tensors.iter().map(|t| (t.name.clone(), (t.shape.clone(), t.init))).collect();
        Self {
            origin: format!("random weights of seed {seed}"),
            store: Store::Random { seed, index },
        }
    }

    fn parse(origin: String, bytes: Bytes) -> Result<Self, WeightsError> {
        if let Some((found, advice)) = foreign::recognise(&bytes, &origin) {
            return Err(WeightsError::Foreign { origin, found, advice });
        }
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| WeightsError::Corrupt { origin: origin.clone(), reason: e.to_string() })?;
        // The header follows its own length, a u64; the offsets count from the header's end.
        let start = size_of::<u64>() + header;
        let tensors: HashMap<_, _> = metadata.tensors();
        let index = tensors
            .into_iter()
            .map(|(name, info)| {
                let (from, to) = info.data_offsets;
                let range = start + from..start + to;
                (name, Entry { dtype: info.dtype, shape: info.shape.clone(), range })
            })
            .collect();
        Ok(Self { origin, store: Store::File { bytes, index } })
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
    /// [`WeightsError::Mismatch`] if anything differs.
    pub fn check(&self, tensors: &[TensorSpec]) -> Result<(), WeightsError> {
        match Mismatch::between(self, tensors) {
            Some(mismatch) => Err(WeightsError::Mismatch(Box::new(mismatch))),
            None => Ok(()),
        }
    }

    /// One tensor as `f32`. `F16`, `BF16` and `F64` are converted.
    ///
    /// # Errors
    ///
    /// A name that is not there, an element type that is no floating-point number of 16 to 64
    /// bits, or a value that is not finite.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, WeightsError> {
        let missing = || WeightsError::Missing { origin: self.origin.clone(), tensor: name.into() };
        match &self.store {
            Store::Random { seed, index } => {
                let (shape, init) = index.get(name).ok_or_else(missing)?;
                let values = random::draw(*seed, name, *init, shape.iter().product());
                self.finite(name, Tensor { shape, values: values.into() })
            }
            Store::File { bytes, index } => {
                let entry = index.get(name).ok_or_else(missing)?;
                let values = floats(&bytes[entry.range.clone()], entry.dtype).ok_or_else(|| {
                    WeightsError::Dtype {
                        origin: self.origin.clone(),
                        tensor: name.into(),
                        dtype: format!("{:?}", entry.dtype),
                    }
                })?;
                self.finite(name, Tensor { shape: &entry.shape, values })
            }
        }
    }

    fn finite<'a>(&self, name: &str, tensor: Tensor<'a>) -> Result<Tensor<'a>, WeightsError> {
        // Whole runs first, without a branch per value, so that the check costs one pass at the
        // speed of memory.
        let bad = |run: &[f32]| run.iter().fold(false, |bad, value| bad | !value.is_finite());
        if !tensor.values.chunks(4096).any(bad) {
            return Ok(tensor);
        }
        let values = tensor.values.iter().enumerate();
        let (index, value) =
            values.into_iter().find(|(_, v)| !v.is_finite()).unwrap_or((0, &f32::NAN));
        Err(WeightsError::NonFinite {
            origin: self.origin.clone(),
            tensor: name.into(),
            index: position(index, tensor.shape),
            value: *value,
        })
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// The element types that [`floats`] converts.
fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

/// Little-endian numbers as `f32`; `None` for an element type that is not supported.
fn floats(bytes: &[u8], dtype: Dtype) -> Option<Cow<'_, [f32]>> {
    let halves = || -> Vec<u16> { map_chunks(bytes, u16::from_le_bytes) };
    let len = bytes.len() / 2;
    Some(match dtype {
        Dtype::F32 => match bytemuck::try_cast_slice(bytes) {
            Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
            _ => map_chunks(bytes, f32::from_le_bytes).into(),
        },
        Dtype::F16 => {
            let mut values = vec![0.0; len];
            halves().reinterpret_cast::<f16>().convert_to_f32_slice(&mut values);
            values.into()
        }
        Dtype::BF16 => {
            let mut values = vec![0.0; len];
            halves().reinterpret_cast::<bf16>().convert_to_f32_slice(&mut values);
            values.into()
        }
        Dtype::F64 => map_chunks(bytes, |b| f64::from_le_bytes(b) as f32).into(),
        _ => return None,
    })
}

fn map_chunks<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| convert(*chunk)).collect()
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

/// An I/O error as a plain phrase, without the number of the operating system.
fn describe_io(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
