//! AVX2 with AVX-VNNI, the dot products of integers in 256-bit registers. Over `f32` it is AVX2.

use std::arch::x86_64::*;

use super::avx2::Ymm;
use super::words::{Sums, together};
use crate::kernels::simd::{ByteFactors, Dot, Factors, WordFactors};
use crate::kernels::{BLOCK, PAIR, QUAD};

/// Token: the CPU has AVX2, FMA and AVX-VNNI.
pub(in crate::kernels) type AvxVnni = Ymm<true>;

/// The dot products of `$factors` by an instruction; `$together` makes 32 bits of the inputs.
macro_rules! dot {
    ($factors:ty, $weight:ty, $inputs:ty, $together:path, $instruction:ident) => {
        impl Dot<$factors> for AvxVnni {
            type Weights = [__m256i; 2];

            // As for `f32`, a multiply-add is one instruction on three registers.
            const DOT_TILE_PIXELS: [usize; 2] = [6, 3];

            #[inline(always)]
            unsafe fn weights(self, from: *const $weight) -> [__m256i; 2] {
                let from = from.cast::<u8>();
                // SAFETY: readable for 64 bytes, says the caller; the token proves AVX2.
                unsafe {
                    [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast())]
                }
            }

            #[inline(always)]
            fn dot(self, x: $inputs, weights: [__m256i; 2], sums: Sums) -> Sums {
                // SAFETY: the token proves AVX-VNNI.
                unsafe {
                    let x = _mm256_set1_epi32($together(x));
                    [$instruction(sums[0], x, weights[0]), $instruction(sums[1], x, weights[1])]
                }
            }

            #[inline(always)]
            unsafe fn dots<const P: usize, const B: usize>(
                self,
                sums: &mut [[Sums; P]; B],
                x: *const <$factors as Factors>::Input,
                step: usize,
                w: *const $weight,
            ) {
                const ROW: usize = BLOCK * <$factors as Factors>::COUNT;
                // As in a convolution of `f32`, the fewer of inputs and weights stay in registers.
                // SAFETY: the inputs of each pixel and a row of weights a block, says the caller; the
                // token proves AVX-VNNI.
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
                                let w = w.wrapping_add(o * ROW + half * ROW / 2);
                                let weights = _mm256_loadu_si256(w.cast());
                                for p in 0..P {
                                    let sum = &mut sums[o][p][half];
                                    *sum = $instruction(*sum, inputs[p], weights);
                                }
                            }
                        }
                    } else {
                        for o in 0..B {
                            let weights = Dot::<$factors>::weights(self, w.wrapping_add(o * ROW));
                            for p in 0..P {
                                let input = x.wrapping_add(p * step).cast::<$inputs>();
                                let input = input.read_unaligned();
                                sums[o][p] = Dot::<$factors>::dot(self, input, weights, sums[o][p]);
                            }
                        }
                    }
                }
            }
        }
    };
}

dot!(ByteFactors, i8, [u8; QUAD], i32::from_le_bytes, _mm256_dpbusd_avx_epi32);
dot!(WordFactors, i16, [i16; PAIR], together, _mm256_dpwssd_avx_epi32);

kernel_table!(AvxVnni: ["avx2", "fma", "avxvnni"]);
