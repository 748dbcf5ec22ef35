//! AVX-512 with VNNI, the dot products of integers in 512-bit registers. Over `f32` it is AVX-512.

use std::arch::x86_64::*;

use super::avx512::{BF16, VNNI, Zmm};
use super::words::together;
use crate::kernels::simd::{ByteFactors, Dot, Integers, WordFactors, Words};
use crate::kernels::{PAIR, QUAD};

/// Token: the CPU has AVX-512F, BW, VL and VNNI.
pub(in crate::kernels) type Avx512Vnni = Zmm<VNNI>;

/// The dot products of `$factors` by an instruction; `$together` makes 32 bits of the inputs.
macro_rules! dot {
    ($isa:ty, $factors:ty, $weight:ty, $inputs:ty, $together:path, $instruction:ident) => {
        impl Dot<$factors> for $isa {
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

/// Integers, of a token that proves the same and more.
macro_rules! integers {
    ($isa:ty) => {
        impl Words for $isa {
            type Words = __m512i;

            const TILES: usize = 2;

            #[inline(always)]
            unsafe fn load_words(self, from: *const u8, next: usize) -> __m512i {
                // SAFETY: readable for 16 bytes of both tiles, says the caller; the token proves AVX-512 BW.
                unsafe {
                    let first = _mm_loadu_si128(from.cast());
                    let second = _mm_loadu_si128(from.wrapping_add(next).cast());
                    _mm512_cvtepu8_epi16(_mm256_set_m128i(second, first))
                }
            }

            #[inline(always)]
            unsafe fn store_words(self, to: *mut i16, words: __m512i, tiles: usize) {
                // SAFETY: writable for 16 words a tile, says the caller; the token proves AVX-512F.
                unsafe {
                    if tiles == 1 {
                        _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(words));
                    } else {
                        _mm512_storeu_si512(to.cast(), words);
                    }
                }
            }

            #[inline(always)]
            fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token proves AVX-512 BW.
                unsafe { _mm512_add_epi16(a, b) }
            }

            #[inline(always)]
            fn sub_words(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token proves AVX-512 BW.
                unsafe { _mm512_sub_epi16(a, b) }
            }

            #[inline(always)]
            fn shift_words<const BITS: i32>(self, a: __m512i) -> __m512i {
                // SAFETY: the token proves AVX-512 BW.
                unsafe { _mm512_sll_epi16(a, _mm_cvtsi32_si128(BITS)) }
            }

            #[inline(always)]
            unsafe fn load_signed(self, from: *const i8) -> __m512i {
                // SAFETY: readable for 32 bytes, says the caller; the token proves AVX-512 BW.
                unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
            }

            #[inline(always)]
            unsafe fn read_words(self, from: *const i16) -> __m512i {
                // SAFETY: readable for 32 words, says the caller; the token proves AVX-512F.
                unsafe { _mm512_loadu_si512(from.cast()) }
            }

            #[inline(always)]
            fn scale_words(self, a: __m512i, b: __m512i) -> __m512i {
                // SAFETY: the token proves AVX-512 BW.
                unsafe { _mm512_mulhrs_epi16(a, b) }
            }
        }

        impl Integers for $isa {
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

        dot!($isa, ByteFactors, i8, [u8; QUAD], i32::from_le_bytes, _mm512_dpbusd_epi32);
        dot!($isa, WordFactors, i16, [i16; PAIR], together, _mm512_dpwssd_epi32);
    };
}

integers!(Avx512Vnni);
integers!(Zmm<BF16>);

kernel_table!(Avx512Vnni: ["avx512f", "avx512bw", "avx512vl", "avx512vnni"]);
