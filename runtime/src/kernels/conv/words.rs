//! Products of the points of a Winograd convolution of bytes: sums of products of words are exact, and each
//! is multiplied by the scale of its output channel and point.

use super::{Arithmetic, Products, call, fetch_pixels};
use crate::kernels::simd::{Dot, Kernels, WordFactors};
use crate::kernels::{BLOCK, ConvI16Params};

/// [`Call::ConvI16`](crate::kernels::Call::ConvI16).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as the declaration says.
#[inline(always)]
pub(in crate::kernels) unsafe fn conv_i16<S: Kernels>(
    simd: S,
    params: &ConvI16Params,
    x: *mut i16,
    w: *mut i16,
    s: *mut f32,
    n: *mut i16,
    y: *mut f32,
) {
    let weights = [w, n].map(<*mut i16>::cast_const);
    // SAFETY: the operands reach as far as `ConvI16Params` says.
    unsafe { call::<S, _, BLOCK, BLOCK, { 2 * BLOCK }>(simd, params, x, weights, Scaled { s, y }) };
}

/// Sums that start from zero and are scaled at the end.
#[derive(Clone, Copy)]
struct Scaled {
    s: *const f32,
    y: *mut f32,
}

impl Arithmetic for Scaled {
    type Input = i16;
    type Weight = i16;
    type Epilogue = ();
    type Sums<S: Kernels> = S::Sums;

    const PRODUCTS: Products = Products::Word;

    #[inline(always)]
    fn past(self, params: &ConvI16Params, blocks: usize, pixels: usize) -> Self {
        Self {
            s: self.s.wrapping_add(blocks * BLOCK),
            y: self.y.wrapping_add(blocks * params.y_block + pixels * BLOCK),
        }
    }

    #[inline(always)]
    fn fetch_output<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvI16Params,
    ) {
        for o in 0..B {
            fetch_pixels::<S, f32, P>(simd, self.y.wrapping_add(o * params.y_block), BLOCK);
        }
    }

    #[inline(always)]
    unsafe fn start<S: Kernels, const B: usize>(self, simd: S) -> [S::Sums; B] {
        [simd.no_sums(); B]
    }

    #[inline(always)]
    unsafe fn accumulate<S: Kernels, const P: usize, const B: usize>(
        simd: S,
        sums: &mut [[S::Sums; P]; B],
        x: *const i16,
        step: usize,
        w: *const i16,
    ) {
        // SAFETY: two words of these pixels and a row of weights, says the caller.
        unsafe { Dot::<WordFactors>::dots(simd, sums, x, step, w) };
    }

    #[inline(always)]
    unsafe fn finish<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvI16Params,
        sums: [[S::Sums; P]; B],
        count: usize,
    ) {
        for (o, sums) in sums.iter().enumerate() {
            // SAFETY: an output block has 16 scales.
            let scales = unsafe { simd.load(self.s.add(o * BLOCK)) };
            for (p, sums) in sums.iter().enumerate().take(count) {
                let value = simd.mul(simd.sums_to_f32(*sums), scales);
                // SAFETY: `y` is writable for `count` pixels of `B` blocks.
                unsafe { simd.store(self.y.add(o * params.y_block + p * BLOCK), value) };
            }
        }
    }
}
