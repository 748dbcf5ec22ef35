//! What a kernel needs of an instruction set: 16 lanes of `f32`, one block of channels.

/// An instruction set: a value exists only where the CPU has it.
///
/// `kernel_table!` implements it.
pub(super) trait Token: Copy {
    /// Runs `op` in a function of its own that is compiled for this instruction set.
    ///
    /// A kernel with many variants calls each of them through here, so that every variant gets a
    /// register allocation to itself.
    ///
    /// # Safety
    ///
    /// That of the `op`.
    unsafe fn outlined<O: Outlined>(self, op: O);
}

/// Arithmetic on an instruction set, safe to call because the token proves that the CPU has it.
///
/// Implementations mark every method `#[inline(always)]`.
pub(super) trait Simd: Token {
    /// Sixteen lanes.
    type F32x16: Copy;

    /// Output pixels of the largest convolution tile over one output block, and over a pair of
    /// them (0: pairs are never taken). `conv` says how they are chosen.
    const TILE_PIXELS: [usize; 2];

    /// The same value in every lane.
    fn splat(self, value: f32) -> Self::F32x16;

    /// Reads 16 values, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 elements.
    unsafe fn load(self, from: *const f32) -> Self::F32x16;

    /// Writes 16 values, at any alignment.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 elements.
    unsafe fn store(self, to: *mut f32, value: Self::F32x16);

    /// `a * b + c`: fused, so rounded once, where the instruction set can; rounded twice where
    /// not. The same on every lane and in every tile.
    fn mul_add(self, a: Self::F32x16, b: Self::F32x16, c: Self::F32x16) -> Self::F32x16;

    /// Adds the products of a row of 16 weights and `P` inputs to `P` sums, by [`Simd::mul_add`];
    /// an override may only choose another order of instructions.
    ///
    /// # Safety
    ///
    /// `weights` is readable for 16 elements.
    #[inline(always)]
    unsafe fn mul_add_row<const P: usize>(
        self,
        inputs: [Self::F32x16; P],
        weights: *const f32,
        sums: &mut [Self::F32x16; P],
    ) {
        // SAFETY: `weights` is readable for 16 elements, says this function's contract.
        let weights = unsafe { self.load(weights) };
        for (sum, input) in sums.iter_mut().zip(inputs) {
            *sum = self.mul_add(input, weights, *sum);
        }
    }

    /// `a + b`.
    fn add(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `a - b`.
    fn sub(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `a * b`.
    fn mul(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `a / b`.
    fn div(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `a` where `a > b`, else `b`; so `b` where one of them is NaN.
    fn max(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `a` where `a < b`, else `b`; so `b` where one of them is NaN.
    fn min(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// `2^n` for integers `n` from -126 to 127; any value for others.
    fn pow2(self, n: Self::F32x16) -> Self::F32x16;

    /// The larger one; NaN where one of them is.
    fn max_or_nan(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16;

    /// Asks for the cache line at `at`, any address, to be brought into the second-level cache; a
    /// hint that the CPU may ignore.
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: SSE is of the baseline, and a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    /// Asks for the cache line at `at`, any address, to be brought into the first-level cache; a
    /// hint that the CPU may ignore.
    #[inline(always)]
    fn prefetch_near(self, at: *const f32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: SSE is of the baseline, and a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}

/// A piece of a kernel for [`Token::outlined`]; `run` is `#[inline(always)]`.
pub(super) trait Outlined {
    /// Does it.
    ///
    /// # Safety
    ///
    /// Each implementation states its own.
    unsafe fn run<S: Simd>(self, simd: S);
}
