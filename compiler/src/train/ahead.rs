//! What an image's operators read that others wrote long before: it is on its way to the cache while a convolution computes.

use std::collections::{BTreeMap, HashSet};

use super::memory::Place;
use super::tape::{Tape, ValueId};
use crate::schedule::Region;

/// An activation that is fetched.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    /// During which operator of the group, a convolution.
    pub(crate) during: usize,
    /// Where it lies in the arena, of the first image, or the second if the convolution is the previous image's.
    pub(crate) offset: usize,
    /// Bytes of an image.
    pub(crate) bytes: usize,
}

/// What the operators of a group read of the arena that none of them writes: it is fetched during the convolution before,
/// or during the last one of the image before.
pub(super) fn ahead(tape: &Tape, group: &[usize], places: &[Place]) -> Vec<Ahead> {
    let ops = || group.iter().map(|&at| tape.op(at)).enumerate();
    let written: HashSet<ValueId> = ops().flat_map(|(_, op)| op.uses().writes).collect();
    let convs: Vec<usize> =
        ops().filter(|(_, op)| op.is_conv()).map(|(position, _)| position).collect();
    let Some(&last) = convs.last() else { return Vec::new() };
    let mut found: BTreeMap<usize, Ahead> = BTreeMap::new();
    for (position, op) in ops() {
        for id in op.uses().reads {
            let Place::Activation(buffer) = places[id.index()] else { continue };
            if buffer.region != Region::Arena || written.contains(&id) {
                continue;
            }
            let before = convs.iter().rev().find(|&&conv| conv < position);
            let bytes = buffer.picture_bytes();
            let offset = buffer.offset + if before.is_some() { 0 } else { bytes };
            let during = *before.unwrap_or(&last);
            found.entry(buffer.offset).or_insert(Ahead { during, offset, bytes });
        }
    }
    found.into_values().collect()
}
