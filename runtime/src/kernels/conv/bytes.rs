//! Convolution of bytes: sums of products are exact, and what follows is rounded in one order, so that
//! every instruction set has the same bits.
//!
//! | | tile (P x B) | registers | of the tile's peak in registers |
//! | --- | --- | --- | --- |
//! | AVX-512 VNNI | 14 x 2 | 28 sums + 2 weights + 1 input of 32 | 92-98% |
//! | AVX-VNNI | 6 x 1 | 12 + 2 + 1 of 16 | 89-96% |
//! | | 3 x 2 | 12 + 1 + 3 | 81% |
//! | AVX2, AVX-512F | 4 x 1 | 8 + 4 + 2 + a product | 97-99% |
//!
//! These are for long sums, by the example `kernel_bench`, on a CPU whose peaks are 750, 360 and 95
//! operations a nanosecond, where those of `f32` are 179 (AVX-512) and 95 (AVX2). The last steps take as
//! long as 9 to 15 rows of weights: 1x1 kernels over 64 channels, which have 16 rows, would reach 64% with
//! AVX-512 VNNI, and 52% with a residual, if these steps waited for each tile; `rows` takes them meanwhile.

use std::ffi::c_void;

use super::{Arithmetic, Products, call, fetch_pixels};
use crate::kernels::epilogue::{Pixels, finish_bytes};
use crate::kernels::simd::{ByteFactors, Dot, Kernels};
use crate::kernels::{BLOCK, ByteEpilogue, ConvU8Params, OutputElement, QUAD, TensorLine};

/// [`Call::ConvU8`](crate::kernels::Call::ConvU8).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as the declaration says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(in crate::kernels) unsafe fn conv_u8<S: Kernels>(
    simd: S,
    params: &ConvU8Params,
    x: *mut u8,
    w: *mut i8,
    q: *mut f32,
    t: *mut f32,
    r: *mut c_void,
    n: *mut i8,
    y: *mut c_void,
) {
    // SAFETY: the operands reach as far as `ConvU8Params` says.
    unsafe {
        call::<S, _, BLOCK, BLOCK, { 2 * BLOCK }>(
            simd,
            params,
            x,
            [w, n],
            Bytes { q, t, r: r.cast(), y: y.cast() },
        )
    };
}

/// [`Call::ConvU8Quads`](crate::kernels::Call::ConvU8Quads).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as the declaration says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(in crate::kernels) unsafe fn conv_u8_quads<S: Kernels>(
    simd: S,
    params: &ConvU8Params,
    x: *mut u8,
    w: *mut i8,
    q: *mut f32,
    t: *mut f32,
    r: *mut c_void,
    n: *mut i8,
    y: *mut c_void,
) {
    // SAFETY: the operands reach as far as `ConvU8Params` says.
    unsafe {
        call::<S, _, QUAD, 3, 6>(simd, params, x, [w, n], Bytes { q, t, r: r.cast(), y: y.cast() })
    };
}

/// Sums that start from zero and are scaled and shifted at the end.
#[derive(Clone, Copy)]
struct Bytes {
    q: *const f32,
    t: *const f32,
    r: *const u8,
    y: *mut u8,
}

impl Arithmetic for Bytes {
    type Input = u8;
    type Weight = i8;
    type Epilogue = ByteEpilogue;
    type Sums<S: Kernels> = S::Sums;

    const PRODUCTS: Products = Products::Byte;

    #[inline(always)]
    fn past(self, params: &ConvU8Params, blocks: usize, pixels: usize) -> Self {
        let (r, y) = (params.epilogue.residual().bytes(), params.epilogue.output().bytes());
        Self {
            q: self.q.wrapping_add(blocks * 2 * BLOCK),
            t: self.t,
            r: self.r.wrapping_add((blocks * params.r_block + pixels * BLOCK) * r),
            y: self.y.wrapping_add((blocks * params.y_block + pixels * BLOCK) * y),
        }
    }

    #[inline(always)]
    fn fetch_output<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvU8Params,
    ) {
        for o in 0..B {
            match params.epilogue.output {
                OutputElement::U8 => {
                    let y = self.y.wrapping_add(o * params.y_block);
                    fetch_pixels::<S, u8, P>(simd, y, BLOCK);
                }
                OutputElement::F32 => {
                    let y = self.y.cast::<f32>().wrapping_add(o * params.y_block);
                    fetch_pixels::<S, f32, P>(simd, y, BLOCK);
                }
            }
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
        x: *const u8,
        step: usize,
        w: *const i8,
    ) {
        // SAFETY: four bytes of these pixels and a row of weights, says the caller.
        unsafe { Dot::<ByteFactors>::dots(simd, sums, x, step, w) };
    }

    #[inline(always)]
    unsafe fn finish<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvU8Params,
        sums: [[S::Sums; P]; B],
        count: usize,
    ) {
        // SAFETY: the line has 16 elements.
        let line = unsafe { TensorLine::read(self.t) };
        let mut values = [[simd.splat(0.0); P]; B];
        for o in 0..B {
            // SAFETY: an output block has 16 scales and 16 shifts.
            let (scales, shifts) = unsafe {
                let q = self.q.add(o * 2 * BLOCK);
                (simd.load(q), simd.load(q.add(BLOCK)))
            };
            for p in 0..P {
                let sums = simd.sums_to_f32(sums[o][p]);
                values[o][p] = simd.add(simd.mul(sums, scales), shifts);
            }
        }
        let r = Pixels { at: self.r, block: params.r_block };
        let y = Pixels { at: self.y, block: params.y_block };
        // SAFETY: the residual and the output reach as far as `ConvU8Params` says.
        unsafe { finish_bytes(simd, params.epilogue, line, values, count, r, y) }
    }
}
