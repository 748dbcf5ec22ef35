//! Convolution of real numbers, whose sums are in single precision: of `f32`, and of [`Bf16`], whose products are
//! exact. Both start from the bias and end in the same steps.
//!
//! `conv` has the tiles of `f32`. Those of [`Bf16`], for two lanes:
//!
//! | | tile (P x B) | registers | multiplying instructions |
//! | --- | --- | --- | --- |
//! | AVX-512 BF16 | 14 x 2 | 28 sums + 2 weights + 1 input of 32 | 28 |
//! | AVX-512 | 12 x 2 | 24 + 4 + 2 of 32 | 48 |
//! | AVX2 | 4 x 1 | 8 + 4 + 2 of 16 | 16 |
//! | NEON | 5 x 1 | 20 + 8 + 2 of 32 | 40 |
//!
//! In ResNet-50 on a Zen 4 core 1x1 convolutions over 256 channels and more, and 3x3 ones, reach 97-99% of what the
//! instruction can do (235 GFLOP/s there), and those over 64, whose last steps take as long as a third of their products, 85%.

#![expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]

use std::ffi::c_void;
use std::marker::PhantomData;

use super::{Arithmetic, Products, call, fetch_pixels};
use crate::kernels::epilogue::{Pixels, finish};
use crate::kernels::simd::Kernels;
use crate::kernels::{BLOCK, Bf16, ConvParams, Epilogue, PAIR, Precision};

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
    r: *mut c_void,
    n: *mut f32,
    y: *mut c_void,
) {
    // SAFETY: the operands reach as far as `ConvParams` says.
    unsafe {
        call::<S, _, BLOCK, BLOCK, { 2 * BLOCK }>(
            simd,
            params,
            x,
            [w, n].map(<*mut f32>::cast_const),
            Biased::<Single>::new(b, r, y),
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
    r: *mut c_void,
    n: *mut f32,
    y: *mut c_void,
) {
    // SAFETY: the operands reach as far as `ConvParams` says.
    unsafe {
        call::<S, _, 1, 1, 2>(
            simd,
            params,
            x,
            [w, n].map(<*mut f32>::cast_const),
            Biased::<Single>::new(b, r, y),
        )
    };
}

/// [`Call::ConvBf16`](crate::kernels::Call::ConvBf16).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as [`ConvParams`] says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(in crate::kernels) unsafe fn conv_bf16<S: Kernels>(
    simd: S,
    params: &ConvParams,
    x: *mut Bf16,
    w: *mut Bf16,
    b: *mut f32,
    r: *mut c_void,
    n: *mut Bf16,
    y: *mut c_void,
) {
    // SAFETY: the operands reach as far as `ConvParams` says.
    unsafe {
        call::<S, _, BLOCK, BLOCK, { 2 * BLOCK }>(
            simd,
            params,
            x,
            [w, n].map(<*mut Bf16>::cast_const),
            Biased::<Half>::new(b, r, y),
        )
    };
}

/// What is multiplied.
trait Multiply {
    type Number: Copy;

    const PRODUCTS: Products;

    /// [`Arithmetic::accumulate`].
    ///
    /// # Safety
    ///
    /// That of the same.
    unsafe fn accumulate<S: Kernels, const P: usize, const B: usize>(
        simd: S,
        sums: &mut [[S::F32x16; P]; B],
        x: *const Self::Number,
        step: usize,
        w: *const Self::Number,
    );
}

/// Numbers of `f32`.
struct Single;

impl Multiply for Single {
    type Number = f32;

    const PRODUCTS: Products = Products::Single;

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
}

/// Numbers of [`Bf16`].
struct Half;

impl Multiply for Half {
    type Number = Bf16;

    const PRODUCTS: Products = Products::Half;

    #[inline(always)]
    unsafe fn accumulate<S: Kernels, const P: usize, const B: usize>(
        simd: S,
        sums: &mut [[S::F32x16; P]; B],
        x: *const Bf16,
        step: usize,
        w: *const Bf16,
    ) {
        // SAFETY: a row of weights has 16 pairs an output block.
        let mut weights = [unsafe { simd.pairs(w) }; B];
        for o in 1..B {
            // SAFETY: as above.
            weights[o] = unsafe { simd.pairs(w.wrapping_add(o * BLOCK * PAIR)) };
        }
        for p in 0..P {
            // SAFETY: the pair of pixel `p`; the read asks for no alignment.
            let x = unsafe { x.wrapping_add(p * step).cast::<[Bf16; PAIR]>().read_unaligned() };
            for o in 0..B {
                sums[o][p] = simd.add_pairs(x, weights[o], sums[o][p]);
            }
        }
    }
}

/// Sums that start from a bias.
struct Biased<M> {
    b: *const f32,
    r: *const u8,
    y: *mut u8,
    of: PhantomData<M>,
}

impl<M> Biased<M> {
    #[inline(always)]
    fn new(b: *const f32, r: *const c_void, y: *mut c_void) -> Self {
        Self { b, r: r.cast(), y: y.cast(), of: PhantomData }
    }
}

impl<M> Clone for Biased<M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Biased<M> {}

impl<M: Multiply> Arithmetic for Biased<M> {
    type Input = M::Number;
    type Weight = M::Number;
    type Epilogue = Epilogue;
    type Sums<S: Kernels> = S::F32x16;

    const PRODUCTS: Products = M::PRODUCTS;

    #[inline(always)]
    fn past(self, params: &ConvParams, blocks: usize, pixels: usize) -> Self {
        let bytes = params.epilogue.element().bytes();
        Self {
            b: self.b.wrapping_add(blocks * BLOCK),
            r: self.r.wrapping_add((blocks * params.r_block + pixels * BLOCK) * bytes),
            y: self.y.wrapping_add((blocks * params.y_block + pixels * BLOCK) * bytes),
            ..self
        }
    }

    #[inline(always)]
    fn fetch_output<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams,
    ) {
        for o in 0..B {
            match params.epilogue.stored {
                Precision::F32 => {
                    let y = self.y.cast::<f32>().wrapping_add(o * params.y_block);
                    fetch_pixels::<S, f32, P>(simd, y, BLOCK);
                }
                Precision::Bf16 => {
                    let y = self.y.cast::<Bf16>().wrapping_add(o * params.y_block);
                    fetch_pixels::<S, Bf16, P>(simd, y, BLOCK);
                }
            }
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
        x: *const M::Number,
        step: usize,
        w: *const M::Number,
    ) {
        // SAFETY: the same is asked for.
        unsafe { M::accumulate(simd, sums, x, step, w) }
    }

    #[inline(always)]
    unsafe fn finish<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams,
        sums: [[S::F32x16; P]; B],
        count: usize,
    ) {
        let r = Pixels { at: self.r, block: params.r_block };
        let y = Pixels { at: self.y, block: params.y_block };
        // SAFETY: the residual and the output reach as far as `ConvParams` says.
        unsafe { finish(simd, params.epilogue, sums, count, r, y) };
    }
}
