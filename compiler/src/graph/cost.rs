//! What a node costs.

use std::ops::AddAssign;

use crate::graph::{Graph, NodeId, Op, Shape};

/// Parameters and multiply-adds; wide enough for anything that a table can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Weights, biases and norms' scales and shifts.
    pub params: u128,
    /// Multiply-adds of convolutions, blurs among them, and linear layers, for one picture.
    pub macs: u128,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.params += other.params;
        self.macs += other.macs;
    }
}

impl Graph {
    /// What a node costs.
    pub fn cost(&self, id: NodeId) -> Cost {
        let node = self.node(id);
        let input = node.inputs.first().map_or(node.shape, |&input| self.node(input).shape);
        cost(&node.op, input, node.shape)
    }
}

/// What an operator costs that reads `input` and makes `output`.
pub(super) fn cost(op: &Op, input: Shape, output: Shape) -> Cost {
    let wide = |n: usize| n as u128;
    let out = wide(output.channels);
    let pixels = wide(output.height) * wide(output.width);
    match op {
        Op::Conv { window, groups, bias, .. } => {
            let taps = wide(window.kernel.rows) * wide(window.kernel.columns);
            let weights = out * wide(input.channels / groups) * taps;
            let bias = if bias.is_some() { out } else { 0 };
            Cost { params: weights + bias, macs: weights * pixels }
        }
        Op::Linear { .. } => {
            let weights = out * wide(input.channels) * wide(input.height) * wide(input.width);
            Cost { params: weights + out, macs: weights }
        }
        Op::ChannelConv { kernel, .. } => Cost { params: wide(*kernel), macs: wide(*kernel) * out },
        Op::Blur(window) => {
            let taps = wide(window.kernel.rows) * wide(window.kernel.columns);
            Cost { params: 0, macs: out * taps * pixels }
        }
        Op::BatchNorm(_) | Op::GroupNorm(_) => Cost { params: 2 * out, macs: 0 },
        Op::Input
        | Op::Activation(_)
        | Op::Add
        | Op::Gate
        | Op::Slice(_)
        | Op::Concat
        | Op::ZeroPad { .. }
        | Op::Pool(_)
        | Op::GlobalAveragePool
        | Op::Softmax => Cost::default(),
    }
}
