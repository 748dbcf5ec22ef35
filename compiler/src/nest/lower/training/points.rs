//! F(4x4, 3x3) in training: the points of weights, and the gradient of weights by points.

use resnet_runtime::kernels::{
    BLOCK, Call, ConvGradientParams, Element, LINE_BYTES, Panels, Transform, WinogradInputParams,
    WinogradWeightsParams,
};

use super::super::{Side, nested};
use super::Steps;
use crate::graph::{Extent, Window};
use crate::nest::{Address, Base, Loop, Statement, Var};
use crate::schedule::{Buffer, Region};
use crate::train::{Bands, ConvId, Gradient, POINTS, TILE, ValueId};

/// Taps of a kernel.
const TAPS: usize = 9;

/// Panels of the same width: how many, of how many blocks, behind how many others.
#[derive(Clone, Copy)]
pub(super) struct Like {
    pub(super) count: usize,
    pub(super) blocks: usize,
    pub(super) skipped: usize,
}

/// The panels by width: the last one may be narrower.
pub(super) fn widths(panels: &Panels) -> impl Iterator<Item = Like> {
    let (blocks, each) = (panels.shape.out_blocks(), panels.format.panel_blocks);
    let (full, rest) = (blocks / each, blocks % each);
    let narrow = Like { count: usize::from(rest > 0), blocks: rest, skipped: full };
    [Like { count: full, blocks: each, skipped: 0 }, narrow].into_iter().filter(|w| w.count > 0)
}

impl Steps<'_> {
    /// Each input block of each panel is a run of taps, and becomes a run of each point.
    pub(super) fn points(&mut self, conv: ConvId, x: ValueId, y: ValueId) {
        let panels = self.of.tape.conv(conv).panels;
        self.transform_weights(&panels, x, y, |len, in_blocks| {
            Call::WinogradWeights(WinogradWeightsParams {
                len,
                x_part: len,
                sums: 1,
                x_sum: 0,
                y_part: in_blocks * len,
            })
        });
    }

    pub(super) fn weights_of_points(&mut self, of: Gradient, x: ValueId, parts: usize, y: ValueId) {
        let all = of.panels.weights_len() / TAPS * POINTS;
        self.transform_weights(&of.panels, x, y, |len, in_blocks| {
            Call::WinogradWeightsGradient(WinogradWeightsParams {
                len,
                x_part: in_blocks * len,
                sums: parts,
                x_sum: all,
                y_part: len,
            })
        });
    }

    /// A call for each input block of each panel, between taps, where a block's are side by side, and points, where a
    /// point's blocks are.
    fn transform_weights(
        &mut self,
        panels: &Panels,
        x: ValueId,
        y: ValueId,
        make: impl Fn(usize, usize) -> Call,
    ) {
        let in_blocks = panels.format.in_blocks;
        let full = in_blocks * BLOCK * panels.format.panel_blocks * BLOCK;
        for Like { count, blocks, skipped } in widths(panels) {
            let len = BLOCK * blocks * BLOCK;
            let call = make(len, in_blocks);
            let side = |id: ValueId, parts: usize| {
                let block = if parts == TAPS { TAPS * len } else { len };
                self.side(id)
                    .skip(skipped * parts * full)
                    .with(Var::Panel, parts * full)
                    .with(Var::Block, block)
            };
            let sides = match call {
                Call::WinogradWeights(_) => [side(x, TAPS), side(y, POINTS)],
                _ => [side(x, POINTS), side(y, TAPS)],
            };
            let loops = [
                Loop { var: Var::Panel, extent: count },
                Loop { var: Var::Block, extent: in_blocks },
            ];
            self.call(format!("{} {len}", call.name()), call, sides, &loops);
        }
    }

    /// Each part of the batch has its own sums of products. Bands of tiles, and images, are added one after the other: their
    /// points are made in the scratch.
    pub(super) fn points_gradient(
        &mut self,
        (of, bands): (Gradient, Bands),
        [x, d]: [ValueId; 2],
        parts: usize,
        y: ValueId,
    ) {
        let (x, d) = (&self.buffer(x), &self.buffer(d));
        let Gradient { window, panels } = of;
        let (images, y) = (self.of.batch / parts, self.numbers(y));
        let products = Products { window, panels, bands, x, d, images, y };
        self.scratch_bytes = self.scratch_bytes.max(products.scratch_bytes());
        let sides = products.sides();
        let parallel = [Loop { var: Var::Group, extent: parts }];
        let doc = format!(
            "gradient of conv {}, {} -> {} by points, {parts} parts",
            of.window.kernel, x.shape, d.shape
        );
        let body = products.body(&sides, &parallel);
        self.step(doc, &["x", "d", "y"], &sides, &parallel, body);
    }
}

/// The products of the points of a convolution's tiles.
struct Products<'a> {
    window: Window,
    panels: Panels,
    bands: Bands,
    x: &'a Buffer,
    d: &'a Buffer,
    /// Of a part.
    images: usize,
    /// The first byte of the sums.
    y: usize,
}

impl Products<'_> {
    /// Elements of one block of a point of a band.
    fn block(&self) -> usize {
        self.bands.rows * self.bands.tiles.columns * BLOCK
    }

    /// Elements between the points of so many blocks: a line more, so that they do not all fall into one set of a cache.
    fn point(&self, blocks: usize) -> usize {
        blocks * self.block() + LINE_BYTES / Element::F32.bytes()
    }

    /// Elements of all points of so many blocks.
    fn len(&self, blocks: usize) -> usize {
        POINTS * self.point(blocks)
    }

    fn scratch_bytes(&self) -> usize {
        (self.len(self.x.blocks()) + self.len(self.d.blocks())) * Element::F32.bytes()
    }

    /// Input, output's gradient, and sums.
    fn sides(&self) -> [Side; 3] {
        let Self { window, panels, x, d, images, .. } = self;
        let pixels = |buffer: &Buffer, padding: Extent| {
            Side::new(buffer, padding, buffer.block_len())
                .with(Var::Group, images * buffer.picture_len())
                .with(Var::Row, TILE * buffer.row_len())
                .with(Var::Strip, TILE * self.bands.rows * buffer.row_len())
        };
        let sums = Side::at(Region::Arena, Element::F32, self.y)
            .with(Var::Group, panels.weights_len() / TAPS * POINTS);
        [pixels(x, window.padding.before), pixels(d, Extent::square(0)), sums]
    }

    /// All bands of all images of a part; the very first one begins the sums.
    fn body(&self, sides: &[Side; 3], parallel: &[Loop]) -> Vec<Statement> {
        let Bands { tiles, rows } = self.bands;
        let bands = tiles.rows / rows;
        let mut body = self.band(sides, parallel, [0, 0], false);
        if bands > 1 {
            let rest = Loop { var: Var::Strip, extent: bands - 1 };
            let loops = [parallel, &[rest]].concat();
            body.extend(nested(&[rest], self.band(sides, &loops, [0, 1], true)));
        }
        if self.images > 1 {
            let rest = [
                Loop { var: Var::Picture, extent: self.images - 1 },
                Loop { var: Var::Strip, extent: bands },
            ];
            let loops = [parallel, &rest].concat();
            body.extend(nested(&rest, self.band(sides, &loops, [1, 0], true)));
        }
        body
    }

    /// The band that is so many images and bands behind the one that the loops point at.
    fn band(
        &self,
        sides: &[Side; 3],
        loops: &[Loop],
        [image, band]: [usize; 2],
        accumulate: bool,
    ) -> Vec<Statement> {
        let (in_blocks, out_blocks) = (self.x.blocks(), self.d.blocks());
        let d_points = self.len(in_blocks);
        let mut body = Vec::new();
        for (operand, buffer, first, blocks) in
            [(0, self.x, 0, in_blocks), (1, self.d, d_points, out_blocks)]
        {
            let made = [
                Loop { var: Var::Block, extent: blocks },
                Loop { var: Var::Row, extent: self.bands.rows },
            ];
            let all = [loops, &made].concat();
            let side = &sides[operand];
            let mut from = side.address(operand, &all);
            from.offset += side.bytes(
                image * buffer.picture_len() + band * TILE * self.bands.rows * buffer.row_len(),
            );
            let to = self.scratch(
                first,
                &all,
                &[(Var::Block, self.block()), (Var::Row, self.bands.tiles.columns * BLOCK)],
            );
            let params = WinogradInputParams {
                form: Transform::Winograd4x4,
                tiles: self.bands.tiles.columns,
                x_row: buffer.row_len(),
                y_point: self.point(blocks),
            };
            let call = match operand {
                0 => Call::WinogradInput(params),
                _ => Call::WinogradGradient(params),
            };
            body.extend(nested(&made, vec![Statement::Call(call, vec![from, to])]));
        }
        for like in widths(&self.panels) {
            body.extend(self.products(&sides[2], loops, like, accumulate));
        }
        body
    }

    /// The products of all points of a band.
    fn products(
        &self,
        sums: &Side,
        loops: &[Loop],
        Like { count, blocks, skipped }: Like,
        accumulate: bool,
    ) -> Vec<Statement> {
        let (in_blocks, out_blocks) = (self.x.blocks(), self.d.blocks());
        let row = BLOCK * blocks * BLOCK;
        let full = in_blocks * BLOCK * self.panels.format.panel_blocks * BLOCK;
        let inner = [
            Loop { var: Var::Point, extent: POINTS },
            Loop { var: Var::Panel, extent: count },
            Loop { var: Var::Block, extent: in_blocks },
        ];
        let all = [loops, &inner].concat();
        let x = self.scratch(
            0,
            &all,
            &[(Var::Point, self.point(in_blocks)), (Var::Block, self.block())],
        );
        let panel = self.panels.format.panel_blocks * self.block();
        let d = self.scratch(
            self.len(in_blocks) + skipped * panel,
            &all,
            &[(Var::Point, self.point(out_blocks)), (Var::Panel, panel)],
        );
        let sums = sums
            .clone()
            .with(Var::Panel, POINTS * full)
            .with(Var::Point, in_blocks * row)
            .with(Var::Block, row);
        let mut y = sums.address(2, &all);
        y.offset += sums.bytes(skipped * POINTS * full);
        let call = Call::ConvGradient(ConvGradientParams {
            rows: 1,
            columns: self.bands.rows * self.bands.tiles.columns,
            inputs: BLOCK,
            x_row: 0,
            x_step: BLOCK,
            out_blocks: blocks,
            d_row: 0,
            d_block: self.block(),
            accumulate,
        });
        nested(&inner, vec![Statement::Call(call, vec![x, d, y])])
    }

    /// An address in the scratch, from element `first` on, moved by some loops.
    fn scratch(&self, first: usize, loops: &[Loop], moves: &[(Var, usize)]) -> Address {
        let mut side = Side::at(Region::Scratch, Element::F32, 0).skip(first);
        for &(var, distance) in moves {
            side = side.with(var, distance);
        }
        let address = side.address(0, loops);
        debug_assert!(matches!(address.base, Base::Scratch(_)));
        address
    }
}
