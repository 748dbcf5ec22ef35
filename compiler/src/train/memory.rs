//! Where the values of a step lie.

use resnet_runtime::kernels::{Element, Transform};

use super::algorithms::TILE;
use super::order::Group;
use super::tape::{Conv, Kind, Op, Tape, Uses, ValueId};
use crate::graph::{Extent, Padding, Shape, Window};
use crate::schedule::{self, Buffer, Layout, Lifetime, Region, place};

/// A value's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Activation(Buffer),
    /// The first of its bytes.
    Numbers(usize),
}

/// Places of all values, and the bytes of the arena.
///
/// What a group touches is alive during all of it, since one image may be at its end where another is at its begin.
pub(crate) fn plan(tape: &Tape, groups: &[Group], batch: usize) -> (Vec<Place>, usize) {
    let borders = borders(tape);
    let mut places: Vec<Place> = tape
        .values
        .iter()
        .zip(&borders)
        .map(|(value, &(ring, margin))| match value.kind {
            Kind::Numbers(_) => Place::Numbers(0),
            Kind::Activation(shape) => Place::Activation(Buffer {
                region: Region::Arena,
                offset: 0,
                layout: Layout::Blocked,
                shape,
                ring,
                margin,
                scale: None,
            }),
        })
        .collect();
    let mut lifetimes = tape.lifetimes();
    let owners = owners(tape, &places, &mut lifetimes);
    let of_group: Vec<usize> =
        groups.iter().enumerate().flat_map(|(at, group)| vec![at; group.len()]).collect();
    let owned: Vec<usize> = (0..places.len()).filter(|&id| owners[id] == id).collect();
    let requests: Vec<(usize, Lifetime)> = owned
        .iter()
        .map(|&id| {
            let bytes = match (&places[id], tape.values[id].kind) {
                (Place::Activation(buffer), _) => buffer.picture_bytes() * batch,
                (_, Kind::Numbers(len)) => len * Element::F32.bytes(),
                (_, Kind::Activation(_)) => unreachable!("an activation has a buffer"),
            };
            (bytes, Lifetime::new(of_group[lifetimes[id].start], of_group[lifetimes[id].end]))
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

/// The ring of each value, what the convolutions that read it are padded by and the zeros that pools count, and behind it
/// the margin that tiles reach beyond.
fn borders(tape: &Tape) -> Vec<(Extent, Extent)> {
    let none = Extent::square(0);
    let mut rings = vec![none; tape.values.len()];
    let mut reads = vec![none; tape.values.len()];
    for op in &tape.ops {
        let mut widen = |id: ValueId, padding: Padding| {
            let ring = &mut rings[id.index()];
            *ring = ring.max(padding.most());
        };
        match op {
            Op::Conv { conv, x, .. } => widen(*x, tape.conv(*conv).window.padding),
            Op::ConvGradient { of, x, .. } | Op::PointsGradient { of, x, .. } => {
                widen(*x, of.window.padding);
            }
            Op::Pool { pool, x, .. } => widen(*x, pool.zeros),
            _ => {}
        }
        // From the first pixel on.
        let mut reach = |id: ValueId, rows: usize, columns: usize| {
            let reads = &mut reads[id.index()];
            *reads = reads.max(Extent::new(rows, columns));
        };
        let mut of_tiles = |id: ValueId, transform: Transform, window: &Window, output: Shape| {
            let all = schedule::reads(transform, window, output, Layout::Blocked);
            if let Some(Extent { rows, columns }) = all {
                let before = window.padding.before;
                reach(id, rows - before.rows, columns - before.columns);
            }
        };
        match op {
            Op::Conv { conv, x, y, .. } => {
                let Conv { window, panels, .. } = tape.conv(*conv);
                of_tiles(*x, panels.format.transform, window, tape.shape(*y));
            }
            Op::PointsGradient { of, bands, x, d, .. } => {
                of_tiles(*x, Transform::Winograd4x4, &of.window, tape.shape(*d));
                reach(*d, TILE * bands.tiles.rows, TILE * bands.tiles.columns);
            }
            _ => {}
        }
    }
    let border = |(index, (ring, reads)): (usize, (Extent, Extent))| match tape.values[index].kind {
        Kind::Numbers(_) => (none, none),
        Kind::Activation(Shape { height, width, .. }) => {
            let rows = reads.rows.saturating_sub(height + ring.rows);
            (ring, Extent::new(rows, reads.columns.saturating_sub(width + ring.columns)))
        }
    };
    rings.into_iter().zip(reads).enumerate().map(border).collect()
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
