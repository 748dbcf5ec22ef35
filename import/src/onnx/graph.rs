//! The network of an ONNX file as operators that a table knows, with the shape of every activation.

use std::ops::Range;

use resnet_compiler::graph::{Padding, Pooling, Shape, Window};
pub(crate) use resnet_runtime::kernels::Activation as Function;

use crate::checkpoint::Stored;
use crate::error::{Fault, unknown};

/// An operator on activations.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Conv(Box<Conv>),
    /// Along the channels of a 1x1 activation: the weights.
    ChannelConv(Stored),
    Norm(Box<Norm>),
    Affine(Box<Affine>),
    /// Of every element.
    Apply(Function),
    Sigmoid,
    /// `min(max(0, x + 3), 6) / 6`.
    HardSigmoid,
    Erf,
    Add,
    Mul,
    /// `said` is the padding without what rounding up adds.
    Pool {
        pool: Pooling,
        said: Padding,
    },
    /// A binomial filter on every channel; the padding mirrors.
    Blur(Window),
    /// Over all pixels.
    Mean,
    /// Every so many rows and columns, from the first on.
    Subsample([usize; 2]),
    /// Channels of zeros before the first and after the last.
    PadChannels([usize; 2]),
    /// These channels alone.
    Slice(Range<usize>),
    /// Channels beside channels.
    Concat,
    /// The middle of a Res2Net's block.
    Chunks(Box<Chunks>),
    /// Zeros: rows above, columns left, rows below, columns right.
    PadPixels([usize; 4]),
    Linear(Box<Linear>),
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

/// A convolution of each chunk of channels but the last, and all of them put together.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    /// At least one; all alike.
    pub(crate) chunks: Vec<Chunk>,
    /// What follows each.
    pub(crate) function: Option<Function>,
    /// Whether each reads its chunk alone, and the last chunk is pooled; else what the convolution before makes is
    /// added, and the last chunk is as it was.
    pub(crate) alone: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) conv: Conv,
    pub(crate) norm: Option<Norm>,
}

#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`.
    pub(crate) weight: Stored,
    pub(crate) bias: Option<Stored>,
}

/// Each channel multiplied by a number, if there are any, and then another one added.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    pub(crate) scale: Option<Stored>,
    pub(crate) shift: Option<Stored>,
}

#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Stored,
    pub(crate) bias: Stored,
    pub(crate) statistics: Statistics,
}

/// What a norm subtracts and divides by, before it scales and shifts.
#[derive(Clone, Debug)]
pub(crate) enum Statistics {
    Running {
        mean: Stored,
        variance: Stored,
        epsilon: f64,
    },
    /// The picture's own, of so many groups of channels.
    Groups {
        groups: usize,
        epsilon: f64,
    },
    /// Nothing: a batch norm that was folded into its scales and shifts.
    Folded,
}

#[derive(Clone, Debug)]
pub(crate) enum Attention {
    /// Two 1x1 convolutions or linear layers, with a function between them: weights, and biases where there are
    /// any.
    SqueezeExcitation(Box<[(Stored, Option<Stored>); 2]>, Function),
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
    /// Whether no element is negative.
    pub(crate) positive: bool,
}

/// The operators, each after those that make what it reads.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) steps: Vec<Step>,
    pub(crate) values: Vec<Activation>,
    pub(crate) input: ValueId,
    /// Whether the picture's elements are bytes, from 0 to 255.
    pub(crate) bytes: bool,
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

    /// All norms, with their steps.
    pub(crate) fn norms(&self) -> impl Iterator<Item = (&Step, &Norm)> {
        self.steps.iter().flat_map(|step| {
            let norms: Vec<&Norm> = match &step.op {
                Op::Norm(norm) => vec![&**norm],
                Op::Chunks(chunks) => {
                    chunks.chunks.iter().filter_map(|chunk| chunk.norm.as_ref()).collect()
                }
                _ => Vec::new(),
            };
            norms.into_iter().map(move |norm| (step, norm))
        })
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
