//! Offsets in the arena, planned from liveness: activations that are never alive together may
//! share memory.

use std::ops::RangeInclusive;

use resnet_runtime::kernels::LINE_BYTES;

use super::{ConvPlan, Region, Schedule, Scheduled, Tiling};
use crate::fuse::{Fused, FusedId, Residual};

/// The steps over which an activation is alive: from the one that writes it to the last one that
/// reads it, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    first: usize,
    last: usize,
}

impl Lifetime {
    #[cfg(feature = "train")]
    pub(crate) fn new(first: usize, last: usize) -> Self {
        Self { first, last }
    }

    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// What a part of the arena holds, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Whose value, or whose input's points.
    pub node: FusedId,
    /// Whether it holds the points of a Winograd convolution's input, not an activation.
    pub points: bool,
    /// First byte.
    pub offset: usize,
    /// Bytes of all pictures.
    pub bytes: usize,
    /// The steps, by the positions of their nodes, from the one that writes it to the last one that reads it. Step
    /// `nodes.len()` copies the answer out.
    pub steps: RangeInclusive<usize>,
}

impl Schedule {
    /// What lies where in the arena, and when, in the order in which it is written. Two of these share memory at a
    /// step only where a node writes its value over its residual.
    pub fn spaces(&self, fused: &Fused) -> Vec<Space> {
        let mut spaces = Vec::new();
        let nodes = fused.iter().zip(&self.nodes).zip(lifetimes(fused));
        for (((node, _), Scheduled { buffer, plan }), Lifetime { first, last }) in nodes {
            let tiling = plan.conv().map(|conv| &conv.tiling);
            if let Some(Tiling::Winograd(winograd)) = tiling
                && let (Region::Arena, offset) = winograd.input_place
            {
                let bytes = winograd.points_bytes(self.batch);
                spaces.push(Space { node, points: true, offset, bytes, steps: first..=first });
            }
            if buffer.region == Region::Arena {
                let (offset, bytes) = (buffer.offset, buffer.picture_bytes() * self.batch);
                spaces.push(Space { node, points: false, offset, bytes, steps: first..=last });
            }
        }
        spaces
    }
}

/// Sets the offset of every buffer and every Winograd convolution's points in the arena, and
/// returns the arena's bytes.
pub(super) fn plan(fused: &Fused, nodes: &mut [Scheduled], batch: usize) -> usize {
    let mut lifetimes = lifetimes(fused);
    let owners = owners(fused, nodes, &mut lifetimes);
    let (mut spaces, mut points) = (Vec::new(), Vec::new());
    for (step, Scheduled { buffer, plan }) in nodes.iter_mut().enumerate() {
        if buffer.region == Region::Arena && owners[step] == step {
            let bytes = buffer.picture_bytes() * batch;
            spaces.push(((bytes, lifetimes[step]), &mut buffer.offset));
        }
        if let Some(ConvPlan { tiling: Tiling::Winograd(winograd), .. }) = plan.conv_mut() {
            let bytes = winograd.points_bytes(batch);
            if let (Region::Arena, offset) = &mut winograd.input_place {
                points.push(((bytes, Lifetime { first: step, last: step }), offset));
            }
        }
    }
    spaces.extend(points);
    let (requests, targets): (Vec<_>, Vec<_>) = spaces.into_iter().unzip();
    let (offsets, len) = place(&requests);
    for (target, offset) in targets.into_iter().zip(offsets) {
        *target = offset;
    }
    for (step, &owner) in owners.iter().enumerate() {
        nodes[step].buffer.offset = nodes[owner].buffer.offset;
    }
    len
}

/// Whose memory each activation takes: its own, or that of its residual, on which an operator
/// writes if no one else reads it any more. Kernels read a residual just before they write the
/// same element, so that one pass through the caches serves both. Owners live as long as the last
/// of those that share with them.
fn owners(fused: &Fused, nodes: &[Scheduled], lifetimes: &mut [Lifetime]) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..nodes.len()).collect();
    for (step, node) in fused.nodes.iter().enumerate() {
        let Some(Residual::Same(source)) = node.epilogue.residual else { continue };
        let (from, to) = (&nodes[source.index()].buffer, &nodes[step].buffer);
        let owner = owners[source.index()];
        let alike = from.lies_like(to);
        if alike && lifetimes[owner].last == step && node.input != Some(source) {
            owners[step] = owner;
            lifetimes[owner].last = lifetimes[step].last;
        }
    }
    owners
}

/// One lifetime a node; the answer lives to the end, where it is copied out.
fn lifetimes(fused: &Fused) -> Vec<Lifetime> {
    let mut lifetimes: Vec<Lifetime> =
        (0..fused.nodes.len()).map(|i| Lifetime { first: i, last: i }).collect();
    for (step, node) in fused.nodes.iter().enumerate() {
        for read in node.reads() {
            lifetimes[read.index()].last = step;
        }
    }
    for output in &fused.outputs {
        lifetimes[output.index()].last = fused.nodes.len();
    }
    lifetimes
}

/// Offsets, multiples of a cache line, and their end; the largest number, where that is further. Largest first, each at the
/// lowest place that no buffer of an overlapping lifetime holds.
pub(crate) fn place(requests: &[(usize, Lifetime)]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(requests[i].0), i));
    let mut offsets = vec![0_usize; requests.len()];
    // Placed buffers, by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(requests.len());
    let mut end = 0;
    for i in order {
        let (len, lifetime) = requests[i];
        let len = len.next_multiple_of(LINE_BYTES);
        let mut offset = 0_usize;
        for &other in placed.iter().filter(|&&other| requests[other].1.meets(&lifetime)) {
            if offset.saturating_add(len) <= offsets[other] {
                break;
            }
            let after = requests[other].0.next_multiple_of(LINE_BYTES);
            offset = offset.max(offsets[other].saturating_add(after));
        }
        offsets[i] = offset;
        end = end.max(offset.saturating_add(len));
        let position = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(position, i);
    }
    (offsets, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuse::fuse;
    use crate::graph::Graph;
    use crate::schedule::{Wishes, schedule};
    use crate::spec::Spec;
    use crate::zoo::zoo;

    #[test]
    fn a_residual_is_overwritten_by_its_last_reader_alone() {
        // Basic blocks need rings of zeros, which neither projections have nor the last block.
        for (network, blocks) in [("resnet18", 3), ("resnet50", 16)] {
            let spec = Spec::from_yaml_named(zoo(network).unwrap(), network).unwrap();
            let fused = fuse(&Graph::build(&spec).unwrap()).unwrap();
            let schedule = schedule(&fused, &Wishes::default()).unwrap().0.remove(0);
            let mut overwritten = 0;
            for (id, node) in fused.iter() {
                let Some(residual) = node.epilogue.residual else { continue };
                let source = residual.source();
                if schedule.buffer(source).offset == schedule.buffer(id).offset {
                    let mut later = fused.nodes[id.index() + 1..].iter();
                    assert!(later.all(|node| node.reads().all(|read| read != source)));
                    assert_ne!(node.input, Some(source));
                    overwritten += 1;
                }
            }
            assert_eq!(overwritten, blocks, "{network}");
        }
    }

    /// Bytes are held by one value at a time, but for a residual that is written over.
    #[test]
    fn spaces_fill_the_arena_and_never_overlap() {
        for (network, batch) in [("resnet18", 1), ("resnet50", 2), ("cifar-resnet20", 3)] {
            let spec = Spec::from_yaml_named(zoo(network).unwrap(), network).unwrap();
            let fused = fuse(&Graph::build(&spec).unwrap()).unwrap();
            let wishes = Wishes { batch, ..Wishes::default() };
            let schedule = schedule(&fused, &wishes).unwrap().0.remove(0);
            let spaces = schedule.spaces(&fused);
            let end =
                spaces.iter().map(|s| (s.offset + s.bytes).next_multiple_of(LINE_BYTES)).max();
            assert_eq!(end, Some(schedule.arena_bytes), "{network}");
            for (i, a) in spaces.iter().enumerate() {
                for b in &spaces[i + 1..] {
                    let apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
                    let meet = a.steps.end() >= b.steps.start() && b.steps.end() >= a.steps.start();
                    let residual = fused.node(b.node).epilogue.residual.map(|r| r.source());
                    let over = residual == Some(a.node) && a.steps.end() == b.steps.start();
                    assert!(apart || !meet || over, "{network}: {a:?} and {b:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn buffers_alive_together_never_overlap(
            requests in prop::collection::vec((1usize..1000, 0usize..20, 0usize..8), 0..60)
        ) {
            let requests: Vec<(usize, Lifetime)> = requests
                .into_iter()
                .map(|(len, first, more)| (len, Lifetime { first, last: first + more }))
                .collect();
            let (offsets, end) = place(&requests);
            for (i, a) in requests.iter().enumerate() {
                prop_assert!(offsets[i].is_multiple_of(LINE_BYTES) && offsets[i] + a.0 <= end);
                for (j, b) in requests.iter().enumerate().skip(i + 1) {
                    let apart = offsets[i] + a.0 <= offsets[j] || offsets[j] + b.0 <= offsets[i];
                    prop_assert!(apart || !a.1.meets(&b.1), "{i} and {j} overlap");
                }
            }
            let alive = |t| requests.iter()
                .filter(|(_, l)| l.first <= t && t <= l.last)
                .map(|(len, _)| len.next_multiple_of(LINE_BYTES))
                .sum::<usize>();
            let bound = (0..30).map(alive).max().unwrap_or(0);
            prop_assert!(end >= bound);
        }
    }

    #[test]
    fn a_chain_needs_only_two_buffers_at_a_time() {
        let chain: Vec<_> = (0..10).map(|i| (640, Lifetime { first: i, last: i + 1 })).collect();
        assert_eq!(place(&chain).1, 1280);
    }
}
