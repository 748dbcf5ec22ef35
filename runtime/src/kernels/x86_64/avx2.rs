//! AVX2 with FMA: a block is two registers of 8 lanes.

use std::arch::x86_64::*;

use super::words::{IncludesAvx2, Sums, WithoutVnni, larger_bytes};
use crate::kernels::simd::{Halves, Integers, Simd, Token};
use crate::kernels::{BLOCK, Bf16, PAIR};

/// Token: the CPU has AVX2 and FMA, and AVX-VNNI if `VNNI`. Over `f32` they are the same.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Ymm<const VNNI: bool>(pub(super) ());

/// Token: the CPU has AVX2 and FMA.
pub(in crate::kernels) type Avx2 = Ymm<false>;

impl<const VNNI: bool> Simd for Ymm<VNNI>
where
    Self: Token,
{
    type F32x16 = [__m256; 2];

    // Of 16 registers, 12 accumulate. For 6 pixels 2 more hold a row of weights, 1 the broadcast
    // input; for 3 pixels of a pair, 3 hold the inputs, 1 the weights in hand.
    const TILE_PIXELS: [usize; 2] = [6, 3];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves AVX2.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the token proves AVX2.
        unsafe {
            _mm256_storeu_ps(to, value[0]);
            _mm256_storeu_ps(to.add(8), value[1]);
        }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32x16, b: Self::F32x16, c: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves FMA.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn mul_add_row<const P: usize>(
        self,
        inputs: [Self::F32x16; P],
        weights: *const f32,
        sums: &mut [Self::F32x16; P],
    ) {
        // Half a row at a time needs one register for the weights.
        for half in 0..2 {
            // SAFETY: readable for 16 elements, says the caller; the token proves AVX2 and FMA.
            unsafe {
                let weights = _mm256_loadu_ps(weights.add(8 * half));
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    sum[half] = _mm256_fmadd_ps(input[half], weights, sum[half]);
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn min(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn pow2(self, [low, high]: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let bias = _mm256_set1_epi32(127);
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(low), bias);
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(high), bias);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(high)),
            ]
        }
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // The instruction answers `b` if either is NaN, so only a NaN in `a` is left to keep.
        // SAFETY: the token proves AVX2.
        unsafe {
            let [low, high] = self.max(a, b);
            [
                _mm256_blendv_ps(low, a[0], _mm256_cmp_ps::<_CMP_UNORD_Q>(a[0], a[0])),
                _mm256_blendv_ps(high, a[1], _mm256_cmp_ps::<_CMP_UNORD_Q>(a[1], a[1])),
            ]
        }
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
        // SAFETY: the token proves AVX2.
        unsafe {
            [
                _mm256_blendv_ps(y[0], x[0], _mm256_cmp_ps::<_CMP_GT_OQ>(a[0], b[0])),
                _mm256_blendv_ps(y[1], x[1], _mm256_cmp_ps::<_CMP_GT_OQ>(a[1], b[1])),
            ]
        }
    }

    #[inline(always)]
    fn larger_bytes(self, a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
        larger_bytes(a, b)
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::F32x16 {
        // SAFETY: readable for 16 bytes, says the caller; the token proves AVX2.
        unsafe {
            let low = _mm_loadl_epi64(from.cast());
            let high = _mm_loadl_epi64(from.add(8).cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, value: Self::F32x16, zero: Self::F32x16) {
        // SAFETY: writable for 16 bytes, says the caller; the token proves AVX2.
        unsafe {
            let low = _mm256_add_epi32(_mm256_cvtps_epi32(value[0]), _mm256_cvtps_epi32(zero[0]));
            let high = _mm256_add_epi32(_mm256_cvtps_epi32(value[1]), _mm256_cvtps_epi32(zero[1]));
            // Both halves of a register for themselves: lanes 0-3, 8-11, 4-7, 12-15.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), _mm_packus_epi16(low, high));
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves AVX2.
        unsafe {
            let (low, high) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(8).cast()));
            let low = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(low));
            let high = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(high));
            [_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)]
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the token proves AVX2.
        unsafe {
            let [low, high] = [upper_half(value[0]), upper_half(value[1])];
            // Both halves of a register for themselves: lanes 0-3, 8-11, 4-7, 12-15.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
}

/// [`Bf16::new`] of each lane, as 32 bits.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn upper_half(value: __m256) -> __m256i {
    // SAFETY: the CPU has AVX2, says the caller.
    unsafe {
        let bits = _mm256_castps_si256(value);
        let upper = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
        let exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f80_0000));
        let small = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
        let sign = _mm256_and_si256(upper, _mm256_set1_epi32(0x8000));
        let number = _mm256_blendv_epi8(rounded, sign, small);
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
        let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        _mm256_blendv_epi8(number, quiet, nan)
    }
}

/// The second of each pair, and the first, as `f32`.
///
/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
unsafe fn both(pairs: __m256i) -> [__m256; PAIR] {
    // SAFETY: the CPU has AVX2, says the caller.
    unsafe {
        let upper = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32));
        [_mm256_castsi256_ps(upper), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))]
    }
}

impl<const VNNI: bool> Halves for Ymm<VNNI>
where
    Self: Token,
{
    /// The second of each pair, and the first, of sums 0 to 7 and 8 to 15.
    type Pairs = [[__m256; PAIR]; 2];

    // Of 16 registers, 8 accumulate, 4 hold weights and 2 the inputs.
    const HALF_TILE_PIXELS: [usize; 2] = [4, 0];

    #[inline(always)]
    unsafe fn pairs(self, from: *const Bf16) -> Self::Pairs {
        // SAFETY: readable for 32 elements, says the caller; the token proves AVX2.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(BLOCK).cast());
            [both(low), both(high)]
        }
    }

    #[inline(always)]
    fn add_pairs(
        self,
        [first, second]: [Bf16; PAIR],
        weights: Self::Pairs,
        mut sums: Self::F32x16,
    ) -> Self::F32x16 {
        // SAFETY: the token proves AVX2 and FMA.
        unsafe {
            let inputs = [_mm256_set1_ps(second.get()), _mm256_set1_ps(first.get())];
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_fmadd_ps(inputs[0], weights[0], *sum);
                *sum = _mm256_fmadd_ps(inputs[1], weights[1], *sum);
            }
            sums
        }
    }
}

// SAFETY: the token proves AVX2.
unsafe impl<const VNNI: bool> IncludesAvx2 for Ymm<VNNI> where Self: Token {}

impl<const VNNI: bool> Integers for Ymm<VNNI>
where
    Self: Token,
{
    type Sums = Sums;

    #[inline(always)]
    fn no_sums(self) -> Sums {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn sums_to_f32(self, [low, high]: Sums) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)] }
    }
}

impl WithoutVnni for Avx2 {}

kernel_table!(Avx2: ["avx2", "fma"]);
