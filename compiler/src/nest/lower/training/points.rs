//! F(4x4, 3x3) in training: the points of weights, and the gradient of weights by points.

use resnet_runtime::kernels::{
    BLOCK, Call, ConvGradientParams, Element, Panels, Transform, WinogradInputParams,
    WinogradWeightsParams,
};

use super::super::{Side, nested};
use super::Steps;
use super::conv::zeros;
use crate::graph::{Extent, Window};
use crate::nest::{Address, Loop, Statement, Var};
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

    pub(super) fn weights_of_points(&mut self, of: &Gradient, x: ValueId, y: ValueId) {
        let all = of.panels.weights_len() / TAPS * POINTS;
        self.transform_weights(&of.panels, x, y, |len, in_blocks| {
            Call::WinogradWeightsGradient(WinogradWeightsParams {
                len,
                x_part: in_blocks * len,
                sums: of.parts,
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

    /// Each part of the batch has its own sums of products, to which the bands of its images are added one after the other:
    /// their points are made in the scratch.
    pub(super) fn points_gradient(
        &mut self,
        &Gradient { window, panels, parts, .. }: &Gradient,
        bands: Bands,
        [x, d]: [ValueId; 2],
        y: ValueId,
    ) {
        let (x, d) = (&self.buffer(x), &self.buffer(d));
        let products = Products { panels, bands, blocks: [x.blocks(), d.blocks()] };
        let images = self.of.batch / parts;
        let of_parts = OfParts { window, products, x, d, images };
        let sides = of_parts.sides(self.side(y));
        let parallel = [Loop { var: Var::Part, extent: parts }];
        let doc = format!(
            "gradient of conv {}, {} -> {} by points, {parts} parts",
            window.kernel, x.shape, d.shape
        );
        let body = of_parts.body(&sides, &parallel);
        self.step(doc, &["x", "d", "y"], &sides, &parallel, body);
    }

    /// The points of all images' tiles: of a convolution's input, whose window it is, or of its output's gradient.
    pub(super) fn all_points(
        &mut self,
        window: Option<&Window>,
        bands: Bands,
        x: ValueId,
        y: ValueId,
    ) {
        let x = self.buffer(x);
        let (Extent { rows, columns }, blocks) = (bands.tiles, x.blocks());
        let rows = rows / self.of.batch;
        let padding = window.map_or(Extent::square(0), |window| window.padding.before);
        let from = Side::new(&x, padding, x.block_len()).with(Var::Row, TILE * x.row_len());
        let to = self
            .side(y)
            .with(Var::Picture, rows * columns * BLOCK)
            .with(Var::Block, bands.block())
            .with(Var::Row, columns * BLOCK);
        let loops = [
            self.lowering.picture(),
            Loop { var: Var::Block, extent: blocks },
            Loop { var: Var::Row, extent: rows },
        ];
        let call = bands.points_of(&x, window.is_some());
        self.call(format!("all points of {}", x.shape), call, [from, to], &loops);
    }

    /// The sums over all tiles of the batch, each for itself.
    pub(super) fn points_products(
        &mut self,
        &Gradient { panels, .. }: &Gradient,
        bands: Bands,
        blocks: [usize; 2],
        [x, d]: [ValueId; 2],
        y: ValueId,
    ) {
        let products = Products { panels, bands, blocks };
        for like in widths(&panels) {
            let sides = products.sides([self.side(x), self.side(d), self.side(y)], &like);
            let parallel = products.loops(&like);
            let mut body = vec![zeros(
                BLOCK * like.blocks * BLOCK,
                products.sums(&sides[2], &parallel, &like),
            )];
            body.extend(products.calls(&sides, &parallel, &like));
            let doc = format!("products of points of {} tiles", bands.block() / BLOCK);
            self.step(doc, &["x", "d", "y"], &sides, &parallel, body);
        }
    }
}

impl Bands {
    /// The call for the points of a row of tiles, of an input or of a gradient.
    fn points_of(&self, buffer: &Buffer, input: bool) -> Call {
        let params = WinogradInputParams {
            form: Transform::Winograd4x4,
            tiles: self.tiles.columns,
            x_row: buffer.row_len(),
            y_point: self.point(buffer.blocks()),
        };
        if input { Call::WinogradInput(params) } else { Call::WinogradGradient(params) }
    }
}

/// Tiles over which one call sums, so that the sums' errors stay small.
const TILES: usize = 256;

/// The products of the points of a convolution's tiles, its input's and its output's gradient's, which have so many blocks.
struct Products {
    panels: Panels,
    bands: Bands,
    blocks: [usize; 2],
}

impl Products {
    /// All points of all panels, by the input's blocks.
    fn loops(&self, like: &Like) -> [Loop; 3] {
        [
            Loop { var: Var::Point, extent: POINTS },
            Loop { var: Var::Panel, extent: like.count },
            Loop { var: Var::Block, extent: self.blocks[0] },
        ]
    }

    /// Points of the input, of the gradient, and sums, as these loops move them from where they begin.
    fn sides(&self, [x, d, sums]: [Side; 3], like: &Like) -> [Side; 3] {
        let Self { panels, bands, blocks: [in_blocks, out_blocks] } = self;
        let Like { blocks, skipped, .. } = *like;
        let panel = panels.format.panel_blocks * bands.block();
        let row = BLOCK * blocks * BLOCK;
        [
            x.with(Var::Point, bands.point(*in_blocks)).with(Var::Block, bands.block()),
            d.skip(skipped * panel)
                .with(Var::Point, bands.point(*out_blocks))
                .with(Var::Panel, panel),
            sums.with(Var::Panel, POINTS * self.point_len())
                .with(Var::Point, in_blocks * row)
                .with(Var::Block, row),
        ]
    }

    /// Sums of a point of a whole panel.
    fn point_len(&self) -> usize {
        self.blocks[0] * BLOCK * self.panels.format.panel_blocks * BLOCK
    }

    /// Where the sums of panels of this width are.
    fn sums(&self, sums: &Side, loops: &[Loop], like: &Like) -> Address {
        let mut address = sums.address(2, loops);
        address.offset += sums.bytes(like.skipped * POINTS * self.point_len());
        address
    }

    /// Adds the products of a band to the sums, some tiles at a time.
    fn calls(&self, sides: &[Side; 3], loops: &[Loop], like: &Like) -> Vec<Statement> {
        let tiles = self.bands.block() / BLOCK;
        let call = |count: usize, first: usize, loops: &[Loop]| {
            let call = Call::ConvGradient(ConvGradientParams {
                rows: 1,
                columns: count,
                inputs: BLOCK,
                x_row: 0,
                x_step: BLOCK,
                out_blocks: like.blocks,
                d_row: 0,
                d_block: self.bands.block(),
            });
            let strip = if tiles > TILES { TILES * BLOCK } else { 0 };
            let [x, d, sums] = sides;
            let [x, d] = [(0, x), (1, d)].map(|(operand, points)| {
                let points = points.clone().with(Var::Strip, strip);
                points.past(operand, loops, Var::Strip, first / TILES)
            });
            Statement::Call(call, vec![x, d, self.sums(sums, loops, like)])
        };
        if tiles <= TILES {
            return vec![call(tiles, 0, loops)];
        }
        let strips = [Loop { var: Var::Strip, extent: tiles / TILES }];
        let mut body = nested(&strips, vec![call(TILES, 0, &[loops, &strips].concat())]);
        if !tiles.is_multiple_of(TILES) {
            body.push(call(tiles % TILES, tiles / TILES * TILES, loops));
        }
        body
    }
}

/// The products of a part of the batch after the other, whose sums stay in cache.
struct OfParts<'a> {
    window: Window,
    products: Products,
    x: &'a Buffer,
    d: &'a Buffer,
    /// Of a part.
    images: usize,
}

impl OfParts<'_> {
    /// Input, output's gradient, and sums.
    fn sides(&self, sums: Side) -> [Side; 3] {
        let Self { window, products, x, d, images } = self;
        let pixels = |buffer: &Buffer, padding: Extent| {
            Side::new(buffer, padding, buffer.block_len())
                .with(Var::Part, images * buffer.picture_len())
                .with(Var::Row, TILE * buffer.row_len())
                .with(Var::Strip, TILE * products.bands.rows * buffer.row_len())
        };
        let sums = sums.with(Var::Part, self.sums_len());
        [pixels(x, window.padding.before), pixels(d, Extent::square(0)), sums]
    }

    /// Of a part.
    fn sums_len(&self) -> usize {
        self.products.panels.weights_len() / TAPS * POINTS
    }

    /// Zeros, then what each band of each image adds.
    fn body(&self, sides: &[Side; 3], parallel: &[Loop]) -> Vec<Statement> {
        let images = Loop { var: Var::Picture, extent: self.images };
        let bands = [Loop { var: Var::Strip, extent: self.products.bands.count() }];
        let loops = [parallel, &[images], &bands].concat();
        let zeros = zeros(self.sums_len(), sides[2].address(2, parallel));
        vec![zeros, Statement::For(images, nested(&bands, self.band(sides, &loops)))]
    }

    /// The points of a band, in the scratch, and their products.
    fn band(&self, sides: &[Side; 3], loops: &[Loop]) -> Vec<Statement> {
        let Self { ref products, x, d, .. } = *self;
        let bands = &products.bands;
        let points = |first: usize| Side::at(Region::Scratch, Element::F32, 0).skip(first);
        let [x_points, d_points] = [0, bands.len(x.blocks())].map(points);
        let mut body = Vec::new();
        for (operand, buffer, points) in [(0, x, &x_points), (1, d, &d_points)] {
            let made = [
                Loop { var: Var::Block, extent: buffer.blocks() },
                Loop { var: Var::Row, extent: bands.rows },
            ];
            let all = [loops, &made].concat();
            let to = points
                .clone()
                .with(Var::Block, bands.block())
                .with(Var::Row, bands.tiles.columns * BLOCK);
            let addresses = vec![sides[operand].address(operand, &all), to.address(1, &all)];
            let call = bands.points_of(buffer, operand == 0);
            body.extend(nested(&made, vec![Statement::Call(call, addresses)]));
        }
        for like in widths(&products.panels) {
            let from = [x_points.clone(), d_points.clone(), sides[2].clone()];
            let sides = products.sides(from, &like);
            let inner = products.loops(&like);
            let calls = products.calls(&sides, &[loops, &inner].concat(), &like);
            body.extend(nested(&inner, calls));
        }
        body
    }
}
