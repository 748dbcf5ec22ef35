//! What a step needs of memory.

use std::collections::BTreeMap;

use resnet_runtime::kernels::Element;

use super::memory::Place;
use super::state::{Content, State, padded};
use super::tape::{Entry, Kind, Op, Tape};
use crate::nest::Program;
use crate::report::TrainingMemory;
use crate::schedule::{Buffer, Region};

/// The bytes of a step that is planned.
pub(super) fn needs(
    tape: &Tape,
    places: &[Place],
    state: &State,
    program: &Program,
) -> TrainingMemory {
    let bytes = |elements: usize| (padded(elements) * Element::F32.bytes()) as u64;
    let learned = state.slots.iter().filter(|slot| matches!(slot.content, Content::Learned { .. }));
    let momentum: u64 = learned.map(|slot| bytes(slot.len)).sum();
    let tables: u64 = state.tables.iter().map(|table| bytes(table.indices.len())).sum();
    let again = |entry: &&Entry| matches!(entry.op, Op::Conv { .. }) && entry.after.is_some();
    let recomputed = tape.entries.iter().filter(again).count();
    TrainingMemory {
        batch: program.batch as u64,
        weights: state.bytes as u64 - momentum - tables,
        momentum,
        tables,
        recomputed: recomputed as u64,
        kept: kept(tape, places, program.batch),
        arena: program.arena_bytes as u64,
        scratch: program.scratch_bytes as u64,
    }
}

/// Bytes of the values that are there when the way back begins: those that the way forward wrote and the way back reads.
fn kept(tape: &Tape, places: &[Place], batch: usize) -> u64 {
    let loss = tape.ops().position(|op| matches!(op, Op::CrossEntropy { .. }));
    let Some(loss) = loss else { return 0 };
    let mut kept = BTreeMap::new();
    for ((value, place), lifetime) in tape.values.iter().zip(places).zip(tape.lifetimes()) {
        if lifetime.start < loss && lifetime.end > loss {
            let (offset, bytes) = match (place, value.kind) {
                (Place::Activation(Buffer { region: Region::Scratch, .. }), _) => continue,
                (Place::Activation(buffer), _) => (buffer.offset, buffer.picture_bytes() * batch),
                (&Place::Numbers(offset), Kind::Numbers(len)) => {
                    (offset, len * Element::F32.bytes())
                }
                (Place::Numbers(_), Kind::Activation(_)) => {
                    unreachable!("an activation has a buffer")
                }
            };
            kept.insert(offset, bytes as u64);
        }
    }
    kept.values().sum()
}
