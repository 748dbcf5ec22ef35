//! Named tensors, whatever the file they come from.

mod dicts;
mod flat;
mod npy;
mod pickle;
mod quantised;
mod torch;

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

pub(crate) use self::flat::Flat;
use crate::error::{Fault, unknown};

/// ResNet-1202 has a third of it; the reader makes records of fifteen times its size.
const LONGEST_HEADER: u64 = 2 << 20;

/// The tensors of a file, by their names.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Stored>,
    /// Tensors that cannot be read, and why.
    pub(crate) unread: BTreeMap<String, Unread>,
    pub(crate) notes: Vec<String>,
    /// Whose names they were, if those have no hierarchy.
    pub(crate) flat: Option<Flat>,
}

/// Why a tensor cannot be read.
#[derive(Clone, Debug)]
pub(crate) enum Unread {
    /// A function makes it that is not known.
    Call(String),
    /// It is quantised in a way that is not known.
    Quantised,
    /// An array of NumPy's of another byte order, or of what are no numbers.
    Array,
}

/// One tensor. All of its elements lie inside its file, and no two of them in one place unless the
/// strides say so.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
    /// Of weights that are bytes.
    pub(crate) quantised: Option<Arc<Quantised>>,
}

/// For what the bytes of a layer's weights stand, and by what scale it reads its input.
#[derive(Clone, Debug)]
pub(crate) struct Quantised {
    /// One for all, or one for each place along an axis.
    pub(crate) scale: Vec<f32>,
    pub(crate) axis: usize,
    /// `None` if its input are no bytes.
    pub(crate) input: Option<Bytes>,
    /// Where a file says what is written, in the place of what is read.
    pub(crate) writes: Option<Writes>,
}

/// By what scales bytes are written in a network, as one of its layers knows them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    /// What the layer writes itself.
    pub(crate) layer: Option<Bytes>,
    /// The sum that it is a part of.
    pub(crate) sum: Option<Bytes>,
    /// The picture.
    pub(crate) picture: Option<Bytes>,
}

impl Quantised {
    /// Which of `count` numbers along an axis an element has, by its place in row-major order.
    pub(crate) fn places(
        shape: &[usize],
        axis: usize,
        count: usize,
    ) -> impl Fn(usize) -> usize + use<> {
        let inner: usize = shape.iter().skip(axis + 1).product();
        move |at| if count == 1 { 0 } else { at / inner.max(1) % count }
    }
}

/// What bytes of an activation stand for: `(byte - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bytes {
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

/// Where the elements of a tensor are.
#[derive(Clone, Debug)]
pub(crate) enum Elements {
    /// In a file.
    At {
        /// Its number among the files that were read.
        file: usize,
        /// Byte of the first element.
        start: usize,
        /// In elements; `None` is row-major order without gaps.
        strides: Option<Vec<usize>>,
    },
    /// All are this.
    Same(f32),
}

impl Stored {
    /// A tensor of the only file that there is.
    pub(crate) fn at(
        dtype: Dtype,
        shape: Vec<usize>,
        start: usize,
        strides: Option<Vec<usize>>,
    ) -> Self {
        Self { dtype, shape, elements: Elements::At { file: 0, start, strides }, quantised: None }
    }

    /// A tensor of one number over and over.
    pub(crate) fn same(shape: Vec<usize>, value: f32) -> Self {
        Self { dtype: Dtype::F32, shape, elements: Elements::Same(value), quantised: None }
    }

    /// How many elements there are. The product fits, as they lie inside a file.
    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes the elements take.
    pub(crate) fn bytes(&self) -> usize {
        self.count() * self.dtype.bitsize() / 8
    }
}

impl Checkpoint {
    /// Reads the directory of a file, told apart by how it begins. `key` is that of the state dict
    /// in a pickle. Elements that the file has in another form are brought into theirs, in their place.
    pub(crate) fn read(bytes: &mut [u8], key: Option<&str>) -> Result<Self, Fault> {
        let read = match *bytes {
            // The length of a safetensors header may begin as a pickle does.
            [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Self::read_other(bytes, key),
            [b'P', b'K', 3, 4, ..] => Self::read_archive(bytes, key),
            _ if bytes.starts_with(npy::MAGIC) => npy::object(bytes, key)?.decode(bytes),
            [0x80, 2..=5, ..] if torch::is_legacy(bytes) => {
                torch::legacy(bytes, key)?.decode(bytes)
            }
            [0x80, 2..=5, ..] => torch::pickled(bytes, key)?.decode(bytes),
            _ => Self::read_other(bytes, key),
        };
        read?.unflatten()
    }

    /// An archive of PyTorch's or of NumPy's.
    fn read_archive(bytes: &mut [u8], key: Option<&str>) -> Result<Self, Fault> {
        let mut archive = torch::Archive::open(bytes)?;
        let is_torch = archive.names.iter().any(|name| name.ends_with("data.pkl"));
        let arrays = if is_torch { None } else { npy::archive(&mut archive)? };
        match arrays {
            Some(_) if key.is_some() => unknown(
                "`--key` names a dict of a PyTorch file, and this is an archive of NumPy's, which has arrays alone; \
                 leave it out",
            ),
            Some(checkpoint) => Ok(checkpoint),
            None => torch::zipped(archive, bytes, key)?.decode(bytes),
        }
    }

    /// Refuses tensors that cannot be read.
    pub(crate) fn check_read(&self) -> Result<(), Fault> {
        match self.unread.iter().next() {
            None => Ok(()),
            Some((name, Unread::Call(global))) => {
                Err(Fault::Code { what: format!("`{name}`"), global: global.clone() })
            }
            Some((name, Unread::Array)) => unknown(format!(
                "`{name}` is an array of NumPy's whose elements are not read; numbers of this machine's byte order \
                 are expected (`array.astype('<f4')`)"
            )),
            Some((name, Unread::Quantised)) => {
                let more = match self.unread.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                unknown(format!(
                    "`{name}` is quantised{more} in a way that is not known: bytes with a sign are (`qint8`), of zero \
                     point 0 and one scale, or one for each output channel; else the network as it was before it was \
                     quantised"
                ))
            }
        }
    }

    fn read_other(bytes: &[u8], key: Option<&str>) -> Result<Self, Fault> {
        match bytes {
            [] => Err(Fault::Foreign("an empty file")),
            [_, _, _, _, _, _, _, _, b'{', ..] if key.is_some() => unknown(
                "`--key` names a dict of a PyTorch file, and this is a safetensors file, which has tensors \
                 alone; leave it out",
            ),
            [_, _, _, _, _, _, _, _, b'{', ..] => safetensors(bytes),
            [0x89, b'H', b'D', b'F', ..] => Err(Fault::Foreign(
                "an HDF5 file, as Keras saves them (its tensors can be saved under their names, `weight.path`, with \
                 `safetensors.numpy.save_file`)",
            )),
            [b'G', b'G', b'U', b'F', ..] => Err(Fault::Foreign("a GGUF file")),
            _ if bytes.starts_with(b"version https://git-lfs") => {
                Err(Fault::Foreign("a Git LFS pointer, not the file itself (`git lfs pull`)"))
            }
            [0x1f, 0x8b, ..] => Err(Fault::Foreign("compressed with gzip (`gunzip`)")),
            [b'(', b'd' | b'l', b'p', ..] => {
                Err(Fault::Foreign("a pickle of protocol 0, which is text; 2 to 5 are read"))
            }
            _ if bytes.get(257..262) == Some(b"ustar") => {
                Err(Fault::Foreign("a tar archive (PyTorch before 0.1.10, if it is a checkpoint)"))
            }
            _ => Err(Fault::Foreign("of an unknown format")),
        }
    }
}

fn safetensors(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    if let Some((length, _)) = bytes.split_first_chunk()
        && u64::from_le_bytes(*length) > LONGEST_HEADER
    {
        let length = u64::from_le_bytes(*length);
        return Err(Fault::Corrupt(format!("a header of {length} bytes; no network has it")));
    }
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Fault::Corrupt(format!("as a safetensors file: {error}")))?;
    let mut checkpoint = Checkpoint::default();
    for (name, view) in file.iter() {
        // The view is a part of `bytes`.
        let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
        let (dtype, shape) = (view.dtype(), view.shape().to_vec());
        checkpoint.tensors.insert(name.to_owned(), Stored::at(dtype, shape, start, None));
    }
    Ok(checkpoint)
}
