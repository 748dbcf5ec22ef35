//! AVX2 with AVX-VNNI, the dot products of bytes in 256-bit registers. Over `f32` it is AVX2.

use std::arch::x86_64::*;

use super::avx2::Ymm;
use crate::kernels::simd::Dot;
use crate::kernels::{BLOCK, QUAD};

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
    #[expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]
    unsafe fn dots<const P: usize, const B: usize>(
        self,
        sums: &mut [[Self::Sums; P]; B],
        x: *const u8,
        step: usize,
        w: *const i8,
    ) {
        // As in a convolution of `f32`, the fewer of inputs and weights stay in registers.
        // SAFETY: four bytes of each input and 64 of weights a block, says the caller; the token proves
        // AVX-VNNI.
        unsafe {
            if const { P <= 3 } {
                // Half a row at a time needs one register for the weights.
                let mut inputs = [_mm256_setzero_si256(); P];
                for p in 0..P {
                    let input = x.wrapping_add(p * step).cast::<i32>();
                    inputs[p] = _mm256_set1_epi32(input.read_unaligned());
                }
                for o in 0..B {
                    for half in 0..2 {
                        let w = w.wrapping_add(o * BLOCK * QUAD + half * 32);
                        let weights = _mm256_loadu_si256(w.cast());
                        for p in 0..P {
                            let sum = &mut sums[o][p][half];
                            *sum = _mm256_dpbusd_avx_epi32(*sum, inputs[p], weights);
                        }
                    }
                }
            } else {
                for o in 0..B {
                    let weights = self.weights(w.wrapping_add(o * BLOCK * QUAD));
                    for p in 0..P {
                        let input = x.wrapping_add(p * step).cast::<[u8; QUAD]>().read();
                        sums[o][p] = self.dot(input, weights, sums[o][p]);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: Self::Sums) -> Self::F32x16 {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
}

kernel_table!(AvxVnni: ["avx2", "fma", "avxvnni"]);
