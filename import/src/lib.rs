//! Trained residual networks: reads a checkpoint or an ONNX file and derives the layer table.
//!
//! Safetensors files, those of `torch.save`, in its zip and its older form, and ONNX files are told
//! apart by how they begin. A pickle is read as data: nothing in it is run ([`ImportError::Code`] names
//! what would be). Depth, kind of blocks, widths, groups, shortcuts and attention follow from the
//! tensors' names and shapes; what does not (strides, the size of pictures) is assumed as published
//! networks have it, said in [`Imported::assumed`], and set by [`Options`]. An ONNX file has the graph, so
//! that little is left to assume.
//!
//! ```no_run
//! let imported = resnet_import::import("resnet50.pth", &resnet_import::Options::default())?;
//! std::fs::write("resnet50.yaml", &imported.table)?;
//! imported.write_weights(&mut std::io::BufWriter::new(std::fs::File::create("resnet50.safetensors")?))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Facts that stand beside the weights are taken too: a folder as timm or transformers saves it, with its
//! `config.json`, has an architecture by its name, and how pictures are prepared.
//!
//! The file's bytes are held once; beyond them importing needs less than 64 MB, whatever a file claims.

mod beside;
mod candidates;
mod checkpoint;
mod draft;
mod error;
mod names;
mod normalise;
mod note;
mod onnx;
mod quantised;
mod table;
mod write;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use error::ImportError;
pub use note::Assumption;
use prost::bytes::Bytes;
pub use resnet_compiler::spec::{AntiAlias, Shortcut, ShortcutFrom, StrideOn, ZeroChannels};
pub use resnet_runtime::kernels::Activation;
use safetensors::tensor::Dtype;

use beside::{Facts, Place};
use checkpoint::{Checkpoint, Stored};
use error::{Fault, unknown};
use names::Network;

/// What a checkpoint's tensors do not tell. All of it may be left at its default.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The network's name; `None` takes the file's, without its extension, or the folder's.
    pub name: Option<String>,
    /// The name of timm's architecture, such as `resnetblur50`: what that has and tensors do not show. `None`
    /// is what a `config.json` beside the weights says.
    pub architecture: Option<String>,
    /// Where the state dict is in a PyTorch file or a pickle: keys and attributes, joined by dots.
    pub key: Option<String>,
    /// What the names of the network's tensors begin with, where a checkpoint has others too.
    pub prefix: Option<String>,
    /// Parts to leave out: modules and tensors, by their names without `prefix`.
    pub without: Vec<String>,
    /// Height and width of a picture; `None` is 224 each for a stem with a stride, else 32.
    pub input: Option<(usize, usize)>,
    /// The stride of the first convolution; `None` is 2, 1 for a single 3x3, an even kernel's size.
    pub stem_stride: Option<usize>,
    /// The stride of every stage; none is 1 for the first and 2 for the others, or what shortcuts say.
    pub strides: Vec<usize>,
    /// The dilation of every stage's 3x3 convolutions; none is 1.
    pub dilations: Vec<usize>,
    /// Which convolution of a block has the stride; `None` is a bottleneck's 3x3, a basic block's first.
    pub stride_on: Option<StrideOn>,
    /// What has the strides of blocks in the place of their convolutions, and of the stem's pool: a blur
    /// or an average, as in timm's `resnetblur` and `resnetaa` networks. `None` is nothing.
    pub anti_alias: Option<AntiAlias>,
    /// What stands beside blocks; `None` is what names and shapes say.
    pub shortcut: Option<Shortcut>,
    /// What projections read in a network of pre-activation; `None` is what the first norm made.
    pub shortcut_from: Option<ShortcutFrom>,
    /// Where shortcuts without weights have the zeros for new channels; `None` is half before and half behind.
    pub zero_channels: Option<ZeroChannels>,
    /// What follows the stem; `None` is a max pool if the stem has the stride that is usual for ImageNet.
    pub pool: Option<StemPool>,
    /// What becomes of the last activation's pixels; `None` is their mean.
    pub global_pool: Option<GlobalPool>,
    /// The activation of blocks and of the stem; `None` is ReLU.
    pub activation: Option<Activation>,
    /// The epsilon with which convolutions standardize their weights; `None` is that they do not.
    pub weight_standardization: Option<f64>,
    /// Groups of group norm; `None` is 32.
    pub norm_groups: Option<usize>,
    /// Channels of a group of group norm, in the place of their number.
    pub norm_group_size: Option<usize>,
    /// Batch norm's epsilon; `None` is 1e-5.
    pub norm_epsilon: Option<f64>,
    /// Means of the pictures' channels, of values from 0 to 1. Without means and deviations a
    /// network of 1000 classes has ImageNet's.
    pub mean: Vec<f64>,
    /// Standard deviations of the pictures' channels.
    pub std: Vec<f64>,
    /// To what a picture's shorter side is scaled; `None` is 8/7 of the input for ImageNet.
    pub resize: Option<usize>,
}

/// What follows the stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StemPool {
    /// Nothing.
    None,
    /// A 3x3 max pool of stride 2 with padding of 1 on every side.
    Max,
    /// One without padding that rounds sizes up, as Caffe's does.
    Ceil,
    /// Nothing, but a stem of several convolutions has a stride of 2 on its last one too.
    Stride,
    /// That of [`StemPool::Max`], whose padding counts as zeros, as BiT's does.
    Zeros,
}

/// What becomes of the pixels before the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalPool {
    /// Their mean.
    Average,
    /// Their maximum.
    Max,
}

/// A network: its layer table and its weights.
#[derive(Debug)]
pub struct Imported {
    /// The network's name.
    pub name: String,
    /// The layer table, YAML.
    pub table: String,
    /// What was left out, made up or renamed, a line each.
    pub notes: Vec<String>,
    /// What was assumed. These and the notes stand as comments in the table.
    pub assumed: Vec<Assumption>,
    /// Names of the classes, if there are any. The table has them as the lines of a file in its folder,
    /// [`Imported::labels_file`].
    pub labels: Vec<String>,
    /// The files that were read beside the given one: those that an ONNX file has its elements in, the
    /// weights in a given folder, configurations.
    pub beside: Vec<PathBuf>,
    tensors: Vec<(String, Stored)>,
    /// The file, and those that an ONNX file refers to.
    files: Vec<Bytes>,
}

/// Imports the checkpoint in a file, or in a folder as timm and transformers save their networks.
///
/// # Errors
///
/// A file that cannot be read, is damaged, would run code, or holds another kind of network; a `config.json`
/// beside it that contradicts it.
pub fn import(path: impl AsRef<Path>, options: &Options) -> Result<Imported, ImportError> {
    let path = path.as_ref();
    let origin = path.display().to_string();
    let place = Place::find(path).map_err(|fault| fault.at(&origin))?;
    let bytes = resnet_runtime::file::read(&place.file)
        .map_err(|error| ImportError::Open { origin: origin.clone(), reason: error.to_string() })?;
    let mut imported =
        derive(bytes, place.file.parent(), &place, options).map_err(|fault| fault.at(&origin))?;
    if place.file != path {
        imported.beside.push(place.file);
    }
    Ok(imported)
}

/// Imports a checkpoint that is in memory; an ONNX file has to have its tensors in itself. `origin` is
/// its file's name, for messages and, unless `options` has one, for the network's name.
///
/// # Errors
///
/// Bytes that are damaged, would run code, or hold another kind of network.
pub fn import_bytes(
    bytes: Vec<u8>,
    origin: &str,
    options: &Options,
) -> Result<Imported, ImportError> {
    let place = Place::of_file(Path::new(origin));
    derive(bytes, None, &place, options).map_err(|fault| fault.at(origin))
}

fn derive(
    mut bytes: Vec<u8>,
    folder: Option<&Path>,
    place: &Place,
    options: &Options,
) -> Result<Imported, Fault> {
    let (options, scaled) = normalise::of_0_to_1(options)?;
    let mut facts = Facts::read(folder, &options)?;
    let name = plain(options.name.as_deref().unwrap_or_else(|| facts.call(place)));
    let file = printable(&place.shown);
    let mut notes: Vec<String> = place.note.iter().cloned().chain(scaled).collect();
    if onnx::is_onnx(&bytes) {
        let options = facts.pictures(&options);
        let onnx::Imported { mut draft, tensors, files, mut beside } =
            onnx::import(bytes.into(), folder, &options)?;
        facts.finish(&mut draft);
        let (table, graph) = draft.finish(&options, &name, &file)?;
        let (tensors, files) = quantised::settle(&graph, tensors, files, &mut draft.notes)?;
        notes.extend(facts.notes.into_iter().chain(draft.notes));
        beside.extend(facts.files);
        let (labels, assumed) = (draft.labels, draft.assumed);
        let files = files.bytes;
        return Ok(Imported { name, table, notes, assumed, labels, beside, tensors, files });
    }
    let mut checkpoint = Checkpoint::read(&mut bytes, options.key.as_deref())?;
    let prefix = options.prefix.as_deref();
    candidates::select(&mut checkpoint, prefix, &options.without)?;
    checkpoint.check_read()?;
    checkpoint.unfold_quantised(&bytes)?;
    facts.refuse()?;
    let network = Network::find(&checkpoint)
        .map_err(|fault| fault.advised(|| candidates::advice(&checkpoint, prefix)))?;
    let files = onnx::files::Files::new(bytes.into(), None);
    notes.extend(facts.hint(&place.name, &options));
    let options = normalise::by_layer(&network, &checkpoint, &files.bytes, options, &mut notes)?;
    let known = facts.under(&options, &network)?;
    let (mut draft, pairs) = table::derive(&network, &known)?;
    facts.finish(&mut draft);
    let (table, graph) = draft.finish(&known.options, &name, &file)?;
    let found = pairs.find(&graph, &checkpoint, &mut draft.notes)?;
    let (tensors, files) = quantised::settle(&graph, found, files, &mut draft.notes)?;
    notes.extend(checkpoint.notes.into_iter().chain(facts.notes).chain(draft.notes));
    if !network.wrapper.is_empty() {
        notes.push(format!("left out: the prefix `{}` of all names", network.wrapper));
    }
    let (labels, assumed, beside, files) = (draft.labels, draft.assumed, facts.files, files.bytes);
    Ok(Imported { name, table, notes, assumed, labels, beside, tensors, files })
}

/// The tensors of a network, checked against what it needs.
pub(crate) fn fit(
    graph: &resnet_compiler::graph::Graph,
    mut found: BTreeMap<String, Stored>,
) -> Result<Vec<(String, Stored)>, Fault> {
    let mut tensors = Vec::new();
    for tensor in &graph.tensors {
        let name = tensor.name.to_string();
        let Some(stored) = found.remove(&name) else {
            return unknown(format!("the derived network needs `{name}`, which is not there"));
        };
        if !same_shape(&stored.shape, &tensor.shape) {
            return unknown(format!(
                "`{name}` is {:?}, where the derived network has {:?}",
                stored.shape, tensor.shape
            ));
        }
        let float = matches!(stored.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64);
        if !float && stored.quantised.is_none() {
            return unknown(format!(
                "the elements of `{name}` are {:?}; floating-point numbers are expected",
                stored.dtype
            ));
        }
        tensors.push((name, stored));
    }
    Ok(tensors)
}

impl Imported {
    /// The name of the file that the table has the names of the classes in, a line each.
    pub fn labels_file(&self) -> String {
        draft::labels_file(&self.name)
    }

    /// What a user should read: the notes, what was assumed and is not usual, a line each, and in one line what
    /// is usual.
    pub fn said(&self) -> Vec<String> {
        let unusual = self.assumed.iter().filter(|assumption| !assumption.usual);
        let lines = self.notes.iter().cloned().chain(unusual.map(Assumption::to_string));
        lines.chain(note::in_short(&self.assumed)).collect()
    }

    /// The same with a line for each assumption.
    pub fn said_at_length(&self) -> Vec<String> {
        self.notes.iter().cloned().chain(self.assumed.iter().map(Assumption::to_string)).collect()
    }

    /// Name and shape of every tensor of the network, by the table's names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), &*stored.shape))
    }

    /// Writes the weights as a safetensors file, by the table's names; elements keep their type. Many
    /// small writes: `out` should have a buffer.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_weights(&self, out: &mut dyn Write) -> io::Result<()> {
        write::write(&self.tensors, &self.files, out)
    }
}

/// Whether two shapes differ in no more than ones at their ends, as those of a linear layer and a
/// 1x1 convolution do.
fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let common = a.len().min(b.len());
    a[..common] == b[..common] && a[common..].iter().chain(&b[common..]).all(|&size| size == 1)
}

/// A name that is a file's name and a YAML scalar on every system.
fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(keep).collect();
    let name = name.trim_start_matches(['-', '.']);
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.to_owned()
    } else {
        format!("network-{name}").trim_end_matches('-').to_owned()
    }
}

/// A file's name inside a comment of one line.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}
