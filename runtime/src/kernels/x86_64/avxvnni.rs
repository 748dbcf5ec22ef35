//! AVX2 with AVX-VNNI, the dot products of bytes in 256-bit registers. Over `f32` it is AVX2.

use std::arch::x86_64::*;

use super::avx2::Ymm;
use crate::kernels::simd::Dot;

/// Token: the CPU has AVX2, FMA and AVX-VNNI.
pub(in crate::kernels) type AvxVnni = Ymm<true>;

impl Dot for AvxVnni {
    type Sums = [__m256i; 2];
    type Weights = [__m256i; 2];

    // As for `f32`, a multiply-add is one instruction on three registers.
    const DOT_TILE_PIXELS: [usize; 2] = [6, 3];

    #[inline(always)]
    fn no_sums(self) -> Self::Sums {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> Self::Weights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves AVX2.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())] }
    }

    #[inline(always)]
    fn dot(self, x: [u8; 4], weights: Self::Weights, sums: Self::Sums) -> Self::Sums {
        // SAFETY: the token proves AVX-VNNI.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x));
            [
                _mm256_dpbusd_avx_epi32(sums[0], x, weights[0]),
                _mm256_dpbusd_avx_epi32(sums[1], x, weights[1]),
            ]
        }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
}

kernel_table!(AvxVnni: ["avx2", "fma", "avxvnni"]);
