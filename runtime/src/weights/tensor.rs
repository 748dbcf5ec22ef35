//! What a network asks of weights: tensors, by their names in the state dict.

use std::borrow::Cow;

use serde::Serialize;

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
    /// The distribution of random weights.
    pub init: Init,
}

/// How random weights are drawn, so that activations keep a healthy size through any depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between two bounds.
    Uniform(f32, f32),
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
