//! Winograd convolutions: the input's tiles become points; 36 products, each a 1x1 convolution whose
//! pixels are tiles; the products become output tiles, with the epilogue.

use resnet_runtime::kernels::{BLOCK, Call, ConvParams, WinogradInputParams, WinogradOutputParams};

use super::conv::Layer;
use super::{Lowering, Side, real_loops};
use crate::graph::Extent;
use crate::nest::{Address, Function, Loop, Place, Statement, Var};
use crate::schedule::{Order, Points, Region, Winograd};

/// Output rows and columns of a tile.
const TILE: usize = 4;

impl Lowering {
    pub(super) fn winograd(&mut self, layer: &Layer<'_>, plan: &Winograd) {
        self.points(layer, plan);
        let (full, rest) = (layer.full_panels(), layer.rest_blocks());
        if full > 0 {
            self.products(layer, plan, layer.recipe.panel_blocks, 0..full);
        }
        if rest > 0 {
            self.products(layer, plan, rest, full..full + 1);
        }
    }

    /// The step that transforms the input.
    fn points(&mut self, layer: &Layer<'_>, plan: &Winograd) {
        let input = layer.input;
        let tiles = plan.tiles;
        let loops = [
            self.picture(),
            Loop { var: Var::Block, extent: input.blocks() },
            Loop { var: Var::Row, extent: tiles.rows },
        ];
        let x = Side::new(input, layer.conv.window.padding, input.block_len())
            .with(Var::Row, TILE * input.row_len());
        let y = Side {
            place: Place { region: Region::Arena, offset: plan.input.offset },
            terms: vec![
                (Var::Picture, plan.input.len()),
                (Var::Block, tiles.rows * tiles.columns * BLOCK),
                (Var::Row, tiles.columns * BLOCK),
            ],
        };
        let params = WinogradInputParams {
            tiles: tiles.columns,
            x_row: input.row_len(),
            y_point: plan.input.distance,
        };
        let doc = format!("points of {} for Winograd F(4x4, 3x3)", input.shape);
        let name = format!("{}.points", layer.name);
        self.simple(&name, doc, Call::WinogradInput(params), x, y, &loops);
    }

    /// The step that computes the products of `panels`, all of `out_blocks` blocks, and the output.
    fn products(
        &mut self,
        layer: &Layer<'_>,
        plan: &Winograd,
        out_blocks: usize,
        panels: std::ops::Range<usize>,
    ) {
        let panel = Loop { var: Var::Panel, extent: panels.len() };
        let group = Loop { var: Var::Group, extent: plan.tiles.rows / plan.group };
        let picture = self.picture();
        let parallel = match layer.plan.order {
            Order::RowsOuter => [picture, group, panel],
            Order::PicturesOuter => [picture, panel, group],
            Order::PanelsOuter => [panel, picture, group],
        };
        let products =
            Products { layer, plan, out_blocks, first: panels.start, groups: group.extent };
        let sides = products.sides(self.batch);
        let mut operands = vec!["v", "w", "zeros", "m", "b", "y"];
        let mut places: Vec<Place> =
            [&sides.v, &sides.w, &sides.zeros, &sides.m, &sides.b, &sides.y]
                .map(|s| s.place)
                .into();
        if let Some(r) = &sides.r {
            operands.push("r");
            places.push(r.place);
        }
        let point = Loop { var: Var::Point, extent: Points::COUNT };
        let mut body =
            vec![Statement::For(point, vec![products.product(&sides, &parallel, point)])];
        products.outputs(&sides, &parallel, &mut body);
        let last = if panels.start > 0 { ", last panel" } else { "" };
        let order = match layer.plan.order {
            Order::RowsOuter => "rows outer",
            Order::PicturesOuter => "pictures outer",
            Order::PanelsOuter => "panels outer",
        };
        let doc = format!("{}, {order}{last}", layer.doc());
        let function = Function { doc, operands, parallel: real_loops(&parallel), body };
        self.step(layer.name, function, places);
    }
}

/// Indices of the function's operands.
const V: usize = 0;
const W: usize = 1;
const ZEROS: usize = 2;
const M: usize = 3;
const B: usize = 4;
const Y: usize = 5;
const R: usize = 6;

struct Products<'a> {
    layer: &'a Layer<'a>,
    plan: &'a Winograd,
    out_blocks: usize,
    /// The first panel of the step.
    first: usize,
    groups: usize,
}

struct Sides {
    v: Side,
    w: Side,
    zeros: Side,
    m: Side,
    b: Side,
    y: Side,
    r: Option<Side>,
}

impl Products<'_> {
    /// Tiles of a group.
    fn tiles(&self) -> usize {
        self.plan.group * self.plan.tiles.columns
    }

    fn sides(&self, batch: usize) -> Sides {
        let recipe = self.layer.recipe;
        let plan = self.plan;
        let weights = |offset: usize, terms| Side {
            place: Place { region: Region::Weights, offset: recipe.offset + offset },
            terms,
        };
        let point = recipe.panel_len() / Points::COUNT / recipe.panel_blocks * self.out_blocks;
        let panel_products = plan.output.len() * self.groups * batch;
        let output = |buffer: &crate::schedule::Buffer| {
            let rows = TILE * buffer.row_len();
            Side::new(buffer, Extent::square(0), buffer.block_len())
                .with(Var::Panel, recipe.panel_blocks * buffer.block_len())
                .with(Var::Group, plan.group * rows)
                .with(Var::Row, rows)
                .skip(self.first * recipe.panel_blocks * buffer.block_len())
        };
        Sides {
            v: Side {
                place: Place { region: Region::Arena, offset: plan.input.offset },
                terms: vec![
                    (Var::Picture, plan.input.len()),
                    (Var::Group, self.tiles() * BLOCK),
                    (Var::Point, plan.input.distance),
                ],
            },
            w: weights(
                self.first * recipe.panel_len(),
                vec![(Var::Panel, recipe.panel_len()), (Var::Point, point)],
            ),
            zeros: weights(recipe.zeros_offset(), Vec::new()),
            m: Side {
                place: Place {
                    region: Region::Arena,
                    offset: plan.output.offset + self.first * panel_products,
                },
                terms: vec![
                    (Var::Panel, panel_products),
                    (Var::Picture, plan.output.len() * self.groups),
                    (Var::Group, plan.output.len()),
                    (Var::Point, plan.output.distance),
                    (Var::Block, self.tiles() * BLOCK),
                    (Var::Row, plan.tiles.columns * BLOCK),
                ],
            },
            b: weights(
                recipe.bias_offset() + self.first * recipe.panel_blocks * BLOCK,
                vec![(Var::Panel, recipe.panel_blocks * BLOCK), (Var::Block, BLOCK)],
            ),
            y: output(self.layer.output),
            r: self.layer.residual.as_ref().map(output),
        }
    }

    /// The 1x1 convolution over the tiles of one point.
    fn product(&self, sides: &Sides, parallel: &[Loop], point: Loop) -> Statement {
        let recipe = self.layer.recipe;
        let params = ConvParams {
            pixels: self.tiles(),
            x_step: BLOCK,
            blocks: recipe.in_blocks,
            x_block: self.plan.tiles.rows * self.plan.tiles.columns * BLOCK,
            kernel_rows: 1,
            kernel_columns: 1,
            x_row: BLOCK,
            x_column: BLOCK,
            out_blocks: self.out_blocks,
            y_block: self.tiles() * BLOCK,
            r_block: 0,
            residual: 0,
            relu: 0,
            next: recipe.in_blocks * BLOCK * self.out_blocks * BLOCK,
        };
        let loops = [parallel, &[point]].concat();
        let m = sides.m.address(M, &loops);
        let w = sides.w.address(W, &loops);
        Statement::Call(
            Call::Conv(params),
            vec![
                sides.v.address(V, &loops),
                w.clone(),
                sides.zeros.address(ZEROS, &loops),
                m.clone(),
                // The next point's weights follow this one's.
                w,
                m,
            ],
        )
    }

    /// The calls that make output tiles of the products: whole rows of tiles, then a partial one.
    fn outputs(&self, sides: &Sides, parallel: &[Loop], body: &mut Vec<Statement>) {
        let height = self.layer.output.shape.height;
        let block = Loop { var: Var::Block, extent: self.out_blocks };
        let partial = height % TILE;
        let whole = if partial == 0 { self.plan.group } else { height / TILE };
        let mut calls = Vec::new();
        if whole > 0 {
            let row = Loop { var: Var::Row, extent: whole };
            let call = self.output(sides, TILE, 0, &[parallel, &[block, row]].concat());
            calls.push(nested(&[row], call));
        }
        if partial > 0 {
            calls.push(self.output(sides, partial, whole, &[parallel, &[block]].concat()));
        }
        match real_loops(&[block])[..] {
            [block] => body.push(Statement::For(block, calls)),
            _ => body.extend(calls),
        }
    }

    /// The call for a row of tiles, `skipped` rows after the one that the loops point at, of which
    /// `rows` output rows exist.
    fn output(&self, sides: &Sides, rows: usize, skipped: usize, loops: &[Loop]) -> Statement {
        let layer = self.layer;
        let params = WinogradOutputParams {
            tiles: self.plan.tiles.columns,
            rows,
            columns: layer.output.shape.width,
            x_point: self.plan.output.distance,
            y_row: layer.output.row_len(),
            r_row: layer.residual.as_ref().map_or(0, crate::schedule::Buffer::row_len),
            residual: usize::from(layer.residual.is_some()),
            relu: usize::from(layer.conv.relu),
        };
        let address = |operand: usize, side: &Side| {
            let of_row = side.terms.iter().filter(|(var, _)| *var == Var::Row);
            let offset = skipped * of_row.map(|(_, distance)| distance).sum::<usize>();
            let address = side.address(operand, loops);
            Address { offset: address.offset + offset, ..address }
        };
        let y = address(Y, &sides.y);
        let r = sides.r.as_ref().map_or_else(|| y.clone(), |r| address(R, r));
        let (m, b) = (address(M, &sides.m), address(B, &sides.b));
        Statement::Call(Call::WinogradOutput(params), vec![m, b, r, y])
    }
}

/// A statement inside those loops that have more than one iteration.
fn nested(loops: &[Loop], statement: Statement) -> Statement {
    let loops = real_loops(loops);
    loops.into_iter().rev().fold(statement, |inner, each| Statement::For(each, vec![inner]))
}
