//! NEON: a block is four registers of 4 lanes. Every AArch64 CPU that has an operating system has it.

use std::arch::aarch64::*;

use crate::kernels::simd::{ByteFactors, Dot, Halves, Integers, Simd, Token, WordFactors, Words};
use crate::kernels::{BLOCK, Bf16, PAIR, QUAD};

/// Token: the CPU has NEON, and its dot products of bytes if `DOT`. Over `f32` they are the same.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Vector<const DOT: bool>(pub(super) ());

/// Token: the CPU has NEON.
pub(in crate::kernels) type Neon = Vector<false>;

/// Sums 0 to 3, 4 to 7, 8 to 11, 12 to 15.
pub(super) type Sums = [int32x4_t; 4];

/// Sixteen lanes by an instruction that has them in four registers, or in two. (No closure: one may stay out of line.)
macro_rules! each {
    (4: $instruction:ident($($operand:ident),+)) => {
        // SAFETY: the token proves NEON.
        unsafe {
            [
                $instruction($($operand[0]),+),
                $instruction($($operand[1]),+),
                $instruction($($operand[2]),+),
                $instruction($($operand[3]),+),
            ]
        }
    };
    (2: $instruction:ident $(::<$constant:ident>)? ($($operand:ident),+)) => {
        // SAFETY: the token proves NEON.
        unsafe {
            [
                $instruction $(::<$constant>)? ($($operand[0]),+),
                $instruction $(::<$constant>)? ($($operand[1]),+),
            ]
        }
    };
}

impl<const DOT: bool> Simd for Vector<DOT>
where
    Self: Token,
{
    type F32x16 = [float32x4_t; 4];

    // Of 32 registers, 20 accumulate, 4 hold weights and 5 the inputs, of which an instruction takes a lane. With a
    // pixel more, or with pairs, LLVM keeps sums in memory.
    const TILE_PIXELS: [usize; 2] = [5, 0];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32x16 {
        // SAFETY: the token proves NEON.
        [unsafe { vdupq_n_f32(value) }; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves NEON.
        unsafe {
            [
                vld1q_f32(from),
                vld1q_f32(from.add(4)),
                vld1q_f32(from.add(8)),
                vld1q_f32(from.add(12)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the token proves NEON.
        unsafe {
            vst1q_f32(to, value[0]);
            vst1q_f32(to.add(4), value[1]);
            vst1q_f32(to.add(8), value[2]);
            vst1q_f32(to.add(12), value[3]);
        }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32x16, b: Self::F32x16, c: Self::F32x16) -> Self::F32x16 {
        each!(4: vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    unsafe fn mul_add_row<const P: usize>(
        self,
        inputs: [Self::F32x16; P],
        weights: *const f32,
        sums: &mut [Self::F32x16; P],
    ) {
        // A quarter of a row at a time needs one register for the weights.
        for quarter in 0..4 {
            // SAFETY: readable for 16 elements, says the caller; the token proves NEON.
            unsafe {
                let weights = vld1q_f32(weights.add(4 * quarter));
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    sum[quarter] = vfmaq_f32(sum[quarter], input[quarter], weights);
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        each!(4: vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        each!(4: vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        each!(4: vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        each!(4: vdivq_f32(a, b))
    }

    #[inline(always)]
    fn max(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // The instruction for it answers NaN if either is, and +0 for two zeros.
        let larger: [uint32x4_t; 4] = each!(4: vcgtq_f32(a, b));
        each!(4: vbslq_f32(larger, a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        let smaller: [uint32x4_t; 4] = each!(4: vcltq_f32(a, b));
        each!(4: vbslq_f32(smaller, a, b))
    }

    #[inline(always)]
    fn pow2(self, n: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves NEON.
        let bias = [unsafe { vdupq_n_s32(127) }; 4];
        let exponents: [int32x4_t; 4] = each!(4: vcvtnq_s32_f32(n));
        let biased: [int32x4_t; 4] = each!(4: vaddq_s32(exponents, bias));
        let shifted = each!(4: shift_to_exponent(biased));
        each!(4: vreinterpretq_f32_s32(shifted))
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        let larger: [uint32x4_t; 4] = each!(4: vcgtq_f32(a, b));
        let is_number: [uint32x4_t; 4] = each!(4: vceqq_f32(a, a));
        let keep: [uint32x4_t; 4] = each!(4: vornq_u32(larger, is_number));
        each!(4: vbslq_f32(keep, a, b))
    }

    #[cfg(feature = "train")]
    #[inline(always)]
    fn where_greater(
        self,
        a: Self::F32x16,
        b: Self::F32x16,
        x: Self::F32x16,
        y: Self::F32x16,
    ) -> Self::F32x16 {
        let greater: [uint32x4_t; 4] = each!(4: vcgtq_f32(a, b));
        each!(4: vbslq_f32(greater, x, y))
    }

    #[inline(always)]
    fn larger_bytes(self, mut a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
        // SAFETY: arrays of 16 bytes; the token proves NEON.
        unsafe {
            let larger = vmaxq_u8(vld1q_u8(a.as_ptr()), vld1q_u8(b.as_ptr()));
            vst1q_u8(a.as_mut_ptr(), larger);
        }
        a
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::F32x16 {
        // SAFETY: readable for 16 bytes, says the caller; the token proves NEON.
        unsafe {
            let bytes = vld1q_u8(from);
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            [
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                vcvtq_f32_u32(vmovl_high_u16(low)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                vcvtq_f32_u32(vmovl_high_u16(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, value: Self::F32x16, zero: Self::F32x16) {
        // Exact, and a NaN stays one until it becomes 0.
        let rounded: [float32x4_t; 4] = each!(4: vrndnq_f32(value));
        let sum: [float32x4_t; 4] = each!(4: vaddq_f32(rounded, zero));
        let sum: [int32x4_t; 4] = each!(4: vcvtnq_s32_f32(sum));
        // SAFETY: writable for 16 bytes, says the caller; the token proves NEON.
        unsafe {
            let low = vcombine_s16(vqmovn_s32(sum[0]), vqmovn_s32(sum[1]));
            let high = vcombine_s16(vqmovn_s32(sum[2]), vqmovn_s32(sum[3]));
            vst1q_u8(to, vcombine_u8(vqmovun_s16(low), vqmovun_s16(high)));
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves NEON.
        let halves = unsafe {
            let (low, high) = (vld1q_u16(from.cast()), vld1q_u16(from.add(8).cast()));
            [vget_low_u16(low), vget_high_u16(low), vget_low_u16(high), vget_high_u16(high)]
        };
        each!(4: value_of(halves))
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, value: Self::F32x16) {
        let halves: [uint16x4_t; 4] = each!(4: upper_half(value));
        // SAFETY: writable for 16 elements, says the caller; the token proves NEON.
        unsafe {
            vst1q_u16(to.cast(), vcombine_u16(halves[0], halves[1]));
            vst1q_u16(to.add(8).cast(), vcombine_u16(halves[2], halves[3]));
        }
    }
}

/// [`Bf16::get`] of each lane.
#[inline(always)]
unsafe fn value_of(halves: uint16x4_t) -> float32x4_t {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(halves)) }
}

/// [`Bf16::new`] of each lane.
#[inline(always)]
unsafe fn upper_half(value: float32x4_t) -> uint16x4_t {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe {
        let bits = vreinterpretq_u32_f32(value);
        let upper = vshrq_n_u32::<16>(bits);
        let half = vaddq_u32(vandq_u32(upper, vdupq_n_u32(1)), vdupq_n_u32(0x7fff));
        let rounded = vshrq_n_u32::<16>(vaddq_u32(bits, half));
        let normal = vtstq_u32(bits, vdupq_n_u32(0x7f80_0000));
        let number = vbslq_u32(normal, rounded, vandq_u32(upper, vdupq_n_u32(0x8000)));
        let quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
        vmovn_u32(vbslq_u32(vceqq_f32(value, value), number, quiet))
    }
}

impl<const DOT: bool> Halves for Vector<DOT>
where
    Self: Token,
{
    /// The second of each pair, and the first.
    type Pairs = [[float32x4_t; 4]; PAIR];

    // Of 32 registers, 20 accumulate, 8 hold weights and 2 the inputs.
    const HALF_TILE_PIXELS: [usize; 2] = [5, 0];

    #[inline(always)]
    unsafe fn pairs(self, from: *const Bf16) -> Self::Pairs {
        // SAFETY: readable for 32 elements, says the caller; the token proves NEON.
        let (second, first) = unsafe {
            let (low, high) = (vld2q_u16(from.cast()), vld2q_u16(from.add(BLOCK).cast()));
            let second = [
                vget_low_u16(low.1),
                vget_high_u16(low.1),
                vget_low_u16(high.1),
                vget_high_u16(high.1),
            ];
            let first = [
                vget_low_u16(low.0),
                vget_high_u16(low.0),
                vget_low_u16(high.0),
                vget_high_u16(high.0),
            ];
            (second, first)
        };
        [each!(4: value_of(second)), each!(4: value_of(first))]
    }

    #[inline(always)]
    fn add_pairs(
        self,
        [first, second]: [Bf16; PAIR],
        weights: Self::Pairs,
        sums: Self::F32x16,
    ) -> Self::F32x16 {
        let sums = self.mul_add(self.splat(second.get()), weights[0], sums);
        self.mul_add(self.splat(first.get()), weights[1], sums)
    }
}

impl<const DOT: bool> Words for Vector<DOT>
where
    Self: Token,
{
    type Words = [int16x8_t; 2];

    const TILES: usize = 1;

    #[inline(always)]
    unsafe fn load_words(self, from: *const u8, _: usize) -> [int16x8_t; 2] {
        // SAFETY: readable for 16 bytes, says the caller; the token proves NEON.
        unsafe {
            let bytes = vld1q_u8(from);
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            [vreinterpretq_s16_u16(low), vreinterpretq_s16_u16(high)]
        }
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, words: [int16x8_t; 2], _: usize) {
        // SAFETY: writable for 16 words, says the caller; the token proves NEON.
        unsafe {
            vst1q_s16(to, words[0]);
            vst1q_s16(to.add(8), words[1]);
        }
    }

    #[inline(always)]
    fn add_words(self, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
        each!(2: vaddq_s16(a, b))
    }

    #[inline(always)]
    fn sub_words(self, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
        each!(2: vsubq_s16(a, b))
    }

    #[inline(always)]
    fn shift_words<const BITS: i32>(self, a: [int16x8_t; 2]) -> [int16x8_t; 2] {
        each!(2: vshlq_n_s16::<BITS>(a))
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> [int16x8_t; 2] {
        // SAFETY: readable for 16 bytes, says the caller; the token proves NEON.
        unsafe {
            let bytes = vld1q_s8(from);
            [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn read_words(self, from: *const i16) -> [int16x8_t; 2] {
        // SAFETY: readable for 16 words, says the caller; the token proves NEON.
        unsafe { [vld1q_s16(from), vld1q_s16(from.add(8))] }
    }

    #[inline(always)]
    fn scale_words(self, a: [int16x8_t; 2], b: [int16x8_t; 2]) -> [int16x8_t; 2] {
        each!(2: vqrdmulhq_s16(a, b))
    }
}

impl<const DOT: bool> Integers for Vector<DOT>
where
    Self: Token,
{
    type Sums = Sums;

    #[inline(always)]
    fn no_sums(self) -> Sums {
        // SAFETY: the token proves NEON.
        [unsafe { vdupq_n_s32(0) }; 4]
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Sums) -> Self::F32x16 {
        each!(4: vcvtq_f32_s32(sums))
    }
}

impl Dot<ByteFactors> for Neon {
    /// The weights of each of the four bytes, as words.
    type Weights = [[int16x8_t; 2]; QUAD];

    // Of 32 registers, 20 accumulate, 8 hold weights, and 1 the input.
    const DOT_TILE_PIXELS: [usize; 2] = [5, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> Self::Weights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves NEON.
        unsafe {
            let int8x16x4_t(first, second, third, fourth) = vld4q_s8(from);
            [widen(first), widen(second), widen(third), widen(fourth)]
        }
    }

    #[inline(always)]
    fn dot(self, x: [u8; QUAD], weights: Self::Weights, mut sums: Sums) -> Sums {
        for k in 0..QUAD {
            sums = add_products(sums, weights[k], i16::from(x[k]));
        }
        sums
    }
}

impl<const DOT: bool> Dot<WordFactors> for Vector<DOT>
where
    Self: Token,
{
    /// The weights of each of the two words.
    type Weights = [[int16x8_t; 2]; PAIR];

    // Of 32 registers, 20 accumulate, 4 hold weights, and 1 the input. With a pixel more, LLVM keeps sums in memory.
    const DOT_TILE_PIXELS: [usize; 2] = [5, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i16) -> Self::Weights {
        // SAFETY: readable for 32 words, says the caller; the token proves NEON.
        unsafe {
            let (low, high) = (vld2q_s16(from), vld2q_s16(from.add(16)));
            [[low.0, high.0], [low.1, high.1]]
        }
    }

    #[inline(always)]
    fn dot(self, x: [i16; PAIR], weights: Self::Weights, mut sums: Sums) -> Sums {
        for k in 0..PAIR {
            sums = add_products(sums, weights[k], x[k]);
        }
        sums
    }
}

/// The bits of `2^n` of the biased exponent `n`.
#[inline(always)]
unsafe fn shift_to_exponent(n: int32x4_t) -> int32x4_t {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe { vshlq_n_s32::<23>(n) }
}

/// Sixteen bytes as words.
#[inline(always)]
fn widen(bytes: int8x16_t) -> [int16x8_t; 2] {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe { [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)] }
}

/// Adds to sixteen sums the products of a number and sixteen words, exactly.
#[inline(always)]
fn add_products(sums: Sums, weights: [int16x8_t; 2], x: i16) -> Sums {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe {
        [
            vmlal_n_s16(sums[0], vget_low_s16(weights[0]), x),
            vmlal_high_n_s16(sums[1], weights[0], x),
            vmlal_n_s16(sums[2], vget_low_s16(weights[1]), x),
            vmlal_high_n_s16(sums[3], weights[1], x),
        ]
    }
}

kernel_table!(Neon: ["neon"]);
