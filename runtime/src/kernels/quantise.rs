//! From `f32` to bytes and back. The formulas are those of the residual and the end of a convolution of
//! bytes, rounded after each operation.

use super::simd::Simd;
use super::{BLOCK, CopyParams, TensorLine};

/// [`Call::Quantise`](super::Call::Quantise).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as the declaration says, `t` readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn quantise<S: Simd>(
    simd: S,
    params: &CopyParams,
    x: *mut f32,
    t: *mut f32,
    y: *mut u8,
) {
    // SAFETY: the line has 16 elements.
    let line = unsafe { TensorLine::read(t) };
    for row in 0..params.rows {
        for column in 0..params.columns {
            let x = x.wrapping_add(row * params.x_row + column * BLOCK);
            let y = y.wrapping_add(row * params.y_row + column * BLOCK);
            // SAFETY: the row and column are the call's.
            unsafe { simd.store_u8(y, scaled(simd, line, simd.load(x)), simd.splat(line.zero)) }
        }
    }
}

/// [`Call::QuantiseInterleaved`](super::Call::QuantiseInterleaved).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as the declaration says, `t` readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn quantise_interleaved<S: Simd>(
    simd: S,
    params: &CopyParams,
    x: *mut f32,
    t: *mut f32,
    y: *mut u8,
) {
    // SAFETY: the same is asked for.
    unsafe {
        match params.channels {
            1 => interleaved::<S, 1>(simd, params, x, t, y),
            2 => interleaved::<S, 2>(simd, params, x, t, y),
            3 => interleaved::<S, 3>(simd, params, x, t, y),
            _ => interleaved::<S, 4>(simd, params, x, t, y),
        }
    }
}

/// # Safety
///
/// That of [`quantise_interleaved`], of `C` channels.
#[inline(always)]
unsafe fn interleaved<S: Simd, const C: usize>(
    simd: S,
    params: &CopyParams,
    x: *mut f32,
    t: *mut f32,
    y: *mut u8,
) {
    // SAFETY: the line has 16 elements.
    let line = unsafe { TensorLine::read(t) };
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        let y = y.wrapping_add(row * params.y_row);
        for first in (0..params.columns).step_by(BLOCK) {
            let count = BLOCK.min(params.columns - first);
            // Runs of pixels of one channel each.
            let mut planes = [[0; BLOCK]; C];
            for (channel, bytes) in planes.iter_mut().enumerate() {
                let x = x.wrapping_add(channel * params.plane + first);
                let mut values = [0.0; BLOCK];
                // A whole block is read at once.
                let from = if count == BLOCK { x } else { values.as_mut_ptr() };
                if count < BLOCK {
                    for (pixel, value) in values.iter_mut().enumerate().take(count) {
                        // SAFETY: the channel, row and column are the call's.
                        *value = unsafe { *x.add(pixel) };
                    }
                }
                // SAFETY: `from` is an array of 16 or has 16 more pixels of the row, `bytes` is an array of 16.
                unsafe {
                    let values = scaled(simd, line, simd.load(from));
                    simd.store_u8(bytes.as_mut_ptr(), values, simd.splat(line.zero));
                }
            }
            let mut pixels = [[0; C]; BLOCK];
            for (pixel, bytes) in pixels.iter_mut().enumerate() {
                for (byte, plane) in bytes.iter_mut().zip(&planes) {
                    *byte = plane[pixel];
                }
            }
            let y = y.wrapping_add(first * C);
            if count == BLOCK {
                // SAFETY: 16 more pixels of the row, whose bytes have no alignment.
                unsafe { y.cast::<[[u8; C]; BLOCK]>().write(pixels) };
                continue;
            }
            for (pixel, bytes) in pixels.into_iter().enumerate().take(count) {
                // SAFETY: the row and column are the call's.
                unsafe { y.add(pixel * C).cast::<[u8; C]>().write(bytes) };
            }
        }
    }
}

/// [`Call::Dequantise`](super::Call::Dequantise).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as the declaration says, `t` readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn dequantise<S: Simd>(
    simd: S,
    params: &CopyParams,
    x: *mut u8,
    t: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the line has 16 elements.
    let line = unsafe { TensorLine::read(t) };
    let (scale, zero) = (simd.splat(line.factor), simd.splat(line.offset));
    for row in 0..params.rows {
        for column in 0..params.columns {
            let x = x.wrapping_add(row * params.x_row + column * BLOCK);
            let y = y.wrapping_add(row * params.y_row + column * BLOCK);
            // SAFETY: the row and column are the call's.
            unsafe { simd.store(y, simd.mul(simd.sub(simd.load_u8(x), zero), scale)) }
        }
    }
}

/// What becomes a byte, before it is rounded.
#[inline(always)]
fn scaled<S: Simd>(simd: S, line: TensorLine, x: S::F32x16) -> S::F32x16 {
    line.clamp(simd, simd.mul(x, simd.splat(line.factor)))
}
