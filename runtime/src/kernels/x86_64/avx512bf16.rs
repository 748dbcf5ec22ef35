//! AVX-512 with VNNI and BF16. All but the convolution of [`Bf16`] is AVX-512 with VNNI.

use std::arch::x86_64::*;

use super::avx512::{BF16, Zmm};
use super::avx512vnni;
use crate::kernels::simd::Halves;
use crate::kernels::{Bf16, PAIR, Table};

/// Token: the CPU has AVX-512F, BW, VL, VNNI and BF16.
pub(in crate::kernels) type Avx512Bf16 = Zmm<BF16>;

impl Halves for Avx512Bf16 {
    type Pairs = __m512bh;

    // As for `f32`, a pair of multiply-adds is one instruction on three registers.
    const HALF_TILE_PIXELS: [usize; 2] = [14, 14];

    #[inline(always)]
    unsafe fn pairs(self, from: *const Bf16) -> __m512bh {
        // SAFETY: readable for 32 elements, says the caller.
        unsafe { from.cast::<__m512bh>().read_unaligned() }
    }

    #[inline(always)]
    fn add_pairs(self, x: [Bf16; PAIR], weights: __m512bh, sums: __m512) -> __m512 {
        let [first, second] = x.map(|half| i32::from(half.to_bits()));
        // SAFETY: the token proves AVX-512 BF16; a register is a register.
        unsafe {
            let x =
                std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(second << 16 | first));
            _mm512_dpbf16_ps(sums, x, weights)
        }
    }
}

isa_token!(Avx512Bf16: ["avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx512bf16"]);

/// Those of AVX-512 with VNNI, but for one.
pub(in crate::kernels) static TABLE: Table = {
    use crate::kernels::*;
    kernel_table! {
        @kernel Avx512Bf16 ["avx512f", "avx512bw", "avx512vl", "avx512vnni", "avx512bf16"]
        conv conv_bf16 ConvParams (x, w, b, r, n, y)
    }
    Table { conv_bf16, ..avx512vnni::TABLE }
};
