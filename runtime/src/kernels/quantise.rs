//! From `f32` to bytes and back. The formulas are those of the residual and the end of a convolution of
//! bytes, rounded after each operation.

use super::simd::Simd;
use super::{BLOCK, CopyParams, QUAD, TensorLine};

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
    /// Pixels that pass through one array: bytes are put side by side with vectors, and then moved.
    const RUN: usize = 16 * BLOCK;
    // SAFETY: the line has 16 elements.
    let line = unsafe { TensorLine::read(t) };
    let mut quads = [[0; QUAD]; RUN];
    for row in 0..params.rows {
        for first in (0..params.columns).step_by(RUN) {
            let count = RUN.min(params.columns - first);
            let x = x.wrapping_add(row * params.x_row + first);
            for (block, quads) in quads.as_chunks_mut().0.iter_mut().enumerate() {
                let done = block * BLOCK;
                if done < count {
                    let x = x.wrapping_add(done);
                    // SAFETY: the row has these pixels, in planes that are so far apart.
                    unsafe { read_quads::<S, C>(simd, params.plane, line, x, count - done, quads) };
                }
            }
            let y = y.wrapping_add(row * params.y_row + first * C);
            // SAFETY: the row has so many pixels.
            unsafe { store_pixels::<C>(&quads[..count], y) };
        }
    }
}

/// Makes quads of the first `count` pixels of a row, or of all 16, that lie in planes.
///
/// # Safety
///
/// `x` is readable for these pixels in each of `C` planes.
#[inline(always)]
unsafe fn read_quads<S: Simd, const C: usize>(
    simd: S,
    plane: usize,
    line: TensorLine,
    x: *const f32,
    count: usize,
    quads: &mut [[u8; QUAD]; BLOCK],
) {
    // Runs of pixels of one channel each.
    let mut planes = [[0; BLOCK]; QUAD];
    for (channel, bytes) in planes.iter_mut().enumerate().take(C) {
        let x = x.wrapping_add(channel * plane);
        let mut values = [0.0; BLOCK];
        // A whole block is read at once.
        let from = if count >= BLOCK {
            x
        } else {
            for (pixel, value) in values.iter_mut().enumerate().take(count) {
                // SAFETY: the channel, row and column are the call's.
                *value = unsafe { *x.add(pixel) };
            }
            values.as_ptr()
        };
        // SAFETY: `from` is an array of 16 or has 16 more pixels of the row, `bytes` is an array of 16.
        unsafe {
            let values = scaled(simd, line, simd.load(from));
            simd.store_u8(bytes.as_mut_ptr(), values, simd.splat(line.zero));
        }
    }
    for pixel in 0..BLOCK {
        for channel in 0..QUAD {
            quads[pixel][channel] = planes[channel][pixel];
        }
    }
}

/// Writes the first `C` bytes of each quad side by side.
///
/// # Safety
///
/// `y` is writable for them.
#[inline(always)]
unsafe fn store_pixels<const C: usize>(quads: &[[u8; QUAD]], y: *mut u8) {
    // Three bytes are no word: one of four is written, and the next pixel over its end.
    let whole = (quads.len() * C).saturating_sub(QUAD - C) / C;
    let (wholes, rest) = quads.split_at(whole);
    for (pixel, &quad) in wholes.iter().enumerate() {
        // SAFETY: four bytes of the pixels, which have no alignment.
        unsafe { y.add(pixel * C).cast::<[u8; QUAD]>().write(quad) };
    }
    for (pixel, quad) in rest.iter().enumerate() {
        for (channel, &byte) in quad.iter().enumerate().take(C) {
            // SAFETY: a byte of the pixels.
            unsafe { y.add((whole + pixel) * C + channel).write(byte) };
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
