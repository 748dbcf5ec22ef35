//! Work that one limit of the machine holds back and nothing else, for [`machine`](crate::machine)
//! to time.

use std::hint::black_box;

use super::simd::{ByteFactors, Dot, Halves, Outlined, Simd};
use super::{BLOCK, Bf16, Isa, PAIR, QUAD, UnavailableIsa};

/// Does multiply-adds in registers: chains of `steps` dependent ones, as many side by side as hide
/// their latency. Returns how many it were.
///
/// # Errors
///
/// If this CPU lacks the instruction set.
pub(crate) fn multiply_adds(isa: Isa, steps: usize) -> Result<usize, UnavailableIsa> {
    let mut done = 0;
    // SAFETY: `Chains` touches no memory but its own.
    unsafe { isa.run(Chains { steps, done: &mut done })? };
    Ok(done)
}

/// The same of bytes: products of `u8` and `s8`, added to `i32`.
///
/// # Errors
///
/// If this CPU lacks the instruction set.
pub(crate) fn byte_multiply_adds(isa: Isa, steps: usize) -> Result<usize, UnavailableIsa> {
    let mut done = 0;
    // SAFETY: `Dots` touches no memory but its own.
    unsafe { isa.run(Dots { steps, done: &mut done })? };
    Ok(done)
}

/// The same of [`Bf16`](super::Bf16), whose products are added to `f32`.
///
/// # Errors
///
/// If this CPU lacks the instruction set.
pub(crate) fn half_multiply_adds(isa: Isa, steps: usize) -> Result<usize, UnavailableIsa> {
    let mut done = 0;
    // SAFETY: `HalfDots` touches no memory but its own.
    unsafe { isa.run(HalfDots { steps, done: &mut done })? };
    Ok(done)
}

/// Reads memory once, from front to end.
///
/// # Errors
///
/// If this CPU lacks the instruction set.
pub(crate) fn stream(isa: Isa, memory: &[f32]) -> Result<(), UnavailableIsa> {
    // SAFETY: `Stream` reads within its slice.
    unsafe { isa.run(Stream { memory }) }
}

struct Chains<'a> {
    steps: usize,
    done: &'a mut usize,
}

impl Outlined for Chains<'_> {
    /// # Safety
    ///
    /// None is asked for.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        // As many sums as fill the registers, but for what the factors take: a convolution's tile
        // leaves more of them free.
        let sums = match S::TILE_PIXELS[0] {
            0..=3 => chains::<S, 3>(simd, self.steps),
            4..=9 => chains::<S, 6>(simd, self.steps),
            _ => chains::<S, 14>(simd, self.steps),
        };
        *self.done = sums * BLOCK * self.steps;
    }
}

/// Returns `N`.
#[inline(always)]
fn chains<S: Simd, const N: usize>(simd: S, steps: usize) -> usize {
    // The sums tend to 2.
    let (half, one) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
    let mut sums = [simd.splat(black_box(1.0)); N];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = simd.mul_add(*sum, half, one);
        }
    }
    black_box(sums);
    N
}

struct Dots<'a> {
    steps: usize,
    done: &'a mut usize,
}

impl Outlined for Dots<'_> {
    /// # Safety
    ///
    /// None is asked for.
    #[inline(always)]
    unsafe fn run<S: Dot<ByteFactors>>(self, simd: S) {
        // A convolution's tile.
        let sums = match S::DOT_TILE_PIXELS[0] {
            0..=3 => dots::<S, 2, 1>(simd, self.steps),
            4..=5 => dots::<S, 4, 1>(simd, self.steps),
            6..=9 => dots::<S, 6, 1>(simd, self.steps),
            _ => dots::<S, 14, 2>(simd, self.steps),
        };
        *self.done = sums * BLOCK * QUAD * self.steps;
    }
}

/// Returns `P * B`.
#[inline(always)]
fn dots<S: Dot<ByteFactors>, const P: usize, const B: usize>(simd: S, steps: usize) -> usize {
    let (x, w) = ([[1u8; QUAD]; P], [[1i8; BLOCK * QUAD]; B]);
    let mut sums = [[simd.no_sums(); P]; B];
    for _ in 0..steps {
        let (x, w) = (black_box(&x).as_ptr().cast(), black_box(&w).as_ptr().cast());
        // SAFETY: `x` has four bytes an input, `w` 64 bytes a block.
        unsafe { simd.dots::<P, B>(&mut sums, x, QUAD, w) };
    }
    black_box(sums);
    P * B
}

struct HalfDots<'a> {
    steps: usize,
    done: &'a mut usize,
}

impl Outlined for HalfDots<'_> {
    /// # Safety
    ///
    /// None is asked for.
    #[inline(always)]
    unsafe fn run<S: Halves>(self, simd: S) {
        // A convolution's tile.
        let sums = match S::HALF_TILE_PIXELS[0] {
            0..=3 => half_dots::<S, 2>(simd, self.steps),
            4..=9 => half_dots::<S, 4>(simd, self.steps),
            _ => half_dots::<S, 12>(simd, self.steps),
        };
        *self.done = sums * BLOCK * PAIR * self.steps;
    }
}

/// Returns `P`.
#[inline(always)]
fn half_dots<S: Halves, const P: usize>(simd: S, steps: usize) -> usize {
    let (x, w) = ([[Bf16::new(0.5); PAIR]; P], [Bf16::new(0.5); BLOCK * PAIR]);
    let mut sums = [simd.splat(0.0); P];
    for _ in 0..steps {
        let x = black_box(&x);
        // SAFETY: a row of weights.
        let w = unsafe { simd.pairs(black_box(&w).as_ptr()) };
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum = simd.add_pairs(x, w, *sum);
        }
    }
    black_box(sums);
    P
}

struct Stream<'a> {
    memory: &'a [f32],
}

impl Stream<'_> {
    /// Blocks that are read between two looks at the end.
    const UNROLLED: usize = 4;

    /// How far ahead of reading memory is asked for, in elements: a page, beyond which the CPU's own
    /// prefetching does not look.
    const AHEAD: usize = 4096 / size_of::<f32>();
}

impl Outlined for Stream<'_> {
    /// # Safety
    ///
    /// None is asked for.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        let mut sums = [simd.splat(0.0); Self::UNROLLED];
        for chunk in self.memory.chunks_exact(Self::UNROLLED * BLOCK) {
            for (index, sum) in sums.iter_mut().enumerate() {
                let from = chunk.as_ptr().wrapping_add(index * BLOCK);
                simd.prefetch_near(from.wrapping_add(Self::AHEAD));
                // SAFETY: the chunk has `UNROLLED` blocks, of which this is one.
                *sum = simd.add(*sum, unsafe { simd.load(from) });
            }
        }
        black_box(sums);
    }
}
