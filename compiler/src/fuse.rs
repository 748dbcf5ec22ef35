//! The network as inference computes it: every batch norm, activation, addition and zero-padding
//! shortcut becomes a part of the convolution before it. A batch norm without a convolution of its
//! own, as of a residual stream that others read too, becomes an operator with the ReLU after it. So
//! do a gate and a group norm, whose numbers are not known before the picture is, with the addition
//! and the ReLU.
//!
//! Channels need not begin at a block's first lane, and so neither slices nor concatenations are made in memory. A
//! convolution whose output is cut becomes one for each slice, of so many of its output channels; one that
//! reads a concatenation, a chain of convolutions that read the parts, each of which adds to the one before. What is
//! cut instead is the weight, when it is packed.
//!
//! Nothing here knows of speed or memory. A linear layer becomes a convolution whose kernel is its whole input.

mod display;
mod error;
pub(crate) mod formats;
mod halves;
pub mod quantisable;
mod slices;

use resnet_runtime::kernels::{self, Activation, Element, Precision};
use resnet_runtime::weights::{ConvSource, NormTensors, Slice};

use crate::entity::entity;
use crate::graph::{Extent, Graph, GroupNorm, Node, NodeId, Op, Padding, Pooling, Shape, Window};

pub use error::FuseError;
pub use formats::Format;
pub(crate) use halves::halves;

entity! {
    /// A node of a [`Fused`] graph and the value that it writes, by its position in [`Fused::nodes`].
    pub FusedId, "v"
}

/// A convolution with all that follows it up to the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Kernel, stride, padding.
    pub window: Window,
    /// Groups.
    pub groups: usize,
    /// Name of the weight tensor.
    pub weight: String,
    /// Name of the bias tensor.
    pub bias: Option<String>,
    /// The epsilon with which the weight is standardised first, if it is.
    pub standardise: Option<f64>,
    /// Batch norm, to be folded into weights and bias when they are loaded.
    pub norm: Option<NormTensors>,
    /// The part of the weight, bias and norm, if it is not all of them.
    pub slice: Option<Slice>,
    /// What it multiplies, and so what its input consists of: `F32`, `Bf16` or, where its weights are bytes with all of
    /// the above folded in, `U8`.
    pub element: Element,
}

impl Conv {
    /// Whether its weights are bytes, and its input too.
    pub fn quantised(&self) -> bool {
        self.element.is_quantised()
    }

    /// The tensors of which its weights are packed.
    pub(crate) fn source(&self) -> ConvSource {
        ConvSource {
            weight: self.weight.clone().into(),
            bias: self.bias.clone().map(Into::into),
            norm: self.norm.clone(),
            standardise: self.standardise,
            slice: self.slice,
        }
    }

    /// The tensors that quantised weights have taken in: bias and norm.
    pub fn folded(&self) -> impl Iterator<Item = &str> {
        let norm = self.norm.iter().flat_map(NormTensors::names);
        norm.chain(self.bias.as_deref())
    }
}

/// What is done with an operator's result before it is written to memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epilogue {
    /// What is added first.
    pub residual: Option<Residual>,
    /// What is applied then.
    pub activation: Activation,
}

impl Epilogue {
    /// Nothing.
    pub const NONE: Self = Self { residual: None, activation: Activation::None };

    /// Whether a zero-padding shortcut is added, which is written to the output before the operator
    /// adds to it.
    pub(crate) fn zero_pads(&self) -> bool {
        matches!(self.residual, Some(Residual::ZeroPad { .. }))
    }

    /// The same for a kernel, which is told where a residual lies and what it and the result are stored as.
    pub(crate) fn of_kernel(&self, stored: Precision) -> kernels::Epilogue {
        let Self { residual, activation } = *self;
        kernels::Epilogue { residual: residual.is_some(), activation, stored }
    }
}

/// The other summand of a block's addition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Residual {
    /// An activation of the same shape.
    Same(FusedId),
    /// Option A: every `stride`-th pixel of `source`, with `before` zero channels in front.
    ZeroPad {
        /// The block's input.
        source: FusedId,
        /// Subsampling.
        stride: Extent,
        /// Zero channels before the first.
        before: usize,
    },
}

impl Residual {
    /// The activation that is read.
    pub fn source(&self) -> FusedId {
        match *self {
            Self::Same(source) | Self::ZeroPad { source, .. } => source,
        }
    }
}

/// What a fused node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum FusedOp {
    /// The picture.
    Input,
    /// A convolution or a linear layer.
    Conv(Conv),
    /// A max pool or an average pool.
    Pool(Pooling),
    /// A batch norm that no convolution can take in: a scale and a shift a channel, into which it is
    /// folded when weights are loaded.
    Affine(NormTensors),
    /// An addition that no operator can take in, as others read both summands too: what is read, with
    /// the other one as its residual.
    Add,
    /// Each channel multiplied by the sigmoid of its gate.
    Gate {
        /// The gates, 1x1.
        gate: FusedId,
    },
    /// A group norm.
    GroupNorm(GroupNorm),
    /// A convolution along the channels of a 1x1 activation.
    ChannelConv {
        /// Channels of the kernel.
        kernel: usize,
        /// Name of the weight tensor.
        weight: String,
    },
    /// A binomial filter over the mirrored picture.
    Blur(Window),
    /// Mean over all pixels.
    GlobalAveragePool,
    /// Softmax over the channels of a 1x1 activation.
    Softmax,
    /// Bytes of `f32`.
    Quantise,
    /// `f32` of bytes.
    Dequantise,
    /// `bf16` of `f32`.
    Narrow,
    /// `f32` of `bf16`.
    Widen,
}

impl FusedOp {
    /// Whether an addition can become a part of the operator.
    fn takes_residual(&self) -> bool {
        matches!(self, Self::Conv(_) | Self::Gate { .. } | Self::GroupNorm(_))
    }

    /// Whether an activation function can.
    fn takes_activation(&self) -> bool {
        self.takes_residual() || matches!(self, Self::Affine(_) | Self::Add)
    }
}

/// One operator that writes an activation to memory.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedNode {
    /// The name of its first node in the graph.
    pub name: String,
    /// The node of the graph whose operator it computes, or a part of; a conversion's is that of what it converts.
    pub node: NodeId,
    /// What it computes.
    pub op: FusedOp,
    /// What is done with the result.
    pub epilogue: Epilogue,
    /// What it reads, besides a residual; the input reads nothing.
    pub input: Option<FusedId>,
    /// What it makes.
    pub shape: Shape,
    /// As what it is written.
    pub format: Format,
}

impl FusedNode {
    /// What an operator reads first.
    ///
    /// # Panics
    ///
    /// If it is the input.
    pub fn source(&self) -> FusedId {
        self.input.expect("every node but the input reads another")
    }

    /// Every activation that this node reads.
    pub fn reads(&self) -> impl Iterator<Item = FusedId> + '_ {
        let gate = match self.op {
            FusedOp::Gate { gate, .. } => Some(gate),
            _ => None,
        };
        let residual = self.epilogue.residual.map(|r| r.source());
        self.input.into_iter().chain(residual).chain(gate)
    }
}

/// A graph of fused operators, in an order in which inputs come before their readers.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// The nodes; the first is the input.
    pub nodes: Vec<FusedNode>,
    /// The nodes whose values, one after the other, are the network's answer.
    pub outputs: Vec<FusedId>,
}

impl Fused {
    /// The node of an id.
    pub fn node(&self, id: FusedId) -> &FusedNode {
        &self.nodes[id.index()]
    }

    /// The nodes with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FusedId, &FusedNode)> {
        self.nodes.iter().enumerate().map(|(i, node)| (FusedId::at(i), node))
    }
}

/// Fuses a graph.
///
/// # Errors
///
/// If an activation, a slice or a concatenation has no operator to go into.
pub fn fuse(graph: &Graph) -> Result<Fused, FuseError> {
    Ok(fuse_values(graph)?.0)
}

/// The same, and for each node of the graph the one that writes its value, if one does.
pub(crate) fn fuse_values(graph: &Graph) -> Result<(Fused, Vec<Option<FusedId>>), FuseError> {
    let mut fuser = Fuser {
        graph,
        readers: count_readers(graph),
        values: graph.nodes.iter().map(|_| Value::Missing).collect(),
        nodes: Vec::new(),
        at: NodeId(0),
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        fuser.at = NodeId::at(index);
        let value = fuser.value_of(node)?;
        fuser.values[index] = value;
    }
    let outputs = graph.outputs().into_iter().map(|output| fuser.written(output));
    let outputs = outputs.collect::<Result<_, _>>()?;
    let written = |v: &Value| if let Value::Written(id) = v { Some(*id) } else { None };
    let values = fuser.values.iter().map(written).collect();
    Ok((Fused { outputs, nodes: fuser.nodes }, values))
}

fn count_readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.nodes.len()];
    for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.index()] += 1;
    }
    // Whoever asks for an answer reads it too.
    for output in graph.outputs() {
        readers[output.index()] += 1;
    }
    readers
}

/// What is known of a graph node's value so far.
#[derive(Clone)]
enum Value {
    /// Not computed yet, or given away to the node that absorbed it.
    Missing,
    /// Operators that may still absorb what follows, each of which adds to what the one before it makes: most
    /// often one.
    Open(Vec<FusedNode>),
    /// A concatenation, waiting for its convolution.
    Concat(Vec<NodeId>),
    /// A zero-padding shortcut, waiting for its addition.
    Shortcut { source: FusedId, stride: Extent, before: usize },
    /// Written to memory by a fused node.
    Written(FusedId),
}

struct Fuser<'a> {
    graph: &'a Graph,
    readers: Vec<usize>,
    values: Vec<Value>,
    nodes: Vec<FusedNode>,
    /// The node at work.
    at: NodeId,
}

impl Fuser<'_> {
    fn value_of(&mut self, node: &Node) -> Result<Value, FuseError> {
        match &node.op {
            Op::Input => Ok(Value::Written(self.push(node, FusedOp::Input, None))),
            Op::Conv { window, groups, weight, bias, standardise } => {
                let window = window.reduced(self.graph.read_by(node));
                let mut conv = conv(window, *groups, weight, bias.clone());
                conv.standardise = *standardise;
                match &self.values[node.inputs[0].index()] {
                    Value::Concat(parts) => self.conv_of_parts(node, &conv, &parts.clone()),
                    _ => self.open(node, FusedOp::Conv(conv)),
                }
            }
            Op::Linear { weight, bias } => {
                let kernel = self.graph.read_by(node).extent();
                let window = Window::new(kernel, Extent::square(1), Padding::NONE);
                let conv = conv(window, 1, weight, Some(bias.clone()));
                self.open(node, FusedOp::Conv(conv))
            }
            Op::BatchNorm(norm) => {
                if let Some(convs) = self.unfinished_convs(node.inputs[0]) {
                    convs.into_iter().for_each(|conv| conv.norm = Some(norm.clone()));
                    return Ok(self.take(node.inputs[0]));
                }
                self.open(node, FusedOp::Affine(norm.clone()))
            }
            Op::GroupNorm(norm) => self.open(node, FusedOp::GroupNorm(norm.clone())),
            &Op::Activation(activation) => self.absorb_activation(node, activation),
            Op::Add => self.absorb_addition(node),
            Op::Gate => {
                let gate = self.written(node.inputs[1])?;
                self.open(node, FusedOp::Gate { gate })
            }
            Op::ChannelConv { kernel, weight } => {
                let op = FusedOp::ChannelConv { kernel: *kernel, weight: weight.clone() };
                self.plain(node, op)
            }
            Op::ZeroPad { stride, before } => {
                let source = self.written(node.inputs[0])?;
                let stride = stride.min(self.graph.read_by(node).extent());
                Ok(Value::Shortcut { source, stride, before: *before })
            }
            Op::Pool(pool) => {
                self.plain(node, FusedOp::Pool(pool.reduced(self.graph.read_by(node))))
            }
            Op::Slice(channels) => self.slice(node, channels),
            Op::Concat => Ok(Value::Concat(node.inputs.clone())),
            Op::Blur(window) => {
                self.plain(node, FusedOp::Blur(window.reduced(self.graph.read_by(node))))
            }
            Op::GlobalAveragePool => self.plain(node, FusedOp::GlobalAveragePool),
            Op::Softmax => self.plain(node, FusedOp::Softmax),
        }
    }

    /// An operator that reads what the node's first input makes, and may absorb what follows.
    fn open(&mut self, node: &Node, op: FusedOp) -> Result<Value, FuseError> {
        let input = Some(self.written(node.inputs[0])?);
        let (name, shape) = (node.name.clone(), node.shape);
        let (node, epilogue, format) = (self.at, Epilogue::NONE, Format::F32);
        Ok(Value::Open(vec![FusedNode { name, node, op, epilogue, input, shape, format }]))
    }

    /// The nodes that make the value of `id`, if they may still absorb its only reader.
    fn unfinished(&mut self, id: NodeId) -> Option<&mut [FusedNode]> {
        match &mut self.values[id.index()] {
            Value::Open(nodes) if self.readers[id.index()] == 1 => Some(nodes),
            _ => None,
        }
    }

    /// The same if they are convolutions and nothing else so far.
    fn unfinished_convs(&mut self, id: NodeId) -> Option<Vec<&mut Conv>> {
        let convs = self.unfinished(id)?.iter_mut().map(|node| match node {
            FusedNode { op: FusedOp::Conv(conv), epilogue: Epilogue::NONE, .. } => {
                conv.norm.is_none().then_some(conv)
            }
            _ => None,
        });
        convs.collect()
    }

    fn take(&mut self, id: NodeId) -> Value {
        std::mem::replace(&mut self.values[id.index()], Value::Missing)
    }

    fn absorb_activation(
        &mut self,
        node: &Node,
        activation: Activation,
    ) -> Result<Value, FuseError> {
        let input = node.inputs[0];
        match self.unfinished(input) {
            Some([.., FusedNode { op, epilogue, .. }])
                if op.takes_activation() && epilogue.activation == Activation::None =>
            {
                epilogue.activation = activation;
                Ok(self.take(input))
            }
            _ => Err(FuseError {
                node: node.name.clone(),
                reason: "an activation needs an operator that can take it in",
            }),
        }
    }

    fn absorb_addition(&mut self, node: &Node) -> Result<Value, FuseError> {
        let (input, shortcut) = (node.inputs[0], node.inputs[1]);
        let residual = match self.values[shortcut.index()] {
            Value::Shortcut { source, stride, before } => {
                Residual::ZeroPad { source, stride, before }
            }
            _ => Residual::Same(self.written(shortcut)?),
        };
        // The sum begins with the first of them.
        if let Some(nodes) = self.unfinished(input)
            && nodes.iter().all(|node| node.op.takes_residual() && node.epilogue == Epilogue::NONE)
        {
            nodes[0].epilogue.residual = Some(residual);
            return Ok(self.take(input));
        }
        let mut value = self.open(node, FusedOp::Add)?;
        if let Value::Open(nodes) = &mut value {
            nodes[0].epilogue.residual = Some(residual);
        }
        Ok(value)
    }

    fn plain(&mut self, node: &Node, op: FusedOp) -> Result<Value, FuseError> {
        let input = self.written(node.inputs[0])?;
        Ok(Value::Written(self.push(node, op, Some(input))))
    }

    /// The fused node that writes the value of `id`; an open operator is closed.
    fn written(&mut self, id: NodeId) -> Result<FusedId, FuseError> {
        let slot = &mut self.values[id.index()];
        let fused = match std::mem::replace(slot, Value::Missing) {
            Value::Written(fused) => fused,
            Value::Open(nodes) => {
                for (index, mut node) in nodes.into_iter().enumerate() {
                    if index > 0 {
                        let sum = FusedId::at(self.nodes.len() - 1);
                        node.epilogue.residual = Some(Residual::Same(sum));
                    }
                    self.nodes.push(node);
                }
                FusedId::at(self.nodes.len() - 1)
            }
            Value::Missing | Value::Shortcut { .. } | Value::Concat(_) => {
                let node = self.graph.node(id).name.clone();
                return Err(FuseError { node, reason: "its value is read in more than one way" });
            }
        };
        self.values[id.index()] = Value::Written(fused);
        Ok(fused)
    }

    fn push(&mut self, node: &Node, op: FusedOp, input: Option<FusedId>) -> FusedId {
        let (name, shape) = (node.name.clone(), node.shape);
        let (node, epilogue, format) = (self.at, Epilogue::NONE, Format::F32);
        self.nodes.push(FusedNode { name, node, op, epilogue, input, shape, format });
        FusedId::at(self.nodes.len() - 1)
    }
}

fn conv(window: Window, groups: usize, weight: &str, bias: Option<String>) -> Conv {
    let weight = weight.to_owned();
    Conv {
        window,
        groups,
        weight,
        bias,
        standardise: None,
        norm: None,
        slice: None,
        element: Element::F32,
    }
}
