//! The network as its author meant it: one node an operator, with inferred shapes.
//!
//! Batch norms, activations and additions are nodes of their own here; what inference folds is
//! decided in `fuse`. Nodes stand in an order in which every input comes before its reader.

mod block;
mod build;
mod claims;
mod conv;
mod cost;
mod display;
mod norm;
mod pool;
mod receptive;
mod scales;

use std::collections::HashSet;
use std::ops::Range;

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::file::fingerprint;
use resnet_runtime::weights::{NormTensors, TensorSpec};

use crate::entity::entity;

pub use crate::geometry::{Axis, Extent, Padding, Shape, Window, binomial, output_size};
pub use crate::spec::PoolKind;
pub use cost::Cost;
pub use receptive::{Reach, ReceptiveField};
pub use resnet_runtime::kernels::LARGEST_BLUR;

entity! {
    /// A node of a [`Graph`], by its position in [`Graph::nodes`].
    pub NodeId, "n"
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The picture.
    Input,
    /// A convolution: weights `[out, in / groups, rows, columns]` and perhaps a bias `[out]`.
    Conv {
        /// Kernel, stride, padding.
        window: Window,
        /// Groups.
        groups: usize,
        /// Name of the weight tensor.
        weight: String,
        /// Name of the bias tensor.
        bias: Option<String>,
        /// Weight standardization: each output channel's weights have their mean subtracted and are
        /// divided by `sqrt(variance + epsilon)` with this epsilon, before anything else.
        standardise: Option<f64>,
    },
    /// Batch norm with running statistics.
    BatchNorm(NormTensors),
    /// Group norm with the picture's own statistics.
    GroupNorm(GroupNorm),
    /// An activation function, element by element; never [`Activation::None`].
    Activation(Activation),
    /// Sum of two inputs of one shape: main path first, shortcut second.
    Add,
    /// The first input with each channel multiplied by the sigmoid of the second one's, which is
    /// 1x1.
    Gate,
    /// A convolution along the channels of a 1x1 activation, with zeros past the first and the last:
    /// weights `[1, 1, kernel]`.
    ChannelConv {
        /// Channels of the kernel, an odd number.
        kernel: usize,
        /// Name of the weight tensor.
        weight: String,
    },
    /// Shortcut option A: every `stride`-th pixel, `before` zero channels, the input's channels,
    /// zero channels up to the output's.
    ZeroPad {
        /// Subsampling.
        stride: Extent,
        /// Zero channels before the first.
        before: usize,
    },
    /// A max pool or an average pool.
    Pool(Pooling),
    /// The sum of a window's pixels, weighed by the coefficients of `(1/2 + x/2)^(kernel - 1)` each
    /// way, over the picture mirrored at its first and last rows and columns.
    Blur(Window),
    /// Mean over all pixels.
    GlobalAveragePool,
    /// A matrix `[out, in]` and a bias `[out]`, over the input flattened in channel, row, column
    /// order.
    Linear {
        /// Name of the weight tensor.
        weight: String,
        /// Name of the bias tensor.
        bias: String,
    },
    /// Some channels of the input that lie side by side.
    Slice(Range<usize>),
    /// The channels of the first input, then those of the second one, and so on.
    Concat,
    /// Softmax over the channels of a 1x1 activation.
    Softmax,
}

impl Op {
    /// Its window, if it looks at pixels through one.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Conv { window, .. } | Self::Blur(window) => Some(*window),
            Self::Pool(pooling) => Some(pooling.window),
            Self::Input
            | Self::BatchNorm(_)
            | Self::GroupNorm(_)
            | Self::Activation(_)
            | Self::Add
            | Self::Gate
            | Self::ChannelConv { .. }
            | Self::ZeroPad { .. }
            | Self::GlobalAveragePool
            | Self::Linear { .. }
            | Self::Slice(_)
            | Self::Concat
            | Self::Softmax => None,
        }
    }
}

/// The largest one, or the mean, of the pixels under a window that lie in the picture or among the
/// zeros around it. What lies further out is ignored; every window has a pixel of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Which of them.
    pub kind: PoolKind,
    /// Kernel, stride, and how far windows reach over the edges.
    pub window: Window,
    /// Zeros around the picture that count as pixels; on no side more than windows reach over it.
    pub zeros: Padding,
}

impl Pooling {
    /// A pool of the picture alone.
    pub fn new(kind: PoolKind, window: Window) -> Self {
        Self { kind, window, zeros: Padding::NONE }
    }

    /// The same pool with the least numbers of its window, see [`Window::reduced`].
    pub(crate) fn reduced(self, input: Shape) -> Self {
        Self { window: self.window.reduced(input), ..self }
    }

    /// Whether everything that it makes is one of the values that it reads, so that their range, and
    /// the scale of bytes, are those of its output too.
    pub fn selects(&self) -> bool {
        self.kind == PoolKind::Max && self.zeros == Padding::NONE
    }
}

/// "Group Normalization" (Wu and He, 2018): the pixels of each group of channels that lie side by side
/// have their mean subtracted and are divided by `sqrt(variance + epsilon)`, where the variance is
/// the mean square (not corrected for the sample); then each channel is scaled and shifted.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// Groups.
    pub groups: usize,
    /// Name of the scales, `[channels]`.
    pub weight: String,
    /// Name of the shifts, `[channels]`.
    pub bias: String,
    /// Added to the variance before the root.
    pub epsilon: f64,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// A name a person finds in the table, such as `conv2_x.0.conv1` or `conv2_x.0.bn1`.
    pub name: String,
    /// The row of the table that it comes from; the input has none.
    pub row: Option<usize>,
    /// Which of the row's blocks it is in, if it is in one.
    pub block: Option<usize>,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<NodeId>,
    /// What it makes.
    pub shape: Shape,
}

/// A part of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The row's name.
    pub name: String,
    /// The node that makes it.
    pub node: NodeId,
}

/// A checked network.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The network's name.
    pub name: String,
    /// The nodes; the first is the input.
    pub nodes: Vec<Node>,
    /// The last node, whose value is the network's answer unless there are features.
    pub output: NodeId,
    /// What the answer consists of, one after the other; empty if it is the last node's value.
    pub features: Vec<Feature>,
    /// What follows the last feature in the table, behind all nodes: it is not computed, and its tensors may be in the
    /// weights.
    pub rest: Vec<Node>,
    /// Weighted layers, projections not counted.
    pub depth: usize,
    /// Weights, biases and batch norm's scales and shifts.
    pub params: u64,
    /// Multiply-adds of convolutions and linear layers, for one picture.
    pub macs: u64,
    /// Every tensor of the table, in the rows' order; those of rows after the last feature are not
    /// used.
    pub tensors: Vec<TensorSpec>,
}

impl Graph {
    /// The node of an id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Shape of what an operator reads first; every one but the picture reads something.
    pub(crate) fn read_by(&self, node: &Node) -> Shape {
        self.node(node.inputs[0]).shape
    }

    /// Shape of the picture.
    pub fn input_shape(&self) -> Shape {
        self.nodes[0].shape
    }

    /// Shape of the last node's value, which is the answer if there are no features.
    pub fn output_shape(&self) -> Shape {
        self.node(self.output).shape
    }

    /// The same without features: all rows.
    pub(crate) fn whole(&self) -> Self {
        let nodes: Vec<Node> = self.nodes.iter().chain(&self.rest).cloned().collect();
        let output = NodeId::at(nodes.len() - 1);
        Self { nodes, output, features: Vec::new(), rest: Vec::new(), ..self.clone() }
    }

    /// The nodes whose values, one after the other, are the answer.
    pub fn outputs(&self) -> Vec<NodeId> {
        match &self.features[..] {
            [] => vec![self.output],
            features => features.iter().map(|feature| feature.node).collect(),
        }
    }

    /// Numbers in an answer.
    pub fn output_len(&self) -> usize {
        self.outputs().into_iter().map(|id| self.node(id).shape.elements()).sum()
    }

    /// The operators whose output can be the answer: all that have one of their own. What an activation reads, and a
    /// convolution whose norm is folded into it, are computed together with these; copies and parts of others' outputs
    /// are no features.
    pub fn operators(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let absorbs = |node: &&Node| match node.op {
            Op::Activation(_) => true,
            Op::BatchNorm(_) => matches!(self.node(node.inputs[0]).op, Op::Conv { .. }),
            _ => false,
        };
        let taken = self.nodes.iter().filter(absorbs).map(|node| node.inputs[0]);
        let taken: HashSet<NodeId> = taken.collect();
        let nodes = self.nodes.iter().enumerate().map(|(place, node)| (NodeId::at(place), node));
        nodes.filter(move |(id, node)| {
            let copies =
                matches!(node.op, Op::Input | Op::Slice(_) | Op::Concat | Op::ZeroPad { .. });
            !copies && !taken.contains(id)
        })
    }

    /// The same network, whose answer is what one of its [`operators`](Self::operators) makes and, behind it, what the
    /// last one makes, as features. `None` if there is none of this name.
    #[must_use]
    pub fn features_of(mut self, operator: &str) -> Option<Self> {
        let (node, _) = self.operators().find(|(_, node)| node.name == operator)?;
        let mut nodes = vec![node, self.output];
        nodes.dedup();
        let feature = |node| Feature { name: self.node(node).name.clone(), node };
        self.features = nodes.into_iter().map(feature).collect();
        Some(self)
    }

    /// A number that stands for what the network computes: operators, their order and shapes,
    /// whatever the rows of the table and the network are called. Names of weights are not part of
    /// it either.
    pub fn fingerprint(&self) -> u64 {
        let mut text = String::new();
        for node in &self.nodes {
            text += &format!("{} {:?} {}", node.op, node.inputs, node.shape);
            match &node.op {
                Op::BatchNorm(NormTensors { epsilon, .. })
                | Op::GroupNorm(GroupNorm { epsilon, .. }) => {
                    text += &format!(" {:016x}", epsilon.to_bits());
                }
                Op::Conv { standardise: Some(epsilon), .. } => {
                    text += &format!(" standardised {:016x}", epsilon.to_bits());
                }
                Op::ZeroPad { before, .. } => text += &format!(" {before}"),
                Op::Pool(Pooling { window, zeros, .. })
                    if *zeros != Padding::NONE && *zeros == window.padding =>
                {
                    text += " counting padding";
                }
                Op::Pool(Pooling { zeros, .. }) if *zeros != Padding::NONE => {
                    text += &format!(" counting {zeros}");
                }
                Op::Input
                | Op::Conv { standardise: None, .. }
                | Op::Activation(_)
                | Op::Add
                | Op::Gate
                | Op::Slice(_)
                | Op::Concat
                | Op::ChannelConv { .. }
                | Op::Pool(_)
                | Op::Blur(_)
                | Op::GlobalAveragePool
                | Op::Linear { .. }
                | Op::Softmax => {}
            }
            text.push('\n');
        }
        fingerprint(&format!("{text}{:?}", self.outputs()))
    }
}
