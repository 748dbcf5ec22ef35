//! From weights in f32 and some pictures to weights in 8-bit integers.

use resnet_compiler::quantize::{self, Options, QuantizeError, Quantized, Seen};

use crate::{Source, Spec, Weights};

/// Quantises a network over the inputs of `source`, a few hundred pictures like those that it will see. `each` is
/// told what became of each of them, in order, [`PASSES`](quantize::PASSES) times.
///
/// # Errors
///
/// Whatever compiling and loading the f32 network can say; weights that are quantised already, or packed; a
/// layer to keep that there is not; nothing to quantise; no picture; an activation that is not finite.
pub fn quantize<S: Source + ?Sized>(
    spec: &Spec,
    weights: &Weights,
    source: &S,
    options: &Options,
    each: impl FnMut(usize, Seen<S::Error>),
) -> Result<Quantized, QuantizeError> {
    let load = |index: usize, input: &mut [f32]| source.load(index, input);
    quantize::quantize(spec, weights, source.len(), &load, options, each)
}
