//! `G g G^T`: the weights of Winograd's F(4x4, 3x3), one input block of a panel at a time.
//!
//! The packed form is four times as large as the weights, and its 36 points lie far apart. So the
//! arithmetic works on rows of output channels, side by side as the packed form has them, and
//! writes each point's row as a whole.

use crate::kernels::BLOCK;
use crate::kernels::winograd_points::{A, B, POINTS, TILE};

/// Weights of a 3x3 kernel.
const TAPS: usize = 9;

/// Output channels of the widest panel.
const ROW: usize = 2 * BLOCK;

/// A value of each output channel of a panel.
type Row<T> = [T; ROW];

/// Transforms one input block of a panel of `row` output channels: `taps` is
/// `[9][16 lanes][row]`, in `f64` and folded, `panel` is `[36 points][in_blocks][16 lanes][row]`.
/// `round` makes the result of it.
pub(super) fn transform_block(
    taps: &[f64],
    row: usize,
    block: usize,
    panel: &mut [f32],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let point_len = panel.len() / POINTS;
    let mut kernels = [[0.0; ROW]; TAPS];
    let mut points = [[0.0; ROW]; POINTS];
    for lane in 0..BLOCK {
        for (tap, kernel) in kernels.iter_mut().enumerate() {
            kernel[..row].copy_from_slice(&taps[(tap * BLOCK + lane) * row..][..row]);
        }
        transform(&kernels, &mut points, round);
        let at = (block * BLOCK + lane) * row;
        for (point, panel) in points.iter().zip(panel.chunks_exact_mut(point_len)) {
            panel[at..][..row].copy_from_slice(&point[..row]);
        }
    }
}

/// Down the columns of the kernels, then along the rows.
fn transform(
    kernels: &[Row<f64>; TAPS],
    points: &mut [Row<f32>; POINTS],
    round: impl Fn(f64) -> f32 + Copy,
) {
    let mut columns = [[[0.0; ROW]; TILE]; 3];
    for (c, column) in columns.iter_mut().enumerate() {
        evaluate([&kernels[c], &kernels[3 + c], &kernels[6 + c]], column, |value| value);
    }
    let (rows, _) = points.as_chunks_mut::<TILE>();
    for (i, row) in rows.iter_mut().enumerate() {
        evaluate([&columns[0][i], &columns[1][i], &columns[2][i]], row, round);
    }
}

/// `G g`: row `p` of `G` is `(1, p, p^2)` over the product of `p - q` over all other finite points
/// `q`, and times `A` or `B^2` where [`crate::kernels`] divides by it.
#[inline(always)]
fn evaluate<T>(g: [&Row<f64>; 3], points: &mut [Row<T>; TILE], round: impl Fn(f64) -> T) {
    const AA: f64 = A * A;
    const BB: f64 = B * B;
    const SCALE_ZERO: f64 = 1.0 / (AA * BB);
    const SCALE_A: f64 = 1.0 / (2.0 * A * (AA - BB));
    const SCALE_B: f64 = 1.0 / (2.0 * (BB - AA));

    let [zero, plus_a, minus_a, plus_b, minus_b, infinity] = points;
    for o in 0..ROW {
        let [g0, g1, g2] = [g[0][o], g[1][o], g[2][o]];
        let (even_a, odd_a) = (SCALE_A * g0 + SCALE_A * AA * g2, SCALE_A * A * g1);
        let (even_b, odd_b) = (SCALE_B * g0 + SCALE_B * BB * g2, SCALE_B * B * g1);
        zero[o] = round(SCALE_ZERO * g0);
        plus_a[o] = round(even_a + odd_a);
        minus_a[o] = round(even_a - odd_a);
        plus_b[o] = round(even_b + odd_b);
        minus_b[o] = round(even_b - odd_b);
        infinity[o] = round(g2);
    }
}
