//! Convolutions, in both directions, and the gradients of their weights.

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, ConvGradientParams, Element, Panels, RingParams,
};

use super::super::conv::Layer as ConvLayer;
use super::super::{Layer, Side, nested};
use super::Steps;
use super::points::{Like, widths};
use crate::graph::{Extent, Window};
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
        let epilogue = self.epilogue(residual.is_some(), Activation::None);
        let tiling = match conv.winograd {
            Some(mut winograd) => {
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

    /// Each part of the batch has its own sums, to which its images are added one after the other.
    pub(super) fn conv_gradient(
        &mut self,
        &Gradient { window, panels, parts, .. }: &Gradient,
        [x, d]: [ValueId; 2],
        y: ValueId,
    ) {
        let (x, d) = (self.buffer(x), self.buffer(d));
        let images = self.of.batch / parts;
        for like in widths(&panels) {
            let sums = Sums { panels: &panels, window: &window, x: &x, d: &d, images, like };
            let sides = sums.sides(self.numbers(y));
            let parallel = [
                Loop { var: Var::Part, extent: parts },
                Loop { var: Var::Panel, extent: like.count },
                Loop { var: Var::Block, extent: panels.format.in_blocks },
            ];
            let body = sums.body(&sides, &parallel);
            let doc = format!(
                "gradient of conv {}/{}, {} -> {}, {parts} parts",
                window.kernel, window.stride, x.shape, d.shape
            );
            self.step(doc, &["x", "d", "y"], &sides, &parallel, body);
        }
    }
}

/// A part's sums, of panels of one width, for a weights' gradient.
struct Sums<'a> {
    panels: &'a Panels,
    window: &'a Window,
    x: &'a Buffer,
    d: &'a Buffer,
    /// Of a part of the batch.
    images: usize,
    like: Like,
}

impl Sums<'_> {
    /// Inputs of a call, and the taps of each row that are calls of their own: of a planar input a row's taps are its inputs.
    fn inputs(&self) -> (usize, usize) {
        let columns = self.window.kernel.columns;
        if self.panels.format.planar { (columns, 1) } else { (BLOCK, columns) }
    }

    /// Elements of a call's sums.
    fn tap_len(&self) -> usize {
        self.inputs().0 * self.like.blocks * BLOCK
    }

    /// Input, output's gradient, and sums, which begin at a byte.
    fn sides(&self, y: usize) -> [Side; 3] {
        let Self { panels, window, x, d, images, like: Like { skipped, .. } } = *self;
        let format = &panels.format;
        // `[in_blocks][rows][columns][16][blocks * 16]`
        let (tap, (_, columns)) = (self.tap_len(), self.inputs());
        let of_x = Side::new(x, window.padding.before, x.block_len())
            .with(Var::Part, images * x.picture_len())
            .with(Var::Panel, format.in_block_step * x.block_len())
            .with(Var::PointRow, window.dilation.rows * x.row_len())
            .with(Var::Point, window.dilation.columns * x.lanes())
            .skip(skipped * format.in_block_step * x.block_len());
        let of_d = Side::new(d, Extent::square(0), 0)
            .with(Var::Part, images * d.picture_len())
            .with(Var::Panel, format.panel_blocks * d.block_len())
            .skip(skipped * format.panel_blocks * d.block_len());
        let sums = Side::at(Region::Arena, Element::F32, y)
            .with(Var::Part, panels.weights_len())
            .with(Var::Panel, panels.panel_len())
            .with(Var::Block, window.kernel.rows * columns * tap)
            .with(Var::PointRow, columns * tap)
            .with(Var::Point, tap)
            .skip(skipped * panels.panel_len());
        [of_x, of_d, sums]
    }

    /// Zeros, then what each band of each image adds.
    fn body(&self, sides: &[Side; 3], parallel: &[Loop]) -> Vec<Statement> {
        let (rows, (_, columns)) = (self.window.kernel.rows, self.inputs());
        let taps =
            [Loop { var: Var::PointRow, extent: rows }, Loop { var: Var::Point, extent: columns }];
        let images = Loop { var: Var::Picture, extent: self.images };
        let loops = [parallel, &[images], &taps].concat();
        let band = |&band: &(usize, usize)| nested(&taps, vec![self.call(sides, band, &loops)]);
        let added = bands(self.d).iter().flat_map(band).collect();
        let zeros = zeros(rows * columns * self.tap_len(), sides[2].address(2, parallel));
        vec![zeros, Statement::For(images, added)]
    }

    /// The call for a band: the first row, and how many.
    fn call(&self, sides: &[Side; 3], (first, rows): (usize, usize), loops: &[Loop]) -> Statement {
        let Self { window, x, d, .. } = *self;
        let call = Call::ConvGradient(ConvGradientParams {
            rows,
            columns: d.shape.width,
            inputs: self.inputs().0,
            x_row: window.stride.rows * x.row_len(),
            x_step: window.stride.columns * x.lanes(),
            out_blocks: self.like.blocks,
            d_row: d.row_len(),
            d_block: d.block_len(),
        });
        let skipped = [first * window.stride.rows * x.row_len(), first * d.row_len(), 0];
        let address = |(operand, side): (usize, &Side)| {
            let mut address: Address = side.address(operand, loops);
            address.offset += side.bytes(skipped[operand]);
            address
        };
        Statement::Call(call, sides.iter().enumerate().map(address).collect())
    }
}

/// Writes so many zeros, a multiple of [`BLOCK`]: a plane without columns is all ring.
pub(super) fn zeros(len: usize, at: Address) -> Statement {
    let plane = RingParams {
        rows: 1,
        columns: 0,
        top: len / BLOCK - 1,
        bottom: 0,
        left: 1,
        right: 0,
        lanes: BLOCK,
    };
    Statement::Call(Call::Ring(plane), vec![at])
}

/// The first row and the number of rows of each band.
fn bands(d: &Buffer) -> Vec<(usize, usize)> {
    let rows = (PIXELS / d.shape.width).clamp(1, d.shape.height);
    (0..d.shape.height)
        .step_by(rows)
        .map(|first| (first, rows.min(d.shape.height - first)))
        .collect()
}
