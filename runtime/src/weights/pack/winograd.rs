//! `G g G^T`: the weights of Winograd convolutions, one input block of a panel at a time.
//!
//! The packed form is up to four times as large as the weights, and its points lie far apart. So
//! the arithmetic works on rows of output channels, side by side as the packed form has them, and
//! writes each point's row as a whole.

use crate::kernels::winograd_points::{A, B};
use crate::kernels::{BLOCK, PANEL};

/// A value of each output channel of a panel.
type Row<T> = [T; PANEL];

/// `G g`, `K` taps to `N` weights.
pub(super) trait Evaluate<const K: usize, const N: usize>:
    Fn([f64; K]) -> [f64; N] + Copy
{
}

impl<const K: usize, const N: usize, F: Fn([f64; K]) -> [f64; N] + Copy> Evaluate<K, N> for F {}

/// Transforms one input block of a panel of `row` output channels, rows and columns of the kernels
/// alike: `taps` is `[K * K][16 lanes][row]`, in `f64` and folded, `panel` is
/// `[N * N points][in_blocks][16 lanes][row]`. `round` makes the result of it.
pub(super) fn transform_block<const K: usize, const N: usize>(
    evaluate: impl Evaluate<K, N>,
    taps: &[f64],
    row: usize,
    block: usize,
    panel: &mut [f32],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let point_len = panel.len() / (N * N);
    let mut kernels = [[[0.0; PANEL]; K]; K];
    let mut points = [[[0.0; PANEL]; N]; N];
    for lane in 0..BLOCK {
        for (tap, kernel) in kernels.as_flattened_mut().iter_mut().enumerate() {
            kernel[..row].copy_from_slice(&taps[(tap * BLOCK + lane) * row..][..row]);
        }
        transform(evaluate, &kernels, &mut points, round);
        let at = (block * BLOCK + lane) * row;
        let points = points.as_flattened().iter();
        for (point, panel) in points.zip(panel.chunks_exact_mut(point_len)) {
            panel[at..][..row].copy_from_slice(&point[..row]);
        }
    }
}

/// Transforms one input channel of a panel of `row` output channels, the columns of the kernels
/// alone: `taps` is `[K * K][row]`, `panel` is `[N points][in_channels][K columns][row]`.
pub(super) fn transform_columns<const K: usize, const N: usize>(
    evaluate: impl Evaluate<K, N>,
    taps: &[f64],
    row: usize,
    channel: usize,
    panel: &mut [f32],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let point_len = panel.len() / N;
    let mut kernels = [[[0.0; PANEL]; K]; K];
    for (kernel, taps) in kernels.as_flattened_mut().iter_mut().zip(taps.chunks_exact(row)) {
        kernel[..row].copy_from_slice(taps);
    }
    for (column, taps) in columns(&kernels).into_iter().enumerate() {
        let mut points = [[0.0; PANEL]; N];
        rows(evaluate, taps, &mut points, round);
        let at = (channel * K + column) * row;
        for (point, panel) in points.iter().zip(panel.chunks_exact_mut(point_len)) {
            panel[at..][..row].copy_from_slice(&point[..row]);
        }
    }
}

/// Down the columns of the kernels, then along the rows.
fn transform<const K: usize, const N: usize>(
    evaluate: impl Evaluate<K, N>,
    kernels: &[[Row<f64>; K]; K],
    points: &mut [[Row<f32>; N]; N],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let mut halves = [[[0.0; PANEL]; N]; K];
    for (half, column) in halves.iter_mut().zip(columns(kernels)) {
        rows(evaluate, column, half, |value| value);
    }
    for (point, row) in points.iter_mut().zip(columns(&halves)) {
        rows(evaluate, row, point, round);
    }
}

/// The columns of `M` rows of `N` elements.
fn columns<T, const M: usize, const N: usize>(rows: &[[T; N]; M]) -> [[&T; M]; N] {
    std::array::from_fn(|c| std::array::from_fn(|r| &rows[r][c]))
}

/// Evaluates one output channel after the other.
#[inline(always)]
fn rows<T, const K: usize, const N: usize>(
    evaluate: impl Evaluate<K, N>,
    g: [&Row<f64>; K],
    points: &mut [Row<T>; N],
    round: impl Fn(f64) -> T,
) {
    for o in 0..PANEL {
        let values = evaluate(g.map(|taps| taps[o]));
        for (point, value) in points.iter_mut().zip(values) {
            point[o] = round(value);
        }
    }
}

/// `G g` of `Filter::F2`; see [`f4`].
#[inline(always)]
pub(super) fn f2([g0, g1, g2]: [f64; 3]) -> [f64; 4] {
    let even = 0.5 * (g0 + g2);
    [-g0, even + 0.5 * g1, even - 0.5 * g1, g2]
}

/// `G g` of `Filter::F4`: row `p` of `G` is `(1, p, p^2)` over the product of `p - q` over all other
/// finite points `q`, and times `A` or `B^2` where [`crate::kernels`] divides by it.
#[inline(always)]
pub(super) fn f4([g0, g1, g2]: [f64; 3]) -> [f64; 6] {
    const AA: f64 = A * A;
    const BB: f64 = B * B;
    const SCALE_ZERO: f64 = 1.0 / (AA * BB);
    const SCALE_A: f64 = 1.0 / (2.0 * A * (AA - BB));
    const SCALE_B: f64 = 1.0 / (2.0 * (BB - AA));

    let (even_a, odd_a) = (SCALE_A * g0 + SCALE_A * AA * g2, SCALE_A * A * g1);
    let (even_b, odd_b) = (SCALE_B * g0 + SCALE_B * BB * g2, SCALE_B * B * g1);
    [SCALE_ZERO * g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2]
}

/// `G g` of `Filter::F2s2`: the even taps at 0, 1 and infinity, and the odd one.
#[inline(always)]
pub(super) fn f2s2([g0, g1, g2]: [f64; 3]) -> [f64; 4] {
    [g0, g0 + g2, g2, g1]
}

/// `G g` of `Filter::F4s2`: the even taps at 0, 1/2, -1, 3/2 and infinity, over the products of
/// differences and, at 1/2, times 1/2; and the odd one.
#[inline(always)]
pub(super) fn f4s2([g0, g1, g2]: [f64; 3]) -> [f64; 6] {
    [g0 / 0.75, (g0 + 0.5 * g2) / -1.5, (g0 - g2) / -3.75, (g0 + 1.5 * g2) / 3.75, g2, g1]
}

/// `G g` of `Filter::F4x7s2`: the even taps at 0, +-1/2, +-1, 2 and infinity, and the odd ones as
/// [`f4`].
#[inline(always)]
pub(super) fn f4x7s2([g0, g1, g2, g3, g4, g5, g6]: [f64; 7]) -> [f64; 13] {
    let (even_half, odd_half) = (g0 + 0.25 * g4, 0.5 * g2 + 0.125 * g6);
    let (even_one, odd_one) = (g0 + g4, g2 + g6);
    let [o0, o1, o2, o3, o4, o5] = f4([g1, g3, g5]);
    [
        g0 / -0.5,
        (even_half + odd_half) / 0.5625,
        (even_half - odd_half) / 0.9375,
        (even_one + odd_one) / -1.5,
        (even_one - odd_one) / -4.5,
        (g0 + 2.0 * g2 + 4.0 * g4 + 8.0 * g6) / 22.5,
        g6,
        o0,
        o1,
        o2,
        o3,
        o4,
        o5,
    ]
}
