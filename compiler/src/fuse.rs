//! The network as inference computes it: every batch norm, activation, addition and zero-padding
//! shortcut becomes a part of the convolution before it. A batch norm without a convolution of its
//! own, as of a residual stream that others read too, becomes an operator with the ReLU after it.
//!
//! Nothing here knows of speed or memory. A linear layer becomes a convolution whose kernel is its
//! whole input, so that there is one operator to schedule.

use std::fmt;

use resnet_runtime::tensors::NormTensors;

use crate::graph::{Extent, Graph, Node, NodeId, Op, Padding, Shape, Window};

/// A node of a [`Fused`] graph; prints as `%3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FusedId(pub u32);

impl FusedId {
    /// The position in [`Fused::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for FusedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
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
    /// Batch norm, to be folded into weights and bias when they are loaded.
    pub norm: Option<NormTensors>,
    /// What is added to the result.
    pub residual: Option<Residual>,
    /// Whether `max(0, x)` comes last.
    pub relu: bool,
}

impl Conv {
    /// Whether a zero-padding shortcut is added, which is written to the output row by row, for all
    /// channels, before any panel adds to it.
    pub fn zero_pads(&self) -> bool {
        matches!(self.residual, Some(Residual::ZeroPad { .. }))
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
    /// Max pool.
    MaxPool(Window),
    /// Average pool.
    AveragePool {
        /// Kernel, stride, padding.
        window: Window,
        /// Whether padding counts as zeros.
        count_padding: bool,
    },
    /// A batch norm that no convolution can take in: a scale and a shift a channel.
    Affine {
        /// To be folded into scale and shift when weights are loaded.
        norm: NormTensors,
        /// Whether `max(0, x)` comes last.
        relu: bool,
    },
    /// Each channel multiplied by the sigmoid of its gate.
    Gate {
        /// The gates, 1x1.
        gate: FusedId,
        /// What is added to the result.
        residual: Option<Residual>,
        /// Whether `max(0, x)` comes last.
        relu: bool,
    },
    /// A convolution along the channels of a 1x1 activation.
    ChannelConv {
        /// Channels of the kernel.
        kernel: usize,
        /// Name of the weight tensor.
        weight: String,
    },
    /// Mean over all pixels.
    GlobalAveragePool,
    /// Softmax over the channels of a 1x1 activation.
    Softmax,
}

/// One operator that writes an activation to memory.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedNode {
    /// The name of its first node in the graph.
    pub name: String,
    /// What it computes.
    pub op: FusedOp,
    /// What it reads, besides a residual; the input reads nothing.
    pub input: Option<FusedId>,
    /// What it makes.
    pub shape: Shape,
}

impl FusedNode {
    /// Every activation that this node reads.
    pub fn reads(&self) -> impl Iterator<Item = FusedId> + '_ {
        let (residual, gate) = match &self.op {
            FusedOp::Conv(conv) => (conv.residual, None),
            FusedOp::Gate { gate, residual, .. } => (*residual, Some(*gate)),
            _ => (None, None),
        };
        self.input.into_iter().chain(residual.map(|r| r.source())).chain(gate)
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
        self.nodes.iter().enumerate().map(|(i, node)| (FusedId(i as u32), node))
    }
}

/// A node that no convolution can absorb. Tables never lead here; it marks a gap in this compiler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{node}` can't be fused: {reason}; this is a bug in the compiler, please report the table"
)]
pub struct FuseError {
    /// The node's name.
    pub node: String,
    /// What was missing.
    pub reason: &'static str,
}

/// Fuses a graph.
///
/// # Errors
///
/// If a batch norm, an activation or an addition has no convolution of its own to go into.
pub fn fuse(graph: &Graph) -> Result<Fused, FuseError> {
    let mut fuser = Fuser {
        graph,
        readers: count_readers(graph),
        values: vec![Value::Missing; graph.nodes.len()],
        nodes: Vec::new(),
    };
    for (index, node) in graph.nodes.iter().enumerate() {
        let value = fuser.value_of(node)?;
        fuser.values[index] = value;
    }
    let outputs = graph.outputs().into_iter().map(|output| fuser.written(output));
    let outputs = outputs.collect::<Result<_, _>>()?;
    Ok(Fused { outputs, nodes: fuser.nodes })
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
    /// A convolution that may still absorb what follows.
    Open { name: String, conv: Conv, input: FusedId, shape: Shape },
    /// A gate that may still absorb an addition and a ReLU.
    OpenGate {
        name: String,
        gate: FusedId,
        residual: Option<Residual>,
        relu: bool,
        input: FusedId,
        shape: Shape,
    },
    /// A batch norm of its own that may still absorb a ReLU.
    OpenNorm { name: String, norm: NormTensors, input: FusedId, shape: Shape },
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
}

impl Fuser<'_> {
    fn value_of(&mut self, node: &Node) -> Result<Value, FuseError> {
        match &node.op {
            Op::Input => Ok(Value::Written(self.push(node, FusedOp::Input, None))),
            Op::Conv { window, groups, weight, bias } => {
                self.open(node, *window, *groups, weight, bias.clone())
            }
            Op::Linear { weight, bias } => {
                let input = self.graph.node(node.inputs[0]).shape;
                let kernel = Extent::new(input.height, input.width);
                let window = Window::new(kernel, Extent::square(1), Padding::NONE);
                self.open(node, window, 1, weight, Some(bias.clone()))
            }
            Op::BatchNorm(norm) if self.can_take_norm(node.inputs[0]) => {
                self.absorb(node, "a batch norm needs a convolution", |conv| {
                    conv.norm = Some(norm.clone());
                    Some(())
                })
            }
            Op::BatchNorm(norm) => {
                let (name, norm) = (node.name.clone(), norm.clone());
                let input = self.written(node.inputs[0])?;
                Ok(Value::OpenNorm { name, norm, input, shape: node.shape })
            }
            Op::Relu => self.absorb_relu(node),
            Op::Add => self.absorb_addition(node),
            Op::Gate => {
                let input = self.written(node.inputs[0])?;
                let gate = self.written(node.inputs[1])?;
                let (name, shape) = (node.name.clone(), node.shape);
                Ok(Value::OpenGate { name, gate, residual: None, relu: false, input, shape })
            }
            Op::ChannelConv { kernel, weight } => {
                let op = FusedOp::ChannelConv { kernel: *kernel, weight: weight.clone() };
                self.plain(node, op)
            }
            Op::ZeroPad { stride, before } => {
                let source = self.written(node.inputs[0])?;
                Ok(Value::Shortcut { source, stride: *stride, before: *before })
            }
            Op::MaxPool(window) => self.plain(node, FusedOp::MaxPool(*window)),
            &Op::AveragePool { window, count_padding } => {
                self.plain(node, FusedOp::AveragePool { window, count_padding })
            }
            Op::GlobalAveragePool => self.plain(node, FusedOp::GlobalAveragePool),
            Op::Softmax => self.plain(node, FusedOp::Softmax),
        }
    }

    fn open(
        &mut self,
        node: &Node,
        window: Window,
        groups: usize,
        weight: &str,
        bias: Option<String>,
    ) -> Result<Value, FuseError> {
        let input = self.written(node.inputs[0])?;
        let weight = weight.to_owned();
        let conv = Conv { window, groups, weight, bias, norm: None, residual: None, relu: false };
        Ok(Value::Open { name: node.name.clone(), conv, input, shape: node.shape })
    }

    /// Lets the open convolution that `node` reads take it in; `take` says whether it can.
    fn absorb(
        &mut self,
        node: &Node,
        reason: &'static str,
        take: impl FnOnce(&mut Conv) -> Option<()>,
    ) -> Result<Value, FuseError> {
        let input = node.inputs[0];
        let refused = || FuseError { node: node.name.clone(), reason };
        if self.readers[input.index()] != 1 {
            return Err(refused());
        }
        match std::mem::replace(&mut self.values[input.index()], Value::Missing) {
            Value::Open { name, mut conv, input, shape } => {
                take(&mut conv).ok_or_else(refused)?;
                Ok(Value::Open { name, conv, input, shape })
            }
            _ => Err(refused()),
        }
    }

    /// Whether the value of `id` is an unfinished convolution that only a batch norm reads.
    fn can_take_norm(&self, id: NodeId) -> bool {
        let Value::Open { conv, .. } = &self.values[id.index()] else { return false };
        self.readers[id.index()] == 1
            && conv.norm.is_none()
            && conv.residual.is_none()
            && !conv.relu
    }

    fn absorb_relu(&mut self, node: &Node) -> Result<Value, FuseError> {
        let input = node.inputs[0].index();
        if let (1, Value::OpenNorm { .. }) = (self.readers[input], &self.values[input])
            && let Value::OpenNorm { name, norm, input, shape } =
                std::mem::replace(&mut self.values[input], Value::Missing)
        {
            let op = FusedOp::Affine { norm, relu: true };
            self.nodes.push(FusedNode { name, op, input: Some(input), shape });
            return Ok(Value::Written(FusedId(self.nodes.len() as u32 - 1)));
        }
        if let Some((_, relu)) = self.open_gate(node) {
            *relu = true;
            return Ok(self.take(node.inputs[0]));
        }
        self.absorb(node, "an activation needs a convolution or a batch norm", |conv| {
            (!conv.relu).then(|| conv.relu = true)
        })
    }

    /// The unfinished gate that only `node` reads: its residual and its ReLU.
    fn open_gate(&mut self, node: &Node) -> Option<(&mut Option<Residual>, &mut bool)> {
        let input = node.inputs[0].index();
        match &mut self.values[input] {
            Value::OpenGate { residual, relu, .. } if self.readers[input] == 1 => {
                Some((residual, relu))
            }
            _ => None,
        }
    }

    fn take(&mut self, id: NodeId) -> Value {
        std::mem::replace(&mut self.values[id.index()], Value::Missing)
    }

    fn absorb_addition(&mut self, node: &Node) -> Result<Value, FuseError> {
        let shortcut = node.inputs[1];
        let residual = match self.values[shortcut.index()] {
            Value::Shortcut { source, stride, before } => {
                Residual::ZeroPad { source, stride, before }
            }
            _ => Residual::Same(self.written(shortcut)?),
        };
        if let Some((slot, false)) = self.open_gate(node).map(|(slot, relu)| (slot, *relu)) {
            *slot = Some(residual);
            return Ok(self.take(node.inputs[0]));
        }
        self.absorb(node, "an addition needs a convolution on its main path", |conv| {
            (conv.residual.is_none() && !conv.relu).then(|| conv.residual = Some(residual))
        })
    }

    fn plain(&mut self, node: &Node, op: FusedOp) -> Result<Value, FuseError> {
        let input = self.written(node.inputs[0])?;
        Ok(Value::Written(self.push(node, op, Some(input))))
    }

    /// The fused node that writes the value of `id`; an open convolution is closed.
    fn written(&mut self, id: NodeId) -> Result<FusedId, FuseError> {
        let slot = &mut self.values[id.index()];
        let fused = match std::mem::replace(slot, Value::Missing) {
            Value::Written(fused) => fused,
            Value::Open { name, conv, input, shape } => {
                let node = FusedNode { name, op: FusedOp::Conv(conv), input: Some(input), shape };
                self.nodes.push(node);
                FusedId(self.nodes.len() as u32 - 1)
            }
            Value::OpenGate { name, gate, residual, relu, input, shape } => {
                let op = FusedOp::Gate { gate, residual, relu };
                self.nodes.push(FusedNode { name, op, input: Some(input), shape });
                FusedId(self.nodes.len() as u32 - 1)
            }
            Value::OpenNorm { name, norm, input, shape } => {
                let op = FusedOp::Affine { norm, relu: false };
                self.nodes.push(FusedNode { name, op, input: Some(input), shape });
                FusedId(self.nodes.len() as u32 - 1)
            }
            Value::Missing | Value::Shortcut { .. } => {
                let node = self.graph.node(id).name.clone();
                return Err(FuseError { node, reason: "its value is read in more than one way" });
            }
        };
        self.values[id.index()] = Value::Written(fused);
        Ok(fused)
    }

    fn push(&mut self, node: &Node, op: FusedOp, input: Option<FusedId>) -> FusedId {
        self.nodes.push(FusedNode { name: node.name.clone(), op, input, shape: node.shape });
        FusedId(self.nodes.len() as u32 - 1)
    }
}
