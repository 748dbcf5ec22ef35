//! Kernels with a few numbers for each channel, one channel block's plane at a time.

use std::ffi::c_void;

use super::epilogue::{Pixels, finish};
use super::simd::{Simd, Stored};
use super::{BLOCK, Bf16, ChannelConvParams, PlaneParams, Precision};

/// [`Call::Affine`](super::Call::Affine).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PlaneParams`] says, without a residual; `w` and `b` are
/// readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn affine<S: Simd>(
    simd: S,
    params: &PlaneParams,
    x: *mut c_void,
    w: *mut f32,
    b: *mut f32,
    y: *mut c_void,
) {
    // SAFETY: `w` and `b` have 16 elements, and `x` and `y` reach as far as `PlaneParams` says; without a
    // residual, that operand is not read.
    unsafe { plane(simd, params, [simd.splat(0.0), simd.load(w), simd.load(b)], [x, y, y]) }
}

/// [`Call::Gate`](super::Call::Gate).
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`PlaneParams`] says, `g`
/// readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn gate<S: Simd>(
    simd: S,
    params: &PlaneParams,
    x: *mut c_void,
    g: *mut f32,
    r: *mut c_void,
    y: *mut c_void,
) {
    let mut weights = [0.0; BLOCK];
    for (lane, weight) in weights.iter_mut().enumerate() {
        // SAFETY: there is a gate for each lane.
        *weight = 1.0 / (1.0 + (-unsafe { *g.add(lane) }).exp());
    }
    let zero = simd.splat(0.0);
    // SAFETY: an array of 16; `x`, `r` and `y` reach as far as `PlaneParams` says.
    unsafe { plane(simd, params, [zero, simd.load(weights.as_ptr()), zero], [x, r, y]) }
}

/// [`Call::Add`](super::Call::Add).
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`PlaneParams`] says.
#[inline(always)]
pub(super) unsafe fn add<S: Simd>(
    simd: S,
    params: &PlaneParams,
    x: *mut c_void,
    r: *mut c_void,
    y: *mut c_void,
) {
    let [zero, one] = [0.0, 1.0].map(|value| simd.splat(value));
    // SAFETY: `x`, `r` and `y` reach as far as `PlaneParams` says.
    unsafe { plane(simd, params, [zero, one, zero], [x, r, y]) }
}

/// `y = epilogue((x - mean) * scale + shift)`, over a plane.
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`PlaneParams`] says.
#[inline(always)]
pub(super) unsafe fn plane<S: Simd>(
    simd: S,
    params: &PlaneParams,
    numbers: [S::F32x16; 3],
    operands: [*mut c_void; 3],
) {
    // SAFETY: `plane_of` asks for what this function does, of the elements of the epilogue.
    unsafe {
        match params.epilogue.stored {
            Precision::F32 => plane_of::<S, f32>(simd, params, numbers, operands),
            Precision::Bf16 => plane_of::<S, Bf16>(simd, params, numbers, operands),
        }
    }
}

/// # Safety
///
/// That of [`plane`], of `T`.
#[inline(always)]
unsafe fn plane_of<S: Simd, T: Stored>(
    simd: S,
    params: &PlaneParams,
    [mean, scale, shift]: [S::F32x16; 3],
    operands: [*mut c_void; 3],
) {
    const STRIP: usize = 4;
    let [x, r, y] = operands.map(<*mut c_void>::cast::<T>);
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        let r = r.wrapping_add(row * params.r_row);
        let y = y.wrapping_add(row * params.y_row);
        for first in (0..params.columns).step_by(STRIP) {
            let count = STRIP.min(params.columns - first);
            let at = first * BLOCK;
            let mut values = [simd.splat(0.0); STRIP];
            for (column, value) in values.iter_mut().enumerate() {
                if column < count {
                    // SAFETY: the row and column are the call's.
                    let pixel = unsafe { T::load(simd, x.add(at + column * BLOCK)) };
                    // The difference first: it is exact where a scale is large because all pixels
                    // are nearly the mean.
                    *value = simd.mul_add(simd.sub(pixel, mean), scale, shift);
                }
            }
            let r = Pixels { at: r.wrapping_add(at).cast::<u8>().cast_const(), block: 0 };
            let y = Pixels { at: y.wrapping_add(at).cast::<u8>(), block: 0 };
            // SAFETY: the row and columns are the call's.
            unsafe { finish(simd, params.epilogue, [values], count, r, y) };
        }
    }
}

/// [`Call::ChannelConv`](super::Call::ChannelConv): a few numbers once a layer, so plain `f32`
/// arithmetic on every instruction set.
///
/// # Safety
///
/// `x` is readable for `channels` elements, `w` for `kernel`, and `y` writable for `channels`, rounded
/// up to a multiple of 16; `x` and `y` do not overlap.
#[inline(always)]
pub(super) unsafe fn channel_conv<S: Simd>(
    _simd: S,
    params: &ChannelConvParams,
    x: *mut f32,
    w: *mut f32,
    y: *mut f32,
) {
    let ChannelConvParams { channels, kernel } = *params;
    for channel in 0..channels.next_multiple_of(BLOCK) {
        let mut sum = 0.0;
        if channel < channels {
            for k in 0..kernel {
                let from = (channel + k).wrapping_sub(kernel / 2);
                if from < channels {
                    // SAFETY: `k` is below `kernel`, `from` below `channels`.
                    sum += unsafe { *w.add(k) * *x.add(from) };
                }
            }
        }
        // SAFETY: below the rounded number of channels.
        unsafe { *y.add(channel) = sum };
    }
}
