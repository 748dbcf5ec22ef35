//! ONNX files: the graph tells what tensors alone do not.
//!
//! ```text
//! file -decode-> messages -expand-> messages -read-> steps -simplify-> steps -decompose-> a line with branches -> rows
//! ```
//!
//! Each arrow refuses what a table cannot say, by the node's name. Batch norms that the exporter
//! folded into convolutions become ones that add the bias and change nothing else, so that the table
//! is the one that the network was trained with.

mod block;
mod chain;
mod decode;
mod expand;
pub(crate) mod files;
mod form;
mod function;
mod graph;
mod layers;
mod node;
mod numbers;
mod read;
mod rows;
mod scales;
mod simplify;
mod stage;
mod values;
mod windows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::bytes::Bytes;
use resnet_compiler::onnx::proto::ModelProto;

pub(crate) use decode::is_onnx;

use crate::Options;
use crate::checkpoint::Stored;
use crate::draft::Draft;
use crate::error::{Fault, corrupt, unknown};
pub(crate) use files::Files;

/// Operator sets before this one say in other words what convolutions and batch norms do.
const FIRST_OPSET: i64 = 7;

/// The latest one whose operators are known, of ONNX 1.23.
const LAST_OPSET: i64 = 28;

/// What an ONNX file says.
pub(crate) struct Imported {
    pub(crate) draft: Draft,
    /// By their names in the table.
    pub(crate) tensors: BTreeMap<String, Stored>,
    pub(crate) files: Files,
    /// Where the files other than the first are.
    pub(crate) beside: Vec<PathBuf>,
}

/// Imports a network. `folder` is the file's, for the elements that other files have.
pub(crate) fn import(
    bytes: Bytes,
    folder: Option<&Path>,
    options: &Options,
) -> Result<Imported, Fault> {
    refuse_what_graphs_say(options)?;
    let model = decode::decode(&bytes)?;
    let opset = opset(&model)?;
    let Some(graph) = &model.graph else { return unknown("there is no graph in it") };
    let mut files = Files::new(bytes, folder);
    let graph = &*expand::expand(graph)?;
    let mut network = read::read(graph, (opset, &model.functions), &mut files, options.input)?;
    if opset > LAST_OPSET {
        network.note(format!(
            "assumed: the operator set {opset} means what {LAST_OPSET} does, the latest that is known"
        ));
    }
    network.simplify(&mut files)?;
    network.join_chunks()?;
    let items = chain::decompose(&network)?;
    let (mut draft, tensors) = rows::Rows::write(&network, &items, &files)?;
    draft.notes.splice(0..0, network.notes.iter().cloned());
    let beside = files.beside();
    Ok(Imported { draft, tensors, files, beside })
}

/// The version of ONNX's own operators.
fn opset(model: &ModelProto) -> Result<i64, Fault> {
    let own = |domain: &str| matches!(domain, "" | "ai.onnx");
    let mut sets = model.opset_import.iter().filter(|set| own(&set.domain));
    match (sets.next(), sets.next()) {
        (Some(set), None) if set.version >= FIRST_OPSET => Ok(set.version),
        (Some(set), None) => unknown(format!(
            "its operator set is {}; {FIRST_OPSET} and later ones are read: export it anew, or convert it \
             (`onnx.version_converter`)",
            set.version
        )),
        (Some(_), Some(_)) => corrupt("as an ONNX file: it has two versions of ONNX's operators"),
        (None, _) => corrupt("as an ONNX file: it does not say which version of operators it has"),
    }
}

/// Options for what an ONNX file tells are mistakes.
fn refuse_what_graphs_say(options: &Options) -> Result<(), Fault> {
    let given = [
        ("--key", options.key.is_some()),
        ("--prefix", options.prefix.is_some()),
        ("--without", !options.without.is_empty()),
        ("--architecture", options.architecture.is_some()),
        ("--stem-stride", options.stem_stride.is_some()),
        ("--strides", !options.strides.is_empty()),
        ("--stride-on", options.stride_on.is_some()),
        ("--anti-alias", options.anti_alias.is_some()),
        ("--shortcut", options.shortcut.is_some()),
        ("--shortcut-from", options.shortcut_from.is_some()),
        ("--zero-channels", options.zero_channels.is_some()),
        ("--pool", options.pool.is_some()),
        ("--global-pool", options.global_pool.is_some()),
        ("--activation", options.activation.is_some()),
        ("--weight-standardization", options.weight_standardization.is_some()),
        ("--norm-groups", options.norm_groups.is_some()),
        ("--norm-group-size", options.norm_group_size.is_some()),
        ("--norm-epsilon", options.norm_epsilon.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            unknown(format!("an ONNX file says what `{option}` would; leave it out"))
        }
        None => Ok(()),
    }
}
