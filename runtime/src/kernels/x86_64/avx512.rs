//! AVX-512F: a block is one register.

use std::arch::x86_64::*;

use super::words::{IncludesAvx2, Sums, WithoutVnni, larger_bytes};
use crate::kernels::simd::{Halves, Integers, Simd, Token};
use crate::kernels::{BLOCK, Bf16, PAIR};

/// Token: the CPU has AVX-512F, with [`VNNI`] BW, VL and VNNI too, with [`BF16`] also that. Over `f32` they are the
/// same.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Zmm<const WITH: u8>(pub(super) ());

/// Besides AVX-512F: BW, VL and VNNI.
pub(super) const VNNI: u8 = 1;

/// Besides these: BF16.
pub(super) const BF16: u8 = 2;

/// Token: the CPU has AVX-512F.
pub(in crate::kernels) type Avx512 = Zmm<0>;

impl<const WITH: u8> Simd for Zmm<WITH>
where
    Self: Token,
{
    type F32x16 = __m512;

    // Of 32 registers, the tile of a pair accumulates in 28, holds a row of weights in 2 and the
    // broadcast input in 1.
    const TILE_PIXELS: [usize; 2] = [14, 14];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves AVX-512F.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the token proves AVX-512F.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32x16, b: Self::F32x16, c: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn add(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn pow2(self, n: Self::F32x16) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        // The instruction answers `b` if either is NaN, so only a NaN in `a` is left to keep.
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(a, a);
            _mm512_mask_max_ps(a, number, a, b)
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
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }

    #[inline(always)]
    fn larger_bytes(self, a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
        larger_bytes(a, b)
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::F32x16 {
        // SAFETY: readable for 16 bytes, says the caller; the token proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, value: Self::F32x16, zero: Self::F32x16) {
        // SAFETY: writable for 16 bytes, says the caller; the token proves AVX-512F.
        unsafe {
            let sum = _mm512_add_epi32(_mm512_cvtps_epi32(value), _mm512_cvtps_epi32(zero));
            let positive = _mm512_max_epi32(sum, _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(positive));
        }
    }

    #[inline(always)]
    unsafe fn store_u8s<const P: usize>(
        self,
        to: *mut u8,
        values: [Self::F32x16; P],
        zero: Self::F32x16,
    ) {
        let mut done = 0;
        if const { WITH >= VNNI } {
            // SAFETY: writable for the bytes of so many values, says the caller; the token proves
            // AVX-512 BW, which its table lists.
            unsafe {
                let zero = _mm512_cvtps_epi32(zero);
                let zero = _mm512_packs_epi32(zero, zero);
                // Of four vectors packed, each quarter has four bytes of each.
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                while done + 4 <= P {
                    let a = _mm512_cvtps_epi32(values[done]);
                    let b = _mm512_cvtps_epi32(values[done + 1]);
                    let c = _mm512_cvtps_epi32(values[done + 2]);
                    let d = _mm512_cvtps_epi32(values[done + 3]);
                    let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero);
                    let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero);
                    let bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
                    _mm512_storeu_si512(to.add(16 * done).cast(), bytes);
                    done += 4;
                }
            }
        }
        while done < P {
            // SAFETY: `to` is writable for 16 bytes a value, of which `done` are written.
            unsafe { self.store_u8(to.wrapping_add(16 * done), values[done], zero) };
            done += 1;
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the token proves AVX-512F.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, value: Self::F32x16) {
        if const { WITH >= BF16 } {
            // SAFETY: writable for 16 elements, says the caller; the token proves AVX-512 BF16.
            unsafe {
                let halves = _mm512_cvtneps_pbh(value);
                to.cast::<__m256bh>().write_unaligned(halves);
            }
            return;
        }
        // SAFETY: writable for 16 elements, says the caller; the token proves AVX-512F.
        unsafe {
            let bits = _mm512_castps_si512(value);
            let upper = _mm512_srli_epi32::<16>(bits);
            let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let normal = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7f80_0000));
            let sign = _mm512_and_si512(upper, _mm512_set1_epi32(0x8000));
            let sum = _mm512_add_epi32(bits, half);
            let number = _mm512_mask_srli_epi32::<16>(sign, normal, sum);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
            let halves = _mm512_mask_or_epi32(number, nan, upper, _mm512_set1_epi32(0x40));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(halves));
        }
    }
}

/// Tokens of instruction sets that include AVX-512F and have no products of [`Bf16`].
pub(super) trait WithoutBf16: Simd<F32x16 = __m512> {}

impl WithoutBf16 for Avx512 {}

impl WithoutBf16 for Zmm<VNNI> {}

impl<S: WithoutBf16> Halves for S {
    /// The second of each pair, and the first.
    type Pairs = [__m512; PAIR];

    // Of 32 registers, 24 accumulate, 4 hold weights and 2 the inputs.
    const HALF_TILE_PIXELS: [usize; 2] = [12, 12];

    #[inline(always)]
    unsafe fn pairs(self, from: *const Bf16) -> Self::Pairs {
        // SAFETY: readable for 32 elements, says the caller; the token proves AVX-512F.
        unsafe {
            let pairs = _mm512_loadu_si512(from.cast());
            let upper = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            [_mm512_castsi512_ps(upper), _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))]
        }
    }

    #[inline(always)]
    fn add_pairs(
        self,
        [first, second]: [Bf16; PAIR],
        weights: Self::Pairs,
        sums: __m512,
    ) -> __m512 {
        let sums = self.mul_add(self.splat(second.get()), weights[0], sums);
        self.mul_add(self.splat(first.get()), weights[1], sums)
    }
}

// SAFETY: the token proves AVX-512F, which includes AVX2.
unsafe impl IncludesAvx2 for Avx512 {}

/// AVX-512F alone has no products of 16-bit words, so they are AVX2's.
impl Integers for Avx512 {
    type Sums = Sums;

    #[inline(always)]
    fn no_sums(self) -> Sums {
        // SAFETY: the token proves AVX-512F, which includes AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Sums) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe {
            let low = _mm512_castsi256_si512(sums[0]);
            _mm512_cvtepi32_ps(_mm512_inserti64x4::<1>(low, sums[1]))
        }
    }
}

impl WithoutVnni for Avx512 {}

kernel_table!(Avx512: ["avx512f"]);
