//! Where the values of a step lie.

use std::ops::Range;

use resnet_runtime::kernels::{BLOCK, Element, LINE_BYTES, Transform};

use super::algorithms::TILE;
use super::order::Group;
use super::tape::{Conv, Kind, Op, Tape, Uses, Value, ValueId};
use crate::graph::{Extent, Padding, Shape, Window};
use crate::schedule::{self, Buffer, Layout, Lifetime, Region, place};

/// A value's place in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Activation(Buffer),
    /// The first of its bytes.
    Numbers(usize),
}

/// Where all values lie.
pub(crate) struct Memory {
    /// By the values' ids.
    pub(crate) places: Vec<Place>,
    pub(crate) arena_bytes: usize,
    pub(crate) scratch_bytes: usize,
}

/// Finds a place for each value.
///
/// What a group touches of the arena is alive during all of it, since one image may be at its end where another is at its
/// begin. What it alone touches lies in the scratch of the thread that has the image.
pub(super) fn plan(tape: &Tape, groups: &[Group], batch: usize) -> Memory {
    let mut lifetimes = tape.lifetimes();
    let of_group: Vec<usize> =
        groups.iter().enumerate().flat_map(|(at, group)| vec![at; group.len()]).collect();
    let local = local(tape, &lifetimes, &of_group);
    let mut places = buffers(tape, &local);
    let owners = owners(tape, &places, &mut lifetimes);
    let (mut shared, mut of_threads) =
        (Requests::default(), vec![Requests::default(); groups.len()]);
    for id in (0..places.len()).filter(|&id| owners[id] == id) {
        let Range { start, end } = lifetimes[id];
        match places[id] {
            Place::Activation(buffer) if local[id] => {
                let lifetime = Lifetime::new(start, end);
                of_threads[of_group[start]].add(id, buffer.picture_bytes(), lifetime);
            }
            Place::Activation(buffer) => {
                let lifetime = Lifetime::new(of_group[start], of_group[end]);
                shared.add(id, buffer.picture_bytes() * batch, lifetime);
            }
            Place::Numbers(len) => {
                let lifetime = Lifetime::new(of_group[start], of_group[end]);
                shared.add(id, len * Element::F32.bytes(), lifetime);
            }
        }
    }
    let mut offsets = vec![0; places.len()];
    let arena_bytes = shared.place(0, &mut offsets);
    let mut scratch_bytes = 0;
    for (group, requests) in groups.iter().zip(of_threads) {
        // Behind what its operators take for themselves.
        let own = group.iter().map(|&at| scratch_of(tape.op(at), tape)).max().unwrap_or(0);
        scratch_bytes = scratch_bytes.max(requests.place(own, &mut offsets));
    }
    for (place, owner) in places.iter_mut().zip(owners) {
        match place {
            Place::Activation(Buffer { offset, .. }) | Place::Numbers(offset) => {
                *offset = offsets[owner];
            }
        }
    }
    // What is fetched for the image after the last one lies there too.
    let behind = places.iter().map(|place| match place {
        Place::Activation(buffer) => buffer.picture_bytes(),
        Place::Numbers(_) => 0,
    });
    Memory { arena_bytes: arena_bytes + behind.max().unwrap_or(0), places, scratch_bytes }
}

/// What is to be placed in one memory.
#[derive(Clone, Default)]
struct Requests {
    of: Vec<usize>,
    all: Vec<(usize, Lifetime)>,
}

impl Requests {
    fn add(&mut self, id: usize, bytes: usize, lifetime: Lifetime) {
        self.of.push(id);
        self.all.push((bytes, lifetime));
    }

    /// Places all of them from `first` on; where that ends.
    fn place(&self, first: usize, offsets: &mut [usize]) -> usize {
        let first = first.next_multiple_of(LINE_BYTES);
        let (places, bytes) = place(&self.all);
        for (&id, place) in self.of.iter().zip(places) {
            offsets[id] = first + place;
        }
        first + bytes
    }
}

/// Which values lie in the scratch: activations that one group alone touches, several operators of it. One on which another
/// is written that lasts lies where that does.
fn local(tape: &Tape, lifetimes: &[Range<usize>], of_group: &[usize]) -> Vec<bool> {
    let is_local = |(value, of): (&Value, &Range<usize>)| {
        let activation = matches!(value.kind, Kind::Activation(_));
        activation && of.start < of.end && of_group[of.start] == of_group[of.end]
    };
    let mut local: Vec<bool> = tape.values.iter().zip(lifetimes).map(is_local).collect();
    for (at, op) in tape.ops().enumerate().rev() {
        let Some((written, read)) = op.uses().over else { continue };
        if lifetimes[read.index()].end == at && !local[written.index()] {
            local[read.index()] = false;
        }
    }
    local
}

/// The buffer of each activation, and the length of all numbers.
fn buffers(tape: &Tape, local: &[bool]) -> Vec<Place> {
    let borders = borders(tape);
    let buffer = |(index, value): (usize, &Value)| match value.kind {
        Kind::Numbers(len) => Place::Numbers(len),
        Kind::Activation(shape) => Place::Activation(Buffer {
            region: if local[index] { Region::Scratch } else { Region::Arena },
            offset: 0,
            layout: tape.layout(ValueId::at(index)),
            shape,
            ring: borders[index].0,
            margin: borders[index].1,
            element: Element::F32,
            scale: None,
        }),
    };
    tape.values.iter().enumerate().map(buffer).collect()
}

/// Bytes of a thread's scratch that an operator takes for itself.
fn scratch_of(op: &Op, tape: &Tape) -> usize {
    match op {
        Op::Conv { conv, .. } => {
            tape.conv(*conv).winograd.as_ref().map_or(0, schedule::Winograd::scratch_bytes)
        }
        Op::PointsGradient { bands, x, d, .. } => {
            let [x, d] = [x, d].map(|id| tape.shape(*id).channels.div_ceil(BLOCK));
            bands.scratch_bytes(x, d)
        }
        _ => 0,
    }
}

/// The ring of each value, what the convolutions that read it are padded by and the zeros that pools count, and behind it
/// the margin that tiles reach beyond.
fn borders(tape: &Tape) -> Vec<(Extent, Extent)> {
    let none = Extent::square(0);
    let mut rings = vec![none; tape.values.len()];
    let mut reads = vec![none; tape.values.len()];
    for op in tape.ops() {
        let mut widen = |id: ValueId, padding: Padding| {
            let ring = &mut rings[id.index()];
            *ring = ring.max(padding.most());
        };
        match op {
            Op::Conv { conv, x, .. } => widen(*x, tape.conv(*conv).window.padding),
            Op::ConvGradient { of, x, .. }
            | Op::PointsGradient { of, x, .. }
            | Op::InputPoints { of, x, .. } => {
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
            let all = schedule::reads(transform, Element::F32, window, output, Layout::Blocked);
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
            Op::InputPoints { of, output, x, .. } => {
                of_tiles(*x, Transform::Winograd4x4, &of.window, *output);
            }
            Op::GradientPoints { x, .. } => {
                let tiles = schedule::tiles(Transform::Winograd4x4, tape.shape(*x));
                reach(*x, TILE * tiles.rows, TILE * tiles.columns);
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
fn owners(tape: &Tape, places: &[Place], lifetimes: &mut [Range<usize>]) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..places.len()).collect();
    for (at, op) in tape.ops().enumerate() {
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
