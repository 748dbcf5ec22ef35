//! AVX-512 with VNNI, the dot products of integers in 512-bit registers. Over `f32` it is AVX-512.

use std::arch::x86_64::*;

use super::avx512::Zmm;
use super::words::together;
use crate::kernels::simd::{ByteFactors, Dot, Integers, WordFactors};
use crate::kernels::{PAIR, QUAD};

/// Token: the CPU has AVX-512F and AVX-512 VNNI.
pub(in crate::kernels) type Avx512Vnni = Zmm<true>;

impl Integers for Avx512Vnni {
    type Sums = __m512i;

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: __m512i) -> Self::F32x16 {
        // SAFETY: the token proves AVX-512F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
}

/// The dot products of `$factors` by an instruction; `$together` makes 32 bits of the inputs.
macro_rules! dot {
    ($factors:ty, $weight:ty, $inputs:ty, $together:path, $instruction:ident) => {
        impl Dot<$factors> for Avx512Vnni {
            type Weights = __m512i;

            // As for `f32`, a multiply-add is one instruction on three registers.
            const DOT_TILE_PIXELS: [usize; 2] = [14, 14];

            #[inline(always)]
            unsafe fn weights(self, from: *const $weight) -> __m512i {
                // SAFETY: readable for 64 bytes, says the caller; the token proves AVX-512F.
                unsafe { _mm512_loadu_si512(from.cast()) }
            }

            #[inline(always)]
            fn dot(self, x: $inputs, weights: __m512i, sums: __m512i) -> __m512i {
                // SAFETY: the token proves AVX-512 VNNI.
                unsafe { $instruction(sums, _mm512_set1_epi32($together(x)), weights) }
            }
        }
    };
}

dot!(ByteFactors, i8, [u8; QUAD], i32::from_le_bytes, _mm512_dpbusd_epi32);
dot!(WordFactors, i16, [i16; PAIR], together, _mm512_dpwssd_epi32);

kernel_table!(Avx512Vnni: ["avx512f", "avx512bw", "avx512vl", "avx512vnni"]);
