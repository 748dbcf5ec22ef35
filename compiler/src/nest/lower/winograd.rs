//! Winograd convolutions: the input's tiles become points; the points' products, each a 1x1
//! convolution whose pixels are tiles, become output tiles, with the epilogue.

use resnet_runtime::kernels::{BLOCK, Call, ConvParams, WinogradInputParams, WinogradOutputParams};

use super::conv::Layer;
use super::{Lowering, Side, nested, real_loops};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Place, Statement, Var};
use crate::schedule::{Band, Buffer, Order, Region, Winograd};

impl Lowering {
    pub(super) fn winograd(&mut self, layer: &Layer<'_>, plan: &Winograd) {
        let parts = Parts::new(layer, plan, self.batch);
        match layer.plan.order {
            Order::RowsOuter => self.bands(&parts),
            _ => {
                self.points(&parts);
                let full = layer.full_panels();
                if full > 0 {
                    self.panels(&parts, layer.recipe.panel_blocks, 0..full);
                }
                if layer.rest_blocks() > 0 {
                    self.panels(&parts, layer.rest_blocks(), full..full + 1);
                }
            }
        }
    }

    /// One step for all: each band's points, then its panels.
    fn bands(&mut self, parts: &Parts<'_>) {
        let Parts { layer, bands, .. } = parts;
        let points = [bands, &[parts.in_blocks()][..], &parts.rows].concat();
        let input = parts.input(&points);
        let mut body = nested(&points[bands.len()..], vec![input]);
        let full = layer.full_panels();
        if full > 0 {
            let panel = Loop { var: Var::Panel, extent: full };
            let products =
                parts.panel(layer.recipe.panel_blocks, 0, &[bands, &[panel][..]].concat());
            body.extend(nested(&[panel], products));
        }
        if layer.rest_blocks() > 0 {
            body.extend(parts.panel(layer.rest_blocks(), full, bands));
        }
        self.step_of(parts, layer.doc(), bands, body);
    }

    /// The step that transforms the whole input.
    fn points(&mut self, parts: &Parts<'_>) {
        let layer = parts.layer;
        let parallel = [&parts.bands[..], &[parts.in_blocks()], &parts.rows].concat();
        let Sides { x, v, .. } = &parts.sides;
        let params = parts.input_params();
        let side = parts.plan.side;
        let doc = format!("points of {} for Winograd F({side}x{side}, 3x3)", layer.input.shape);
        let name = format!("{}.points", layer.name);
        self.simple(&name, doc, Call::WinogradInput(params), x.clone(), v.clone(), &parallel);
    }

    /// The step that computes the products of `panels`, all of `out_blocks` blocks, and the output.
    fn panels(&mut self, parts: &Parts<'_>, out_blocks: usize, panels: std::ops::Range<usize>) {
        let panel = Loop { var: Var::Panel, extent: panels.len() };
        let parallel = [&[panel], &parts.bands[..]].concat();
        let body = parts.panel(out_blocks, panels.start, &parallel);
        let last = if panels.start > 0 { ", last panel" } else { "" };
        self.step_of(parts, parts.layer.doc() + last, &parallel, body);
    }

    fn step_of(&mut self, parts: &Parts<'_>, doc: String, parallel: &[Loop], body: Vec<Statement>) {
        let (operands, places) = parts.operands();
        let function = Function { doc, operands, parallel: real_loops(parallel), body };
        self.step(parts.layer.name, function, places);
    }
}

/// Indices of the functions' operands: a function reads either the input or its points.
const X: usize = 0;
const V: usize = 0;
const W: usize = 1;
const ZEROS: usize = 2;
const B: usize = 3;
const Y: usize = 4;
const R: usize = 5;
/// Products are scratch, never an operand.
const M: usize = usize::MAX;

/// A Winograd convolution with its loops and operands.
struct Parts<'a> {
    layer: &'a Layer<'a>,
    plan: &'a Winograd,
    /// The loops over bands.
    bands: Vec<Loop>,
    /// The loops over the rows of tiles of a band.
    rows: Vec<Loop>,
    sides: Sides,
}

/// Where the operands start, and how the loops move them.
struct Sides {
    x: Side,
    v: Side,
    w: Side,
    zeros: Side,
    m: Side,
    b: Side,
    y: Side,
    r: Option<Side>,
}

impl<'a> Parts<'a> {
    fn new(layer: &'a Layer<'a>, plan: &'a Winograd, batch: usize) -> Self {
        let tiles = plan.tiles;
        let (bands, rows) = match plan.band {
            Band::Rows(rows) => (
                vec![
                    Loop { var: Var::Picture, extent: batch },
                    Loop { var: Var::Group, extent: tiles.rows / rows },
                ],
                vec![Loop { var: Var::Row, extent: rows }],
            ),
            Band::Pictures(pictures) => (
                vec![Loop { var: Var::Group, extent: batch / pictures }],
                vec![
                    Loop { var: Var::Picture, extent: pictures },
                    Loop { var: Var::Row, extent: tiles.rows },
                ],
            ),
        };
        Self { layer, plan, bands, rows, sides: sides(layer, plan) }
    }

    fn in_blocks(&self) -> Loop {
        Loop { var: Var::Block, extent: self.layer.input.blocks() }
    }

    fn operands(&self) -> (Vec<&'static str>, Vec<Place>) {
        let Sides { x, v, w, zeros, b, y, r, .. } = &self.sides;
        let (name, source) = match self.layer.plan.order {
            Order::RowsOuter => ("x", x),
            _ => ("v", v),
        };
        let mut operands = vec![name, "w", "zeros", "b", "y"];
        let mut places: Vec<Place> = [source, w, zeros, b, y].map(|side| side.place).into();
        if let Some(r) = r {
            operands.push("r");
            places.push(r.place);
        }
        (operands, places)
    }

    fn input_params(&self) -> WinogradInputParams {
        WinogradInputParams {
            side: self.plan.side,
            tiles: self.plan.tiles.columns,
            x_row: self.layer.input.row_len(),
            y_point: self.plan.input.distance,
        }
    }

    /// The call that transforms a row of tiles of one block.
    fn input(&self, loops: &[Loop]) -> Statement {
        let Sides { x, v, .. } = &self.sides;
        let operands = vec![x.address(X, loops), v.address(V, loops)];
        Statement::Call(Call::WinogradInput(self.input_params()), operands)
    }

    /// The products and the output of one band and one panel of `out_blocks` blocks, which is
    /// `skipped` panels after the one that the loops point at.
    fn panel(&self, out_blocks: usize, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        let point = Loop { var: Var::Point, extent: self.plan.output.count };
        let with_point = [loops, &[point]].concat();
        let product = self.product(out_blocks, skipped, &with_point);
        let mut body = vec![Statement::For(point, vec![product])];
        let block = Loop { var: Var::Block, extent: out_blocks };
        let outputs = self.outputs(skipped, &[loops, &[block]].concat());
        body.extend(nested(&[block], outputs));
        body
    }

    /// The 1x1 convolution over the tiles of one point.
    fn product(&self, out_blocks: usize, skipped: usize, loops: &[Loop]) -> Statement {
        let recipe = self.layer.recipe;
        let tiles = self.plan.band_tiles();
        let point = recipe.in_blocks * BLOCK * out_blocks * BLOCK;
        let params = ConvParams {
            pixels: tiles,
            x_step: BLOCK,
            blocks: recipe.in_blocks,
            x_block: tiles * BLOCK,
            kernel_rows: 1,
            kernel_columns: 1,
            x_row: BLOCK,
            x_column: BLOCK,
            out_blocks,
            y_block: tiles * BLOCK,
            r_block: 0,
            residual: 0,
            relu: 0,
            next: point,
        };
        let Sides { v, w, zeros, m, .. } = &self.sides;
        let w = w.clone().with(Var::Point, point).past(W, loops, Var::Panel, skipped);
        let (v, m) = (v.address(V, loops), m.address(M, loops));
        let zeros = zeros.address(ZEROS, loops);
        // The next point's weights follow this one's.
        Statement::Call(Call::Conv(params), vec![v, w.clone(), zeros, m.clone(), w, m])
    }

    /// The calls that make output tiles of the products: whole rows of tiles, then a partial one.
    fn outputs(&self, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        let side = self.plan.side;
        let height = self.layer.output.shape.height;
        let (row, outer) = self.rows.split_last().expect("a band has rows");
        let partial = height % side;
        let whole = if partial == 0 { row.extent } else { height / side };
        let mut body = Vec::new();
        if whole > 0 {
            let row = Loop { extent: whole, ..*row };
            let call = self.output(side, 0, skipped, &[loops, outer, &[row]].concat());
            body.extend(nested(&[row], vec![call]));
        }
        if partial > 0 {
            body.push(self.output(partial, whole, skipped, &[loops, outer].concat()));
        }
        nested(outer, body)
    }

    /// The call for a row of tiles, `below` rows after the one that the loops point at, of which
    /// `rows` output rows exist.
    fn output(&self, rows: usize, below: usize, skipped: usize, loops: &[Loop]) -> Statement {
        let layer = self.layer;
        let params = WinogradOutputParams {
            side: self.plan.side,
            tiles: self.plan.tiles.columns,
            rows,
            columns: layer.output.shape.width,
            x_point: self.plan.output.distance,
            y_row: layer.output.row_len(),
            r_row: layer.residual.as_ref().map_or(0, Buffer::row_len),
            residual: usize::from(layer.residual.is_some()),
            relu: usize::from(layer.conv.relu),
        };
        let address = |operand: usize, side: &Side| {
            let mut address = side.past(operand, loops, Var::Panel, skipped);
            address.offset += below * side.distance(Var::Row);
            address
        };
        let Sides { m, b, y, r, .. } = &self.sides;
        let y = address(Y, y);
        let r = r.as_ref().map_or_else(|| y.clone(), |r| address(R, r));
        Statement::Call(Call::WinogradOutput(params), vec![address(M, m), address(B, b), r, y])
    }
}

fn sides(layer: &Layer<'_>, plan: &Winograd) -> Sides {
    let recipe = layer.recipe;
    let (columns, picture) = (plan.tiles.columns, plan.tiles.rows * plan.tiles.columns);
    // A step of the band's loops; where a band is several pictures, they step by themselves.
    let (rows, pictures) = match plan.band {
        Band::Rows(rows) => (rows, 0),
        Band::Pictures(pictures) => (0, pictures),
    };
    let in_band = plan.band_tiles();
    let pixels = |buffer: &Buffer, padding: Extent| {
        let tiles = plan.side * buffer.row_len();
        Side::new(buffer, padding, buffer.block_len())
            .with(Var::Group, rows * tiles + pictures * buffer.picture_len())
            .with(Var::Row, tiles)
    };
    let output = |buffer: &Buffer| {
        let panel = recipe.panel_blocks * buffer.block_len();
        pixels(buffer, Extent::square(0)).with(Var::Panel, panel)
    };
    let weights = |offset: usize, panel: usize| Side {
        place: Place { region: Region::Weights, offset: recipe.offset + offset },
        terms: vec![(Var::Panel, panel)],
    };
    let tile_terms = || {
        let mut terms = vec![(Var::Block, in_band * BLOCK), (Var::Row, columns * BLOCK)];
        if pictures > 0 {
            terms.push((Var::Picture, picture * BLOCK));
        }
        terms
    };
    let (region, offset) = plan.input_place;
    let mut v = Side { place: Place { region, offset }, terms: tile_terms() };
    if region == Region::Arena {
        v = v.with(Var::Group, plan.input.len());
        if let Band::Rows(rows) = plan.band {
            v = v.with(Var::Picture, plan.tiles.rows / rows * plan.input.len());
        }
    }
    let m = Place { region: Region::Scratch, offset: plan.output_offset };
    Sides {
        x: pixels(layer.input, layer.conv.window.padding.before),
        v: v.with(Var::Point, plan.input.distance),
        w: weights(0, recipe.panel_len()),
        zeros: weights(recipe.zeros_offset(), 0),
        m: Side { place: m, terms: tile_terms() }.with(Var::Point, plan.output.distance),
        b: weights(recipe.bias_offset(), recipe.panel_blocks * BLOCK).with(Var::Block, BLOCK),
        y: output(layer.output),
        r: layer.residual.as_ref().map(output),
    }
}
