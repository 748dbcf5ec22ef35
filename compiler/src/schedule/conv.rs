//! Decisions about one convolution.

use resnet_runtime::kernels::BLOCK;
use resnet_runtime::tensors::{ConvRecipe, Transform};

use super::{Buffer, Layout, Order, Points, Winograd};
use crate::fuse::{Conv, Residual};
use crate::graph::{Extent, Shape};

/// How the weights of `conv` are packed for an input that lies as `input` says.
pub(super) fn recipe(
    conv: &Conv,
    winograd: bool,
    input: &Buffer,
    output: Shape,
    offset: usize,
) -> ConvRecipe {
    let planar = input.layout == Layout::Planar;
    let dense = Reads {
        panel_blocks: output.channels.div_ceil(BLOCK).min(2),
        in_blocks: input.blocks(),
        in_block_step: 0,
    };
    let reads = group_reads(conv.groups, input.shape.channels, output.channels).unwrap_or(dense);
    ConvRecipe {
        weight: conv.weight.clone(),
        bias: conv.bias.clone(),
        norm: conv.norm.clone(),
        out_channels: output.channels,
        in_channels: input.shape.channels,
        groups: conv.groups,
        kernel_rows: conv.window.kernel.rows,
        kernel_columns: conv.window.kernel.columns,
        planar,
        panel_blocks: reads.panel_blocks,
        in_blocks: reads.in_blocks,
        in_block_step: reads.in_block_step,
        transform: if winograd { Transform::Winograd4x4 } else { Transform::None },
        offset,
    }
}

/// Which input blocks the panels of a convolution read.
#[derive(Debug, PartialEq)]
struct Reads {
    panel_blocks: usize,
    in_blocks: usize,
    in_block_step: usize,
}

/// The reads of a grouped convolution whose groups and blocks fit together.
///
/// A panel of 16 or 32 output channels is computed as if it were dense over the input blocks
/// that its groups touch, with zero weights between groups. Where groups straddle blocks
/// irregularly the whole convolution is computed as if it were dense.
fn group_reads(groups: usize, inputs: usize, outputs: usize) -> Option<Reads> {
    if groups == 1 {
        return None;
    }
    let (group_in, group_out) = (inputs / groups, outputs / groups);
    // Two blocks a panel pay only if both read the same input blocks.
    let panel_blocks = if group_out.is_multiple_of(2 * BLOCK) { 2 } else { 1 };
    let panel = panel_blocks * BLOCK;
    let fits = outputs.is_multiple_of(panel) && panel.is_multiple_of(group_out);
    let in_channels = panel / group_out.min(panel) * group_in;
    (fits && in_channels.is_multiple_of(BLOCK)).then_some(Reads {
        panel_blocks,
        in_blocks: in_channels / BLOCK,
        in_block_step: in_channels / BLOCK,
    })
}

/// Bytes of weights that may stay in a second-level cache beside a band of activations.
const RESIDENT_WEIGHTS: usize = 256 * 1024;

/// Bytes of the pictures that may stay in a second-level cache beside a panel of weights.
const RESIDENT_PICTURES: usize = 512 * 1024;

/// Small weights stay in cache while the rows pass, so that each row is read once; large ones are
/// read once, panel by panel, while the rows stay. A batch whose pictures do not stay is computed
/// picture by picture if reading its weights anew costs less than reading its pictures for every
/// panel.
pub(super) fn order(
    conv: &Conv,
    recipe: &ConvRecipe,
    winograd: bool,
    input: &Buffer,
    batch: usize,
) -> Order {
    // A zero-padding shortcut is written row by row for all channels, before any panel adds to it.
    let zero_pads = matches!(conv.residual, Some(Residual::ZeroPad { .. }));
    let bytes = |elements: usize| elements * size_of::<f32>();
    let panels = recipe.out_blocks().div_ceil(recipe.panel_blocks);
    let picture = bytes(input.picture_len());
    if zero_pads || bytes(recipe.len()) <= RESIDENT_WEIGHTS {
        Order::RowsOuter
    } else if batch > 1
        && !winograd
        && batch * picture > RESIDENT_PICTURES
        && bytes(recipe.len()) < panels * picture
    {
        Order::PicturesOuter
    } else {
        Order::PanelsOuter
    }
}

/// Multiply-adds a cycle, at best: two 16-lane units.
const FMAS: f64 = 32.0;

/// Bytes of cold weights that arrive in a cycle while a core computes.
const WEIGHT_BYTES: f64 = 8.0;

/// Bytes of a Winograd convolution's points that are written or read in a cycle; they pass through
/// the second- and third-level caches.
const POINT_BYTES: f64 = 16.0;

/// The tiles of `conv` if Winograd's F(4x4, 3x3) can compute it and should take less time.
///
/// The model counts cycles of one core: multiply-adds at their peak, weights from memory, and the
/// points' two passes through the caches. With a quarter of the multiplications and four times
/// the weights, Winograd gains on large activations and loses on small ones of many channels. It
/// looks at a single picture whatever the batch is, so that a picture's result does not depend on
/// its company.
pub(super) fn winograd_tiles(conv: &Conv, from: Shape, to: Shape) -> Option<Extent> {
    let fits = conv.window.kernel == Extent::square(3)
        && conv.window.stride == Extent::square(1)
        && conv.groups == 1
        && !matches!(conv.residual, Some(Residual::ZeroPad { .. }));
    if !fits {
        return None;
    }
    let tiles = Extent::new(to.height.div_ceil(4), to.width.div_ceil(4));
    let count = (tiles.rows * tiles.columns) as f64;
    let padded = |channels: usize| channels.next_multiple_of(BLOCK) as f64;
    let (inputs, outputs) = (padded(from.channels), padded(to.channels));
    let weights = inputs * outputs * size_of::<f32>() as f64;
    let direct = to.pixels() as f64 * 9.0 * inputs * outputs / FMAS + 9.0 * weights / WEIGHT_BYTES;
    let points = Points::COUNT as f64;
    let winograd = count * points * inputs * outputs / FMAS
        + points * weights / WEIGHT_BYTES
        + 2.0 * count * points * (inputs + outputs) * size_of::<f32>() as f64 / POINT_BYTES;
    (winograd < direct).then_some(tiles)
}

/// Bytes that one panel's products of a group of tiles may take, a quarter of a second-level cache.
const PRODUCT_BYTES: usize = 256 * 1024;

/// The plan of a Winograd convolution; the arena sets the offsets.
pub(super) fn winograd(tiles: Extent, recipe: &ConvRecipe, output: &Buffer) -> Winograd {
    let columns = tiles.columns;
    let products = |rows: usize| {
        Points::COUNT * rows * columns * recipe.panel_blocks * BLOCK * size_of::<f32>()
    };
    // Only whole rows of tiles can be grouped: the last, partial one needs a call of its own.
    let group = if output.shape.height.is_multiple_of(4) {
        (1..=tiles.rows)
            .rev()
            .find(|&rows| tiles.rows.is_multiple_of(rows) && products(rows) <= PRODUCT_BYTES)
            .unwrap_or(1)
    } else {
        tiles.rows
    };
    // One block more than needed, so that the points do not all fall into one set of a cache.
    let points = |blocks: usize, rows: usize| Points {
        offset: 0,
        distance: (blocks * rows * columns + 1) * BLOCK,
    };
    Winograd {
        tiles,
        group,
        input: points(recipe.in_blocks, tiles.rows),
        output: points(recipe.panel_blocks, group),
    }
}

/// Pixels that a run should have at least where rows can be joined: eight of the widest register
/// tiles, so that a panel of weights stays in the first-level cache for a while.
const RUN_PIXELS: usize = 112;

/// Rows that one kernel call computes: several, as one run of pixels, if a 1x1 convolution reads
/// and writes contiguous planes.
pub(super) fn joined_rows(
    conv: &Conv,
    input: &Buffer,
    residual: Option<&Buffer>,
    output: &Buffer,
) -> usize {
    let zero_pads = matches!(conv.residual, Some(Residual::ZeroPad { .. }));
    let joins = conv.window.kernel == Extent::square(1)
        && conv.window.stride == Extent::square(1)
        && conv.window.padding == Extent::square(0)
        && !zero_pads
        && [Some(input), residual, Some(output)].into_iter().flatten().all(Buffer::is_contiguous);
    if !joins {
        return 1;
    }
    let Shape { height, width, .. } = output.shape;
    (1..=height)
        .find(|rows| height.is_multiple_of(*rows) && rows * width >= RUN_PIXELS)
        .unwrap_or(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(panel_blocks: usize, in_blocks: usize) -> Option<Reads> {
        Some(Reads { panel_blocks, in_blocks, in_block_step: in_blocks })
    }

    #[test]
    fn groups_read_their_own_blocks() {
        assert_eq!(group_reads(1, 64, 64), None, "dense");
        assert_eq!(group_reads(32, 128, 128), reads(1, 1), "four channels a group");
        assert_eq!(group_reads(32, 256, 512), None, "half a block a panel");
        assert_eq!(group_reads(2, 64, 64), reads(2, 2), "a panel a group");
        assert_eq!(group_reads(2, 96, 32), reads(1, 3));
        assert_eq!(group_reads(3, 72, 72), None, "24 channels straddle blocks");
        assert_eq!(group_reads(2, 256, 256), None, "several panels a group");
        assert_eq!(group_reads(16, 16, 16), reads(1, 1), "depthwise");
    }
}
