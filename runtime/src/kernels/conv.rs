//! Convolution: a register tile of output pixels by output channels that stays in registers for
//! the whole reduction.
//!
//! ```text
//! sums[o][p] = bias[o]                            for P pixels, B blocks of 16 channels
//! for each input block, kernel row, kernel column, lane:
//!     weights[o] = w[o]                           B loads, side by side
//!     for p: for o:
//!         sums[o][p] += x[p] * weights[o]         P broadcasts, P * B multiply-adds
//! y[o][p] = epilogue(sums[o][p])
//! ```
//!
//! The tile is chosen so that multiply-adds are the limit: there have to be more chains of them
//! than units times latency (2 x 4 on recent CPUs), at most two loads to two multiply-adds, and no
//! spills. For one lane:
//!
//! | | tile (P x B) | registers | multiply-adds | loads | of the peak |
//! | --- | --- | --- | --- | --- | --- |
//! | AVX-512 | 14 x 2 | 28 sums + 2 weights + 1 input of 32 | 28 | 2 + 14 | 98-99% |
//! | | 7 x 2 | 14 + 2 + 1 | 14 | 2 + 7 | 99% |
//! | AVX2 | 6 x 1 | 12 + 2 + 1 of 16 | 12 | 2 + 6 | 92-97% |
//! | | 3 x 2 | 12 + 1 + 3 | 12 | 4 + 3 | 94% |
//! | SSE2 | 2 x 1 | 8 + 4 + products of 16 | 8, not fused | 4 + 2 | 85-90% |
//!
//! Fourteen also divides the rows of the networks at hand: 112, 56, 28 and 14 pixels, and 7 is
//! half of it. Percentages are of the measured peak of a Zen 5 core, by the example
//! `kernel_bench`, for 3x3 convolutions of 56, 28, 14 and 7 pixels with warm weights.
//!
//! Weights that come from memory are waited for by a panel's first tiles, while the memory rests
//! during all others. So every tile also fetches its share of the weights to come, one cache line
//! a lane at most, into the second-level cache (the first one holds the weights at hand). For 7
//! pixels, 512 channels that is 91% of the peak instead of 79%; for the products of a Winograd
//! convolution of 14 pixels, 256 channels, which read four times the weights for a quarter of the
//! multiply-adds, 84% instead of 53%. Where the weights are warm it costs less than 1%.
//!
//! Each tile also fetches the lines of its output, and, for 1x1 kernels, of the next input block
//! into the first-level cache. In a network, where activations lie in the second and third level,
//! that is 86% of the peak instead of 80% for 56 pixels squared, 64 to 64 channels, and 95% instead
//! of 92% for 256 to 64.
//!
//! The distance of neighbouring pixels in the input is a constant of the tile for strides 1 and 2,
//! so that all of its pixels share one address register; for other strides, tiles have up to 4
//! pixels.

#![expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]

use super::epilogue::{Pixels, finish};
use super::simd::{Outlined, Simd};
use super::{BLOCK, ConvParams};

/// [`Call::Conv`](super::Call::Conv).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as [`ConvParams`] says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(super) unsafe fn conv<S: Simd>(
    simd: S,
    params: &ConvParams,
    x: *mut f32,
    w: *mut f32,
    b: *mut f32,
    r: *mut f32,
    n: *mut f32,
    y: *mut f32,
) {
    let ahead = Ahead::new(params, BLOCK, n);
    let operands = Operands { params, lanes: BLOCK, x, w, b, r, y, ahead };
    // SAFETY: the operands reach as far as `ConvParams` says, which is what `run` asks for.
    unsafe {
        match params.x_step {
            16 => run::<S, 16>(simd, operands),
            32 => run::<S, 32>(simd, operands),
            _ => run::<S, ANY_STEP>(simd, operands),
        }
    }
}

/// [`Call::ConvPlanar`](super::Call::ConvPlanar).
///
/// # Safety
///
/// The operands are readable, and `y` writable, as far as [`ConvParams`] says.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub(super) unsafe fn conv_planar<S: Simd>(
    simd: S,
    params: &ConvParams,
    x: *mut f32,
    w: *mut f32,
    b: *mut f32,
    r: *mut f32,
    n: *mut f32,
    y: *mut f32,
) {
    let ahead = Ahead::new(params, 1, n);
    let operands = Operands { params, lanes: 1, x, w, b, r, y, ahead };
    // SAFETY: the operands reach as far as `ConvParams` says, which is what `run` asks for.
    unsafe {
        match params.x_step {
            1 => run::<S, 1>(simd, operands),
            2 => run::<S, 2>(simd, operands),
            _ => run::<S, ANY_STEP>(simd, operands),
        }
    }
}

/// Stands for a pixel distance that is known at run time only.
const ANY_STEP: usize = 0;

/// Pixels of the largest tile whose pixel distance is known at run time only: few, because each
/// pixel needs an address register.
const ANY_STEP_PIXELS: usize = 4;

/// A kernel's arguments, moved along to the tile at hand.
#[derive(Clone, Copy)]
struct Operands<'a> {
    params: &'a ConvParams,
    /// Input channels of a block: 16, or 1 if the input is planar.
    lanes: usize,
    x: *const f32,
    w: *const f32,
    b: *const f32,
    r: *const f32,
    y: *mut f32,
    ahead: Ahead,
}

/// Cache lines to fetch ahead while a tile computes.
#[derive(Clone, Copy)]
struct Ahead {
    /// In the first line; never read.
    from: *const f32,
    lines: usize,
}

impl Ahead {
    #[inline(always)]
    fn new(params: &ConvParams, lanes: usize, n: *const f32) -> Self {
        let steps = params.blocks * params.kernel_rows * params.kernel_columns * lanes;
        let from = n.wrapping_add(steps * params.out_blocks * BLOCK);
        Self { from, lines: params.next.div_ceil(BLOCK) }
    }

    /// Part `index` of `parts`, as equal as they can be.
    #[inline(always)]
    fn part(self, index: usize, parts: usize) -> Self {
        let share = self.lines.div_ceil(parts);
        let start = (index * share).min(self.lines);
        Self { from: self.from.wrapping_add(start * BLOCK), lines: (self.lines - start).min(share) }
    }
}

/// Covers the call's output with tiles, one or two output blocks at a time.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says; `STEP` is the parameters' or [`ANY_STEP`].
#[inline(always)]
unsafe fn run<S: Simd, const STEP: usize>(simd: S, operands: Operands<'_>) {
    let params = operands.params;
    debug_assert!(params.pixels > 0 && (1..=2).contains(&params.out_blocks));
    // SAFETY: the output blocks in hand are among the call's.
    unsafe {
        if const { S::TILE_PIXELS[1] > 0 } && params.out_blocks == 2 && prefers_pairs::<S>(params) {
            return run_blocks::<S, 2, STEP>(simd, operands);
        }
        for block in 0..params.out_blocks {
            let operands = Operands {
                w: operands.w.wrapping_add(block * BLOCK),
                b: operands.b.wrapping_add(block * BLOCK),
                r: operands.r.wrapping_add(block * params.r_block),
                y: operands.y.wrapping_add(block * params.y_block),
                ahead: operands.ahead.part(block, params.out_blocks),
                ..operands
            };
            run_blocks::<S, 1, STEP>(simd, operands);
        }
    }
}

/// Whether pairs of output blocks are better than one at a time: if their tiles have as many
/// pixels; or if one block's smallest tile would have no more pixels than a pair's, so that half
/// as many chains of multiply-adds would run side by side (7 pixels on AVX2: 4 + 3 of one block,
/// or 3 + 2 + 2 of two).
#[inline(always)]
fn prefers_pairs<S: Simd>(params: &ConvParams) -> bool {
    let [single, pair] = S::TILE_PIXELS;
    pair >= single || params.pixels / params.pixels.div_ceil(single) <= pair
}

/// Splits the pixels into as few tiles as there can be, as equal as they can be: 16 pixels with
/// tiles of up to 14 are 8 + 8, since a tile of 2 would wait for its own multiply-adds.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, for `B` output blocks from where they point.
#[inline(always)]
unsafe fn run_blocks<S: Simd, const B: usize, const STEP: usize>(
    simd: S,
    mut operands: Operands<'_>,
) {
    let params = operands.params;
    let tiles = params.pixels.div_ceil(const { most_pixels::<S>(B, STEP) });
    let (pixels, larger_tiles) = (params.pixels / tiles, params.pixels % tiles);
    for tile in 0..tiles {
        let pixels = pixels + usize::from(tile < larger_tiles);
        let ahead = operands.ahead.part(tile, tiles);
        // SAFETY: the tiles' pixels together are the call's.
        unsafe { run_tile::<S, B, STEP>(simd, pixels, Operands { ahead, ..operands }) };
        operands.x = operands.x.wrapping_add(pixels * params.x_step);
        operands.r = operands.r.wrapping_add(pixels * BLOCK);
        operands.y = operands.y.wrapping_add(pixels * BLOCK);
    }
}

/// Pixels of the largest tile over `blocks` output blocks.
const fn most_pixels<S: Simd>(blocks: usize, step: usize) -> usize {
    let most = S::TILE_PIXELS[blocks - 1];
    if step == ANY_STEP && most > ANY_STEP_PIXELS { ANY_STEP_PIXELS } else { most }
}

/// Runs the tile of `pixels` pixels. Tiles larger than the largest are not compiled.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, for `pixels` pixels of `B` output blocks.
#[inline(always)]
unsafe fn run_tile<S: Simd, const B: usize, const STEP: usize>(
    simd: S,
    pixels: usize,
    operands: Operands<'_>,
) {
    macro_rules! dispatch {
        ($($p:literal)+) => {
            match pixels {
                $( $p if const { $p <= most_pixels::<S>(B, STEP) } => {
                    // SAFETY: the operands reach as far as the tile of these pixels asks for.
                    unsafe { simd.outlined(Tile::<'_, $p, B, STEP>(operands)) }
                } )+
                _ => unreachable!("no tile has {pixels} pixels"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `P` pixels of `B` output blocks; `STEP` is the pixels' distance in the input.
struct Tile<'a, const P: usize, const B: usize, const STEP: usize>(Operands<'a>);

impl<const P: usize, const B: usize, const STEP: usize> Outlined for Tile<'_, P, B, STEP> {
    /// # Safety
    ///
    /// The operands reach as far as [`ConvParams`] says, for these pixels and output blocks.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, simd: S) {
        // SAFETY: the operands reach as far as the contract says, which is this tile's part of a call.
        unsafe {
            self.fetch_output(simd);
            let sums = self.reduce(simd);
            let Operands { params, r, y, .. } = self.0;
            let (r, y) =
                (Pixels { at: r, block: params.r_block }, Pixels { at: y, block: params.y_block });
            finish(simd, params.epilogue, sums, P, r, y);
        }
    }
}

impl<const P: usize, const B: usize, const STEP: usize> Tile<'_, P, B, STEP> {
    /// Asks for the output's cache lines, so that the stores find them at hand when the reduction
    /// ends. A residual mostly lies in the same place.
    #[inline(always)]
    fn fetch_output<S: Simd>(&self, simd: S) {
        let Operands { params, y, .. } = self.0;
        for o in 0..B {
            for p in 0..P {
                simd.prefetch_near(y.wrapping_add(o * params.y_block + p * BLOCK));
            }
        }
    }

    /// Whether to fetch each input block ahead while its predecessor is reduced. A 1x1 kernel
    /// takes a few cache lines of each block and goes on to the next one far away, which the CPU
    /// does not foresee; larger kernels come back to neighbouring lines.
    #[inline(always)]
    fn fetches_inputs(&self) -> bool {
        let Operands { params, lanes, .. } = self.0;
        lanes == BLOCK && params.kernel_rows * params.kernel_columns == 1
    }

    /// The chain of multiply-adds of each output element, from the bias on.
    ///
    /// # Safety
    ///
    /// Input, weights and bias reach as far as [`ConvParams`] says, for the tile's pixels and blocks.
    #[inline(always)]
    unsafe fn reduce<S: Simd>(&self, simd: S) -> [[S::F32x16; P]; B] {
        let Operands { params, lanes, x, mut w, b, mut ahead, .. } = self.0;
        let step = if STEP == ANY_STEP { params.x_step } else { STEP };
        let w_row = params.out_blocks * BLOCK;
        // Where kernel columns touch, all of a kernel row is one run of the input.
        let (columns, run) = if params.x_column == lanes {
            (1, params.kernel_columns * lanes)
        } else {
            (params.kernel_columns, lanes)
        };

        let mut sums = [[simd.splat(0.0); P]; B];
        for (o, sums) in sums.iter_mut().enumerate() {
            // SAFETY: a bias has 16 elements an output block.
            *sums = [unsafe { simd.load(b.add(o * BLOCK)) }; P];
        }
        let fetches_inputs = self.fetches_inputs();
        for block in 0..params.blocks {
            if fetches_inputs {
                // After the last block, the first one of the pixels that follow.
                let next =
                    if block + 1 < params.blocks { (block + 1) * params.x_block } else { P * step };
                for p in 0..P {
                    simd.prefetch_near(x.wrapping_add(next + p * step));
                }
            }
            for row in 0..params.kernel_rows {
                for column in 0..columns {
                    let start =
                        block * params.x_block + row * params.x_row + column * params.x_column;
                    let mut x = x.wrapping_add(start);
                    for _ in 0..run {
                        // SAFETY: this input lane of these pixels, and its row of the weights,
                        // are within the operands.
                        unsafe { accumulate::<S, P, B>(simd, &mut sums, x, step, w) };
                        if ahead.lines > 0 {
                            simd.prefetch(ahead.from);
                            ahead.from = ahead.from.wrapping_add(BLOCK);
                            ahead.lines -= 1;
                        }
                        x = x.wrapping_add(1);
                        w = w.wrapping_add(w_row);
                    }
                }
            }
        }
        sums
    }
}

/// One input lane: `P` broadcasts, `B` rows of weights, `P * B` multiply-adds.
///
/// # Safety
///
/// `x` is readable at `P` places that are `step` apart, `w` for 16 elements an output block.
#[inline(always)]
unsafe fn accumulate<S: Simd, const P: usize, const B: usize>(
    simd: S,
    sums: &mut [[S::F32x16; P]; B],
    x: *const f32,
    step: usize,
    w: *const f32,
) {
    // The fewer of the two stay in registers while the others pass by, each used at once. The
    // compiler keeps this order; with the other one, 3 pixels by 2 blocks spill on AVX2.
    if const { P <= 3 } {
        let mut inputs = [simd.splat(0.0); P];
        for (p, input) in inputs.iter_mut().enumerate() {
            // SAFETY: the input of pixel `p`.
            *input = simd.splat(unsafe { *x.wrapping_add(p * step) });
        }
        for (o, sums) in sums.iter_mut().enumerate() {
            // SAFETY: a row of weights has 16 elements an output block.
            unsafe { simd.mul_add_row(inputs, w.wrapping_add(o * BLOCK), sums) };
        }
    } else {
        let mut weights = [simd.splat(0.0); B];
        for (o, weights) in weights.iter_mut().enumerate() {
            // SAFETY: as above.
            *weights = unsafe { simd.load(w.wrapping_add(o * BLOCK)) };
        }
        for p in 0..P {
            // SAFETY: as above.
            let input = simd.splat(unsafe { *x.wrapping_add(p * step) });
            for o in 0..B {
                sums[o][p] = simd.mul_add(input, weights[o], sums[o][p]);
            }
        }
    }
}
