//! Layers that stay as they are, by their names in the table or in the state dict.

use std::collections::BTreeSet;

use crate::graph::{Graph, Node, Op};

/// A name that no layer has.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "there is no layer with weights called `{name}`{}",
    if near.is_empty() { String::new() } else { format!("; did you mean `{}`?", near.join("`, `")) }
)]
pub struct UnknownLayer {
    /// The name.
    pub name: String,
    /// Names that are nearly the same.
    pub near: Vec<String>,
}

/// The tensors of some layers. Each name is that of a row, a block or an operator of the table (`conv2_x`, `conv2_x.0`), of a
/// tensor, or what tensors' names begin with up to a dot (`layer1`, `layer1.0.bn1`).
///
/// # Errors
///
/// The first name that nothing with weights has.
pub fn frozen(graph: &Graph, layers: &[String]) -> Result<BTreeSet<String>, UnknownLayer> {
    let mut frozen = BTreeSet::new();
    for layer in layers {
        let inside = |name: &str| {
            name.strip_prefix(&**layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let by_node = graph.nodes.iter().filter(|node| inside(&node.name)).flat_map(tensors);
        let own = graph.tensors.iter().map(|tensor| &*tensor.name).filter(|name| inside(name));
        let found: BTreeSet<String> = by_node.chain(own).map(str::to_owned).collect();
        if found.is_empty() {
            return Err(UnknownLayer { name: layer.clone(), near: near(graph, layer) });
        }
        frozen.extend(found);
    }
    Ok(frozen)
}

/// The names of an operator's tensors.
fn tensors(node: &Node) -> Vec<&str> {
    match &node.op {
        Op::Conv { weight, bias, .. } => {
            [Some(weight), bias.as_ref()].into_iter().flatten().map(String::as_str).collect()
        }
        Op::Linear { weight, bias } => vec![weight, bias],
        Op::BatchNorm(norm) => norm.names().to_vec(),
        Op::GroupNorm(norm) => vec![&norm.weight, &norm.bias],
        Op::ChannelConv { weight, .. } => vec![weight],
        Op::Input
        | Op::Activation(_)
        | Op::Add
        | Op::Gate
        | Op::ZeroPad { .. }
        | Op::Pool(_)
        | Op::Blur(_)
        | Op::GlobalAveragePool
        | Op::Slice(_)
        | Op::Concat
        | Op::Softmax => Vec::new(),
    }
}

/// The names that are nearest, three at most.
fn near(graph: &Graph, layer: &str) -> Vec<String> {
    let nodes = graph.nodes.iter().filter(|node| !tensors(node).is_empty());
    let names = nodes.map(|node| &*node.name).chain(graph.tensors.iter().map(|t| &*t.name));
    // Of each, all that it may be called: itself, and what it is inside.
    let known: BTreeSet<&str> = names
        .flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..dot]).chain([name]))
        .collect();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(layer, known), known))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}
