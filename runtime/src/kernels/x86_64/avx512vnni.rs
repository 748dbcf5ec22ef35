//! AVX-512 with VNNI, the dot products of bytes in 512-bit registers. Over `f32` it is AVX-512.

use std::arch::x86_64::*;

use super::avx512::Zmm;
use crate::kernels::simd::Dot;

/// Token: the CPU has AVX-512F and AVX-512 VNNI.
pub(in crate::kernels) type Avx512Vnni = Zmm<true>;

impl Dot for Avx512Vnni {
    type Sums = __m512i;
    type Weights = __m512i;

    // As for `f32`, a multiply-add is one instruction on three registers.
    const DOT_TILE_PIXELS: [usize; 2] = [14, 14];

    #[inline(always)]
    fn no_sums(self) -> Self::Sums {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> Self::Weights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves AVX-512F.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, x: [u8; 4], weights: Self::Weights, sums: Self::Sums) -> Self::Sums {
        // SAFETY: the token proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(i32::from_le_bytes(x)), weights) }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

kernel_table!(Avx512Vnni: ["avx512f", "avx512bw", "avx512vl", "avx512vnni"]);
