//! Pools, row by row.

use std::ops::Range;

use resnet_runtime::kernels::{Call, PoolParams};

use super::{Layer, Lowering, Side, nested, of_reals};
use crate::graph::{Extent, Padding, PoolKind, Pooling, Window};
use crate::nest::{Function, Loop, Statement, Var};
use crate::schedule::Buffer;

impl Lowering {
    /// Rows of windows within the input are what threads divide, as they do the rows of the
    /// convolutions around, so that each reads what it has written. The few windows that reach over
    /// the upper or the lower edge follow. Zeros that count as pixels are those of the input's ring,
    /// so that for the windows they are a part of the picture.
    pub(super) fn pool(
        &mut self,
        layer: &Layer<'_>,
        kind: &str,
        make: impl Fn(PoolParams) -> Call,
        pool: &Pooling,
    ) {
        let (x, y) = (layer.input, layer.output);
        let Pooling { window, zeros, .. } = pool;
        let mut doc =
            format!("{kind} {}/{} {} -> {}", window.kernel, window.stride, x.shape, y.shape);
        if *zeros != Padding::NONE {
            doc += &format!(", {zeros} zeros around");
        }
        let window = &Window { padding: window.padding.without(*zeros), ..*window };
        let in_rows = x.shape.height + zeros.before.rows + zeros.after.rows;
        let in_columns = x.shape.width + zeros.before.columns + zeros.after.columns;
        let [top, inside, bottom] = parts(window, in_rows, y.shape.height);
        let (stride, padding) = (window.stride.rows, window.padding.before.rows);
        let part = |rows: &Range<usize>, count: usize| {
            let from = (rows.start * stride).saturating_sub(padding);
            let call = make(PoolParams {
                in_rows: (in_rows - from).min((count - 1) * stride + window.kernel.rows),
                in_columns,
                out_rows: count,
                padding_rows: padding.saturating_sub(rows.start * stride),
                ..params(window, x, y)
            });
            let side = |buffer: &Buffer, above: Extent, row: usize, step: usize| {
                Side::new(buffer, above, buffer.block_len())
                    .with(Var::Row, step * buffer.row_len())
                    .skip(row * buffer.row_len())
            };
            let none = Extent::square(0);
            (call, side(x, zeros.before, from, stride), side(y, none, rows.start, 1))
        };
        let blocks = Loop { var: Var::Block, extent: x.blocks() };
        if !inside.is_empty() {
            let (call, x, y) = part(&inside, 1);
            let rows = Loop { var: Var::Row, extent: inside.len() };
            let loops = [self.picture(), rows, blocks];
            self.simple(layer.main(), doc.clone(), call, [x, y], &loops);
        }
        for rows in [top, bottom] {
            if !rows.is_empty() {
                let (call, x, y) = part(&rows, rows.len());
                let loops = [self.picture(), blocks];
                let call = Statement::Call(call, vec![x.address(0, &loops), y.address(1, &loops)]);
                let doc = format!("{doc}, rows {} to {}", rows.start, rows.end - 1);
                let body = nested(&loops, vec![call]);
                let function = Function { doc, operands: vec!["x", "y"], parallel: vec![], body };
                self.step(layer.main(), function, vec![x.place, y.place]);
            }
        }
    }

    /// What a window of a blur sees past an edge are rows that it reads anyway if it reaches over the
    /// edge by less than half of itself. Where it reaches further, planes are not divided.
    pub(super) fn blur(&mut self, layer: &Layer<'_>, window: &Window) {
        let make = of_reals(layer.input, [Call::Blur, Call::BlurBf16]);
        if 2 * window.padding.most().rows < window.kernel.rows {
            let whole = Pooling::new(PoolKind::Average, *window);
            return self.pool(layer, "blur", make, &whole);
        }
        let (x, y) = (layer.input, layer.output);
        let doc = format!("blur {}/{} {} -> {}", window.kernel, window.stride, x.shape, y.shape);
        self.per_block(layer, doc, make(params(window, x, y)));
    }
}

/// A whole plane.
pub(super) fn params(window: &Window, x: &Buffer, y: &Buffer) -> PoolParams {
    PoolParams {
        in_rows: x.shape.height,
        in_columns: x.shape.width,
        x_row: x.row_len(),
        out_rows: y.shape.height,
        out_columns: y.shape.width,
        y_row: y.row_len(),
        kernel_rows: window.kernel.rows,
        kernel_columns: window.kernel.columns,
        stride_rows: window.stride.rows,
        stride_columns: window.stride.columns,
        padding_rows: window.padding.before.rows,
        padding_columns: window.padding.before.columns,
    }
}

/// Output rows whose windows reach over the upper edge, over none, and over the lower edge alone.
fn parts(window: &Window, in_rows: usize, out_rows: usize) -> [Range<usize>; 3] {
    let (kernel, stride) = (window.kernel.rows, window.stride.rows);
    let padding = window.padding.before.rows;
    let top = padding.div_ceil(stride).min(out_rows);
    let fits = (in_rows + padding).checked_sub(kernel).map_or(0, |last| last / stride + 1);
    let inside = top..fits.clamp(top, out_rows);
    [0..top, inside.clone(), inside.end..out_rows]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(kernel: usize, stride: usize, padding: usize, rows: usize) -> [Range<usize>; 3] {
        let padding = Padding::even(Extent::square(padding));
        let window = Window::new(Extent::square(kernel), Extent::square(stride), padding);
        let out_rows = (rows + 2 * padding.before.rows - kernel) / stride + 1;
        parts(&window, rows, out_rows)
    }

    #[test]
    fn edges_are_apart() {
        assert_eq!(parts_of(3, 2, 1, 112), [0..1, 1..56, 56..56]);
        assert_eq!(parts_of(3, 2, 1, 7), [0..1, 1..3, 3..4], "below too");
        assert_eq!(parts_of(2, 2, 0, 8), [0..0, 0..4, 4..4]);
        assert_eq!(parts_of(3, 1, 1, 1), [0..1, 1..1, 1..1], "both edges at once");
        assert_eq!(parts_of(5, 1, 2, 3), [0..2, 2..2, 2..3], "a window over all");
    }
}
