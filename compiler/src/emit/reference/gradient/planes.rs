//! What operators on planes hand back, by their definitions.

use super::super::operators::{Values, mirrored, surrounded};
use crate::geometry::{Extent, Padding, Shape, Window, binomial};
use crate::graph::{PoolKind, Pooling};

pub(super) fn transposed(
    g: &Values,
    from: Shape,
    to: Shape,
    add: impl Fn(&mut [f64], &[f64]),
) -> Values {
    debug_assert_eq!(g.len(), to.elements());
    let mut dx = vec![0.0; from.elements()];
    add(&mut dx, g);
    dx
}

pub(super) fn unpad(
    dx: &mut [f64],
    g: &[f64],
    from: Shape,
    to: Shape,
    stride: Extent,
    before: usize,
) {
    let planes = g.chunks(to.pixels()).skip(before);
    for (dx, g) in dx.chunks_mut(from.pixels()).zip(planes) {
        for row in 0..to.height {
            for column in 0..to.width {
                dx[row * stride.rows * from.width + column * stride.columns] +=
                    g[row * to.width + column];
            }
        }
    }
}

pub(super) fn unblur(dx: &mut [f64], g: &[f64], from: Shape, to: Shape, window: &Window) {
    let [row_weights, column_weights] = [window.kernel.rows, window.kernel.columns].map(binomial);
    for (dx, g) in dx.chunks_mut(from.pixels()).zip(g.chunks(to.pixels())) {
        for (at, g) in g.iter().enumerate() {
            let (row, column) = (at / to.width, at % to.width);
            for (kr, row_weight) in row_weights.iter().enumerate() {
                let from_row = mirrored(row, kr, window.rows(), from.height);
                for (kc, column_weight) in column_weights.iter().enumerate() {
                    let from_column = mirrored(column, kc, window.columns(), from.width);
                    dx[from_row * from.width + from_column] += row_weight * column_weight * g;
                }
            }
        }
    }
}

pub(super) fn pool_gradient(
    x: &Values,
    g: &Values,
    from: Shape,
    to: Shape,
    pooling: &Pooling,
) -> Values {
    let Pooling { kind, window, zeros } = pooling;
    let (x, wide) = surrounded(x, from, *zeros);
    let window = Window { padding: window.padding.without(*zeros), ..*window };
    let mut dx = vec![0.0; wide.elements()];
    for ((x, dx), g) in
        x.chunks(wide.pixels()).zip(dx.chunks_mut(wide.pixels())).zip(g.chunks(to.pixels()))
    {
        for (at, g) in g.iter().enumerate() {
            let (row, column) = (at / to.width, at % to.width);
            let mut seen = Vec::new();
            for kr in 0..window.kernel.rows {
                for kc in 0..window.kernel.columns {
                    let from_row = row * window.stride.rows + kr * window.dilation.rows;
                    let from_column = column * window.stride.columns + kc * window.dilation.columns;
                    let (Some(r), Some(c)) = (
                        from_row.checked_sub(window.padding.before.rows),
                        from_column.checked_sub(window.padding.before.columns),
                    ) else {
                        continue;
                    };
                    if r < wide.height && c < wide.width {
                        seen.push(r * wide.width + c);
                    }
                }
            }
            match kind {
                PoolKind::Average => {
                    seen.iter().for_each(|&at| dx[at] += g / seen.len() as f64);
                }
                PoolKind::Max => {
                    let first = seen.iter().copied().reduce(|a, b| if x[b] > x[a] { b } else { a });
                    dx[first.expect("a window sees a pixel")] += g;
                }
            }
        }
    }
    let Padding { before, .. } = *zeros;
    let rows = dx.chunks(wide.width);
    let cut = |(at, row): (usize, &[f64])| {
        let inside = (before.rows..before.rows + from.height).contains(&(at % wide.height));
        inside.then(|| row[before.columns..][..from.width].to_vec())
    };
    rows.enumerate().filter_map(cut).flatten().collect()
}
