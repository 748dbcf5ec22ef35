//! A graph of real numbers: nothing is fused, folded or blocked.

use resnet_runtime::weights::{Weights, WeightsError};

use super::activation::activate;
use super::operators::{Tensors, Values, blur, convolve, gate, means, pooling, softmax, zero_pad};
use super::walk;
use crate::graph::{Graph, Node, Op};

/// A graph and its weights.
pub(super) struct Evaluator {
    graph: Graph,
    tensors: Tensors,
}

impl Evaluator {
    pub(super) fn load(graph: &Graph, weights: &Weights) -> Result<Self, WeightsError> {
        weights.check(&graph.tensors)?;
        let names = graph.tensors.iter().map(|tensor| &*tensor.name);
        Ok(Self { graph: graph.clone(), tensors: Tensors::read(names, weights)? })
    }

    pub(super) fn evaluate(&self, image: &[f32]) -> Values {
        let nodes = &self.graph.nodes;
        let reads = |index: usize| nodes[index].inputs.iter().map(|id| id.index()).collect();
        let outputs = self.graph.outputs().iter().map(|id| id.index()).collect();
        walk(image, nodes.len(), reads, outputs, |index, inputs| self.node(&nodes[index], inputs))
    }

    fn node(&self, node: &Node, inputs: &[&Values]) -> Values {
        let x = inputs[0];
        let from = self.graph.node(node.inputs[0]).shape;
        match &node.op {
            Op::Input => x.clone(),
            Op::Conv { window, groups, weight, bias, standardise } => {
                let bias = bias.as_ref().map(|name| self.tensors.of(name));
                let weights = self.tensors.conv(weight, node.shape.channels, *standardise);
                convolve(x, from, node.shape, window, *groups, &weights, bias)
            }
            Op::BatchNorm(norm) => self.tensors.batch_norm(x, node.shape, norm),
            Op::GroupNorm(norm) => self.tensors.group_norm(x, node.shape, norm),
            Op::Activation(activation) => x.iter().map(|&v| activate(*activation, v)).collect(),
            Op::Add => x.iter().zip(inputs[1]).map(|(a, b)| a + b).collect(),
            Op::Gate => gate(x, from.pixels(), inputs[1]),
            Op::ChannelConv { kernel, weight } => self.tensors.channel_conv(x, *kernel, weight),
            Op::ZeroPad { stride, before } => zero_pad(x, from, node.shape, *stride, *before),
            Op::Pool(pool) => pooling(x, from, node.shape, pool),
            Op::Blur(window) => blur(x, from, node.shape, window),
            Op::GlobalAveragePool => means(x, from.pixels()),
            Op::Linear { weight, bias } => {
                let rows = self.tensors.of(weight).chunks(from.elements());
                let dot =
                    |row: &[f32]| row.iter().zip(x).map(|(&w, v)| f64::from(w) * v).sum::<f64>();
                let biases = self.tensors.of(bias);
                rows.zip(biases).map(|(row, &b)| dot(row) + f64::from(b)).collect()
            }
            Op::Slice(channels) => {
                let pixels = from.pixels();
                x[channels.start * pixels..channels.end * pixels].to_vec()
            }
            Op::Concat => inputs.iter().flat_map(|input| input.iter().copied()).collect(),
            Op::Softmax => softmax(x),
        }
    }
}
