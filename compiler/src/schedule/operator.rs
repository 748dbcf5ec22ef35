//! Operators with what is decided about them: all that lowering needs to know.

use std::fmt;

use resnet_runtime::kernels::{BLOCK, Panels};
use resnet_runtime::weights::{Content, NormTensors};

use super::choice::Order;
use super::weights::Parts;
use super::{ConvPlan, Region, STATISTIC, Tiling};
use crate::fuse::{FusedId, FusedNode, FusedOp};
use crate::graph::{GroupNorm, Pooling, Window};

/// An operator with all that is decided about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operator {
    /// A convolution.
    Conv(ConvPlan),
    /// A max pool or an average pool.
    Pool(Pooling),
    /// A binomial filter.
    Blur(Window),
    /// Mean over all pixels.
    GlobalAveragePool,
    /// A batch norm of its own.
    Affine {
        /// The first of the scales' bytes in the packed weights; the shifts follow.
        weights: usize,
    },
    /// A convolution along the channels.
    ChannelConv {
        /// Channels of the kernel.
        kernel: usize,
        /// The first of its bytes in the packed weights.
        weights: usize,
    },
    /// A group norm.
    GroupNorm {
        /// Channels of a group.
        group: usize,
        /// Added to the variance before the root.
        epsilon: f64,
        /// The first of the scales' bytes in the packed weights; the shifts follow.
        weights: usize,
        /// Channel blocks whose groups have no channel in another block: they are normalised
        /// together, by one thread.
        blocks: usize,
    },
    /// An addition.
    Add,
    /// Each channel multiplied by the sigmoid of its gate.
    Gate {
        /// The gates.
        gate: FusedId,
    },
    /// Softmax over the channels.
    Softmax,
    /// Bytes of `f32`.
    Quantise,
    /// `f32` of bytes.
    Dequantise,
    /// `bf16` of `f32`, or the other way round.
    Convert,
}

impl Operator {
    fn norm(norm: &NormTensors, channels: usize, parts: &mut Parts) -> Self {
        Self::Affine { weights: parts.add(Content::Norm { norm: norm.clone(), channels }) }
    }

    fn group_norm(norm: &GroupNorm, channels: usize, parts: &mut Parts) -> Self {
        let weights = parts.vector(&norm.weight, channels);
        parts.vector(&norm.bias, channels);
        let group = channels / norm.groups;
        let blocks = joined_blocks(channels, group);
        Self::GroupNorm { group, epsilon: norm.epsilon, weights, blocks }
    }

    /// Where the numbers begin in the packed weights that it takes, if it does.
    pub fn weights(&self) -> Option<usize> {
        match *self {
            Self::Conv(ConvPlan { weights, .. })
            | Self::Affine { weights }
            | Self::ChannelConv { weights, .. }
            | Self::GroupNorm { weights, .. } => Some(weights),
            _ => None,
        }
    }

    /// Bytes of a thread's scratch that it takes.
    pub(super) fn scratch_bytes(&self) -> usize {
        match self {
            Self::Conv(ConvPlan { tiling: Tiling::Winograd(plan), panels, .. }) => {
                let words = plan.words(&panels.format);
                words.map_or(plan.scratch_bytes(), |(words, offset)| offset + words.bytes())
            }
            Self::GroupNorm { blocks, .. } => 2 * blocks * BLOCK * STATISTIC.bytes(),
            _ => 0,
        }
    }
}

/// Where its numbers are, and what is together; what has neither has one way.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.weights()) {
            (Self::Conv(plan), _) => write!(f, "{plan}"),
            (Self::GroupNorm { blocks, .. }, Some(weights)) => {
                write!(f, "{}[{weights}], {blocks} blocks together", Region::Weights)
            }
            (_, Some(weights)) => write!(f, "{}[{weights}]", Region::Weights),
            (_, None) => f.write_str("the one way"),
        }
    }
}

/// How a node's value is made.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// It is given.
    Input,
    /// By a convolution, of which a plan says more.
    Conv { input: FusedId, conv: ConvWay },
    /// By an operator that is the same for all batch sizes.
    Fixed { input: FusedId, operator: Operator },
}

/// What is decided of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvWay {
    pub(super) window: Window,
    pub(super) panels: Panels,
    /// Where its weights begin.
    pub(super) weights: usize,
    pub(super) order: Order,
}

/// How a node's value is made; what `conv` says, if by a convolution.
pub(super) fn way(
    node: &FusedNode,
    parts: &mut Parts,
    conv: impl FnOnce(&mut Parts, FusedId) -> ConvWay,
) -> Way {
    let channels = node.shape.channels;
    let operator = match &node.op {
        FusedOp::Input => return Way::Input,
        FusedOp::Conv(_) => {
            let input = node.source();
            return Way::Conv { input, conv: conv(parts, input) };
        }
        FusedOp::Affine(norm) => Operator::norm(norm, channels, parts),
        FusedOp::GroupNorm(norm) => Operator::group_norm(norm, channels, parts),
        &FusedOp::ChannelConv { kernel, ref weight } => {
            Operator::ChannelConv { kernel, weights: parts.vector(weight, kernel) }
        }
        FusedOp::Pool(pool) => Operator::Pool(*pool),
        FusedOp::Blur(window) => Operator::Blur(*window),
        FusedOp::GlobalAveragePool => Operator::GlobalAveragePool,
        FusedOp::Add => Operator::Add,
        &FusedOp::Gate { gate } => Operator::Gate { gate },
        FusedOp::Softmax => Operator::Softmax,
        FusedOp::Quantise => Operator::Quantise,
        FusedOp::Dequantise => Operator::Dequantise,
        FusedOp::Narrow | FusedOp::Widen => Operator::Convert,
    };
    Way::Fixed { input: node.source(), operator }
}

/// The fewest channel blocks that hold whole groups of so many channels, and into which all blocks
/// can be divided.
fn joined_blocks(channels: usize, group: usize) -> usize {
    let all = channels.div_ceil(BLOCK);
    let whole =
        |blocks: &usize| all.is_multiple_of(*blocks) && (blocks * BLOCK).is_multiple_of(group);
    (1..all).find(whole).unwrap_or(all)
}
