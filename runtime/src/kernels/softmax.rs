//! Softmax: small and called once a picture, so plain `f32` arithmetic on every instruction set.

use super::SoftmaxParams;
use super::simd::Simd;

/// [`Call::Softmax`](super::Call::Softmax). The largest value is subtracted first, so that no
/// exponential overflows; NaN anywhere makes every result NaN, as in PyTorch.
///
/// # Safety
///
/// `x` is readable and `y` writable for `channels` elements; they may be the same.
#[inline(always)]
pub(super) unsafe fn softmax<S: Simd>(_simd: S, params: &SoftmaxParams, x: *mut f32, y: *mut f32) {
    // SAFETY: every index is below `channels`.
    unsafe {
        let mut largest = f32::NEG_INFINITY;
        for channel in 0..params.channels {
            largest = largest.max(*x.add(channel));
        }
        let mut sum = 0.0;
        for channel in 0..params.channels {
            let value = (*x.add(channel) - largest).exp();
            *y.add(channel) = value;
            sum += value;
        }
        for channel in 0..params.channels {
            *y.add(channel) /= sum;
        }
    }
}
