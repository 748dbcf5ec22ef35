//! Decisions about one convolution.

use resnet_runtime::kernels::{BLOCK, ConvShape, Element, PANEL, PanelFormat, Panels, Transform};

use super::{Buffer, Layout, Order};
use crate::fuse::Conv;
use crate::graph::{Extent, Padding, Shape, Window};

/// How the weights of `conv` are packed for an input that lies so.
pub(crate) fn panels(
    conv: &Conv,
    (transform, order): (Transform, Order),
    layout: Layout,
    input: Shape,
    output: Shape,
) -> Panels {
    let dense = Reads {
        panel_blocks: output.channels.div_ceil(BLOCK).min(PANEL / BLOCK),
        in_blocks: input.channels.div_ceil(layout.lanes(input.channels)),
        in_block_step: 0,
    };
    let reads = group_reads(conv.groups, input.channels, output.channels).unwrap_or(dense);
    Panels {
        shape: ConvShape {
            out_channels: output.channels,
            in_channels: input.channels,
            groups: conv.groups,
            kernel_rows: conv.window.kernel.rows,
            kernel_columns: conv.window.kernel.columns,
        },
        format: PanelFormat {
            planar: layout != Layout::Blocked,
            panel_blocks: reads.panel_blocks,
            in_blocks: reads.in_blocks,
            in_block_step: reads.in_block_step,
            transform,
            element: packed_element(conv, transform, order),
        },
    }
}

/// What weights are packed as. Bytes that do not stay in cache are transformed panel by panel, as they come from memory, an
/// eighth of what the words would take.
pub(super) fn packed_element(conv: &Conv, transform: Transform, order: Order) -> Element {
    match (weight_element(conv, transform), order) {
        (Element::I16, Order::PanelsOuter | Order::PicturesOuter) => Element::I8,
        (element, _) => element,
    }
}

/// What inputs are multiplied with.
pub(super) fn weight_element(conv: &Conv, transform: Transform) -> Element {
    match (conv.element, transform) {
        (Element::U8, Transform::None) => Element::I8,
        (Element::U8, _) => Element::I16,
        (Element::Bf16, Transform::None) => Element::Bf16,
        // Winograd's transforms would lose what little there is.
        _ => Element::F32,
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
    let panel_blocks = if group_out.is_multiple_of(PANEL) { 2 } else { 1 };
    let panel = panel_blocks * BLOCK;
    let fits = outputs.is_multiple_of(panel) && panel.is_multiple_of(group_out);
    let in_channels = panel / group_out.min(panel) * group_in;
    (fits && in_channels.is_multiple_of(BLOCK)).then_some(Reads {
        panel_blocks,
        in_blocks: in_channels / BLOCK,
        in_block_step: in_channels / BLOCK,
    })
}

/// Pixels that a run should have at least where rows can be joined: eight of the widest register
/// tiles, so that a panel of weights stays in the first-level cache for a while.
const RUN_PIXELS: usize = 112;

/// Rows that one kernel call computes: several, as one run of pixels, if a 1x1 convolution reads
/// and writes contiguous planes.
pub(crate) fn joined_rows(
    zero_pads: bool,
    window: &Window,
    input: &Buffer,
    residual: Option<&Buffer>,
    output: &Buffer,
) -> usize {
    let joins = window.kernel == Extent::square(1)
        && window.stride == Extent::square(1)
        && window.padding == Padding::NONE
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
