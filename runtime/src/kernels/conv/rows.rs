//! Rows of convolutions of bytes with a 1x1 kernel.
//!
//! What follows a tile's sums takes as long as 9 to 15 rows of weights, of which a 1x1 kernel over 64 channels has 16,
//! for the most part on units that dot products leave idle. So it is done for each tile, part by part, while the next one is
//! reduced: with AVX-512 VNNI on Zen 4 that is 77% of the peak instead of 68% for 64 to 256 channels with a residual, and 91% instead
//! of 88% for 256 to 1024.
//!
//! The products of Winograd's points are slower so (their calls are too short), and `f32`'s last steps take too little time.

use super::{Arithmetic, Operands, Products, call, fetch_pixels};
use crate::kernels::simd::{Kernels, Outlined};
use crate::kernels::{BLOCK, ConvParams};

/// Output blocks of a call.
const BLOCKS: usize = 2;

/// Pixels of a tile, at most: about half of the largest, so that registers are left for what follows.
const MOST: usize = 8;

/// Pixels that are finished together, and how often some are while a tile is reduced.
const TOGETHER: usize = 4;
const PARTS: usize = BLOCKS * MOST / TOGETHER;

/// Whether a call is one of these, on an instruction set with enough registers.
#[inline(always)]
pub(super) fn suits<S: Kernels, A: Arithmetic>(params: &ConvParams<A::Epilogue>) -> bool {
    let fits = const {
        matches!(A::PRODUCTS, Products::Byte) && A::PRODUCTS.tile_pixels::<S>()[BLOCKS - 1] > MOST
    };
    fits && params.out_blocks == BLOCKS
        && params.kernel_rows * params.kernel_columns == 1
        && params.pixels >= 2 * MOST
        && (params.x_step == BLOCK || params.x_step == 2 * BLOCK)
}

/// Covers such a call's output.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, and the call [`suits`].
#[inline(always)]
pub(super) unsafe fn rows<S: Kernels, A: Arithmetic>(simd: S, operands: Operands<'_, A>) {
    let Operands { params, x, w, ends, .. } = operands;
    // As many as divide the pixels; else a few are left over.
    let sevens = !params.pixels.is_multiple_of(MOST) && params.pixels.is_multiple_of(MOST - 1);
    let pixels = if sevens { MOST - 1 } else { MOST };
    let (tiles, rest) = (params.pixels / pixels, params.pixels % pixels);
    macro_rules! row {
        ($pixels:expr, $step:expr) => {
            // SAFETY: the tiles' pixels are the first of the call's, and they are so far apart.
            unsafe { simd.outlined(Row::<'_, A, { $pixels }, { $step }> { operands, tiles }) }
        };
    }
    match (sevens, params.x_step) {
        (false, BLOCK) => row!(MOST, BLOCK),
        (false, _) => row!(MOST, 2 * BLOCK),
        (true, BLOCK) => row!(MOST - 1, BLOCK),
        (true, _) => row!(MOST - 1, 2 * BLOCK),
    }
    if rest > 0 {
        let done = tiles * pixels;
        let (x, ends) = (x.wrapping_add(done * params.x_step), ends.past(params, 0, done));
        let params = ConvParams { pixels: rest, next: 0, ..*params };
        // SAFETY: the last pixels are the call's.
        unsafe { call::<S, A, BLOCK, BLOCK, { 2 * BLOCK }>(simd, &params, x, [w; 2], ends) };
    }
}

/// Tiles of `P` pixels, `STEP` elements apart, side by side.
struct Row<'a, A: Arithmetic, const P: usize, const STEP: usize> {
    operands: Operands<'a, A>,
    tiles: usize,
}

impl<A: Arithmetic, const P: usize, const STEP: usize> Outlined for Row<'_, A, P, STEP> {
    /// # Safety
    ///
    /// The operands reach as far as [`ConvParams`] says, for the tiles' pixels.
    #[inline(always)]
    unsafe fn run<S: Kernels>(self, simd: S) {
        let Self { operands: Operands { params, x, w, ends, mut ahead, .. }, tiles } = self;
        let rows = BLOCK / A::PRODUCTS.count();
        // SAFETY: the operands reach as far as `ConvParams` says.
        let starts = unsafe { ends.start::<S, BLOCKS>(simd) };
        // Those of the tile before.
        let mut sums = [[starts[0]; MOST]; BLOCKS];
        for tile in 0..=tiles {
            let x = x.wrapping_add(tile * P * STEP);
            let mut w = w;
            let mut next = [[starts[0]; P], [starts[1]; P]];
            if tile < tiles {
                ends.past(params, 0, tile * P).fetch_output::<S, P, BLOCKS>(simd, params);
            }
            for part in 0..PARTS {
                let [first, last] = [part, part + 1].map(|part| part * params.blocks / PARTS);
                for block in if tile < tiles { first..last } else { 0..0 } {
                    let far = if block + 1 < params.blocks {
                        (block + 1) * params.x_block
                    } else {
                        P * STEP
                    };
                    fetch_pixels::<S, A::Input, P>(simd, x.wrapping_add(far), STEP);
                    let x = x.wrapping_add(block * params.x_block);
                    for row in 0..rows {
                        let x = x.wrapping_add(row * A::PRODUCTS.count());
                        // SAFETY: these input lanes of these pixels, and their row of the weights, are within
                        // the operands.
                        unsafe { A::accumulate(simd, &mut next, x, STEP, w) };
                        ahead.fetch(simd);
                        w = w.wrapping_add(BLOCKS * BLOCK * A::PRODUCTS.count());
                    }
                }
                if tile > 0 {
                    let (block, pixel) = (part * TOGETHER / MOST, part * TOGETHER % MOST);
                    let mut some = [sums[block][pixel]; TOGETHER];
                    some.copy_from_slice(&sums[block][pixel..pixel + TOGETHER]);
                    let ends = ends.past(params, block, (tile - 1) * P + pixel);
                    // SAFETY: the pixels are those of the tile before.
                    unsafe { ends.finish(simd, params, [some], TOGETHER.min(P - pixel)) };
                }
            }
            for (sums, next) in sums.iter_mut().zip(&next) {
                sums[..P].copy_from_slice(next);
            }
        }
    }
}
