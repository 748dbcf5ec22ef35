//! How large gradients are: a few passes of a step that is looked at, so plain arithmetic, in `f64`, where no square of an
//! `f32` overflows or is flushed to zero.

use super::super::simd::Simd;
use super::super::{BLOCK, MeanParams};

/// [`Call::Magnitude`](super::super::Call::Magnitude).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `y` writable for 16 elements.
#[inline(always)]
pub(in super::super) unsafe fn magnitude<S: Simd>(
    _simd: S,
    params: &MeanParams,
    x: *mut f32,
    y: *mut f32,
) {
    let mut sums = [0.0; BLOCK];
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        for column in 0..params.columns {
            for (lane, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the row and column are the plane's.
                let value = f64::from(unsafe { *x.add(column * BLOCK + lane) });
                *sum += value * value;
            }
        }
    }
    let pixels = (params.rows * params.columns) as f64;
    for (lane, sum) in sums.iter().enumerate() {
        // SAFETY: there is room for 16.
        unsafe { *y.add(lane) = (sum / pixels).sqrt() as f32 };
    }
}
