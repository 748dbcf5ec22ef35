//! Kernels with a few numbers for each channel, one channel block's plane at a time.

use super::simd::Simd;
use super::{AffineParams, BLOCK};

/// [`Call::Affine`](super::Call::Affine).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`AffineParams`] says, `w` and `b` readable for 16
/// elements.
#[inline(always)]
pub(super) unsafe fn affine<S: Simd>(
    simd: S,
    params: &AffineParams,
    x: *mut f32,
    w: *mut f32,
    b: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the caller's promise.
    let (scale, shift) = unsafe { (simd.load(w), simd.load(b)) };
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        let y = y.wrapping_add(row * params.y_row);
        for column in 0..params.columns {
            // SAFETY: the row and column are the call's.
            unsafe {
                let mut value = simd.mul_add(simd.load(x.add(column * BLOCK)), scale, shift);
                if params.relu == 1 {
                    // With the value as second operand, NaN stays NaN.
                    value = simd.max(simd.splat(0.0), value);
                }
                simd.store(y.add(column * BLOCK), value);
            }
        }
    }
}
