//! Products of bytes without VNNI, on AVX2: as 16-bit words, of which `vpmaddwd` adds the products of
//! pairs exactly. (`vpmaddubsw`, which takes bytes, saturates.)

use std::arch::x86_64::*;

use crate::kernels::QUAD;
use crate::kernels::simd::{Dot, Simd};

/// Sums 0 to 7, and 8 to 15.
pub(in crate::kernels) type Sums = [__m256i; 2];

/// Weights of the even and of the odd bytes, of each half of the sums.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Weights {
    even: [__m256i; 2],
    odd: [__m256i; 2],
}

/// Tokens that have no products of bytes of their own.
///
/// # Safety
///
/// The token proves AVX2, which AVX-512F includes.
pub(super) unsafe trait Words: Simd {
    /// The sums, each rounded once, half to even.
    fn words_to_f32(self, sums: Sums) -> Self::F32x16;
}

impl<S: Words> Dot for S {
    type Sums = Sums;
    type Weights = Weights;

    // Of 16 registers, 8 accumulate, 4 hold weights, 2 the input's even and odd bytes, and 1 a product.
    const DOT_TILE_PIXELS: [usize; 2] = [4, 0];

    #[inline(always)]
    fn no_sums(self) -> Sums {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> Weights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves AVX2.
        unsafe {
            let low = _mm256_loadu_si256(from.cast());
            let high = _mm256_loadu_si256(from.add(32).cast());
            Weights {
                even: [
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(low)),
                    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(high)),
                ],
                odd: [_mm256_srai_epi16::<8>(low), _mm256_srai_epi16::<8>(high)],
            }
        }
    }

    #[inline(always)]
    fn dot(self, x: [u8; QUAD], weights: Weights, mut sums: Sums) -> Sums {
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

    #[inline(always)]
    fn sums_to_f32(self, sums: Sums) -> Self::F32x16 {
        self.words_to_f32(sums)
    }
}
