//! The gradient of a convolution's weights: a register tile of inputs by output channels that stays in registers
//! while pixels pass.

use super::super::BLOCK;
use super::super::simd::{Kernels, Outlined};
use super::ConvGradientParams;

/// [`Call::ConvGradient`](super::super::Call::ConvGradient).
///
/// # Safety
///
/// `x` and `d` are readable and `y` writable as far as [`ConvGradientParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn conv_gradient<S: Kernels>(
    simd: S,
    params: &ConvGradientParams,
    x: *mut f32,
    d: *mut f32,
    y: *mut f32,
) {
    let mut first = 0;
    while first < params.inputs {
        let left = params.inputs - first;
        let at = Operands { params, x: x.wrapping_add(first), d, y };
        let at = Operands { y: y.wrapping_add(first * params.out_blocks * BLOCK), ..at };
        // SAFETY: the inputs from `first` on, as many as are left.
        first += unsafe { inputs(simd, at, left) };
    }
}

/// A part of a call: from which input on.
#[derive(Clone, Copy)]
struct Operands<'a> {
    params: &'a ConvGradientParams,
    x: *const f32,
    d: *const f32,
    y: *mut f32,
}

/// Computes as many of the `left` inputs as a tile has; how many.
///
/// # Safety
///
/// The operands reach as far as [`ConvGradientParams`] says, for so many inputs.
#[inline(always)]
unsafe fn inputs<S: Kernels>(simd: S, operands: Operands<'_>, left: usize) -> usize {
    let pairs = operands.params.out_blocks == 2;
    macro_rules! tiles {
        ($($p:literal of $b:literal),+) => { $(
            if const { $p <= most_inputs::<S>($b) } && left >= $p && pairs == ($b == 2) {
                // SAFETY: a tile of no more inputs than are left, and of the call's blocks.
                unsafe { simd.outlined(Tile::<'_, $p, $b>(operands)) };
                return $p;
            }
        )+ };
    }
    tiles!(16 of 1, 8 of 1, 8 of 2, 7 of 1, 7 of 2, 4 of 1, 4 of 2, 3 of 1, 3 of 2, 2 of 1, 2 of 2, 1 of 1, 1 of 2);
    unreachable!("a tile of one input is always there")
}

/// Inputs of the largest tile over `blocks` output blocks. A tile of a convolution has as many pixels.
const fn most_inputs<S: Kernels>(blocks: usize) -> usize {
    let most = S::TILE_PIXELS[blocks - 1];
    // Where the registers hold 14 pixels of a pair, they hold the 16 lanes of one block.
    if blocks == 1 && most >= 14 {
        16
    } else if most > 8 {
        8
    } else if most == 0 {
        1
    } else {
        most
    }
}

/// `P` inputs by `B` output blocks.
struct Tile<'a, const P: usize, const B: usize>(Operands<'a>);

impl<const P: usize, const B: usize> Outlined for Tile<'_, P, B> {
    /// # Safety
    ///
    /// The operands reach as far as [`ConvGradientParams`] says, for these inputs and output blocks.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices also make the addresses")]
    unsafe fn run<S: Kernels>(self, simd: S) {
        let Operands { params, x, d, y } = self.0;
        let mut sums = [[simd.splat(0.0); B]; P];
        for row in 0..params.rows {
            let mut x = x.wrapping_add(row * params.x_row);
            let mut d = d.wrapping_add(row * params.d_row);
            for _ in 0..params.columns {
                let mut gradients = [simd.splat(0.0); B];
                for b in 0..B {
                    // SAFETY: a pixel of the call's rows and columns, in one of its blocks.
                    gradients[b] = unsafe { simd.load(d.wrapping_add(b * params.d_block)) };
                }
                for p in 0..P {
                    // SAFETY: an input of the same pixel.
                    let input = simd.splat(unsafe { *x.wrapping_add(p) });
                    for b in 0..B {
                        sums[p][b] = simd.mul_add(input, gradients[b], sums[p][b]);
                    }
                }
                x = x.wrapping_add(params.x_step);
                d = d.wrapping_add(BLOCK);
            }
        }
        for p in 0..P {
            for b in 0..B {
                let y = y.wrapping_add((p * B + b) * BLOCK);
                // SAFETY: the weights' gradient of an input and a block of the call's.
                unsafe {
                    simd.store(y, simd.add(sums[p][b], simd.load(y)));
                }
            }
        }
    }
}
