//! Products of bytes without VNNI, on AVX2: as 16-bit words, of which `vpmaddwd` adds the products of
//! pairs exactly. (`vpmaddubsw`, which takes bytes, saturates.)

use std::arch::x86_64::*;

/// Sums 0 to 7, and 8 to 15.
pub(in crate::kernels) type Sums = [__m256i; 2];

/// Weights of the even and of the odd bytes, of each half of the sums.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Weights {
    even: [__m256i; 2],
    odd: [__m256i; 2],
}

// Of 16 registers, 8 accumulate, 4 hold weights, 2 the input's even and odd bytes, and 1 a product.
pub(super) const TILE_PIXELS: [usize; 2] = [4, 0];

/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn no_sums() -> Sums {
    // SAFETY: the CPU has AVX2, says the caller.
    unsafe { [_mm256_setzero_si256(); 2] }
}

/// # Safety
///
/// `from` is readable for 64 bytes, and the CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn weights(from: *const i8) -> Weights {
    // SAFETY: says the caller.
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

/// # Safety
///
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn dot(x: [u8; 4], weights: Weights, mut sums: Sums) -> Sums {
    // SAFETY: the CPU has AVX2, says the caller.
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
