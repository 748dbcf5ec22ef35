//! Where a Winograd convolution's operands lie.

use resnet_runtime::kernels::{BLOCK, Element};

use super::Layer;
use crate::graph::Extent;
use crate::nest::Var;
use crate::nest::lower::Side;
use crate::schedule::{Band, Buffer, ConvPlan, Points, Region, Winograd};

/// Where the operands start, and how the loops move them.
pub(super) struct Sides {
    pub(super) x: Side,
    pub(super) v: Side,
    pub(super) w: Side,
    /// The words of the weights, where they are made, and how many elements apart their points are.
    pub(super) u: Option<(Side, usize)>,
    /// Zeros that sums of products start from, or scales that those of words are multiplied by.
    pub(super) s: Side,
    pub(super) m: Side,
    pub(super) b: Side,
    pub(super) y: Side,
    /// The numbers of a quantised convolution.
    pub(super) t: Option<Side>,
    pub(super) r: Option<Side>,
}

impl Sides {
    /// The same, `groups` steps further on.
    pub(super) fn skip(mut self, groups: usize) -> Self {
        let residual = self.r.iter_mut();
        for side in [&mut self.x, &mut self.v, &mut self.y].into_iter().chain(residual) {
            side.place.offset += groups * side.distance(Var::Group);
        }
        self
    }
}

pub(super) fn sides(layer: &Layer<'_>, plan: &Winograd) -> Sides {
    let ConvPlan { ref panels, memory, weights: start, .. } = *layer.plan;
    let format = &panels.format;
    // A step of the band's loops; where a band is several pictures, they step by themselves.
    let (rows, pictures) = match plan.band {
        Band::Rows(rows) => (rows, 0),
        Band::Pictures(pictures) => (0, pictures),
    };
    let pixels = |buffer: &Buffer, padding: Extent, tile_rows: usize| {
        let tiles = tile_rows * buffer.row_len();
        Side::new(buffer, padding, buffer.block_len())
            .with(Var::Group, rows * tiles + pictures * buffer.picture_len())
            .with(Var::Row, tiles)
    };
    let output = |buffer: &Buffer| {
        let panel = format.panel_blocks * buffer.block_len();
        pixels(buffer, Extent::square(0), plan.tile().rows)
            .with(Var::Panel, panel)
            .with(Var::Strip, plan.strip * plan.tile().columns * BLOCK)
    };
    let weights = |element: Element, offset: usize, panel: usize| {
        Side::at(memory, element, start + offset).with(Var::Panel, panel)
    };
    let numbers = |at: usize, panel: usize| {
        weights(Element::F32, panels.bias_offset() + at * Element::F32.bytes(), panel)
    };
    let quantised = layer.plan.quantised();
    let (of_sums, of_panel, bias) = if quantised {
        let scales = panels.kernel_points() * format.panel_blocks * BLOCK;
        (0, scales, panels.scales_len())
    } else {
        (panels.shape.out_blocks() * BLOCK, 0, 0)
    };
    let points = |region: Region, offset: usize, points: &Points| {
        Side::at(region, points.element, offset).with(Var::Block, points.block)
    };
    let (region, offset) = plan.input_place;
    let mut v = points(region, offset, &plan.input);
    if region == Region::Arena {
        v = v.with(Var::Group, plan.input.len());
        if let Band::Rows(rows) = plan.band {
            v = v.with(Var::Picture, plan.tiles.rows.div_ceil(rows) * plan.input.len());
        }
    }
    if format.planar {
        v = v.with(Var::Strip, plan.strip * layer.plan.window.stride.columns);
    }
    let step = plan.transform.filters()[0].step();
    let words = |(words, offset): (Points, usize)| {
        (Side::at(Region::Scratch, words.element, offset), words.distance)
    };
    Sides {
        x: pixels(layer.of.input, layer.plan.window.padding.before, step),
        v,
        w: weights(format.element, 0, panels.panel_len()),
        u: plan.words(format).map(words),
        s: numbers(of_sums, of_panel),
        m: points(Region::Scratch, plan.output_offset, &plan.output),
        b: numbers(bias, format.panel_blocks * BLOCK).with(Var::Block, BLOCK),
        y: output(layer.of.output),
        t: quantised.then(|| numbers(panels.tensor_numbers_offset(), 0)),
        r: layer.of.residual.map(output),
    }
}
