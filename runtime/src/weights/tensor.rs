//! What a network asks of weights: tensors, by their names in the state dict.

use std::borrow::Cow;

use safetensors::tensor::Dtype;
use serde::Serialize;

use super::dtype::is_float;

/// A tensor's name in the state dict, such as `layer1.0.conv1.weight`. Code that `resnet!` writes
/// holds names as constants.
pub type Name = Cow<'static, str>;

/// A tensor that a network needs: its name, its shape, and what random weights should look like
/// there.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// The name.
    pub name: Name,
    /// The shape, as PyTorch has it (`[out, in / groups, rows, columns]` for a convolution).
    pub shape: Cow<'static, [usize]>,
    /// What its elements are in a file.
    pub stored: Stored,
    /// The distribution of random weights.
    pub init: Init,
}

/// What the elements of a tensor are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Floating-point numbers of 16 to 64 bits, read as `f32`.
    Float,
    /// Quantised weights: bytes from -127 to 127.
    I8,
    /// Zero points: bytes from 0 to 255.
    U8,
}

impl Stored {
    /// Whether a file's elements are of this kind.
    pub(super) fn takes(self, dtype: Dtype) -> bool {
        match self {
            Self::Float => is_float(dtype),
            Self::I8 => dtype == Dtype::I8,
            Self::U8 => dtype == Dtype::U8,
        }
    }

    /// The element types that are read, as safetensors calls them.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Float => "F32, F16, BF16 and F64",
            Self::I8 => "I8",
            Self::U8 => "U8",
        }
    }
}

/// How random weights are drawn, so that activations keep a healthy size through any depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between two bounds.
    Uniform(f32, f32),
}

impl NormTensors {
    /// The four names.
    pub fn names(&self) -> [&str; 4] {
        [&self.weight, &self.bias, &self.mean, &self.variance]
    }
}

/// Names of the four tensors of a batch norm, and its epsilon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NormTensors {
    /// Scale, `[channels]`.
    pub weight: Name,
    /// Shift, `[channels]`.
    pub bias: Name,
    /// Running mean, `[channels]`.
    pub mean: Name,
    /// Running variance, `[channels]`.
    pub variance: Name,
    /// Added to the variance before the root.
    pub epsilon: f64,
}
