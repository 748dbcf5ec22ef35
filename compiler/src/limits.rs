//! How large things may be on a machine whose addresses have so many bits.
//!
//! A table may ask for anything. What is built from it is bounded here, before anything is multiplied, so that sizes,
//! distances and bytes are numbers that no `usize` overflows: the verifier's word, on which unsafe code rests, is then about
//! the numbers that are meant. [`Plan`](crate::plan::Plan) asks [`fits`] for every buffer and panel; what is summed up of
//! them, offsets in the arena and among the packed weights, saturates, and is refused if it did.

use resnet_runtime::kernels::{BLOCK, Element, PANEL};

use crate::fuse::{Fused, FusedNode, FusedOp};
use crate::geometry::{Extent, Shape, Window};

/// Largest sizes, all powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a number in a table.
    pub(crate) number: usize,
    /// Elements of an activation or a weight tensor.
    pub(crate) elements: u128,
    /// Elements of an activation with its padding.
    pub(crate) padded: u128,
    /// Bytes of one activation, of one convolution's packed weights or Winograd points.
    pub(crate) bytes: u128,
    /// Bytes of all together while a network runs.
    pub(crate) together: u128,
}

impl Limits {
    /// This machine's.
    pub(crate) const HERE: Self = Self::of(usize::BITS);

    /// Those of a machine whose addresses have so many bits, 32 or 64. Products of an element's bytes and sums of a few
    /// numbers stay below its largest one.
    pub(crate) const fn of(address_bits: u32) -> Self {
        let wide = address_bits >= 64;
        Self {
            number: if wide { 1 << 31 } else { 1 << 28 },
            elements: if wide { 1 << 31 } else { 1 << 28 },
            padded: if wide { 1 << 34 } else { 1 << 30 },
            bytes: if wide { 1 << 61 } else { 1 << 30 },
            // The largest object that a language may have there.
            together: (1 << (address_bits - 1)) - 1,
        }
    }
}

/// A limit of elements, for messages: `2^31`.
pub(crate) fn power(limit: u128) -> String {
    format!("2^{}", limit.ilog2())
}

/// Whether each activation, with all that may lie around it, and each convolution's weights and points can be addressed,
/// for so many pictures at a time.
pub(crate) fn fits(fused: &Fused, batch: usize, limits: &Limits) -> bool {
    let none = Extent::square(0);
    let mut rings = vec![none; fused.nodes.len()];
    for node in &fused.nodes {
        if let (Some(source), Some(window)) = (node.input, window(node)) {
            let ring = &mut rings[source.index()];
            *ring = ring.max(window.padding.most());
        }
    }
    let nodes = fused.nodes.iter().zip(rings);
    let activations = nodes.map(|(node, ring)| activation_bytes(node.shape, ring));
    let points = fused.nodes.iter().filter_map(|node| conv_bytes(fused, node));
    let mut by_picture = activations.chain(points.clone().map(|(points, _)| points));
    let mut weights = points.map(|(_, weights)| weights);
    by_picture.all(|bytes| bytes * wide(batch) <= limits.bytes)
        && weights.all(|bytes| bytes <= limits.bytes)
}

fn window(node: &FusedNode) -> Option<Window> {
    match &node.op {
        FusedOp::Conv(conv) => Some(conv.window),
        FusedOp::Pool(pool) => Some(pool.window),
        FusedOp::Blur(window) => Some(*window),
        _ => None,
    }
}

fn wide(n: usize) -> u128 {
    n as u128
}

/// Most pixels by which Winograd's tiles reach over an activation, and a row of a planar one over its last block.
const OVER: u128 = 32;

/// Bytes of a picture's activation in blocks, with a ring around it.
fn activation_bytes(shape: Shape, ring: Extent) -> u128 {
    let rows = wide(shape.height) + 2 * wide(ring.rows) + OVER;
    let columns = wide(shape.width) + 2 * wide(ring.columns) + OVER;
    in_blocks(shape.channels, BLOCK) * rows * columns * wide(Element::F32.bytes())
}

fn in_blocks(channels: usize, block: usize) -> u128 {
    wide(channels).next_multiple_of(wide(block))
}

/// Most points of a Winograd tile for each of its outputs.
const POINTS: u128 = 8;

/// Of a convolution, bytes of a picture's points, at most, and of its packed weights.
fn conv_bytes(fused: &Fused, node: &FusedNode) -> Option<(u128, u128)> {
    let FusedOp::Conv(conv) = &node.op else { return None };
    let kernel = conv.window.kernel;
    let input = fused.node(node.source()).shape;
    // Of the kernels that Winograd's forms are for, the most products of a tile.
    let (points, weights) = match (kernel.rows, kernel.columns) {
        (3, 3) if conv.groups == 1 => (POINTS, 81),
        (7, 7) if conv.groups == 1 => (POINTS, 91),
        (rows, columns) => (1, wide(rows) * wide(columns)),
    };
    let output = Shape { channels: input.channels.max(node.shape.channels), ..node.shape };
    let pairs = in_blocks(input.channels, BLOCK) * in_blocks(node.shape.channels, PANEL);
    let packed = (weights + 2) * pairs * wide(Element::F32.bytes());
    Some((points * activation_bytes(output, Extent::square(0)), packed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::fuse;
    use crate::graph::Graph;
    use crate::schedule::{Tiling, Wishes, schedule};
    use crate::spec::Spec;
    use crate::zoo::ZOO;

    fn fused(text: &str) -> Fused {
        fuse(&Graph::build(&Spec::from_yaml(text).unwrap()).unwrap()).unwrap()
    }

    /// Sums of a few numbers and sizes, and elements times their bytes, are addresses.
    #[test]
    fn limits_leave_room() {
        for bits in [32, 64] {
            let Limits { number, elements, padded, bytes, together } = Limits::of(bits);
            let most = (1_u128 << bits) - 1;
            assert!(8 * wide(number) <= most && 4 * elements <= most && padded * 2 <= most);
            assert!(2 * bytes < most && together < most && bytes < together);
        }
        assert_eq!(Limits::HERE, Limits::of(usize::BITS));
        assert_eq!(power(Limits::of(64).elements), "2^31");
        assert_eq!(power(Limits::of(32).elements), "2^28");
    }

    /// The bound is never below what is laid out.
    #[test]
    fn what_is_planned_is_below_the_bound() {
        for (name, text) in ZOO {
            let fused = fused(text);
            let exactly = |bytes: u128| Limits { bytes, ..Limits::of(64) };
            for batch in [1, 3] {
                let wishes = Wishes { batch, ..Wishes::default() };
                let plan = schedule(&fused, &wishes).unwrap().0.remove(0);
                let of_node = plan.nodes.iter().map(|node| {
                    let conv = node.plan.conv();
                    let weights = conv.map_or(0, |conv| conv.panels.bytes());
                    let points = conv.map_or(0, |conv| match &conv.tiling {
                        Tiling::Winograd(winograd) => winograd.input.bytes(),
                        Tiling::Direct { .. } => 0,
                    });
                    weights.max(points).max(node.buffer.picture_bytes() * batch)
                });
                let largest = wide(of_node.max().unwrap());
                assert!(!fits(&fused, batch, &exactly(largest - 1)), "{name}");
                assert!(fits(&fused, batch, &Limits::of(32)), "{name}");
            }
        }
    }

    #[test]
    fn what_32_bits_cannot_address_does_not_fit() {
        let table = |input: &str, rows: &str| format!("name: x\ninput: {input}\ntable:\n{rows}");
        let conv = "  - {layer: a, op: conv, kernel: 3, channels: ";
        let narrow = Limits::of(32);
        // A row of pixels whose few channels are a block, one whose ring is most of it, and weights of single
        // channels in blocks.
        let ring =
            "  - {layer: a, op: conv, kernel: 3, dilation: 9001, padding: 9001, channels: 1}";
        let flat = "  - {layer: a, op: conv, kernel: 2001, padding: 1000, channels: 1}\n";
        for (input, rows) in [
            ("1x8192x8192", format!("{conv}1}}")),
            ("1x1x1", ring.to_owned()),
            ("1x1x1", flat.to_owned()),
            ("16384x1x1", format!("{conv}1600}}")),
        ] {
            let fused = fused(&table(input, &rows));
            assert!(fits(&fused, 1, &Limits::of(64)), "{input}");
            assert!(!fits(&fused, 1, &narrow), "{input} {rows}");
        }
        let small = fused(&table("3x32x32", &format!("{conv}16}}")));
        assert!(fits(&small, 1, &narrow) && !fits(&small, 1 << 14, &narrow));
    }
}
