//! The layers that may be quantised, and the activation that each reads.

use std::collections::HashMap;
use std::fmt;

use resnet_runtime::weights::ConvSource;

use super::error::QuantizeError;
use crate::fuse::quantisable::{Kept, quantisable};
use crate::fuse::{Fused, FusedOp};
use crate::graph::{Graph, NodeId, Op, Shape, Window};

/// A convolution or a linear layer.
pub(super) struct Candidate {
    /// Its name in the table.
    pub(super) name: String,
    /// Its tensors.
    pub(super) source: ConvSource,
    pub(super) window: Window,
    pub(super) groups: usize,
    pub(super) input: Shape,
    pub(super) output: Shape,
    /// The node whose value it reads.
    pub(super) reads: NodeId,
    /// The same before pools that pass a range and a scale on.
    pub(super) activation: NodeId,
    /// Multiply-adds for one picture.
    pub(super) macs: u64,
    /// Why it stays in f32, if it does.
    pub(super) stays: Option<Stays>,
}

/// Why a layer stays in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stays {
    /// It cannot be quantised.
    Kept(Kept),
    /// It was asked for.
    Asked,
    /// Its signal to noise is among the worst.
    Worst,
    /// What it reads is zero in every picture, so that there is no scale.
    Silent,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(kept) => kept.fmt(f),
            Self::Asked => f.write_str("asked for"),
            Self::Worst => f.write_str("among the worst"),
            Self::Silent => f.write_str("what it reads is 0 in every picture"),
        }
    }
}

impl Candidate {
    /// Why it stays in f32, in words.
    pub(super) fn why(&self) -> String {
        let reason = self.stays.map_or(String::new(), |stays| stays.to_string());
        format!("{}: {reason}", self.name)
    }
}

/// Every convolution and linear layer, in the table's order.
pub(super) fn candidates(graph: &Graph, fused: &Fused) -> Vec<Candidate> {
    let weights = |op: &Op| match op {
        Op::Conv { weight, .. } | Op::Linear { weight, .. } => Some(weight.clone()),
        _ => None,
    };
    let nodes = (0_u32..).map(NodeId).zip(&graph.nodes);
    let mut by_weight: HashMap<String, NodeId> =
        nodes.filter_map(|(id, node)| Some((weights(&node.op)?, id))).collect();
    let of = |(id, check): (_, Result<(), Kept>)| {
        let FusedOp::Conv(conv) = &fused.node(id).op else { return None };
        // A convolution that was cut is one layer: its first part stands for it.
        let id = by_weight.remove(&conv.weight)?;
        let node = graph.node(id);
        let reads = node.inputs[0];
        Some(Candidate {
            name: node.name.clone(),
            source: conv.source(),
            window: conv.window,
            groups: conv.groups,
            input: graph.node(reads).shape,
            output: node.shape,
            reads,
            activation: before_pools(graph, reads),
            macs: graph.cost(id).macs as u64,
            stays: check.err().map(Stays::Kept),
        })
    };
    quantisable(fused).into_iter().filter_map(of).collect()
}

fn before_pools(graph: &Graph, mut id: NodeId) -> NodeId {
    while let Op::Pool(pool) = graph.node(id).op
        && pool.selects()
    {
        id = graph.node(id).inputs[0];
    }
    id
}

/// Marks the layers that are to stay in f32: each name is a layer's, or that of something that layers are in.
pub(super) fn keep(layers: &mut [Candidate], names: &[String]) -> Result<(), QuantizeError> {
    for name in names {
        let inside = format!("{name}.");
        let mut found = false;
        for layer in layers.iter_mut() {
            if layer.name == *name || layer.name.starts_with(&inside) {
                found = true;
                layer.stays.get_or_insert(Stays::Asked);
            }
        }
        if !found {
            return Err(unknown(name, layers));
        }
    }
    Ok(())
}

fn unknown(name: &str, layers: &[Candidate]) -> QuantizeError {
    let mut near: Vec<(usize, &str)> = layers
        .iter()
        .map(|layer| (strsim::damerau_levenshtein(name, &layer.name), &*layer.name))
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 4))
        .collect();
    near.sort();
    QuantizeError::UnknownLayer {
        name: name.to_owned(),
        near: near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect(),
        layers: layers.iter().map(|layer| layer.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::fuse;
    use crate::spec::Spec;
    use crate::zoo::zoo;

    #[test]
    fn every_convolution_is_a_candidate_once() {
        for name in ["resnet18", "resnext50_32x4d", "seresnet50", "res2net50_26w_4s"] {
            let spec = Spec::from_yaml_named(zoo(name).unwrap(), name).unwrap();
            let graph = Graph::build(&spec).unwrap();
            let convs = graph
                .nodes
                .iter()
                .filter(|node| matches!(node.op, Op::Conv { .. } | Op::Linear { .. }));
            let expected: Vec<&str> = convs.map(|node| &*node.name).collect();
            let candidates = candidates(&graph, &fuse(&graph).unwrap());
            let mut found: Vec<&str> = candidates.iter().map(|layer| &*layer.name).collect();
            // A projection that is written later may stand elsewhere.
            assert_eq!(found.len(), expected.len(), "{name}");
            found.sort_unstable();
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }
}
