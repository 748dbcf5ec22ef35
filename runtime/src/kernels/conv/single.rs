//! Convolution in single precision.

#![expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]

use super::{Arithmetic, call, fetch_pixels};
use crate::kernels::epilogue::{Pixels, finish};
use crate::kernels::simd::Kernels;
use crate::kernels::{BLOCK, ConvParams, Epilogue};

/// [`Call::Conv`](crate::kernels::Call::Conv).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as [`ConvParams`] says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(in crate::kernels) unsafe fn conv<S: Kernels>(
    simd: S,
    params: &ConvParams,
    x: *mut f32,
    w: *mut f32,
    b: *mut f32,
    r: *mut f32,
    n: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the operands reach as far as `ConvParams` says.
    unsafe {
        call::<S, _, BLOCK, { 2 * BLOCK }>(
            simd,
            params,
            x,
            [w, n].map(<*mut f32>::cast_const),
            Single { b, r, y },
        )
    };
}

/// [`Call::ConvPlanar`](crate::kernels::Call::ConvPlanar).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as [`ConvParams`] says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(in crate::kernels) unsafe fn conv_planar<S: Kernels>(
    simd: S,
    params: &ConvParams,
    x: *mut f32,
    w: *mut f32,
    b: *mut f32,
    r: *mut f32,
    n: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the operands reach as far as `ConvParams` says.
    unsafe {
        call::<S, _, 1, 2>(simd, params, x, [w, n].map(<*mut f32>::cast_const), Single { b, r, y })
    };
}

/// Sums that start from a bias.
#[derive(Clone, Copy)]
struct Single {
    b: *const f32,
    r: *const f32,
    y: *mut f32,
}

impl Arithmetic for Single {
    type Input = f32;
    type Weight = f32;
    type Epilogue = Epilogue;
    type Sums<S: Kernels> = S::F32x16;

    const DEPTH: usize = 1;

    #[inline(always)]
    fn past(self, params: &ConvParams, blocks: usize, pixels: usize) -> Self {
        Self {
            b: self.b.wrapping_add(blocks * BLOCK),
            r: self.r.wrapping_add(blocks * params.r_block + pixels * BLOCK),
            y: self.y.wrapping_add(blocks * params.y_block + pixels * BLOCK),
        }
    }

    #[inline(always)]
    fn fetch_output<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams,
    ) {
        for o in 0..B {
            let y = self.y.wrapping_add(o * params.y_block);
            fetch_pixels::<S, f32, P>(simd, y, BLOCK);
        }
    }

    #[inline(always)]
    unsafe fn start<S: Kernels, const B: usize>(self, simd: S) -> [S::F32x16; B] {
        let mut starts = [simd.splat(0.0); B];
        for (o, start) in starts.iter_mut().enumerate() {
            // SAFETY: a bias has 16 elements an output block.
            *start = unsafe { simd.load(self.b.add(o * BLOCK)) };
        }
        starts
    }

    #[inline(always)]
    unsafe fn accumulate<S: Kernels, const P: usize, const B: usize>(
        simd: S,
        sums: &mut [[S::F32x16; P]; B],
        x: *const f32,
        step: usize,
        w: *const f32,
    ) {
        // The fewer of the two stay in registers while the others pass by, each used at once. The
        // compiler keeps this order; with the other one, 3 pixels by 2 blocks spill on AVX2.
        if const { P <= 3 } {
            let mut inputs = [simd.splat(0.0); P];
            for (p, input) in inputs.iter_mut().enumerate() {
                // SAFETY: the input of pixel `p`.
                *input = simd.splat(unsafe { *x.wrapping_add(p * step) });
            }
            for (o, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a row of weights has 16 elements an output block.
                unsafe { simd.mul_add_row(inputs, w.wrapping_add(o * BLOCK), sums) };
            }
        } else {
            let mut weights = [simd.splat(0.0); B];
            for (o, weights) in weights.iter_mut().enumerate() {
                // SAFETY: as above.
                *weights = unsafe { simd.load(w.wrapping_add(o * BLOCK)) };
            }
            for p in 0..P {
                // SAFETY: as above.
                let input = simd.splat(unsafe { *x.wrapping_add(p * step) });
                for o in 0..B {
                    sums[o][p] = simd.mul_add(input, weights[o], sums[o][p]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn finish<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams,
        sums: [[S::F32x16; P]; B],
    ) {
        let r = Pixels { at: self.r, block: params.r_block };
        let y = Pixels { at: self.y, block: params.y_block };
        // SAFETY: the residual and the output reach as far as `ConvParams` says.
        unsafe { finish(simd, params.epilogue, sums, P, r, y) };
    }
}
