//! In which order a step's operators run, and which of them image by image.
//!
//! Statistics and gradients of weights need the whole batch; what lies between them is done for one image after the other, so
//! that what an operator writes is in cache when the next one reads it. Weights are packed just before they are needed.

use std::collections::{BTreeMap, BTreeSet};

use super::tape::{Entry, Op, Source, Tape, ValueId};
use crate::schedule::Order;

/// Images from which on a batch has enough of them for threads to divide.
pub(super) const FEWEST: usize = 8;

/// Operators that run together, by their positions: one, or several image by image.
pub(crate) type Group = Vec<usize>;

/// Puts the tape's operators in order; the groups, one after the other.
pub(crate) fn order(tape: &mut Tape, batch: usize) -> Vec<Group> {
    let groups = Scheduler::new(tape, batch).run();
    let order: Vec<usize> = groups.iter().flatten().copied().collect();
    tape.entries = order.iter().map(|&at| tape.entries[at].clone()).collect();
    let mut next = 0;
    let in_order = |group: Group| {
        let first = next;
        next += group.len();
        (first..next).collect()
    };
    groups.into_iter().map(in_order).collect()
}

struct Scheduler<'a> {
    tape: &'a Tape,
    batch: usize,
    /// Who writes each value.
    writers: BTreeMap<ValueId, Vec<usize>>,
    done: Vec<bool>,
    groups: Vec<Group>,
}

impl<'a> Scheduler<'a> {
    fn new(tape: &'a Tape, batch: usize) -> Self {
        let mut writers: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for (at, op) in tape.ops().enumerate() {
            for id in op.uses().writes {
                writers.entry(id).or_default().push(at);
            }
        }
        let done = vec![false; tape.entries.len()];
        Self { tape, batch, writers, done, groups: Vec::new() }
    }

    fn run(mut self) -> Vec<Group> {
        let mut left: Vec<usize> =
            (0..self.done.len()).filter(|&at| !is_packing(self.tape.op(at))).collect();
        while !left.is_empty() {
            let before = left.len();
            let mut chain = Group::new();
            left.retain(|&at| {
                let joins = self.is_of_images(at) && self.is_ready(at);
                if joins {
                    self.done[at] = true;
                    chain.push(at);
                }
                !joins
            });
            for &at in &chain {
                self.pack_for(at);
            }
            if !chain.is_empty() {
                self.groups.push(chain);
            }
            left.retain(|&at| {
                let runs = !self.is_of_images(at) && self.is_ready(at);
                if runs {
                    self.pack_for(at);
                    self.done[at] = true;
                    self.groups.push(vec![at]);
                }
                !runs
            });
            assert!(left.len() < before, "every operator's inputs are written by one before it");
        }
        self.groups
    }

    fn is_of_images(&self, at: usize) -> bool {
        self.batch >= FEWEST && is_of_images(self.tape.op(at), self.tape)
    }

    /// Whether all that an operator reads is there, or can be packed; weights change when nobody will pack them any more.
    fn is_ready(&self, at: usize) -> bool {
        let Entry { op, after, .. } = &self.tape.entries[at];
        let is_there =
            |&at: &usize| self.done[at] || is_packing(self.tape.op(at)) && self.is_ready(at);
        let mut wanted = op.uses().reads.into_iter().chain(*after);
        // Nobody writes what an operator was to wait for and what fell away since.
        let are_there =
            wanted.all(|id| self.writers.get(&id).is_none_or(|at| at.iter().all(is_there)));
        let Op::Sgd { slot, .. } = op else { return are_there };
        let mut ops = self.tape.ops().zip(&self.done);
        are_there && !ops.any(|(op, done)| op.weights() == Some(*slot) && !done)
    }

    /// Packs what an operator reads.
    fn pack_for(&mut self, at: usize) {
        let mut wanted = BTreeSet::new();
        self.packings(at, &mut wanted);
        for at in wanted {
            self.done[at] = true;
            self.groups.push(vec![at]);
        }
    }

    fn packings(&self, at: usize, wanted: &mut BTreeSet<usize>) {
        for id in self.tape.op(at).uses().reads {
            for &writer in &self.writers[&id] {
                if is_packing(self.tape.op(writer)) && !self.done[writer] {
                    wanted.insert(writer);
                    self.packings(writer, wanted);
                }
            }
        }
    }
}

/// Whether an operator packs weights, of nothing but these.
fn is_packing(op: &Op) -> bool {
    matches!(op, Op::Gather { from: Source::Slot(_), .. } | Op::Points { .. })
}

/// Whether what it does of an image depends on nothing that is done of others, but for a sum over a part of the batch.
fn is_of_images(op: &Op, tape: &Tape) -> bool {
    match op {
        // Panels that pass over all images do so for the sake of their weights.
        Op::Conv { conv, .. } => tape.conv(*conv).order == Order::RowsOuter,
        Op::ConvGradient { of, .. } | Op::PointsGradient { of, .. } => of.by_image,
        Op::Images { .. }
        | Op::InputPoints { .. }
        | Op::GradientPoints { .. }
        | Op::Moments { .. }
        | Op::Normalise { .. }
        | Op::Add { .. }
        | Op::Pool { .. }
        | Op::Mean { .. }
        | Op::ZeroPad { .. }
        | Op::Logits { .. }
        | Op::Magnitudes { .. }
        | Op::CrossEntropy { .. }
        | Op::NormSums { .. }
        | Op::NormInput { .. }
        | Op::Mask { .. }
        | Op::Spread { .. }
        | Op::Dilate { .. }
        | Op::Shift { .. }
        | Op::PoolGradient { .. }
        | Op::Blur { .. }
        | Op::BlurGradient { .. }
        | Op::Gate { .. }
        | Op::GateGradient { .. }
        | Op::ChannelConv { .. }
        | Op::GroupMoments { .. }
        | Op::GroupGradient { .. }
        | Op::ImageMeans { .. } => true,
        Op::Gather { .. }
        | Op::Points { .. }
        | Op::PointsProducts { .. }
        | Op::WeightsOfPoints { .. }
        | Op::Standardise { .. }
        | Op::StandardiseGradient { .. }
        | Op::ChannelConvGradient { .. }
        | Op::BatchMoments { .. }
        | Op::BatchGradient { .. }
        | Op::SumImages { .. }
        | Op::Sgd { .. } => false,
    }
}
