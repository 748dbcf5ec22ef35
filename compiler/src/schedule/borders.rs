//! What lies around an activation in memory, for those that read it.

use resnet_runtime::kernels::Panels;

use super::decide::Decision;
use super::layout::Layout;
use super::operator::{ConvWay, Operator, Way};
use super::winograd;
use crate::fuse::{Fused, FusedId};
use crate::graph::{Extent, Shape, Window};

/// Rows and columns that a convolution reads of an interleaved picture, from its padding on.
fn interleaved_reads(window: &Window, panels: &Panels, output: Shape) -> Extent {
    let last = |outputs: usize, stride: usize| (outputs - 1) * stride;
    let rows = (window.kernel.rows - 1) * window.dilation.rows + 1;
    let columns = panels.run_len().div_ceil(panels.shape.in_channels);
    Extent::new(
        last(output.height, window.stride.rows) + rows,
        last(output.width, window.stride.columns) + columns,
    )
}

/// The ring of `id`, the largest padding among the convolutions that read it and the zeros that its
/// pools count (with other edges they deal themselves), and the margin that its Winograd convolutions need to read whole tiles.
pub(super) fn borders(fused: &Fused, decisions: &[Decision], id: FusedId) -> (Extent, Extent) {
    let layout = decisions[id.index()].layout;
    let readers = || {
        fused.nodes.iter().zip(decisions).filter_map(|(node, decision)| match &decision.way {
            Way::Conv { input, conv: ConvWay { window, panels, .. } } if *input == id => {
                Some((*window, *panels, node.shape))
            }
            _ => None,
        })
    };
    let none = Extent::square(0);
    let counted = decisions.iter().filter_map(|decision| match &decision.way {
        Way::Fixed { input, operator: Operator::Pool(pool) } if *input == id => {
            Some(pool.zeros.most())
        }
        _ => None,
    });
    let padded = readers().map(|(window, ..)| window.padding.most());
    let ring = padded.chain(counted).fold(none, Extent::max);
    let shape = fused.node(id).shape;
    let margin = readers().fold(none, |margin, (window, panels, output)| {
        let (transform, element) = (panels.format.transform, panels.format.factor());
        let reads = match layout {
            Layout::Interleaved => Some(interleaved_reads(&window, &panels, output)),
            _ => winograd::reads(transform, element, &window, output, layout),
        };
        let Some(reads) = reads else { return margin };
        let padding = window.padding.before;
        let missing = |reads: usize, padding: usize, size: usize, ring: usize| {
            reads.saturating_sub(padding + size + ring)
        };
        let rows = missing(reads.rows, padding.rows, shape.height, ring.rows);
        let columns = missing(reads.columns, padding.columns, shape.width, ring.columns);
        margin.max(Extent::new(rows, columns))
    });
    (ring, margin)
}
