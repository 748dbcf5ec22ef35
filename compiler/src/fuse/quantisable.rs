//! Which convolutions can be computed in 8-bit integers, and why the others cannot.

use std::collections::BTreeSet;
use std::fmt;

use resnet_runtime::kernels::Activation;

use super::{Conv, Fused, FusedId, FusedNode, FusedOp};

/// The most products of a sum. Each is at most 128 * 255, as others' weights may be -128, and a sum has to stay below 2^31.
pub const MOST_PRODUCTS: usize = 65_000;

/// Why a convolution stays in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept {
    /// Its activation function is not a clamp.
    Activation(Activation),
    /// It sums more products than 32 bits hold for certain.
    Products(usize),
    /// It makes a gate on channels out of single pixels: few multiply-adds, and every error is in all pixels.
    Gate,
    /// It has a part of a weight whose output channels have one scale each.
    Slice,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activation(activation) => write!(f, "its activation is {}", activation.name()),
            Self::Products(products) => {
                write!(f, "it sums {products} products, more than {MOST_PRODUCTS}")
            }
            Self::Gate => f.write_str("it makes a gate on channels"),
            Self::Slice => f.write_str("it has a slice of a weight"),
        }
    }
}

/// Every convolution and linear layer, in the graph's order, with why it stays in f32 if it has to.
pub fn quantisable(fused: &Fused) -> Vec<(FusedId, Result<(), Kept>)> {
    let gates = gates(fused);
    let convs = fused.iter().filter_map(|(id, node)| match &node.op {
        FusedOp::Conv(conv) => Some((id, node, conv)),
        _ => None,
    });
    convs.map(|(id, node, conv)| (id, check(fused, node, conv, gates.contains(&id)))).collect()
}

fn check(fused: &Fused, node: &FusedNode, conv: &Conv, makes_gate: bool) -> Result<(), Kept> {
    match node.epilogue.activation {
        Activation::None | Activation::Relu | Activation::Relu6 => {}
        other => return Err(Kept::Activation(other)),
    }
    let channels = node.input.map_or(0, |input| fused.node(input).shape.channels);
    let products = channels / conv.groups * conv.window.kernel.rows * conv.window.kernel.columns;
    match makes_gate {
        _ if conv.slice.is_some() => Err(Kept::Slice),
        _ if products > MOST_PRODUCTS => Err(Kept::Products(products)),
        true => Err(Kept::Gate),
        false => Ok(()),
    }
}

/// The convolutions between a single pixel and the gates that are made of it.
fn gates(fused: &Fused) -> BTreeSet<FusedId> {
    let mut convs = BTreeSet::new();
    for node in &fused.nodes {
        let FusedOp::Gate { gate } = node.op else { continue };
        let mut next = Some(gate);
        while let Some(id) = next
            && let FusedNode { op: FusedOp::Conv(_), shape, input, .. } = fused.node(id)
            && shape.pixels() == 1
            && convs.insert(id)
        {
            next = *input;
        }
    }
    convs
}
