//! Kernels for any CPU: arrays of 16, vectorised by the compiler for the target's baseline.

use super::simd::{ByteFactors, Dot, Halves, Integers, Simd, WordFactors, Words};
use super::{Bf16, PAIR, QUAD};

/// Token of the baseline instruction set, which every CPU has.
#[derive(Clone, Copy)]
pub(super) struct Portable(());

impl Simd for Portable {
    type F32x16 = [f32; 16];

    // The x86-64 baseline has 16 registers of 4 lanes: 8 accumulators leave room for a row of
    // weights, the input and the product, which is not fused here.
    const TILE_PIXELS: [usize; 2] = [2, 0];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32x16 {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the read asks for no alignment.
        unsafe { from.cast::<[f32; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the write asks for no alignment.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(value) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32x16, b: Self::F32x16, mut c: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            c[lane] += a[lane] * b[lane];
        }
        c
    }

    #[inline(always)]
    fn add(self, mut a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            a[lane] += b[lane];
        }
        a
    }

    #[inline(always)]
    fn sub(self, mut a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            a[lane] -= b[lane];
        }
        a
    }

    #[inline(always)]
    fn mul(self, mut a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            a[lane] *= b[lane];
        }
        a
    }

    #[inline(always)]
    fn div(self, mut a: Self::F32x16, b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            a[lane] /= b[lane];
        }
        a
    }

    #[inline(always)]
    fn max(self, a: Self::F32x16, mut b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            b[lane] = if a[lane] > b[lane] { a[lane] } else { b[lane] };
        }
        b
    }

    #[inline(always)]
    fn min(self, a: Self::F32x16, mut b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            b[lane] = if a[lane] < b[lane] { a[lane] } else { b[lane] };
        }
        b
    }

    #[inline(always)]
    fn pow2(self, mut n: Self::F32x16) -> Self::F32x16 {
        for n in &mut n {
            *n = f32::from_bits(((*n as i32).wrapping_add(127) as u32) << 23);
        }
        n
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::F32x16, mut b: Self::F32x16) -> Self::F32x16 {
        for lane in 0..16 {
            let keep = a[lane] > b[lane] || a[lane].is_nan();
            b[lane] = if keep { a[lane] } else { b[lane] };
        }
        b
    }

    #[cfg(feature = "train")]
    #[inline(always)]
    fn where_greater(
        self,
        a: Self::F32x16,
        b: Self::F32x16,
        x: Self::F32x16,
        y: Self::F32x16,
    ) -> Self::F32x16 {
        let mut chosen = y;
        for lane in 0..16 {
            chosen[lane] = if a[lane] > b[lane] { x[lane] } else { y[lane] };
        }
        chosen
    }

    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> Self::F32x16 {
        // SAFETY: readable for 16 bytes, says the caller.
        let bytes = unsafe { from.cast::<[u8; 16]>().read() };
        bytes.map(f32::from)
    }

    #[inline(always)]
    unsafe fn store_u8(self, to: *mut u8, value: Self::F32x16, zero: Self::F32x16) {
        /// Added and subtracted it leaves integers: its neighbours are 1 apart. The baseline of x86-64
        /// has no instruction for that.
        const ROUNDING: f32 = 1.5 * (1 << 23) as f32;
        let mut bytes = [0; 16];
        for lane in 0..16 {
            let rounded = (value[lane] + ROUNDING) - ROUNDING;
            // The cast saturates.
            bytes[lane] = (rounded + zero[lane]) as u8;
        }
        // SAFETY: writable for 16 bytes, says the caller.
        unsafe { to.cast::<[u8; 16]>().write(bytes) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16) -> Self::F32x16 {
        // SAFETY: readable for 16 elements, says the caller; the read asks for no alignment.
        unsafe { from.cast::<[Bf16; 16]>().read_unaligned() }.map(Bf16::get)
    }

    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut Bf16, value: Self::F32x16) {
        // SAFETY: writable for 16 elements, says the caller; the write asks for no alignment.
        unsafe { to.cast::<[Bf16; 16]>().write_unaligned(value.map(Bf16::new)) }
    }
}

impl Words for Portable {
    type Words = [i16; 16];

    const TILES: usize = 1;

    #[inline(always)]
    unsafe fn load_words(self, from: *const u8, _: usize) -> [i16; 16] {
        // SAFETY: readable for 16 bytes, says the caller.
        let bytes = unsafe { from.cast::<[u8; 16]>().read() };
        bytes.map(i16::from)
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, words: [i16; 16], _: usize) {
        // SAFETY: writable for 16 words, says the caller; the write asks for no alignment.
        unsafe { to.cast::<[i16; 16]>().write_unaligned(words) }
    }

    #[inline(always)]
    fn add_words(self, mut a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        for lane in 0..16 {
            a[lane] = a[lane].wrapping_add(b[lane]);
        }
        a
    }

    #[inline(always)]
    fn sub_words(self, mut a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        for lane in 0..16 {
            a[lane] = a[lane].wrapping_sub(b[lane]);
        }
        a
    }

    #[inline(always)]
    fn shift_words<const BITS: i32>(self, a: [i16; 16]) -> [i16; 16] {
        a.map(|word| word << BITS)
    }

    #[inline(always)]
    unsafe fn load_signed(self, from: *const i8) -> [i16; 16] {
        // SAFETY: readable for 16 bytes, says the caller.
        let bytes = unsafe { from.cast::<[i8; 16]>().read() };
        bytes.map(i16::from)
    }

    #[inline(always)]
    unsafe fn read_words(self, from: *const i16) -> [i16; 16] {
        // SAFETY: readable for 16 words, says the caller; the read asks for no alignment.
        unsafe { from.cast::<[i16; 16]>().read_unaligned() }
    }

    #[inline(always)]
    fn scale_words(self, mut a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        for lane in 0..16 {
            a[lane] = ((i32::from(a[lane]) * i32::from(b[lane]) + (1 << 14)) >> 15) as i16;
        }
        a
    }
}

impl Integers for Portable {
    type Sums = [i32; 16];

    #[inline(always)]
    fn no_sums(self) -> [i32; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn sums_to_f32(self, sums: [i32; 16]) -> Self::F32x16 {
        sums.map(|sum| sum as f32)
    }
}

impl Dot<ByteFactors> for Portable {
    type Weights = [i8; 64];

    // As for `f32`.
    const DOT_TILE_PIXELS: [usize; 2] = [2, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i8) -> [i8; 64] {
        // SAFETY: readable for 64 bytes, says the caller.
        unsafe { from.cast::<[i8; 64]>().read() }
    }

    #[inline(always)]
    fn dot(self, x: [u8; QUAD], weights: [i8; 64], mut sums: [i32; 16]) -> [i32; 16] {
        for (lane, sum) in sums.iter_mut().enumerate() {
            for (k, &x) in x.iter().enumerate() {
                let product = i16::from(x).wrapping_mul(i16::from(weights[QUAD * lane + k]));
                *sum = sum.wrapping_add(i32::from(product));
            }
        }
        sums
    }
}

impl Dot<WordFactors> for Portable {
    type Weights = [i16; 32];

    // As for `f32`.
    const DOT_TILE_PIXELS: [usize; 2] = [2, 0];

    #[inline(always)]
    unsafe fn weights(self, from: *const i16) -> [i16; 32] {
        // SAFETY: readable for 32 words, says the caller; the read asks for no alignment.
        unsafe { from.cast::<[i16; 32]>().read_unaligned() }
    }

    #[inline(always)]
    fn dot(self, x: [i16; PAIR], weights: [i16; 32], mut sums: [i32; 16]) -> [i32; 16] {
        for (lane, sum) in sums.iter_mut().enumerate() {
            for (k, &x) in x.iter().enumerate() {
                let product = i32::from(x).wrapping_mul(i32::from(weights[PAIR * lane + k]));
                *sum = sum.wrapping_add(product);
            }
        }
        sums
    }
}

impl Halves for Portable {
    type Pairs = [Bf16; 32];

    // As for `f32`.
    const HALF_TILE_PIXELS: [usize; 2] = [2, 0];

    #[inline(always)]
    unsafe fn pairs(self, from: *const Bf16) -> [Bf16; 32] {
        // SAFETY: readable for 32 elements, says the caller; the read asks for no alignment.
        unsafe { from.cast::<[Bf16; 32]>().read_unaligned() }
    }

    #[inline(always)]
    fn add_pairs(self, x: [Bf16; PAIR], weights: [Bf16; 32], mut sums: [f32; 16]) -> [f32; 16] {
        for k in [1, 0] {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum += x[k].get() * weights[PAIR * lane + k].get();
            }
        }
        sums
    }
}

kernel_table!(Portable: []);
