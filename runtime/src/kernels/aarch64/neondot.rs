//! NEON with the dot products of bytes, which multiply signed with signed bytes: an input `x` goes in as `x - 128`, and what that takes
//! from a sum is added with its weights, 128 times their sum. Over `f32` it is NEON.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::{Sums, Vector};
use crate::kernels::QUAD;
use crate::kernels::simd::{ByteFactors, Dot};

/// Token: the CPU has NEON and its dot products.
pub(in crate::kernels) type NeonDot = Vector<true>;

/// Four weights of each of 16 sums, and 128 times the sum of each four.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Weights {
    bytes: [int8x16_t; 4],
    offsets: Sums,
}

impl Dot<ByteFactors> for NeonDot {
    type Weights = Weights;

    // Of 32 registers, 20 accumulate, 8 hold weights and their offsets, and 1 the input.
    const DOT_TILE_PIXELS: [usize; 2] = [5, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> Weights {
        // SAFETY: readable for 64 bytes, says the caller; the token proves NEON.
        let bytes = unsafe {
            [vld1q_s8(from), vld1q_s8(from.add(16)), vld1q_s8(from.add(32)), vld1q_s8(from.add(48))]
        };
        Weights {
            bytes,
            offsets: [
                offset(self, bytes[0]),
                offset(self, bytes[1]),
                offset(self, bytes[2]),
                offset(self, bytes[3]),
            ],
        }
    }

    #[inline(always)]
    fn dot(self, x: [u8; QUAD], weights: Weights, sums: Sums) -> Sums {
        // In two's complement, 128 less is another upper bit.
        let x = u32::from_le_bytes(x) ^ 0x8080_8080;
        // SAFETY: the token proves NEON.
        let x = unsafe { vreinterpretq_s8_u32(vdupq_n_u32(x)) };
        let Weights { bytes, offsets } = weights;
        [
            dot(self, add(sums[0], offsets[0]), x, bytes[0]),
            dot(self, add(sums[1], offsets[1]), x, bytes[1]),
            dot(self, add(sums[2], offsets[2]), x, bytes[2]),
            dot(self, add(sums[3], offsets[3]), x, bytes[3]),
        ]
    }
}

/// 128 times the sum of each four bytes.
#[inline(always)]
fn offset(token: NeonDot, bytes: int8x16_t) -> int32x4_t {
    // SAFETY: the token proves NEON.
    let (none, half) = unsafe { (vdupq_n_s32(0), vdupq_n_s8(64)) };
    dot(token, dot(token, none, half, bytes), half, bytes)
}

#[inline(always)]
fn add(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: the tokens of this module's callers prove NEON.
    unsafe { vaddq_s32(a, b) }
}

/// Adds to four sums the products of four bytes each.
#[inline(always)]
fn dot(_: NeonDot, mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // Its intrinsic is not stable.
    // SAFETY: the token proves the dot products, whose instruction reads and writes these registers alone.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

kernel_table!(NeonDot: ["neon", "dotprod"]);
