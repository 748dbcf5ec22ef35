//! What quantised layers are made of: their tensors in a file, and the numbers that kernels take beside
//! the weights.
//!
//! Of a layer `X`, `X.weight` has elements of one byte, from -127 to 127, `X.weight_scale` has a number
//! for each output channel, and `X.input_scale` and `X.input_zero_point` say what the bytes of its input
//! stand for: `(byte - zero point) * scale`. `X.bias` is a real number, with the batch norm folded in.

use super::error::WeightsError;
use super::source::Weights;
use crate::kernels::{BLOCK, TENSOR_NUMBERS, TensorNumber};

/// The layer of a weight tensor: `X` of `X.weight`.
pub fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// Names of the tensors of a quantised layer, beside its weight.
pub struct Names {
    /// A number for each output channel.
    pub weight_scale: String,
    /// A number for each output channel.
    pub bias: String,
    /// A number.
    pub input_scale: String,
    /// A byte.
    pub input_zero_point: String,
}

impl Names {
    /// Those of a layer.
    pub fn of(module: &str) -> Self {
        let name = |part: &str| format!("{module}.{part}");
        Self {
            weight_scale: name("weight_scale"),
            bias: name("bias"),
            input_scale: name("input_scale"),
            input_zero_point: name("input_zero_point"),
        }
    }
}
