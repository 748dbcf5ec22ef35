//! Operators that move, mask or spread planes, and pools.

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, DilateParams, GradientParams, PoolGradientParams, ShiftParams,
    SpreadParams,
};

use super::super::channel::plane;
use super::super::{Side, pool};
use super::norm::gradient_params;
use super::{PLAIN, Steps, residual_or, residual_row};
use crate::graph::{Extent, Padding, PoolKind, Pooling, Window};
use crate::nest::Part;
use crate::schedule::Buffer;
use crate::train::ValueId;

impl Steps<'_> {
    pub(super) fn pool(&mut self, of: &Pooling, x: ValueId, y: ValueId) {
        let make = match of.kind {
            PoolKind::Max => Call::MaxPool,
            PoolKind::Average => Call::AveragePool,
        };
        let word = of.kind.word();
        self.layer(x, PLAIN, y, |lowering, layer| lowering.pool(layer, word, make, of));
    }

    pub(super) fn pool_gradient(
        &mut self,
        of: &Pooling,
        [x, z, g]: [ValueId; 3],
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (x, z, g, y) = (self.buffer(x), self.buffer(z), self.buffer(g), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let plane_of_input = match of.kind {
            PoolKind::Max => &x,
            PoolKind::Average => &y,
        };
        let params =
            pool_gradient_params(&of.window, of.zeros, [plane_of_input, &z], [&g, &y], r.as_ref());
        let loops = self.planes(&y);
        let doc = format!("gradient of {} {}", of.kind.word(), y.shape);
        let r = plane(&residual_or(r.as_ref(), &y));
        match of.kind {
            PoolKind::Max => {
                let sides = [plane(&x), plane(&z), plane(&g), r, plane(&y)];
                self.call(doc, Call::MaxPoolGradient(params), sides, &loops);
            }
            PoolKind::Average => {
                let sides = [plane(&g), r, plane(&y)];
                self.call(doc, Call::AveragePoolGradient(params), sides, &loops);
            }
        }
    }

    pub(super) fn blur(&mut self, window: &Window, x: ValueId, y: ValueId) {
        self.layer(x, PLAIN, y, |lowering, layer| lowering.blur(layer, window));
    }

    pub(super) fn blur_gradient(
        &mut self,
        window: &Window,
        g: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (g, y) = (self.buffer(g), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let params = pool_gradient_params(window, Padding::NONE, [&y, &g], [&g, &y], r.as_ref());
        let sides = [plane(&g), plane(&residual_or(r.as_ref(), &y)), plane(&y)];
        let loops = self.planes(&y);
        let doc = format!("gradient before blur {}", y.shape);
        self.call(doc, Call::BlurGradient(params), sides, &loops);
    }

    pub(super) fn zero_pad(&mut self, stride: Extent, before: usize, x: ValueId, y: ValueId) {
        let (x, y) = (self.buffer(x), self.ringed(y));
        self.lowering.zero_pad((self.layer, Part::Main), stride, before, [&x, &y]);
    }

    pub(super) fn mask(&mut self, z: ValueId, activation: Activation, g: ValueId, y: ValueId) {
        let (z, g, y) = (self.buffer(z), self.buffer(g), self.ringed(y));
        let params = GradientParams { activation, ..gradient_params([&z, &z, &g, &y], None) };
        let sides = [plane(&z), plane(&g), plane(&y)];
        let loops = self.planes(&z);
        let doc = format!("gradient before {activation} {}", z.shape);
        self.call(doc, Call::Mask(params), sides, &loops);
    }

    pub(super) fn spread(&mut self, x: ValueId, residual: Option<ValueId>, y: ValueId) {
        let (x, y) = (self.buffer(x), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let params = SpreadParams {
            rows: y.shape.height,
            columns: y.shape.width,
            y_row: y.row_len(),
            r_row: residual_row(r.as_ref()),
            residual: r.is_some(),
        };
        let sides = [plane(&x), plane(&residual_or(r.as_ref(), &y)), plane(&y)];
        let loops = self.planes(&y);
        self.call(
            format!("gradient before a mean {}", y.shape),
            Call::Spread(params),
            sides,
            &loops,
        );
    }

    pub(super) fn dilate(
        &mut self,
        stride: Extent,
        skipped: Extent,
        x: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (x, y) = (self.buffer(x), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        let params = DilateParams {
            skipped_rows: skipped.rows,
            skipped_columns: skipped.columns,
            ..dilate_params(stride, &x, r.as_ref(), &y)
        };
        let sides = [plane(&x), plane(&residual_or(r.as_ref(), &y)), plane(&y)];
        let loops = self.planes(&y);
        let doc = format!("dilate {} -> {}", x.shape, y.shape);
        self.call(doc, Call::Dilate(params), sides, &loops);
    }

    pub(super) fn shift(
        &mut self,
        stride: Extent,
        [skipped, before]: [usize; 2],
        x: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (x, y) = (self.buffer(x), self.ringed(y));
        let r = residual.map(|id| self.buffer(id));
        // A block at a time, as each begins at a channel of its own.
        for block in 0..y.blocks() {
            let call = Call::Shift(ShiftParams {
                dilate: dilate_params(stride, &x, r.as_ref(), &y),
                first: block * BLOCK,
                y_channels: y.shape.channels,
                x_channels: x.shape.channels,
                before,
                skipped,
                x_block: x.block_len(),
            });
            let of = |buffer: &Buffer, block: usize| {
                Side::new(buffer, Extent::square(0), 0).skip(block * buffer.block_len())
            };
            let residual = residual_or(r.as_ref(), &y);
            let sides = [of(&x, 0), of(&residual, block), of(&y, block)];
            let loops = [self.lowering.picture()];
            let doc =
                format!("channels from {skipped} behind {before} of {}, block {block}", y.shape);
            self.call(doc, call, sides, &loops);
        }
    }
}

/// The gradient `g` of a pool's output `z`, and `y` of its input `x`.
fn pool_gradient_params(
    window: &Window,
    zeros: Padding,
    [x, z]: [&Buffer; 2],
    [g, y]: [&Buffer; 2],
    residual: Option<&Buffer>,
) -> PoolGradientParams {
    PoolGradientParams {
        zero_rows: zeros.before.rows,
        zero_rows_after: zeros.after.rows,
        zero_columns: zeros.before.columns,
        zero_columns_after: zeros.after.columns,
        pool: pool::params(window, x, z),
        g_row: g.row_len(),
        d_row: y.row_len(),
        r_row: residual_row(residual),
        residual: residual.is_some(),
    }
}

fn dilate_params(
    stride: Extent,
    x: &Buffer,
    residual: Option<&Buffer>,
    y: &Buffer,
) -> DilateParams {
    DilateParams {
        rows: x.shape.height,
        columns: x.shape.width,
        skipped_rows: 0,
        skipped_columns: 0,
        stride_rows: stride.rows,
        stride_columns: stride.columns,
        x_row: x.row_len(),
        y_rows: y.shape.height,
        y_columns: y.shape.width,
        y_row: y.row_len(),
        r_row: residual_row(residual),
        residual: residual.is_some(),
    }
}
