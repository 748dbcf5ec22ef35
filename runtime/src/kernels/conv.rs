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

mod bytes;
mod rows;
mod single;
mod words;

pub(super) use self::bytes::{conv_u8, conv_u8_quads};
pub(super) use self::single::{conv, conv_bf16, conv_planar};
pub(super) use self::words::conv_i16;
use super::simd::{ByteFactors, Dot, Factors, Kernels, Outlined, Simd, WordFactors};
use super::{BLOCK, ConvParams, LINE_BYTES, PAIR};

/// Stands for a pixel distance that is known at run time only.
const ANY_STEP: usize = 0;

/// Pixels of the largest tile whose pixel distance is known at run time only: few, because each
/// pixel needs an address register.
const ANY_STEP_PIXELS: usize = 4;

/// The numbers that a convolution is of: its products, and what their sums start from and end with.
///
/// A value is where the latter lie for the tile at hand. Implementations mark every method
/// `#[inline(always)]`.
trait Arithmetic: Copy {
    /// An element of the input.
    type Input: Copy;
    /// A weight.
    type Weight: Copy;
    /// What is done with the results.
    type Epilogue: Copy;
    /// Sixteen sums.
    type Sums<S: Kernels>: Copy;

    /// What is multiplied.
    const PRODUCTS: Products;

    /// The same, so many output blocks and pixels further on.
    fn past(self, params: &ConvParams<Self::Epilogue>, blocks: usize, pixels: usize) -> Self;

    /// Asks for the cache lines of `P` pixels of `B` blocks of the output.
    fn fetch_output<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams<Self::Epilogue>,
    );

    /// What the sums of `B` output blocks start from.
    ///
    /// # Safety
    ///
    /// The operands are readable as far as [`ConvParams`] says.
    unsafe fn start<S: Kernels, const B: usize>(self, simd: S) -> [Self::Sums<S>; B];

    /// One row of weights: `P` broadcasts of as many input lanes as are [multiplied at once](Products::count), `B` vectors of
    /// weights, `P * B` multiply-adds.
    ///
    /// # Safety
    ///
    /// `x` is readable for these lanes at `P` places that are `step` apart, `w` for 16 times as many
    /// elements an output block.
    unsafe fn accumulate<S: Kernels, const P: usize, const B: usize>(
        simd: S,
        sums: &mut [[Self::Sums<S>; P]; B],
        x: *const Self::Input,
        step: usize,
        w: *const Self::Weight,
    );

    /// Finishes and stores the results of the first `count` of `P` pixels.
    ///
    /// # Safety
    ///
    /// The operands are readable, and the output writable, as far as [`ConvParams`] says.
    unsafe fn finish<S: Kernels, const P: usize, const B: usize>(
        self,
        simd: S,
        params: &ConvParams<Self::Epilogue>,
        sums: [[Self::Sums<S>; P]; B],
        count: usize,
    );
}

/// What is multiplied, and so which tiles there are.
#[derive(Clone, Copy)]
enum Products {
    /// `f32`.
    Single,
    /// [`Bf16`](super::Bf16).
    Half,
    /// Bytes.
    Byte,
    /// Words of 16 bits.
    Word,
}

impl Products {
    /// Input lanes that are multiplied at once, which a row of weights is for.
    const fn count(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Half => PAIR,
            Self::Byte => ByteFactors::COUNT,
            Self::Word => WordFactors::COUNT,
        }
    }

    /// Pixels of the largest tiles over one output block and over two.
    const fn tile_pixels<S: Kernels>(self) -> [usize; 2] {
        match self {
            Self::Single => S::TILE_PIXELS,
            Self::Half => S::HALF_TILE_PIXELS,
            Self::Byte => <S as Dot<ByteFactors>>::DOT_TILE_PIXELS,
            Self::Word => <S as Dot<WordFactors>>::DOT_TILE_PIXELS,
        }
    }
}

/// A kernel's arguments, moved along to the tile at hand.
#[derive(Clone, Copy)]
struct Operands<'a, A: Arithmetic> {
    params: &'a ConvParams<A::Epilogue>,
    /// Inputs of a kernel's column: a block's 16, one of a planar picture, or four neighbours in one of bytes.
    lanes: usize,
    x: *const A::Input,
    w: *const A::Weight,
    /// The others.
    ends: A,
    ahead: Ahead<A::Weight>,
}

impl<'a, A: Arithmetic> Operands<'a, A> {
    #[inline(always)]
    fn new(
        params: &'a ConvParams<A::Epilogue>,
        lanes: usize,
        x: *const A::Input,
        [w, n]: [*const A::Weight; 2],
        ends: A,
    ) -> Self {
        Self { params, lanes, x, w, ends, ahead: Ahead::new(params, lanes, n) }
    }
}

/// Cache lines to fetch ahead while a tile computes.
#[derive(Clone, Copy)]
struct Ahead<W> {
    /// In the first line; never read.
    from: *const W,
    lines: usize,
}

impl<W> Ahead<W> {
    /// Elements of a cache line.
    const LINE: usize = LINE_BYTES / size_of::<W>();

    /// Those that a call is to fetch, which lie behind `n` by as much as its weights take.
    #[inline(always)]
    fn new<E>(params: &ConvParams<E>, lanes: usize, n: *const W) -> Self {
        let steps = params.blocks * params.kernel_rows * params.kernel_columns * lanes;
        let from = n.wrapping_add(steps * params.out_blocks * BLOCK);
        Self { from, lines: params.next.div_ceil(Self::LINE) }
    }

    /// Asks for the next one, if there is one left.
    #[inline(always)]
    fn fetch<S: Simd>(&mut self, simd: S) {
        if self.lines > 0 {
            simd.prefetch(self.from);
            self.from = self.from.wrapping_add(Self::LINE);
            self.lines -= 1;
        }
    }

    /// Part `index` of `parts`, as equal as they can be.
    #[inline(always)]
    fn part(self, index: usize, parts: usize) -> Self {
        let share = self.lines.div_ceil(parts);
        let start = (index * share).min(self.lines);
        let from = self.from.wrapping_add(start * Self::LINE);
        Self { from, lines: (self.lines - start).min(share) }
    }
}

/// Asks for the cache lines of `P` pixels, so many elements apart.
#[inline(always)]
fn fetch_pixels<S: Simd, T, const P: usize>(simd: S, at: *const T, distance: usize) {
    // Pixels of bytes share lines; the last one may be in one of its own.
    let every = (LINE_BYTES / (distance * size_of::<T>()).max(1)).max(1);
    for p in 0..P {
        if p.is_multiple_of(every) || p == P - 1 {
            simd.prefetch_near(at.wrapping_add(p * distance));
        }
    }
}

/// A kernel call. Pixels whose inputs are `ONE` or `TWO` elements apart (for most networks, those of strides 1 and 2) have
/// tiles of their own.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, with `LANES` elements in a kernel's column.
#[inline(always)]
unsafe fn call<
    S: Kernels,
    A: Arithmetic,
    const LANES: usize,
    const ONE: usize,
    const TWO: usize,
>(
    simd: S,
    params: &ConvParams<A::Epilogue>,
    x: *const A::Input,
    weights: [*const A::Weight; 2],
    ends: A,
) {
    let operands = Operands::new(params, LANES, x, weights, ends);
    // SAFETY: the operands reach as far as `rows` and `run` ask for, says the caller.
    unsafe {
        if LANES == BLOCK && rows::suits::<S, A>(params) {
            return rows::rows::<S, A>(simd, operands);
        }
        match params.x_step {
            step if step == ONE => run::<S, A, ONE>(simd, operands),
            step if step == TWO => run::<S, A, TWO>(simd, operands),
            _ => run::<S, A, ANY_STEP>(simd, operands),
        }
    }
}

/// Covers the call's output with tiles, one or two output blocks at a time.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says; `STEP` is the parameters' or [`ANY_STEP`].
#[inline(always)]
unsafe fn run<S: Kernels, A: Arithmetic, const STEP: usize>(simd: S, operands: Operands<'_, A>) {
    let params = operands.params;
    debug_assert!(params.pixels > 0 && (1..=2).contains(&params.out_blocks));
    // SAFETY: the output blocks in hand are among the call's.
    unsafe {
        if const { A::PRODUCTS.tile_pixels::<S>()[1] > 0 }
            && params.out_blocks == 2
            && prefers_pairs::<S, A>(params)
        {
            return run_blocks::<S, A, 2, STEP>(simd, operands);
        }
        for block in 0..params.out_blocks {
            let operands = Operands {
                w: operands.w.wrapping_add(block * BLOCK * A::PRODUCTS.count()),
                ends: operands.ends.past(params, block, 0),
                ahead: operands.ahead.part(block, params.out_blocks),
                ..operands
            };
            run_blocks::<S, A, 1, STEP>(simd, operands);
        }
    }
}

/// Whether pairs of output blocks are better than one at a time: if their tiles have as many
/// pixels; or if one block's smallest tile would have no more pixels than a pair's, so that half
/// as many chains of multiply-adds would run side by side (7 pixels on AVX2: 4 + 3 of one block,
/// or 3 + 2 + 2 of two).
#[inline(always)]
fn prefers_pairs<S: Kernels, A: Arithmetic>(params: &ConvParams<A::Epilogue>) -> bool {
    let [single, pair] = const { A::PRODUCTS.tile_pixels::<S>() };
    pair >= single || params.pixels / params.pixels.div_ceil(single) <= pair
}

/// Splits the pixels into as few tiles as there can be, as equal as they can be: 16 pixels with
/// tiles of up to 14 are 8 + 8, since a tile of 2 would wait for its own multiply-adds.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, for `B` output blocks from where they point.
#[inline(always)]
unsafe fn run_blocks<S: Kernels, A: Arithmetic, const B: usize, const STEP: usize>(
    simd: S,
    mut operands: Operands<'_, A>,
) {
    let params = operands.params;
    let tiles = params.pixels.div_ceil(const { most_pixels::<S, A>(B, STEP) });
    let (pixels, larger_tiles) = (params.pixels / tiles, params.pixels % tiles);
    for tile in 0..tiles {
        let pixels = pixels + usize::from(tile < larger_tiles);
        let ahead = operands.ahead.part(tile, tiles);
        // SAFETY: the tiles' pixels together are the call's.
        unsafe { run_tile::<S, A, B, STEP>(simd, pixels, Operands { ahead, ..operands }) };
        operands.x = operands.x.wrapping_add(pixels * params.x_step);
        operands.ends = operands.ends.past(params, 0, pixels);
    }
}

/// Pixels of the largest tile over `blocks` output blocks.
const fn most_pixels<S: Kernels, A: Arithmetic>(blocks: usize, step: usize) -> usize {
    let most = A::PRODUCTS.tile_pixels::<S>()[blocks - 1];
    if step == ANY_STEP && most > ANY_STEP_PIXELS { ANY_STEP_PIXELS } else { most }
}

/// Runs the tile of `pixels` pixels. Tiles larger than the largest are not compiled.
///
/// # Safety
///
/// The operands reach as far as [`ConvParams`] says, for `pixels` pixels of `B` output blocks.
#[inline(always)]
unsafe fn run_tile<S: Kernels, A: Arithmetic, const B: usize, const STEP: usize>(
    simd: S,
    pixels: usize,
    operands: Operands<'_, A>,
) {
    macro_rules! dispatch {
        ($($p:literal)+) => {
            match pixels {
                $( $p if const { $p <= most_pixels::<S, A>(B, STEP) } => {
                    // SAFETY: the operands reach as far as the tile of these pixels asks for.
                    unsafe { simd.outlined(Tile::<'_, A, $p, B, STEP>(operands)) }
                } )+
                _ => unreachable!("no tile has {pixels} pixels"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// `P` pixels of `B` output blocks; `STEP` is the pixels' distance in the input.
struct Tile<'a, A: Arithmetic, const P: usize, const B: usize, const STEP: usize>(Operands<'a, A>);

impl<A: Arithmetic, const P: usize, const B: usize, const STEP: usize> Outlined
    for Tile<'_, A, P, B, STEP>
{
    /// # Safety
    ///
    /// The operands reach as far as [`ConvParams`] says, for these pixels and output blocks.
    #[inline(always)]
    unsafe fn run<S: Kernels>(self, simd: S) {
        // SAFETY: the operands reach as far as the contract says, which is this tile's part of a call.
        unsafe {
            let Operands { params, ends, .. } = self.0;
            // So that the stores find them at hand when the reduction ends. A residual mostly lies
            // in the same place.
            ends.fetch_output::<S, P, B>(simd, params);
            ends.finish(simd, params, self.reduce(simd), P);
        }
    }
}

impl<A: Arithmetic, const P: usize, const B: usize, const STEP: usize> Tile<'_, A, P, B, STEP> {
    /// Whether to fetch each input block ahead while its predecessor is reduced. A 1x1 kernel
    /// takes a few cache lines of each block and goes on to the next one far away, which the CPU
    /// does not foresee; larger kernels come back to neighbouring lines.
    #[inline(always)]
    fn fetches_inputs(&self) -> bool {
        let Operands { params, lanes, .. } = self.0;
        lanes == BLOCK && params.kernel_rows * params.kernel_columns == 1
    }

    /// The chain of multiply-adds of each output element, from where it starts.
    ///
    /// # Safety
    ///
    /// The operands reach as far as [`ConvParams`] says, for the tile's pixels and blocks.
    #[inline(always)]
    unsafe fn reduce<S: Kernels>(&self, simd: S) -> [[A::Sums<S>; P]; B] {
        let Operands { params, lanes, x, mut w, ends, mut ahead } = self.0;
        let step = if STEP == ANY_STEP { params.x_step } else { STEP };
        let w_row = params.out_blocks * BLOCK * A::PRODUCTS.count();
        // Where kernel columns touch, all of a kernel row is one run of the input.
        let (columns, run) = if params.x_column == lanes {
            (1, params.kernel_columns * lanes)
        } else {
            (params.kernel_columns, lanes)
        };

        // SAFETY: the operands reach as far as `ConvParams` says.
        let starts = unsafe { ends.start::<S, B>(simd) };
        let mut sums = [[starts[0]; P]; B];
        for o in 0..B {
            sums[o] = [starts[o]; P];
        }
        let fetches_inputs = self.fetches_inputs();
        for block in 0..params.blocks {
            if fetches_inputs {
                // After the last block, the first one of the pixels that follow.
                let next =
                    if block + 1 < params.blocks { (block + 1) * params.x_block } else { P * step };
                fetch_pixels::<S, A::Input, P>(simd, x.wrapping_add(next), step);
            }
            for row in 0..params.kernel_rows {
                for column in 0..columns {
                    let start =
                        block * params.x_block + row * params.x_row + column * params.x_column;
                    let mut x = x.wrapping_add(start);
                    for _ in 0..run / A::PRODUCTS.count() {
                        // SAFETY: these input lanes of these pixels, and their row of the weights,
                        // are within the operands.
                        unsafe { A::accumulate(simd, &mut sums, x, step, w) };
                        ahead.fetch(simd);
                        x = x.wrapping_add(A::PRODUCTS.count());
                        w = w.wrapping_add(w_row);
                    }
                }
            }
        }
        sums
    }
}
