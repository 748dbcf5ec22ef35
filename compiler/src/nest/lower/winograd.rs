//! Winograd convolutions: the input's tiles become points; the points' products, each a 1x1
//! convolution whose pixels are tiles, become output tiles, with the epilogue.
//!
//! Where the input is planar only rows are filtered: the products are convolutions along the rows.

mod patches;
mod runs;
mod sides;
mod weights;

use std::ops::Range;

use resnet_runtime::kernels::{
    BLOCK, Call, ConvParams, Element, Epilogue, Filter, WinogradInputParams, WinogradInputU8Params,
    WinogradOutputParams,
};

use self::patches::Patch;
use self::runs::{Run, runs};
use self::sides::{Sides, sides};
use super::conv::Layer;
use super::{Lowering, Side, nested, of_reals, real_loops};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Part, Place, Statement, Var};
use crate::schedule::{Band, Buffer, Edges, Order, Winograd};

impl Lowering {
    pub(super) fn winograd(&mut self, layer: &Layer<'_>, plan: &Winograd) {
        let parts = Bands::all(layer, plan, self.batch);
        if layer.plan.order == Order::RowsOuter {
            return parts.iter().for_each(|part| self.bands(part));
        }
        parts.iter().for_each(|part| self.points(part));
        for part in &parts {
            let full = layer.full_panels();
            if full > 0 {
                self.panels(part, layer.plan.panels.format.panel_blocks, 0..full);
            }
            if layer.rest_blocks() > 0 {
                self.panels(part, layer.rest_blocks(), full..full + 1);
            }
        }
    }

    /// One step for all: each band's points, then its panels.
    fn bands(&mut self, part: &Bands<'_>) {
        let Bands { layer, bands, .. } = part;
        let mut body = part.inputs(&[bands, &[part.in_blocks()][..]].concat(), bands.len());
        let strip = part.strips();
        let mut panels = Vec::new();
        let full = layer.full_panels();
        if full > 0 {
            let panel = Loop { var: Var::Panel, extent: full };
            let loops = [bands, &[strip, panel][..]].concat();
            let products = part.panel(layer.plan.panels.format.panel_blocks, 0, &loops);
            panels.extend(nested(&[panel], products));
        }
        if layer.rest_blocks() > 0 {
            let loops = [bands, &[strip][..]].concat();
            panels.extend(part.panel(layer.rest_blocks(), full, &loops));
        }
        body.extend(nested(&[strip], panels));
        self.step_of(part, layer.doc() + part.what(), bands, body);
    }

    /// The step that transforms the input.
    fn points(&mut self, part: &Bands<'_>) {
        let Bands { layer, plan, .. } = part;
        let mut parallel = [&part.bands[..], &[part.in_blocks()]].concat();
        let body = match &part.patches()[..] {
            [all] => {
                parallel.extend(&all.rows);
                vec![part.input(all, &parallel)]
            }
            _ => part.inputs(&parallel, parallel.len()),
        };
        let doc = format!("points of {} for {plan}{}", layer.of.input.shape, part.what());
        let places = [&part.sides.x, &part.sides.v].map(|side| side.place);
        let operands = vec!["x", "y"];
        let function = Function { doc, operands, parallel: real_loops(&parallel), body };
        self.step((layer.of.id, Part::Points), function, places.into());
    }

    /// The step that computes the products of `panels`, all of `out_blocks` blocks, and the output.
    fn panels(&mut self, part: &Bands<'_>, out_blocks: usize, panels: Range<usize>) {
        let panel = Loop { var: Var::Panel, extent: panels.len() };
        let parallel = match part.layer.plan.order {
            Order::PicturesOuter => [&part.bands[..], &[panel]].concat(),
            _ => [&[panel], &part.bands[..]].concat(),
        };
        let body = part.panel(out_blocks, panels.start, &parallel);
        let last = if panels.start > 0 { ", last panel" } else { "" };
        self.step_of(part, part.layer.doc() + part.what() + last, &parallel, body);
    }

    fn step_of(&mut self, part: &Bands<'_>, doc: String, parallel: &[Loop], body: Vec<Statement>) {
        let (operands, places) = part.operands();
        let function = Function { doc, operands, parallel: real_loops(parallel), body };
        self.step(part.layer.of.main(), function, places);
    }
}

/// Indices of the functions' operands: one that reads the input's points has them in its place.
const X: usize = 0;
const V: usize = 0;
const W: usize = 1;
const S: usize = 2;
const B: usize = 3;
const Y: usize = 4;
/// The first of those that not all have.
const REST: usize = 5;
/// Products, and words that are made of weights, are scratch, never an operand.
const M: usize = usize::MAX;

/// Bands of a Winograd convolution that are alike, with their loops and operands.
struct Bands<'a> {
    layer: &'a Layer<'a>,
    plan: &'a Winograd,
    /// The loops over bands.
    bands: Vec<Loop>,
    /// The loops over the rows of tiles of a band.
    rows: Vec<Loop>,
    /// Output rows that exist of the last row of tiles, if they are not all.
    partial: Option<usize>,
    /// The part is that last row alone.
    last: bool,
    edges: Edges,
    sides: Sides,
}

impl<'a> Bands<'a> {
    /// Usually one; two if bands are rows of tiles and the last row is a partial one.
    fn all(layer: &'a Layer<'a>, plan: &'a Winograd, batch: usize) -> Vec<Self> {
        let height = layer.of.output.shape.height;
        let (whole, rest) = (height / plan.tile().rows, height % plan.tile().rows);
        let partial = (rest > 0).then_some(rest);
        let part = |bands, rows, partial, skipped| Self {
            layer,
            plan,
            bands,
            rows,
            partial,
            last: skipped > 0,
            edges: plan.edges(layer.of.output.shape),
            sides: sides(layer, plan).skip(skipped),
        };
        let pictures = |extent| Loop { var: Var::Picture, extent };
        let groups = |extent| Loop { var: Var::Group, extent };
        let rows_of = |extent| Loop { var: Var::Row, extent };
        match plan.band {
            Band::Pictures(count) => {
                let rows = vec![pictures(count), rows_of(plan.tiles.rows)];
                vec![part(vec![groups(batch / count)], rows, partial, 0)]
            }
            Band::Rows(rows) => {
                let whole = whole / rows;
                let bands = |extent| vec![pictures(batch), groups(extent)];
                let main = (whole > 0).then(|| part(bands(whole), vec![rows_of(rows)], None, 0));
                let last = partial.map(|_| part(bands(1), vec![rows_of(1)], partial, whole));
                main.into_iter().chain(last).collect()
            }
        }
    }

    /// What the part is of the convolution, for people.
    fn what(&self) -> &'static str {
        if self.last { ", last rows" } else { "" }
    }

    fn in_blocks(&self) -> Loop {
        Loop { var: Var::Block, extent: self.layer.of.input.blocks() }
    }

    fn strips(&self) -> Loop {
        Loop { var: Var::Strip, extent: self.plan.tiles.columns / self.plan.strip }
    }

    fn operands(&self) -> (Vec<&'static str>, Vec<Place>) {
        let Sides { x, v, w, s, b, y, t, r, .. } = &self.sides;
        let (name, source) = match self.layer.plan.order {
            Order::RowsOuter => ("x", x),
            _ => ("v", v),
        };
        let of_sums = if self.layer.plan.quantised() { "scales" } else { "zeros" };
        let mut operands = vec![name, "w", of_sums, "b", "y"];
        let mut places: Vec<Place> = [source, w, s, b, y].map(|side| side.place).into();
        for (name, side) in [("t", t), ("r", r)] {
            if let Some(side) = side {
                operands.push(name);
                places.push(side.place);
            }
        }
        (operands, places)
    }

    fn input_call(&self, patch: &Patch) -> Call {
        let plan = self.plan;
        let planar = self.layer.plan.panels.format.planar;
        let tiles = if planar { plan.input.block / BLOCK } else { patch.tiles };
        let (x_row, y_point) = (self.layer.of.input.row_len(), plan.input.distance);
        if self.layer.of.input.element == Element::U8 {
            let Extent { rows, columns } = patch.outputs;
            let params = WinogradInputU8Params { rows, columns, tiles, x_row, y_point };
            return Call::WinogradInputU8(params);
        }
        let params = WinogradInputParams { form: plan.transform, tiles, x_row, y_point };
        of_reals(self.layer.of.input, [Call::WinogradInput, Call::WinogradInputBf16])(params)
    }

    /// The call that transforms a row of tiles of one block; the loops are those over the patch's rows, too.
    fn input(&self, patch: &Patch, loops: &[Loop]) -> Statement {
        let step = self.plan.transform.filters()[1].step();
        let mut x = self.sides.x.address(X, loops);
        x.offset += patch.below * self.sides.x.distance(Var::Row);
        x.offset += self.sides.x.bytes(patch.right * step * BLOCK);
        // Points that are an operand of their own are the second one.
        let v = patch.tiles_of(&self.sides.v, V + 1, loops);
        Statement::Call(self.input_call(patch), vec![x, v])
    }

    /// The calls that transform all rows of tiles, inside the first `outside` of the loops.
    fn inputs(&self, loops: &[Loop], outside: usize) -> Vec<Statement> {
        let of_patch = |patch: &Patch| {
            let loops = [loops, &patch.rows].concat();
            nested(&patch.rows, vec![self.input(patch, &loops)])
        };
        let body = self.patches().iter().flat_map(of_patch).collect();
        nested(&loops[outside..], body)
    }

    /// The products and the output of one band and one panel of `out_blocks` blocks, which is
    /// `skipped` panels after the one that the loops point at.
    fn panel(&self, out_blocks: usize, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        let mut body: Vec<_> = self.words(out_blocks, skipped, loops).into_iter().collect();
        body.extend(self.products(out_blocks, skipped, loops));
        let block = Loop { var: Var::Block, extent: out_blocks };
        let outputs = self.outputs(skipped, &[loops, &[block]].concat());
        body.extend(nested(&[block], outputs));
        body
    }

    /// The products of all points.
    fn products(&self, out_blocks: usize, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        let [rows, columns] = self.plan.transform.filters();
        // A row of points that only a missing output row would need is computed for the rows of
        // tiles before, which have to lie side by side.
        let partial = self
            .partial
            .filter(|_| self.edges == Edges::default())
            .filter(|_| self.rows.iter().all(|l| l.var != Var::Picture || l.extent == 1));
        let needed = |point: usize| partial.is_none_or(|outputs| rows.needs(point, outputs));
        let of_edge = |point: usize| Filter::F2_OF_F4.contains(&point);
        let rows = runs(rows, |point| match self.edge_row() {
            Some(_) => of_edge(point),
            None => needed(point),
        });
        let columns = runs(columns, |point| self.edges.columns.is_none() || of_edge(point));
        let mut body = Vec::new();
        for row in rows {
            let row_loop = Loop { var: Var::PointRow, extent: row.len };
            let products = columns.iter().flat_map(|column| {
                let point = Loop { var: Var::Point, extent: column.len };
                let loops = [loops, &[row_loop, point]].concat();
                let product = self.product(out_blocks, skipped, [&row, column], &loops);
                product.map_or(Vec::new(), |product| nested(&[point], vec![product]))
            });
            body.extend(nested(&[row_loop], products.collect()));
        }
        body
    }

    /// The convolution over the tiles of one point, in a run of rows and a run of columns of points.
    /// None if there is nothing to compute.
    fn product(
        &self,
        out_blocks: usize,
        skipped: usize,
        [row, column]: [&Run; 2],
        loops: &[Loop],
    ) -> Option<Statement> {
        let plan = self.plan;
        let format = &self.layer.plan.panels.format;
        let tiles = self.tiles_that_need([row, column]);
        if tiles.is_empty() {
            return None;
        }
        let Sides { v, u, s, m, .. } = &self.sides;
        let columns = plan.transform.filters()[1];
        let first = row.first * columns.points() + column.first;
        let at = |side: &Side, operand: usize, distance: usize| {
            let side = side
                .clone()
                .with(Var::PointRow, columns.points() * distance)
                .with(Var::Point, distance);
            let mut address = side.past(operand, loops, Var::Panel, skipped);
            address.offset += side.bytes(first * distance);
            address
        };
        let of_tiles = |side: &Side, operand: usize, distance: usize| {
            let mut address = at(side, operand, distance);
            address.offset += side.bytes(tiles.start * BLOCK);
            address
        };
        let v = of_tiles(v, V, plan.input.distance);
        let m = of_tiles(m, M, plan.output.distance);
        let (w, next, n) = match u {
            None => self.packed(out_blocks, skipped, [row, column], loops),
            Some((u, distance)) => {
                let (next, n) = self.next_kernels(out_blocks, skipped, first, loops);
                (at(u, M, *distance), next, n)
            }
        };
        let pixels = tiles.len();
        if self.layer.plan.quantised() {
            let params = self.product_params(pixels, out_blocks, next, ());
            let scales = at(s, S, out_blocks * BLOCK);
            return Some(Statement::Call(Call::ConvI16(params), vec![v, w, scales, n, m]));
        }
        let params = self.product_params(pixels, out_blocks, next, Epilogue::NONE);
        let zeros = s.address(S, loops);
        let call = if format.planar { Call::ConvPlanar(params) } else { Call::Conv(params) };
        Some(Statement::Call(call, vec![v, w, zeros, m.clone(), n, m]))
    }

    fn product_params<E>(
        &self,
        pixels: usize,
        out_blocks: usize,
        next: usize,
        epilogue: E,
    ) -> ConvParams<E> {
        let (plan, window) = (self.plan, &self.layer.plan.window);
        let format = &self.layer.plan.panels.format;
        let (lanes, x_step, kernel_columns) = if format.planar {
            (1, window.stride.columns, window.kernel.columns)
        } else {
            (BLOCK, BLOCK, 1)
        };
        ConvParams {
            pixels,
            x_step,
            blocks: format.in_blocks,
            x_block: plan.input.block,
            kernel_rows: 1,
            kernel_columns,
            x_row: lanes,
            x_column: lanes,
            out_blocks,
            y_block: plan.output.block,
            r_block: 0,
            epilogue,
            next,
        }
    }

    /// The calls that make output tiles of the products: of each patch whole rows of tiles, then a partial one.
    fn outputs(&self, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        self.patches().iter().flat_map(|patch| self.outputs_of(patch, skipped, loops)).collect()
    }

    fn outputs_of(&self, patch: &Patch, skipped: usize, loops: &[Loop]) -> Vec<Statement> {
        let (row, outer) = patch.rows.split_last().expect("a patch has rows");
        let partial = self.partial.filter(|_| self.edge_row().is_none());
        let whole = row.extent - usize::from(partial.is_some());
        let mut body = Vec::new();
        if whole > 0 {
            let row = Loop { extent: whole, ..*row };
            let rows = patch.outputs.rows;
            let call = self.output(patch, rows, 0, skipped, &[loops, outer, &[row]].concat());
            body.extend(nested(&[row], vec![call]));
        }
        if let Some(partial) = partial {
            body.push(self.output(patch, partial, whole, skipped, &[loops, outer].concat()));
        }
        nested(outer, body)
    }

    /// The call for a row of tiles of a patch, `below` rows after the one that the loops point at, of which
    /// `rows` output rows exist.
    fn output(
        &self,
        patch: &Patch,
        rows: usize,
        below: usize,
        skipped: usize,
        loops: &[Loop],
    ) -> Statement {
        let right = patch.right * self.plan.tile().columns * BLOCK;
        let address = |operand: usize, side: &Side| {
            let mut address = side.past(operand, loops, Var::Panel, skipped);
            address.offset += (patch.below + below) * side.distance(Var::Row) + side.bytes(right);
            address
        };
        let Sides { m, b, y, t, r, .. } = &self.sides;
        let y = address(Y, y);
        let r = match r {
            Some(r) => address(REST + usize::from(t.is_some()), r),
            None => y.clone(),
        };
        let mut m = patch.tiles_of(m, M, loops);
        m.offset += self.sides.m.bytes(below * patch.tiles * BLOCK);
        let b = b.past(B, loops, Var::Panel, skipped);
        match t {
            None => {
                let params = self.output_params(patch, rows, self.layer.epilogue());
                Statement::Call(Call::WinogradOutput(params), vec![m, b, r, y])
            }
            Some(t) => {
                let params = self.output_params(patch, rows, self.layer.byte_epilogue());
                let t = t.address(REST, loops);
                Statement::Call(Call::WinogradOutputU8(params), vec![m, b, t, r, y])
            }
        }
    }

    fn output_params<E>(&self, patch: &Patch, rows: usize, epilogue: E) -> WinogradOutputParams<E> {
        let (layer, plan) = (self.layer, self.plan);
        WinogradOutputParams {
            form: plan.transform,
            tiles: patch.tiles,
            rows,
            columns: patch.columns,
            x_point: plan.output.distance,
            y_row: layer.of.output.row_len(),
            r_row: layer.of.residual.map_or(0, Buffer::row_len),
            epilogue,
        }
    }
}
