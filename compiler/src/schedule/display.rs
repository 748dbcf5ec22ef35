//! Schedules for people: where each node's value lies, and how it is computed.

use std::fmt;

use resnet_runtime::kernels::{ConvShape, Element, PanelFormat, Panels};
use resnet_runtime::weights::{Content, ConvSource, QuantisedSource, Recipe, Slice};

use super::{
    Band, Buffer, ConvPlan, Fetch, Layout, Operator, Parts, Plan, Points, Region, Schedule,
    Scheduled, Tiling, Winograd,
};
use crate::fuse::FusedId;
use crate::graph::Extent;

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planar => "planar",
            Self::Blocked => "blocked",
            Self::Interleaved => "interleaved",
        })
    }
}

/// `arena[4096] blocked f32 64x56x56 ring 1x1 margin 0x2`; ring and margin where there is one.
impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, offset, layout, shape, ring, margin, element, scale } = self;
        write!(f, "{region}[{offset}] {layout} {element} {shape}")?;
        for (name, extent) in [("ring", ring), ("margin", margin)] {
            if *extent != Extent::square(0) {
                write!(f, " {name} {}x{}", extent.rows, extent.columns)?;
            }
        }
        scale.map_or(Ok(()), |scale| write!(f, " of {}", packed_at(scale)))
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { element, count, distance, block } = self;
        write!(f, "{count} points of {element} {distance} apart, blocks {block}")
    }
}

impl fmt::Display for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => write!(f, "fetches its next weights"),
            Self::After(bytes) => write!(f, "fetches {bytes} bytes of the weights after its own"),
        }
    }
}

/// What one line says of a convolution; [`Schedule`] says the rest of Winograd's below it.
impl fmt::Display for ConvPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window: _, panels: _, memory: _, weights: _, order, tiling, fetch } = self;
        match tiling {
            Tiling::Direct { rows: 1 } => write!(f, "direct")?,
            Tiling::Direct { rows } => write!(f, "direct, {rows} rows a call")?,
            Tiling::Winograd(winograd) => write!(f, "{winograd}")?,
        }
        write!(f, ", {order} outer, {fetch}")
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, nodes, arena_bytes, scratch_bytes, weights } = self;
        let Parts { recipes, bytes: _ } = &**weights;
        let weights_bytes = weights.bytes;
        writeln!(
            f,
            "schedule (batch {batch}): arena {arena_bytes}, scratch {scratch_bytes}, weights {weights_bytes} bytes\n"
        )?;
        for (index, Scheduled { buffer, plan }) in nodes.iter().enumerate() {
            write!(f, "{:>5} = {buffer}: ", FusedId::at(index))?;
            match plan {
                Plan::InPlace => writeln!(f, "in place")?,
                Plan::Copy => writeln!(f, "copied")?,
                Plan::Operator { input: _, operator } => write_operator(f, operator, weights)?,
            }
        }
        // Convolutions have theirs above.
        let mut others = recipes
            .iter()
            .filter(|r| !matches!(r.content, Content::Conv { .. } | Content::Quantised { .. }));
        others.try_for_each(|recipe| write_recipe(f, recipe))
    }
}

fn write_operator(f: &mut fmt::Formatter<'_>, operator: &Operator, parts: &Parts) -> fmt::Result {
    let Operator::Conv(plan) = operator else { return writeln!(f, "{operator}") };
    writeln!(f, "{plan}")?;
    parts.at(plan.weights).map_or(Ok(()), |recipe| write_recipe(f, recipe))?;
    match &plan.tiling {
        Tiling::Winograd(winograd) => write_winograd(f, winograd, &plan.panels.format),
        Tiling::Direct { .. } => Ok(()),
    }
}

/// A place in the packed weights.
pub(super) fn packed_at(offset: usize) -> String {
    format!("{}[{}]", Region::Weights, offset)
}

fn write_recipe(f: &mut fmt::Formatter<'_>, recipe: &Recipe) -> fmt::Result {
    let Recipe { content, offset } = recipe;
    let place = packed_at(*offset);
    match content {
        Content::Conv { source, panels } => write_conv(f, source, panels, &place),
        Content::Quantised { source, panels } => {
            let QuantisedSource { weight, input, residual, output, activation } = source;
            let conv = ConvSource {
                weight: weight.clone(),
                bias: None,
                norm: None,
                standardise: None,
                slice: None,
            };
            write_conv(f, &conv, panels, &place)?;
            write!(f, "            from {input}")?;
            if let Some(residual) = residual {
                write!(f, " + {residual}")?;
            }
            writeln!(f, ", {activation}, to {}", output.as_deref().unwrap_or("f32"))
        }
        Content::Scale { weight } => writeln!(f, "{place} scale of what {weight} reads"),
        Content::Norm { norm, channels } => {
            let (name, epsilon) = (&norm.weight, norm.epsilon);
            writeln!(f, "{place} norm {name} {epsilon}, {channels} channels")
        }
        Content::Vector { weight, channels } => {
            writeln!(f, "{place} {weight}, {channels} channels")
        }
    }
}

fn write_conv(
    f: &mut fmt::Formatter<'_>,
    ConvSource { weight, bias, norm, standardise, slice }: &ConvSource,
    Panels { shape, format }: &Panels,
    place: &str,
) -> fmt::Result {
    let ConvShape { out_channels, in_channels, groups, kernel_rows, kernel_columns } = shape;
    let PanelFormat { planar, panel_blocks, in_blocks, in_block_step, transform, element } = format;
    write!(f, "        {place} {weight} {out_channels}x{in_channels}")?;
    write!(f, "x{kernel_rows}x{kernel_columns}/{groups} {transform:?}")?;
    write!(f, ", panels of {panel_blocks} by {in_blocks} step {in_block_step}")?;
    write!(f, "{}", if *planar { ", planar" } else { "" })?;
    if *element != Element::F32 {
        write!(f, ", {element}")?;
    }
    if let Some(bias) = bias {
        write!(f, ", bias {bias}")?;
    }
    if let Some(norm) = norm {
        write!(f, ", norm {} {}", norm.weight, norm.epsilon)?;
    }
    if let Some(epsilon) = standardise {
        write!(f, ", standardised {epsilon}")?;
    }
    if let Some(Slice { of: [outputs, inputs], at: [output, input] }) = slice {
        write!(f, ", at {output}, {input} of {outputs}x{inputs}")?;
    }
    writeln!(f)
}

fn write_winograd(
    f: &mut fmt::Formatter<'_>,
    winograd: &Winograd,
    format: &PanelFormat,
) -> fmt::Result {
    let Winograd { transform: _, tiles, band, strip, .. } = winograd;
    let Winograd { input, input_place: (region, place), output, output_offset, .. } = winograd;
    write!(f, "        {}x{} tiles, bands of ", tiles.rows, tiles.columns)?;
    match band {
        Band::Rows(rows) => write!(f, "{rows} rows")?,
        Band::Pictures(pictures) => write!(f, "{pictures} pictures")?,
    }
    writeln!(f, ", strips of {strip}")?;
    writeln!(f, "        input {region}[{place}] {input}")?;
    writeln!(f, "        output {}[{output_offset}] {output}", Region::Scratch)?;
    match winograd.words(format) {
        Some((words, offset)) => {
            writeln!(f, "        weights {}[{offset}] {words}", Region::Scratch)
        }
        None => Ok(()),
    }
}
