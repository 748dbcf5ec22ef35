//! `G g G^T`: the weights of Winograd's F(m x m, 3x3), one input block of a panel at a time.
//!
//! The packed form is 16/9 or four times as large as the weights, and its points lie far apart. So
//! the arithmetic works on rows of output channels, side by side as the packed form has them, and
//! writes each point's row as a whole.

use crate::kernels::BLOCK;
use crate::kernels::winograd_points::{A, B};

/// Weights of a 3x3 kernel.
const TAPS: usize = 9;

/// Output channels of the widest panel.
const ROW: usize = 2 * BLOCK;

/// A value of each output channel of a panel.
type Row<T> = [T; ROW];

/// `G g`, a row of three weights to `N` points.
pub(super) trait Evaluate<const N: usize>: Fn([f64; 3]) -> [f64; N] + Copy {}

impl<const N: usize, F: Fn([f64; 3]) -> [f64; N] + Copy> Evaluate<N> for F {}

/// Transforms one input block of a panel of `row` output channels: `taps` is
/// `[9][16 lanes][row]`, in `f64` and folded, `panel` is `[N * N points][in_blocks][16 lanes][row]`.
/// `round` makes the result of it.
pub(super) fn transform_block<const N: usize>(
    evaluate: impl Evaluate<N>,
    taps: &[f64],
    row: usize,
    block: usize,
    panel: &mut [f32],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let point_len = panel.len() / (N * N);
    let mut kernels = [[0.0; ROW]; TAPS];
    let mut points = [[[0.0; ROW]; N]; N];
    for lane in 0..BLOCK {
        for (tap, kernel) in kernels.iter_mut().enumerate() {
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

/// Down the columns of the kernels, then along the rows.
fn transform<const N: usize>(
    evaluate: impl Evaluate<N>,
    kernels: &[Row<f64>; TAPS],
    points: &mut [[Row<f32>; N]; N],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let mut columns = [[[0.0; ROW]; N]; 3];
    for (c, column) in columns.iter_mut().enumerate() {
        rows(evaluate, [&kernels[c], &kernels[3 + c], &kernels[6 + c]], column, |value| value);
    }
    let [left, middle, right] = &columns;
    for (i, row) in points.iter_mut().enumerate() {
        rows(evaluate, [&left[i], &middle[i], &right[i]], row, round);
    }
}

/// Evaluates one output channel after the other.
#[inline(always)]
fn rows<T, const N: usize>(
    evaluate: impl Evaluate<N>,
    g: [&Row<f64>; 3],
    points: &mut [Row<T>; N],
    round: impl Fn(f64) -> T,
) {
    for o in 0..ROW {
        let values = evaluate([g[0][o], g[1][o], g[2][o]]);
        for (point, value) in points.iter_mut().zip(values) {
            point[o] = round(value);
        }
    }
}

/// `G g` of F(2x2, 3x3); see [`evaluate_6`].
#[inline(always)]
pub(super) fn evaluate_4([g0, g1, g2]: [f64; 3]) -> [f64; 4] {
    let even = 0.5 * (g0 + g2);
    [-g0, even + 0.5 * g1, even - 0.5 * g1, g2]
}

/// `G g` of F(4x4, 3x3): row `p` of `G` is `(1, p, p^2)` over the product of `p - q` over all other
/// finite points `q`, and times `A` or `B^2` where [`crate::kernels`] divides by it.
#[inline(always)]
pub(super) fn evaluate_6([g0, g1, g2]: [f64; 3]) -> [f64; 6] {
    const AA: f64 = A * A;
    const BB: f64 = B * B;
    const SCALE_ZERO: f64 = 1.0 / (AA * BB);
    const SCALE_A: f64 = 1.0 / (2.0 * A * (AA - BB));
    const SCALE_B: f64 = 1.0 / (2.0 * (BB - AA));

    let (even_a, odd_a) = (SCALE_A * g0 + SCALE_A * AA * g2, SCALE_A * A * g1);
    let (even_b, odd_b) = (SCALE_B * g0 + SCALE_B * BB * g2, SCALE_B * B * g1);
    [SCALE_ZERO * g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2]
}
