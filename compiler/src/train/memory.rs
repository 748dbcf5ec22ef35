//! Where the values of a step lie.

use resnet_runtime::kernels::Element;

use super::tape::{Kind, Op, Tape, Uses, ValueId};
use crate::graph::{Extent, Padding};
use crate::schedule::{Buffer, Layout, Lifetime, Region, place};

/// A value's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Activation(Buffer),
    /// The first of its bytes.
    Numbers(usize),
}

/// Places of all values, and the bytes of the arena.
pub(crate) fn plan(tape: &Tape, batch: usize) -> (Vec<Place>, usize) {
    let rings = rings(tape);
    let mut places: Vec<Place> = tape
        .values
        .iter()
        .zip(&rings)
        .map(|(value, &ring)| match value.kind {
            Kind::Numbers(_) => Place::Numbers(0),
            Kind::Activation(shape) => Place::Activation(Buffer {
                region: Region::Arena,
                offset: 0,
                layout: Layout::Blocked,
                shape,
                ring,
                margin: Extent::square(0),
                scale: None,
            }),
        })
        .collect();
    let mut lifetimes = tape.lifetimes();
    let owners = owners(tape, &places, &mut lifetimes);
    let owned: Vec<usize> = (0..places.len()).filter(|&id| owners[id] == id).collect();
    let requests: Vec<(usize, Lifetime)> = owned
        .iter()
        .map(|&id| {
            let bytes = match (&places[id], tape.values[id].kind) {
                (Place::Activation(buffer), _) => buffer.picture_bytes() * batch,
                (_, Kind::Numbers(len)) => len * Element::F32.bytes(),
                (_, Kind::Activation(_)) => unreachable!("an activation has a buffer"),
            };
            (bytes, Lifetime::new(lifetimes[id].start, lifetimes[id].end))
        })
        .collect();
    let (offsets, bytes) = place(&requests);
    let mut of_owner = vec![0; places.len()];
    for (&id, offset) in owned.iter().zip(offsets) {
        of_owner[id] = offset;
    }
    for (place, owner) in places.iter_mut().zip(owners) {
        match place {
            Place::Activation(buffer) => buffer.offset = of_owner[owner],
            Place::Numbers(offset) => *offset = of_owner[owner],
        }
    }
    (places, bytes)
}

/// The ring of each value: what the convolutions that read it are padded by, and the zeros that pools count.
fn rings(tape: &Tape) -> Vec<Extent> {
    let mut rings = vec![Extent::square(0); tape.values.len()];
    let mut widen = |id: ValueId, padding: Padding| {
        let ring = &mut rings[id.index()];
        *ring = ring.max(padding.most());
    };
    for op in &tape.ops {
        match op {
            Op::Conv { conv, x, .. } | Op::ConvGradient { conv, x, .. } => {
                widen(*x, tape.conv(*conv).window.padding);
            }
            Op::Pool { pool, x, .. } => widen(*x, pool.zeros),
            _ => {}
        }
    }
    rings
}

/// Whose memory each value takes: its own, or that of one that it may be written over, which nobody reads any more.
fn owners(tape: &Tape, places: &[Place], lifetimes: &mut [std::ops::Range<usize>]) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..places.len()).collect();
    for (at, op) in tape.ops.iter().enumerate() {
        let Uses { reads, over: Some((written, read)), .. } = op.uses() else { continue };
        let owner = owners[read.index()];
        let alike = match (&places[written.index()], &places[read.index()]) {
            (Place::Activation(a), Place::Activation(b)) => a.lies_like(b),
            _ => false,
        };
        let once = reads.iter().filter(|id| owners[id.index()] == owner).count() == 1;
        if alike && once && lifetimes[owner].end == at {
            owners[written.index()] = owner;
            lifetimes[owner].end = lifetimes[written.index()].end;
        }
    }
    owners
}
