//! Words of a panel of weights, from its bytes.

use super::row;
use crate::kernels::filter::F4OfBytes;
use crate::kernels::simd::Words;
use crate::kernels::{BLOCK, PAIR, WinogradWeightsI8Params};

/// [`Call::WinogradWeightsI8`](crate::kernels::Call::WinogradWeightsI8).
///
/// # Safety
///
/// `w` is readable and `y` writable as far as [`WinogradWeightsI8Params`] says.
#[inline(always)]
pub(in crate::kernels) unsafe fn winograd_weights_i8<S: Words>(
    simd: S,
    params: &WinogradWeightsI8Params,
    w: *mut i8,
    y: *mut i16,
) {
    // Words of a pair of input channels.
    let width = params.out_blocks * BLOCK * PAIR;
    let len = SIDE * SIDE * width;
    let kernels = w.cast_const().wrapping_add(len * size_of::<i16>());
    // SAFETY: so many factors come first, at the start of a cache line.
    let factors = unsafe { std::slice::from_raw_parts(w.cast_const().cast::<i16>(), len) };
    // No early end, so that it is done with vectors.
    let exact = factors.iter().fold(true, |exact, &f| exact & (f == F4OfBytes::WHOLE));
    // SAFETY: what is asked for is the same; a row of a point has as many factors as the pair has words.
    unsafe {
        if exact {
            weights::<S, true>(simd, params, width, kernels, factors.as_ptr(), y);
        } else {
            weights::<S, false>(simd, params, width, kernels, factors.as_ptr(), y);
        }
    }
}

/// Rows and columns of the points of bytes, and of taps.
const SIDE: usize = F4OfBytes::G.len();
const TAPS: usize = F4OfBytes::G[0].len();

/// The words of kernels, or, if they are not `EXACT`, of their products with the factors.
///
/// # Safety
///
/// That of [`winograd_weights_i8`], for its operands; a pair of input channels has `width` words.
#[inline(always)]
unsafe fn weights<S: Words, const EXACT: bool>(
    simd: S,
    params: &WinogradWeightsI8Params,
    width: usize,
    kernels: *const i8,
    factors: *const i16,
    y: *mut i16,
) {
    for pair in 0..params.blocks * BLOCK / PAIR {
        for lane in (0..width).step_by(S::TILES * BLOCK) {
            let kernel = kernels.wrapping_add(pair * TAPS * TAPS * width + lane);
            // SAFETY: the pair's first tap.
            let mut columns = [[unsafe { simd.load_signed(kernel) }; SIDE]; TAPS];
            for (c, column) in columns.iter_mut().enumerate() {
                let mut taps = [column[0]; TAPS];
                for (r, tap) in taps.iter_mut().enumerate() {
                    // SAFETY: the tap is the pair's.
                    *tap = unsafe { simd.load_signed(kernel.add((TAPS * r + c) * width)) };
                    if !EXACT {
                        *tap = simd.shift_words::<{ F4OfBytes::SHIFT }>(*tap);
                    }
                }
                *column = F4OfBytes::weights(simd, taps);
            }
            for i in 0..SIDE {
                for (j, point) in F4OfBytes::weights(simd, row(&columns, i)).iter().enumerate() {
                    let (at, mut words) = (SIDE * i + j, *point);
                    // SAFETY: each point has as many factors and words as the pair has.
                    unsafe {
                        if !EXACT {
                            let factors = simd.read_words(factors.add(at * width + lane));
                            words = simd.scale_words(words, factors);
                        }
                        let y = y.add(at * params.y_point + pair * width + lane);
                        simd.store_words(y, words, S::TILES);
                    }
                }
            }
        }
    }
}
