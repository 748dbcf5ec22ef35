//! What lies around an activation in memory, for those that read it.

use super::decide::Decision;
use super::operator::{ConvWay, Operator, Way};
use super::winograd;
use crate::fuse::{Fused, FusedId};
use crate::graph::Extent;

/// The ring of `id`, the largest padding among the convolutions that read it and the zeros that its
/// pools count (with other edges they deal themselves), and the margin that its Winograd convolutions need to read whole tiles.
pub(super) fn borders(fused: &Fused, decisions: &[Decision], id: FusedId) -> (Extent, Extent) {
    let layout = decisions[id.index()].layout;
    let readers = || {
        fused.nodes.iter().zip(decisions).filter_map(|(node, decision)| match &decision.way {
            Way::Conv { input, conv: ConvWay { window, panels, .. } } if *input == id => {
                Some((*window, panels.format, node.shape))
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
    let margin = readers().fold(none, |margin, (window, format, output)| {
        let (transform, element) = (format.transform, format.factor());
        let Some(reads) = winograd::reads(transform, element, &window, output, layout) else {
            return margin;
        };
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
