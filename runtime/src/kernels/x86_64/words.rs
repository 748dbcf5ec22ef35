//! 16-bit words on AVX2: transforms of bytes, and products without VNNI, of which `vpmaddwd` adds those of
//! pairs exactly. (`vpmaddubsw`, which takes bytes, saturates.)

use std::arch::x86_64::*;

use crate::kernels::simd::{ByteFactors, Dot, Integers, Simd, WordFactors, Words};
use crate::kernels::{BLOCK, PAIR, QUAD};

/// Sums 0 to 7, and 8 to 15.
pub(in crate::kernels) type Sums = [__m256i; 2];

/// Tokens of instruction sets that include AVX2 and have no words of their own.
///
/// # Safety
///
/// The token proves AVX2.
pub(super) unsafe trait IncludesAvx2: Simd {}

impl<S: IncludesAvx2> Words for S {
    type Words = __m256i;

    const TILES: usize = 1;

    #[inline(always)]
    unsafe fn load_words(self, from: *const u8, _: usize) -> __m256i {
        // SAFETY: readable for 16 bytes, says the caller; the token proves AVX2.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, words: __m256i, _: usize) {
        // SAFETY: writable for 16 words, says the caller; the token proves AVX2.
        unsafe { _mm256_storeu_si256(to.cast(), words) }
    }

    #[inline(always)]
    fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_epi16(a, b) }
    }

    #[inline(always)]
    fn sub_words(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn shift_words<const BITS: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_slli_epi16::<BITS>(a) }
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> __m256i {
        // SAFETY: readable for 16 bytes, says the caller; the token proves AVX2.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn read_words(self, from: *const i16) -> __m256i {
        // SAFETY: readable for 16 words, says the caller; the token proves AVX2.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn scale_words(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_mulhrs_epi16(a, b) }
    }
}

/// Weights of the even and of the odd bytes, of each half of the sums.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct ByteWeights {
    even: [__m256i; 2],
    odd: [__m256i; 2],
}

/// Tokens that have no instruction for dot products.
pub(super) trait WithoutVnni: IncludesAvx2 + Integers<Sums = Sums> {}

impl<S: WithoutVnni> Dot<ByteFactors> for S {
    type Weights = ByteWeights;

    // Of 16 registers, 8 accumulate, 4 hold weights, 2 the input's even and odd bytes, and 1 a product.
    const DOT_TILE_PIXELS: [usize; 2] = [4, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> ByteWeights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves AVX2.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(32).cast());
            ByteWeights {
                even: [
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(low)),
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(high)),
                ],
                odd: [_mm256_srai_epi16::<8>(low), _mm256_srai_epi16::<8>(high)],
            }
        }
    }

    #[inline(always)]
    fn dot(self, x: [u8; QUAD], weights: ByteWeights, mut sums: Sums) -> Sums {
        // SAFETY: the token proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(i32::from_le_bytes(x));
            let even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
            let odd = _mm256_srli_epi16::<8>(x);
            for (half, sum) in sums.iter_mut().enumerate() {
                let products = _mm256_madd_epi16(even, weights.even[half]);
                *sum = _mm256_add_epi32(*sum, products);
                let products = _mm256_madd_epi16(odd, weights.odd[half]);
                *sum = _mm256_add_epi32(*sum, products);
            }
            sums
        }
    }
}

impl<S: WithoutVnni> Dot<WordFactors> for S {
    type Weights = [__m256i; 2];

    // Of 16 registers, 12 accumulate, 2 hold weights, 1 the input and 1 a product.
    const DOT_TILE_PIXELS: [usize; 2] = [6, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i16) -> [__m256i; 2] {
        // SAFETY: readable for 32 words, says the caller; the token proves AVX2.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(BLOCK).cast())] }
    }

    #[inline(always)]
    fn dot(self, x: [i16; PAIR], weights: [__m256i; 2], mut sums: Sums) -> Sums {
        // SAFETY: the token proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(together(x));
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, weights));
            }
            sums
        }
    }
}

/// Two words in the order in which memory has them.
#[inline(always)]
pub(super) fn together([low, high]: [i16; PAIR]) -> i32 {
    i32::from(high) << 16 | i32::from(low as u16)
}

/// Of each lane the larger byte.
#[inline(always)]
pub(super) fn larger_bytes(mut a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
    // SAFETY: arrays of 16 bytes; every CPU of this architecture has SSE2.
    unsafe {
        let larger =
            _mm_max_epu8(_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast()));
        _mm_storeu_si128(a.as_mut_ptr().cast(), larger);
    }
    a
}
