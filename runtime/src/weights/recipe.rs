//! How the packed weights of a network are made: of which tensors, in which format, at which offset.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;

use super::tensor::{Name, NormTensors, Stored, TensorSpec};
use crate::kernels::{Activation, BLOCK, Element, Panels, TENSOR_NUMBERS, Transform};

/// All that a compiled network asks of weights, whatever runs it and for any number of pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsPlan {
    /// The network's name.
    pub network: Name,
    /// A fingerprint of its table: of operators and shapes, whatever their names.
    pub table: u64,
    /// The tensors that a weights file has to hold.
    pub tensors: Cow<'static, [TensorSpec]>,
    /// What the packed weights consist of, by rising offsets.
    pub recipes: Cow<'static, [Recipe]>,
    /// Bytes of the packed weights.
    pub bytes: usize,
}

impl WeightsPlan {
    /// The names of the weights that are quantised, those of layers that are not computed too.
    pub fn quantised(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|tensor| tensor.stored == Stored::I8).map(|tensor| &*tensor.name)
    }

    /// What becomes of the weights of a quantised layer.
    pub fn transform(&self, quantised: &str) -> Option<Transform> {
        self.recipes.iter().find_map(|recipe| match &recipe.content {
            Content::Quantised { source, panels } if source.weight == quantised => {
                Some(panels.format.transform)
            }
            _ => None,
        })
    }
}

/// A part of the packed weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// What it is.
    #[serde(flatten)]
    pub content: Content,
    /// The first of its bytes; a multiple of [`LINE_BYTES`](crate::kernels::LINE_BYTES).
    pub offset: usize,
}

/// What a part of the packed weights is made of, and how it lies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// A convolution's weights and bias, with a batch norm folded in.
    Conv {
        /// Of which tensors.
        #[serde(flatten)]
        source: ConvSource,
        /// As the kernels read them.
        #[serde(flatten)]
        panels: Panels,
    },
    /// A quantised convolution's weights, and behind them the numbers with which its sums become the
    /// output, see [`quantised`](super::quantised).
    Quantised {
        /// Of which tensors.
        #[serde(flatten)]
        source: QuantisedSource,
        /// As the kernels read them.
        #[serde(flatten)]
        panels: Panels,
    },
    /// What the bytes of an activation stand for: a line of numbers for the kernel that makes them of `f32`, and one
    /// for the kernel that makes `f32` of them.
    Scale {
        /// The layer that reads it.
        weight: Name,
    },
    /// A batch norm without a convolution: scales `weight / sqrt(variance + epsilon)`, then shifts
    /// `bias - mean * scale`; both padded with zeros to a multiple of 16.
    Norm {
        /// Of which tensors.
        #[serde(flatten)]
        norm: NormTensors,
        /// Scales, and shifts.
        channels: usize,
    },
    /// A tensor of numbers as it is, padded with zeros to a multiple of 16.
    Vector {
        /// Which one.
        weight: Name,
        /// Its elements.
        channels: usize,
    },
}

/// The tensors that a convolution's packed weights are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConvSource {
    /// The weight.
    pub weight: Name,
    /// The bias, if the convolution has one.
    pub bias: Option<Name>,
    /// The batch norm to fold in.
    pub norm: Option<NormTensors>,
    /// The epsilon of [`Standard`](super::pack::Standard), if the weight is standardised before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standardise: Option<f64>,
    /// The part of the weight, if it is not the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

/// Some output and input channels of a weight; how many, the packed form's shape says.
///
/// A convolution's output can be made in slices of output channels, and be the sum of what is made of slices of
/// input channels. Bias and norm have an element for each of the weight's output channels. What they add is
/// a part of the slice that begins with the first input channel, so that the sum has it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Slice {
    /// Output and input channels of the whole weight.
    pub of: [usize; 2],
    /// The first output and the first input channel of the slice.
    pub at: [usize; 2],
}

impl Slice {
    /// The elements of the whole weight, in whole output channels, that hold those of `outputs`, which
    /// count from the slice's first; `kernel` is the kernel's length.
    pub(super) fn rows(&self, outputs: &Range<usize>, kernel: usize) -> Range<usize> {
        let row = self.of[1] * kernel;
        (self.at[0] + outputs.start) * row..(self.at[0] + outputs.end) * row
    }

    /// Leaves of whole output channels the slice's `inputs` input channels.
    pub(super) fn cut(&self, rows: &mut Vec<f32>, inputs: usize, kernel: usize) {
        let (from, to) = (self.of[1] * kernel, inputs * kernel);
        let count = rows.len() / from;
        for row in 0..count {
            let start = row * from + self.at[1] * kernel;
            rows.copy_within(start..start + to, row * to);
        }
        rows.truncate(count * to);
    }
}

/// The tensors that a quantised convolution's packed weights are made of: those of the layer, see
/// [`quantised::Names`](super::quantised::Names), and the scales of what it reads and writes. An activation's scale is named by the
/// weight of a layer that reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantisedSource {
    /// The layer's weight.
    pub weight: Name,
    /// The scale of the input.
    pub input: Name,
    /// The scale of the residual, if it consists of bytes.
    pub residual: Option<Name>,
    /// The scale of the output, if it is to consist of bytes.
    pub output: Option<Name>,
    /// What is done with the sums: nothing, ReLU or ReLU6.
    pub activation: Activation,
}

impl Content {
    /// What the packed form consists of, one after the other: so many of each element.
    pub fn runs(&self) -> [(Element, usize); 2] {
        let numbers = |len| [(Element::F32, len), (Element::F32, 0)];
        match self {
            Self::Conv { panels, .. } | Self::Quantised { panels, .. } => [
                (panels.format.element, panels.weights_len()),
                (Element::F32, panels.numbers_len()),
            ],
            Self::Scale { .. } => numbers(2 * TENSOR_NUMBERS),
            Self::Norm { channels, .. } => numbers(2 * channels.next_multiple_of(BLOCK)),
            Self::Vector { channels, .. } => numbers(channels.next_multiple_of(BLOCK)),
        }
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.runs().map(|(element, len)| len * element.bytes()).iter().sum()
    }

    /// The tensor that it is called by.
    pub fn weight(&self) -> &str {
        match self {
            Self::Conv { source: ConvSource { weight, .. }, .. }
            | Self::Norm { norm: NormTensors { weight, .. }, .. }
            | Self::Quantised { source: QuantisedSource { weight, .. }, .. }
            | Self::Scale { weight }
            | Self::Vector { weight, .. } => weight,
        }
    }
}

impl Recipe {
    /// The bytes of the packed weights that it is for.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.content.bytes()
    }
}
