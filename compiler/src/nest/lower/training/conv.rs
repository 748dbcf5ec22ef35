//! Convolutions, in both directions, and the gradients of their weights.

use resnet_runtime::kernels::{BLOCK, Call, ConvGradientParams, Element};

use super::super::conv::Layer as ConvLayer;
use super::super::{Layer, Side, nested};
use super::Steps;
use crate::fuse::{Epilogue, Residual};
use crate::graph::Extent;
use crate::nest::{Address, Loop, Statement, Var};
use crate::schedule::{Buffer, ConvPlan, Fetch, Region, Tiling, joined_rows};
use crate::train::{ConvId, Gradient, ValueId};

/// Pixels over which one call sums: so few that a plane's part stays in the first two levels of cache while the
/// taps pass over it, and that the sums' errors stay small.
const PIXELS: usize = 1024;

impl Steps<'_> {
    pub(super) fn conv(
        &mut self,
        conv: ConvId,
        (x, w, points): (ValueId, ValueId, Option<ValueId>),
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let conv = self.of.tape.conv(conv);
        let (input, output) = (self.buffer(x), self.ringed(y));
        let residual = residual.map(|id| self.buffer(id));
        let mut epilogue = Epilogue::NONE;
        if residual.is_some() {
            // Of which value it is, the lowering does not ask.
            epilogue.residual = Some(Residual::Same(self.layer));
        }
        let tiling = match conv.winograd {
            Some(mut winograd) => {
                self.scratch_bytes = self.scratch_bytes.max(winograd.scratch_bytes());
                if let Some(points) = points {
                    winograd.input_place = (Region::Arena, self.numbers(points));
                }
                Tiling::Winograd(winograd)
            }
            None => {
                let residual = residual.as_ref();
                Tiling::Direct { rows: joined_rows(false, &conv.window, &input, residual, &output) }
            }
        };
        let plan = ConvPlan {
            window: conv.window,
            panels: conv.panels,
            memory: Region::Arena,
            weights: self.numbers(w),
            order: conv.order,
            tiling,
            fetch: Fetch::Next,
        };
        let (input, output) = (&input, &output);
        let residual = residual.as_ref();
        let layer = Layer { id: self.layer, epilogue: &epilogue, input, residual, output };
        self.lowering.conv(&ConvLayer { of: &layer, plan: &plan });
    }

    /// Each part of the batch has its own sums; images, and bands of rows of each, are added one after the other.
    pub(super) fn conv_gradient(
        &mut self,
        of: Gradient,
        [x, d]: [ValueId; 2],
        parts: usize,
        y: ValueId,
    ) {
        let Gradient { window, panels } = of;
        let (x, d) = (self.buffer(x), self.buffer(d));
        let images = self.of.batch / parts;
        let (full, rest) = {
            let (blocks, each) = (panels.shape.out_blocks(), panels.format.panel_blocks);
            (blocks / each, blocks % each)
        };
        for (count, out_blocks, skipped) in
            [(full, panels.format.panel_blocks, 0), (usize::from(rest > 0), rest, full)]
        {
            if count == 0 {
                continue;
            }
            let part = Part { of: self, panels: &panels, window: &window, x: &x, d: &d, images };
            let (sides, loops, body) = part.body(count, out_blocks, skipped, parts, y);
            let doc = format!(
                "gradient of conv {}/{}, {} -> {}, {parts} parts",
                window.kernel, window.stride, x.shape, d.shape
            );
            self.step(doc, &["x", "d", "y"], &sides, &loops, body);
        }
    }
}

/// Panels of one width of a weights' gradient.
struct Part<'a> {
    of: &'a Steps<'a>,
    panels: &'a resnet_runtime::kernels::Panels,
    window: &'a crate::graph::Window,
    x: &'a Buffer,
    d: &'a Buffer,
    images: usize,
}

impl Part<'_> {
    fn body(
        &self,
        count: usize,
        out_blocks: usize,
        skipped: usize,
        parts: usize,
        y: ValueId,
    ) -> ([Side; 3], [Loop; 3], Vec<Statement>) {
        let Self { panels, window, x, d, images, .. } = *self;
        let format = &panels.format;
        let taps = window.kernel;
        // `[in_blocks][rows][columns][16][out_blocks * 16]`
        let row = BLOCK * out_blocks * BLOCK;
        let per_block = taps.rows * taps.columns * row;
        let panel = panels.panel_len();
        let loops = [
            Loop { var: Var::Group, extent: parts },
            Loop { var: Var::Panel, extent: count },
            Loop { var: Var::Block, extent: format.in_blocks },
        ];
        let mut of_x = Side::new(x, window.padding.before, x.block_len())
            .with(Var::Panel, format.in_block_step * x.block_len())
            .with(Var::Group, images * x.picture_len())
            .with(Var::PointRow, window.dilation.rows * x.row_len())
            .with(Var::Point, window.dilation.columns * BLOCK);
        of_x = of_x.skip(skipped * format.in_block_step * x.block_len());
        let of_d = Side::new(d, Extent::square(0), 0)
            .with(Var::Panel, format.panel_blocks * d.block_len())
            .with(Var::Group, images * d.picture_len())
            .skip(skipped * format.panel_blocks * d.block_len());
        let of_y = Side::at(Region::Arena, Element::F32, self.of.numbers(y))
            .with(Var::Panel, panel)
            .with(Var::Group, panels.weights_len())
            .with(Var::Block, per_block)
            .with(Var::PointRow, taps.columns * row)
            .with(Var::Point, row)
            .skip(skipped * panel);
        let sides = [of_x, of_d, of_y];
        let taps = [
            Loop { var: Var::PointRow, extent: taps.rows },
            Loop { var: Var::Point, extent: taps.columns },
        ];
        let all = [&loops[..], &taps].concat();
        let bands = bands(d);
        let mut body = Vec::new();
        for (index, &(first, rows)) in bands.iter().enumerate() {
            let params = |accumulate| {
                Call::ConvGradient(ConvGradientParams {
                    rows,
                    columns: d.shape.width,
                    inputs: BLOCK,
                    x_row: window.stride.rows * x.row_len(),
                    x_step: window.stride.columns * BLOCK,
                    out_blocks,
                    d_row: d.row_len(),
                    d_block: d.block_len(),
                    accumulate,
                })
            };
            let down = [first * window.stride.rows * x.row_len(), first * d.row_len(), 0];
            let at = |loops: &[Loop], image: usize| -> Vec<Address> {
                let pictures = [x.picture_len(), d.picture_len(), 0];
                sides
                    .iter()
                    .enumerate()
                    .map(|(operand, side)| {
                        let mut address = side.address(operand, loops);
                        address.offset += side.bytes(down[operand] + image * pictures[operand]);
                        address
                    })
                    .collect()
            };
            if index == 0 {
                // The first of all begins from zero.
                let call = Statement::Call(params(false), at(&all, 0));
                body.extend(nested(&taps, vec![call]));
            }
            let first_image = usize::from(index == 0);
            if images > first_image {
                let pictures = Loop { var: Var::Picture, extent: images - first_image };
                let loops = [&all[..], &[pictures]].concat();
                let call = Statement::Call(params(true), at(&loops, first_image));
                body.extend(nested(&[pictures], nested(&taps, vec![call])));
            }
        }
        (sides, loops, body)
    }
}

/// The first row and the number of rows of each band.
fn bands(d: &Buffer) -> Vec<(usize, usize)> {
    let rows = (PIXELS / d.shape.width).clamp(1, d.shape.height);
    (0..d.shape.height)
        .step_by(rows)
        .map(|first| (first, rows.min(d.shape.height - first)))
        .collect()
}
