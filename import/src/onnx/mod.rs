//! ONNX files: the graph tells what tensors alone do not.
//!
//! ```text
//! file -decode-> messages -read-> steps -simplify-> steps -decompose-> a line with branches -> rows
//! ```
//!
//! Each arrow refuses what a table cannot say, by the node's name. Batch norms that the exporter
//! folded into convolutions become ones that add the bias and change nothing else, so that the table
//! is the one that the network was trained with.

mod block;
mod chain;
mod file;
mod graph;
mod node;
mod numbers;
mod read;
mod rows;
mod simplify;
mod stage;
mod window;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::bytes::Bytes;

pub(crate) use file::is_onnx;

use crate::Options;
use crate::checkpoint::Stored;
use crate::draft::Draft;
use crate::error::{Fault, unknown};
use file::Files;
use graph::Network;

/// Operator sets before this one say in other words what convolutions and batch norms do.
const FIRST_OPSET: i64 = 7;

/// What an ONNX file says.
pub(crate) struct Imported {
    pub(crate) draft: Draft,
    /// By their names in the table.
    pub(crate) tensors: BTreeMap<String, Stored>,
    pub(crate) files: Vec<Bytes>,
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
    let model = file::decode(&bytes)?;
    let own = |domain: &str| matches!(domain, "" | "ai.onnx");
    let opset = model.opset_import.iter().find(|set| own(&set.domain)).map(|set| set.version);
    match opset {
        Some(opset) if opset < FIRST_OPSET => {
            return unknown(format!(
                "its operator set is {opset}; {FIRST_OPSET} and later ones are read: export it anew, or \
                 convert it (`onnx.version_converter`)"
            ));
        }
        _ => {}
    }
    let Some(graph) = &model.graph else { return unknown("there is no graph in it") };
    let mut files = Files::new(bytes, folder);
    let mut network = Network::read(graph, &mut files, options.input)?;
    network.simplify()?;
    let items = chain::decompose(&network)?;
    let (mut draft, tensors) = rows::Rows::write(&network, &items)?;
    draft.notes.splice(0..0, network.notes.iter().cloned());
    let beside = files.beside();
    Ok(Imported { draft, tensors, files: files.bytes, beside })
}

/// Options for what an ONNX file tells are mistakes.
fn refuse_what_graphs_say(options: &Options) -> Result<(), Fault> {
    let given = [
        ("--key", options.key.is_some()),
        ("--prefix", options.prefix.is_some()),
        ("--without", !options.without.is_empty()),
        ("--architecture", options.architecture.is_some()),
        ("--strides", !options.strides.is_empty()),
        ("--dilations", !options.dilations.is_empty()),
        ("--stride-on", options.stride_on.is_some()),
        ("--anti-alias", options.anti_alias.is_some()),
        ("--shortcut", options.shortcut.is_some()),
        ("--pool", options.pool.is_some()),
        ("--norm-epsilon", options.norm_epsilon.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => {
            unknown(format!("an ONNX file says what `{option}` would; leave it out"))
        }
        None => Ok(()),
    }
}
