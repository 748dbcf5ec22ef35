//! What a kernel needs of an instruction set: 16 lanes, one block of channels. They are `f32` whatever
//! the block is stored as ([`Stored`]); sums of products of integers are `i32` ([`Dot`]).

use super::{BLOCK, Bf16, PAIR, QUAD};

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

    /// `x` where `a > b`, else `y`; so `y` where one of the two is NaN.
    #[cfg(feature = "train")]
    fn where_greater(
        self,
        a: Self::F32x16,
        b: Self::F32x16,
        x: Self::F32x16,
        y: Self::F32x16,
    ) -> Self::F32x16;

    /// Reads 16 bytes as numbers from 0 to 255.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 bytes.
    unsafe fn load_u8(self, from: *const u8) -> Self::F32x16;

    /// Of each lane the larger byte. An override may only choose other instructions: not all compilers find the one there is.
    #[inline(always)]
    fn larger_bytes(self, mut a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
        for lane in 0..BLOCK {
            a[lane] = if b[lane] > a[lane] { b[lane] } else { a[lane] };
        }
        a
    }

    /// Writes each value, rounded to an integer (half to even), plus `zero`, an integer of 0 to 255, as a
    /// byte; sums below 0 and above 255 become these, NaN becomes 0. No value is above `2^21`.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 bytes.
    unsafe fn store_u8(self, to: *mut u8, value: Self::F32x16, zero: Self::F32x16);

    /// Writes `P` times 16 bytes side by side, by [`Simd::store_u8`]; an override may only choose other
    /// instructions.
    ///
    /// # Safety
    ///
    /// `to` is writable for these bytes.
    #[inline(always)]
    unsafe fn store_u8s<const P: usize>(
        self,
        to: *mut u8,
        values: [Self::F32x16; P],
        zero: Self::F32x16,
    ) {
        for (p, value) in values.iter().enumerate() {
            // SAFETY: 16 of the bytes.
            unsafe { self.store_u8(to.wrapping_add(16 * p), *value, zero) }
        }
    }

    /// Reads 16 numbers of half as many bytes, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 elements.
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::F32x16;

    /// Writes 16 values, each by [`Bf16::new`], at any alignment.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 elements.
    unsafe fn store_bf16(self, to: *mut Bf16, value: Self::F32x16);

    /// Asks for the cache line at `at`, any address, to be brought into the second-level cache; a
    /// hint that the CPU may ignore.
    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: SSE is of the baseline, and a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
        // SAFETY: of the baseline, and a prefetch never faults.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            use std::arch::asm;
            asm!("prfm pldl2keep, [{}]", in(reg) at, options(readonly, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = at;
    }

    /// Asks for the cache line at `at`, any address, to be brought into the first-level cache; a
    /// hint that the CPU may ignore.
    #[inline(always)]
    fn prefetch_near<T>(self, at: *const T) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: SSE is of the baseline, and a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        // SAFETY: of the baseline, and a prefetch never faults.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            use std::arch::asm;
            asm!("prfm pldl1keep, [{}]", in(reg) at, options(readonly, nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = at;
    }
}

/// Integers, on top of the rest: exact sums in `i32`, and 16-bit words, which wrap.
///
/// Implementations mark every method `#[inline(always)]`.
pub(super) trait Integers: Words {
    /// Sixteen sums.
    type Sums: Copy;

    /// Sums of nothing.
    fn no_sums(self) -> Self::Sums;

    /// The sums, each rounded once, half to even.
    fn sums_to_f32(self, sums: Self::Sums) -> Self::F32x16;
}

/// Words of 16 bits, for transforms of bytes: the sixteen lanes of each of a few tiles.
///
/// Implementations mark every method `#[inline(always)]`.
pub(super) trait Words: Simd {
    /// Sixteen words of each of [`Words::TILES`] tiles.
    type Words: Copy;

    /// Tiles that are transformed together: 1 or 2.
    const TILES: usize;

    /// Reads 16 bytes of each tile, which are `next` apart, as words from 0 to 255.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 bytes, and so are those of the other tiles.
    unsafe fn load_words(self, from: *const u8, next: usize) -> Self::Words;

    /// Writes the words of the first `tiles` tiles side by side, at any alignment.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 words a tile.
    unsafe fn store_words(self, to: *mut i16, words: Self::Words, tiles: usize);

    /// `a + b`, which wraps.
    fn add_words(self, a: Self::Words, b: Self::Words) -> Self::Words;

    /// `a - b`, which wraps.
    fn sub_words(self, a: Self::Words, b: Self::Words) -> Self::Words;

    /// `a * 2^BITS`, which wraps.
    fn shift_words<const BITS: i32>(self, a: Self::Words) -> Self::Words;

    /// Reads as many bytes from -128 to 127, side by side.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 bytes a tile.
    unsafe fn load_signed(self, from: *const i8) -> Self::Words;

    /// Reads as many words, side by side, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 words a tile.
    unsafe fn read_words(self, from: *const i16) -> Self::Words;

    /// `a * b / 2^15`, rounded to an integer, a half upwards; `a` and `b` are not both -2^15.
    fn scale_words(self, a: Self::Words, b: Self::Words) -> Self::Words;
}

/// Integers that are multiplied: as many neighbouring inputs at once as take four bytes.
pub(super) trait Factors: Copy {
    /// An input.
    type Input: Copy;
    /// A weight.
    type Weight: Copy;
    /// Inputs that are multiplied at once.
    type Inputs: Copy;
    /// How many these are.
    const COUNT: usize;
}

/// `u8` times `s8`.
#[derive(Clone, Copy)]
pub(super) struct ByteFactors;

impl Factors for ByteFactors {
    type Input = u8;
    type Weight = i8;
    type Inputs = [u8; QUAD];
    const COUNT: usize = QUAD;
}

/// `s16` times `s16`.
#[derive(Clone, Copy)]
pub(super) struct WordFactors;

impl Factors for WordFactors {
    type Input = i16;
    type Weight = i16;
    type Inputs = [i16; PAIR];
    const COUNT: usize = PAIR;
}

/// Sums of products of such integers.
///
/// Implementations mark every method `#[inline(always)]`.
pub(super) trait Dot<F: Factors>: Integers {
    /// The weights of each of 16 sums for as many inputs as are multiplied at once, as the products take
    /// them.
    type Weights: Copy;

    /// [`Simd::TILE_PIXELS`], of a convolution of such integers.
    const DOT_TILE_PIXELS: [usize; 2];

    /// Reads weights, `[16][F::COUNT]`, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for so many.
    unsafe fn weights(self, from: *const F::Weight) -> Self::Weights;

    /// Adds to sum `i` the products of the inputs, the first in memory first, and weights
    /// `[i][..]`. Nothing is rounded nor saturates; sums beyond `i32` wrap.
    fn dot(self, x: F::Inputs, weights: Self::Weights, sums: Self::Sums) -> Self::Sums;

    /// Adds to the sums of `P` pixels by `B` blocks, by [`Dot::dot`], the products of a few inputs of each
    /// pixel, which are `step` apart, and a row of weights; an override may only choose another order of
    /// instructions.
    ///
    /// # Safety
    ///
    /// `x` is readable for these inputs, `w` for the row: 16 times as many weights a block.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]
    unsafe fn dots<const P: usize, const B: usize>(
        self,
        sums: &mut [[Self::Sums; P]; B],
        x: *const F::Input,
        step: usize,
        w: *const F::Weight,
    ) {
        // SAFETY: a row of weights has this many a block.
        let mut weights = [unsafe { self.weights(w) }; B];
        for o in 1..B {
            // SAFETY: as above.
            weights[o] = unsafe { self.weights(w.wrapping_add(o * BLOCK * F::COUNT)) };
        }
        for p in 0..P {
            // SAFETY: the inputs of pixel `p`.
            let x = unsafe { x.wrapping_add(p * step).cast::<F::Inputs>().read_unaligned() };
            for o in 0..B {
                sums[o][p] = self.dot(x, weights[o], sums[o][p]);
            }
        }
    }
}

/// Sums of products of [`Bf16`], which are exact: each is added to an `f32`, of a pair the second one first, and the
/// sum rounded. (A product below the least normal number is none.)
///
/// Implementations mark every method `#[inline(always)]`.
pub(super) trait Halves: Simd {
    /// The weights of each of 16 sums for two inputs, as the products take them.
    type Pairs: Copy;

    /// [`Simd::TILE_PIXELS`], of a convolution of such numbers.
    const HALF_TILE_PIXELS: [usize; 2];

    /// Reads weights, `[16][2]`, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for so many.
    unsafe fn pairs(self, from: *const Bf16) -> Self::Pairs;

    /// Adds to sum `i` the products of the inputs, the first in memory first, and weights `[i][..]`.
    fn add_pairs(self, x: [Bf16; PAIR], weights: Self::Pairs, sums: Self::F32x16) -> Self::F32x16;
}

/// All that kernels need.
pub(super) trait Kernels: Dot<ByteFactors> + Dot<WordFactors> + Halves {}

impl<S: Dot<ByteFactors> + Dot<WordFactors> + Halves> Kernels for S {}

/// What activations are stored as: 16 lanes of it are 16 lanes of `f32`, exactly.
pub(super) trait Stored: Copy {
    /// Reads 16 elements, at any alignment.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 elements.
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::F32x16;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::F32x16 {
        // SAFETY: readable for 16 elements, says the caller.
        unsafe { simd.load(from) }
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::F32x16 {
        // SAFETY: readable for 16 elements, says the caller.
        unsafe { simd.load_bf16(from) }
    }
}

/// What real numbers are stored as: 16 lanes of `f32`, rounded if need be.
pub(super) trait Real: Stored {
    /// Writes 16 elements, at any alignment.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 elements.
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::F32x16);
}

impl Real for f32 {
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::F32x16) {
        // SAFETY: writable for 16 elements, says the caller.
        unsafe { simd.store(to, value) }
    }
}

impl Real for Bf16 {
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: S::F32x16) {
        // SAFETY: writable for 16 elements, says the caller.
        unsafe { simd.store_bf16(to, value) }
    }
}

impl Stored for u8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> S::F32x16 {
        // SAFETY: readable for 16 elements, says the caller.
        unsafe { simd.load_u8(from) }
    }
}

/// A piece of a kernel for [`Token::outlined`]; `run` is `#[inline(always)]`.
pub(super) trait Outlined {
    /// Does it.
    ///
    /// # Safety
    ///
    /// Each implementation states its own.
    unsafe fn run<S: Kernels>(self, simd: S);
}
