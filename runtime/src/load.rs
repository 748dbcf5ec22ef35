//! From a weights file to the packed weights of a network.

use crate::kernels::{Isa, UnavailableIsa};
use crate::memory::Buffer;
use crate::pack::{Norm, PackError, pack_conv};
use crate::tensors::{ConvRecipe, TensorSpec};
use crate::weights::{Weights, WeightsError};

/// How to load a network that `resnet!` compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The instruction set whose kernels are called; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
}

/// Why weights could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The weights do not fit the network, or cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer's weights cannot be folded and packed.
    #[error("{origin}: `{tensor}` and its batch norm cannot be folded: {reason}")]
    Pack {
        /// The weights file.
        origin: String,
        /// The layer's weight tensor.
        tensor: String,
        /// What is wrong.
        reason: PackError,
    },
    /// The CPU lacks the instruction set that was asked for.
    #[error(transparent)]
    Isa(#[from] UnavailableIsa),
    /// No memory for the packed weights.
    #[error("no memory for {bytes} bytes of packed weights: {reason}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// What the operating system said.
        reason: std::io::Error,
    },
}

/// Checks that `weights` holds exactly `tensors`, folds batch norms, and packs each recipe at its
/// offset in a buffer of `len` elements.
///
/// # Errors
///
/// Tensors that are missing, left over or misshapen (all in one message), values that cannot be
/// folded, or no memory.
///
/// # Panics
///
/// If a recipe reaches over `len`.
pub fn load(
    tensors: &[TensorSpec],
    recipes: &[ConvRecipe],
    len: usize,
    weights: &Weights,
) -> Result<Buffer, LoadError> {
    weights.check(tensors)?;
    let mut packed = Buffer::zeroed(len)
        .map_err(|reason| LoadError::Memory { bytes: len.saturating_mul(4), reason })?;
    for recipe in recipes {
        let out = &mut packed.as_mut_slice()[recipe.offset..][..recipe.len()];
        load_conv(recipe, weights, out)?;
    }
    Ok(packed)
}

fn load_conv(recipe: &ConvRecipe, weights: &Weights, out: &mut [f32]) -> Result<(), LoadError> {
    let weight = weights.tensor(&recipe.weight)?;
    let bias = recipe.bias.as_ref().map(|name| weights.tensor(name)).transpose()?;
    let bias = bias.as_ref().map(|bias| &bias.values[..]);
    let pack = |norm, out| {
        pack_conv(recipe, &weight.values, bias, norm, out).map_err(|reason| LoadError::Pack {
            origin: weights.origin().to_owned(),
            tensor: recipe.weight.clone(),
            reason,
        })
    };
    let Some(norm) = &recipe.norm else { return pack(None, out) };
    let scale = weights.tensor(&norm.weight)?;
    let shift = weights.tensor(&norm.bias)?;
    let mean = weights.tensor(&norm.mean)?;
    let variance = weights.tensor(&norm.variance)?;
    let norm = Norm {
        weight: &scale.values,
        bias: &shift.values,
        mean: &mean.values,
        variance: &variance.values,
        epsilon: norm.epsilon,
    };
    pack(Some(norm), out)
}
