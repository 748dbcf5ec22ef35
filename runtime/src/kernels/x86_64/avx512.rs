//! AVX-512F: a block is one register.

use std::arch::x86_64::*;

use crate::kernels::simd::Simd;

/// Token: the CPU has AVX-512F.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Avx512(());

impl Simd for Avx512 {
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
}

kernel_table!(Avx512: ["avx512f"]);
