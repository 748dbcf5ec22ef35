//! A quantised convolution by F(4x4, 3x3), or by F2 where a tile has one or two rows or columns: sums of integers are exact, and
//! what follows is rounded to `f32` after each operation.

use resnet_runtime::weights::quantised::WinogradChannel;

use super::operators::Values;
use crate::graph::{Shape, Window};

/// `B^T`, for the points 0, 1, -1, 2, -2 and infinity.
const B: [[i64; 6]; 6] = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
];

/// The same of F2, for the points 0, 1, -1 and infinity, with the factors that F4's weights lack.
const B2: [[i64; 6]; 6] = [
    [4, 0, -4, 0, 0, 0],
    [0, -3, -3, 0, 0, 0],
    [0, 3, -3, 0, 0, 0],
    [0; 6],
    [0; 6],
    [0, -1, 0, 1, 0, 0],
];

/// Pixels of a tile's output, in each direction, and those that it is made of.
const OUTPUTS: usize = 4;
const INPUTS: usize = 6;

type Tile<T> = [[T; INPUTS]; INPUTS];

/// The output, but for its shifts. `x` are bytes, with `zero` around them.
pub(super) fn convolve(
    x: &Values,
    zero: f64,
    from: Shape,
    to: Shape,
    window: &Window,
    channels: &[WinogradChannel],
) -> Vec<f32> {
    let before = window.padding.before;
    let mut y = vec![0.0; to.elements()];
    for row in (0..to.height).step_by(OUTPUTS) {
        for column in (0..to.width).step_by(OUTPUTS) {
            let pixel = |plane: &[f64], i: usize, j: usize| {
                let at = (row + i)
                    .checked_sub(before.rows)
                    .zip((column + j).checked_sub(before.columns));
                let inside = at.filter(|&(i, j)| i < from.height && j < from.width);
                inside.map_or(zero, |(i, j)| plane[i * from.width + j]) as i64
            };
            let outputs = [to.height - row, to.width - column];
            let points = |plane: &[f64]| {
                let pixels = std::array::from_fn(|i| std::array::from_fn(|j| pixel(plane, i, j)));
                evaluate(outputs, pixels)
            };
            let inputs: Vec<Tile<i64>> = x.chunks(from.pixels()).map(points).collect();
            for (channel, plane) in channels.iter().zip(y.chunks_mut(to.pixels())) {
                let outputs = interpolate(outputs, products(channel, &inputs));
                for (i, outputs) in outputs.into_iter().enumerate().take(to.height - row) {
                    let own = &mut plane[(row + i) * to.width..][..to.width][column..];
                    own.iter_mut().zip(outputs).for_each(|(pixel, output)| *pixel = output);
                }
            }
        }
    }
    y
}

/// `B^T d B`, where so many rows and columns of the output are left.
fn evaluate([rows, columns]: [usize; 2], d: Tile<i64>) -> Tile<i64> {
    let matrix = |outputs: usize| if outputs <= 2 { B2 } else { B };
    let times = |matrix: Tile<i64>, of: Tile<i64>| -> Tile<i64> {
        let sum = |i: usize, j: usize| (0..INPUTS).map(|k| matrix[i][k] * of[k][j]).sum();
        std::array::from_fn(|i| std::array::from_fn(|j| sum(i, j)))
    };
    transposed(times(matrix(columns), transposed(times(matrix(rows), d))))
}

/// The products of each point.
fn products(channel: &WinogradChannel, inputs: &[Tile<i64>]) -> Tile<f32> {
    let product = |i: usize, j: usize| {
        let point = INPUTS * i + j;
        let words = &channel.points[point].words;
        let sum: i64 = words.iter().zip(inputs).map(|(&w, v)| i64::from(w) * v[i][j]).sum();
        sum as f32 * channel.scales[point]
    };
    std::array::from_fn(|i| std::array::from_fn(|j| product(i, j)))
}

/// `A^T M A`, down the columns first.
fn interpolate([rows, columns]: [usize; 2], products: Tile<f32>) -> [[f32; OUTPUTS]; OUTPUTS] {
    let halves = transposed(products).map(|column| interpolate_line(rows, column));
    std::array::from_fn(|i| interpolate_line(columns, halves.map(|column| column[i])))
}

fn interpolate_line(outputs: usize, [m0, m1, m2, m3, m4, m5]: [f32; INPUTS]) -> [f32; OUTPUTS] {
    let (sum_1, difference_1) = (m1 + m2, m1 - m2);
    if outputs <= 2 {
        // There are no others.
        return [m0 + sum_1, difference_1 + m5, 0.0, 0.0];
    }
    let (sum_2, difference_2) = (m3 + m4, m3 - m4);
    [
        m0 + sum_1 + sum_2,
        2.0 * difference_2 + difference_1,
        4.0 * sum_2 + sum_1,
        8.0 * difference_2 + difference_1 + m5,
    ]
}

fn transposed<T: Copy>(tile: Tile<T>) -> Tile<T> {
    std::array::from_fn(|i| std::array::from_fn(|j| tile[j][i]))
}
