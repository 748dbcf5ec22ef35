//! The network of an ONNX file as operators that a table knows, with the shape of every activation.

use std::collections::HashMap;

use resnet_compiler::graph::{Padding, Shape, Window};
use resnet_compiler::onnx::proto::{GraphProto, Size, TypeProto, ValueInfoProto};

use super::file::{Constant, Files};
use super::node::Node;
use super::numbers::Numbers;
use crate::checkpoint::Stored;
use crate::error::{Fault, unknown};

/// Most elements of an activation, as in a table.
const MOST_ELEMENTS: u128 = 1 << 31;

/// No picture has a longer side.
const LONGEST_SIDE: usize = 1 << 20;

/// More answers than any network has stages.
const MOST_OUTPUTS: usize = 1000;

/// An operator on activations.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Conv(Box<Conv>),
    /// Along the channels of a 1x1 activation: the weights.
    ChannelConv(Stored),
    Norm(Box<Norm>),
    Relu,
    Sigmoid,
    Add,
    Mul,
    MaxPool(Window),
    AveragePool {
        window: Window,
        count_padding: bool,
    },
    /// A binomial filter on every channel; the padding mirrors.
    Blur(Window),
    /// Over all pixels.
    Mean,
    /// Every so many rows and columns, from the first on.
    Subsample([usize; 2]),
    /// Channels of zeros before the first and after the last.
    PadChannels([usize; 2]),
    /// Zeros: rows above, columns left, rows below, columns right.
    PadPixels([usize; 4]),
    /// The same elements in the same order in another shape.
    Reshape,
    Linear(Box<Linear>),
    /// Adds a number to each channel.
    Bias(Stored),
    Softmax,
    /// Channels weighed by their means.
    Gate(Attention),
}

#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    pub(crate) weight: Stored,
    pub(crate) bias: Option<Stored>,
}

#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`.
    pub(crate) weight: Stored,
    pub(crate) bias: Option<Stored>,
}

#[derive(Clone, Debug)]
pub(crate) struct Norm {
    /// Scale, shift, mean, variance.
    pub(crate) tensors: [Stored; 4],
    pub(crate) epsilon: f64,
}

#[derive(Clone, Debug)]
pub(crate) enum Attention {
    /// Two 1x1 convolutions or linear layers: weights, and biases where there are any.
    SqueezeExcitation(Box<[(Stored, Option<Stored>); 2]>),
    Efficient(Stored),
}

/// An activation, by its number.
pub(crate) type ValueId = usize;

/// One operator of the network.
#[derive(Debug)]
pub(crate) struct Step {
    /// What messages call the node.
    pub(crate) label: String,
    pub(crate) op: Op,
    /// One, or two of an addition or multiplication.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

impl Step {
    pub(crate) fn refuse<T>(&self, reason: impl std::fmt::Display) -> Result<T, Fault> {
        unknown(format!("{}: {reason}", self.label))
    }
}

/// An activation of one picture.
#[derive(Clone, Debug)]
pub(crate) struct Activation {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// Without height and width, as linear layers read and make it.
    pub(crate) flat: bool,
    /// Whether no element is negative.
    pub(crate) positive: bool,
}

/// The operators, each after those that make what it reads.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) steps: Vec<Step>,
    pub(crate) values: Vec<Activation>,
    pub(crate) input: ValueId,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) notes: Vec<String>,
}

impl Network {
    /// The steps that read each activation.
    pub(crate) fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.values.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for &input in &step.inputs {
                readers[input].push(index);
            }
        }
        readers
    }
}

/// What a name of the graph stands for.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Activation(ValueId),
    /// An activation with mirrored pixels past its edges, which a blur alone reads.
    Mirrored(ValueId, Padding),
    Floats(Stored),
    /// Whole numbers; `None` where they depend on an activation's shape.
    Numbers(Option<Numbers>),
    /// A constant of another type, which no operator that is known reads.
    Other(i32),
}

/// Reads nodes one after the other.
pub(super) struct Reader<'a> {
    pub(super) files: &'a mut Files,
    pub(super) names: HashMap<String, Known>,
    pub(super) network: Network,
}

impl Network {
    /// Understands the nodes of a graph. `size` is that of the pictures if the graph leaves it open, or
    /// if the caller wants another one.
    pub(crate) fn read(
        graph: &GraphProto,
        files: &mut Files,
        size: Option<(usize, usize)>,
    ) -> Result<Self, Fault> {
        let mut names = HashMap::new();
        for tensor in &graph.initializer {
            let known = files.constant(tensor)?.into();
            names.insert(tensor.name.clone(), known);
        }
        let network =
            Self { steps: vec![], values: vec![], input: 0, outputs: vec![], notes: vec![] };
        let mut reader = Reader { files, names, network };
        reader.picture(graph, size)?;
        for node in &graph.node {
            reader.node(&Node(node))?;
        }
        for output in &graph.output {
            match reader.names.get(&output.name) {
                Some(&Known::Activation(value)) => reader.network.outputs.push(value),
                _ => return unknown(format!("the graph's output `{}` is not made", output.name)),
            }
        }
        match reader.network.outputs.len() {
            0 => unknown("the graph has no output"),
            1..=MOST_OUTPUTS => Ok(reader.network),
            count => {
                unknown(format!("the graph has {count} outputs, more than a network has rows"))
            }
        }
    }
}

impl From<Constant> for Known {
    fn from(constant: Constant) -> Self {
        match constant {
            Constant::Floats(stored) => Self::Floats(stored),
            Constant::Numbers(numbers) => Self::Numbers(Some(numbers)),
            Constant::Other(kind) => Self::Other(kind),
        }
    }
}

impl Reader<'_> {
    /// The one input that is no constant; old files list those as inputs too.
    fn picture(&mut self, graph: &GraphProto, size: Option<(usize, usize)>) -> Result<(), Fault> {
        let mut inputs = graph.input.iter().filter(|input| !self.names.contains_key(&input.name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            let inputs = graph.input.iter().filter(|input| !self.names.contains_key(&input.name));
            let names: Vec<String> = inputs.map(|input| format!("`{}`", input.name)).collect();
            return unknown(format!(
                "the graph has the inputs {}; a table has one, the picture",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ));
        };
        let name = &input.name;
        let sizes = dimensions(input).unwrap_or_default();
        let &[_, a, b, c] = &*sizes else {
            return unknown(format!(
                "the graph's input `{name}` has {} dimensions; a picture has four, N x C x H x W",
                sizes.len()
            ));
        };
        // A graph for pictures with interleaved channels begins by taking them apart.
        let mut readers = graph.node.iter().filter(|node| node.input.contains(name));
        let takes_apart = match (readers.next().map(Node), readers.next()) {
            (Some(node), None) if node.op() == "Transpose" => {
                (node.ints("perm") == Some(&[0, 3, 1, 2])).then(|| node.0.output.first()).flatten()
            }
            _ => None,
        };
        let (channels, height, width) = match takes_apart {
            Some(_) => (c, a, b),
            None => (a, b, c),
        };
        let Some(channels) = channels else {
            return unknown(format!(
                "the graph's input `{name}` does not say how many channels it has"
            ));
        };
        let (height, width) = match (size, height, width) {
            (Some(size), ..) => size,
            (None, Some(height), Some(width)) => (height, width),
            _ => {
                self.network
                    .notes
                    .push("assumed: pictures of 224x224 (else `--input HxW`)".to_owned());
                (224, 224)
            }
        };
        let (name, other) = (name.clone(), takes_apart.cloned());
        let shape = Shape::new(channels, height, width);
        self.network.values.push(Activation {
            name: name.clone(),
            shape,
            flat: false,
            positive: false,
        });
        if let Some(other) = other {
            self.network.notes.push(
                "the graph's pictures have interleaved channels; the table's are planar".to_owned(),
            );
            // The transposition has no node here.
            self.names.insert(other, Known::Activation(0));
        }
        self.names.insert(name, Known::Activation(0));
        Ok(())
    }

    /// An activation that a node makes, which all later nodes find under its name.
    pub(super) fn push(
        &mut self,
        node: &Node<'_>,
        op: Op,
        inputs: &[ValueId],
        shape: Shape,
        flat: bool,
    ) -> Result<(), Fault> {
        let Shape { channels, height, width } = shape;
        if channels as u128 * height as u128 * width as u128 > MOST_ELEMENTS {
            return node.refuse(format!("it makes {shape}, more than 2^31 elements"));
        }
        let first = |value: &ValueId| self.network.values[*value].positive;
        let positive = match op {
            Op::Relu | Op::Sigmoid | Op::Softmax => true,
            Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::Blur(_)
            | Op::Mean
            | Op::Subsample(_)
            | Op::PadChannels(_)
            | Op::PadPixels(_)
            | Op::Reshape
            | Op::Add
            | Op::Mul => inputs.iter().all(first),
            _ => false,
        };
        let output = self.network.values.len();
        let name = node.0.output.first().cloned().unwrap_or_default();
        self.network.values.push(Activation { name: name.clone(), shape, flat, positive });
        let label = node.to_string();
        self.network.steps.push(Step { label, op, inputs: inputs.to_vec(), output });
        self.names.insert(name, Known::Activation(output));
        Ok(())
    }

    /// Another name for what an input is.
    pub(super) fn alias(&mut self, node: &Node<'_>, known: Known) {
        if let Some(name) = node.0.output.first() {
            self.names.insert(name.clone(), known);
        }
    }
}

/// The sizes of an input; `None` for one that is open.
fn dimensions(input: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let Some(TypeProto { tensor_type: Some(tensor) }) = &input.r#type else { return None };
    let size = |size: &Option<Size>| match size {
        Some(Size::DimValue(size)) => {
            usize::try_from(*size).ok().filter(|size| (1..LONGEST_SIDE).contains(size))
        }
        _ => None,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(|dimension| size(&dimension.value)).collect())
}
