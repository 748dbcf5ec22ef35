//! How activations lie in memory, and what lies around them.

use resnet_runtime::kernels::{BLOCK, Element, QUAD};

use super::Region;
use crate::fuse::{Fused, FusedId, FusedNode, FusedOp};
use crate::graph::{Extent, Shape};

/// How an activation lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[C][H][W]`, as users give pictures.
    Planar,
    /// `[C / 16][H][W][16]`; missing channels of the last block are zero.
    Blocked,
    /// `[H][W][C]`: a quantised picture, whose channels are few.
    Interleaved,
}

impl Layout {
    /// Elements that lie side by side in one pixel, of so many channels.
    pub fn lanes(self, channels: usize) -> usize {
        match self {
            Self::Planar => 1,
            Self::Blocked => BLOCK,
            Self::Interleaved => channels,
        }
    }
}

/// Where an activation lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Which memory.
    pub region: Region,
    /// First byte, of the ring if there is one.
    pub offset: usize,
    /// Order of the elements.
    pub layout: Layout,
    /// The activation's shape, without the ring.
    pub shape: Shape,
    /// Zeros above, below, left and right, so that a convolution's loops need no edge tests.
    pub ring: Extent,
    /// More zeros below and to the right, up to whole Winograd tiles.
    pub margin: Extent,
    /// What it consists of.
    pub element: Element,
    /// If it consists of bytes, where the packed weights say what they stand for. The ring's are the zero
    /// point.
    pub scale: Option<usize>,
}

impl Buffer {
    /// Elements that lie side by side in one pixel.
    pub fn lanes(&self) -> usize {
        self.layout.lanes(self.shape.channels)
    }

    /// Channel blocks, or channels if planar.
    pub fn blocks(&self) -> usize {
        self.shape.channels.div_ceil(self.lanes())
    }

    /// Elements between rows.
    pub(crate) fn row_len(&self) -> usize {
        (self.shape.width + 2 * self.ring.columns + self.margin.columns) * self.lanes()
    }

    /// Elements between blocks.
    pub(crate) fn block_len(&self) -> usize {
        (self.shape.height + 2 * self.ring.rows + self.margin.rows) * self.row_len()
    }

    /// Elements between pictures of a batch: none in the scratch, which has room for one.
    pub(crate) fn picture_len(&self) -> usize {
        if self.region == Region::Scratch { 0 } else { self.blocks() * self.block_len() }
    }

    /// Bytes of a picture's activation.
    pub(crate) fn picture_bytes(&self) -> usize {
        self.blocks() * self.block_len() * self.element.bytes()
    }

    /// Elements from the first one to the pixel `above` rows up and `left` columns left of
    /// the picture's first one; both within the ring.
    pub fn corner(&self, above: usize, left: usize) -> usize {
        (self.ring.rows - above) * self.row_len() + (self.ring.columns - left) * self.lanes()
    }

    /// Whether the other one has the same elements in the same order, whatever their bytes stand for.
    pub(crate) fn lies_like(&self, other: &Self) -> bool {
        Self { scale: other.scale, ..*self } == *other
    }

    /// Whether all pixels of a block lie side by side.
    pub fn is_contiguous(&self) -> bool {
        self.ring == Extent::square(0) && self.margin == Extent::square(0)
    }
}

/// The picture stays planar if only one ungrouped convolution reads it and it has fewer channels
/// than a block, which would be padded with zeros that cost as much as channels do. If it is quantised
/// for that convolution, whose kernel's columns lie side by side, its channels do too. All else is blocked.
pub(super) fn choose(fused: &Fused) -> Vec<Layout> {
    let mut layouts = vec![Layout::Blocked; fused.nodes.len()];
    for (id, node) in fused.iter() {
        if node.op != FusedOp::Input || node.shape.channels >= BLOCK || fused.outputs.contains(&id)
        {
            continue;
        }
        let Some((reader, only)) = only_reader(fused, id) else { continue };
        if only.op == FusedOp::Quantise {
            let conv = only_reader(fused, reader).filter(|_| node.shape.channels <= QUAD);
            if conv.is_some_and(|(_, conv)| reads_planar(conv, reader) && reads_runs(conv)) {
                layouts[id.index()] = Layout::Planar;
                layouts[reader.index()] = Layout::Interleaved;
            }
        } else if reads_planar(only, id) {
            layouts[id.index()] = Layout::Planar;
        }
    }
    layouts
}

/// The only node that reads `id`.
fn only_reader(fused: &Fused, id: FusedId) -> Option<(FusedId, &FusedNode)> {
    let mut readers = fused.iter().filter(|(_, reader)| reader.reads().any(|read| read == id));
    readers.next().filter(|_| readers.next().is_none())
}

/// Whether a node is a convolution that can read `id` with its channels apart.
fn reads_planar(node: &FusedNode, id: FusedId) -> bool {
    let residual_reads = node.epilogue.residual.is_some_and(|r| r.source() == id);
    matches!(&node.op, FusedOp::Conv(conv) if conv.groups == 1) && !residual_reads
}

/// Whether a convolution reads neighbouring pixels of each row.
fn reads_runs(node: &FusedNode) -> bool {
    matches!(&node.op, FusedOp::Conv(conv) if conv.window.dilation.columns == 1)
}

pub(super) fn reads_picture_in_place(fused: &Fused, buffer: &Buffer) -> bool {
    fused.nodes.len() > 1 && buffer.layout == Layout::Planar && buffer.is_contiguous()
}
