//! Fused, scheduled and lowered: for as many pictures at a time as are wished, and for single ones.

use crate::fuse::{Fused, fuse};
use crate::graph::Graph;
use crate::nest::{Program, lower};
use crate::network::CompileError;
use crate::schedule::{Schedule, Wishes, schedule};

/// A network on the way to code. What it runs for one batch size and for another shares the packed
/// weights, and gives a picture the same bits.
#[derive(Clone, Debug)]
pub struct Plans {
    /// The network, fused.
    pub fused: Fused,
    /// For falling batch sizes; the last one is for single pictures.
    pub schedules: Vec<Schedule>,
    /// One for each schedule.
    pub programs: Vec<Program>,
}

impl Plans {
    /// Plans for as many pictures together as are wished and, if that is another number, for single
    /// ones, which are what is left of a batch.
    ///
    /// # Errors
    ///
    /// A network or batch whose memory cannot be addressed, or is more than is wished; a saved schedule
    /// that does not suit the network; a bug in this compiler.
    pub fn new(graph: &Graph, wishes: &Wishes) -> Result<Self, CompileError> {
        let batch = wishes.batch;
        if batch == 0 {
            return Err(CompileError::Batch);
        }
        // A tensor has at most 2^31 elements; far below what overflows, but not with any batch.
        if batch > 1 << 20 || graph.nodes.iter().any(|n| n.shape.elements() > (1 << 45) / batch) {
            return Err(CompileError::TooLarge { batch });
        }
        let fused = fuse(graph)?;
        if let Some(choices) = &wishes.choices {
            choices.check(graph, batch)?;
        }
        let mut plans = Self { fused, schedules: Vec::new(), programs: Vec::new() };
        plans.add(graph, wishes, batch)?;
        if batch != 1 {
            plans.add(graph, wishes, 1)?;
        }
        Ok(plans)
    }

    fn add(&mut self, graph: &Graph, wishes: &Wishes, batch: usize) -> Result<(), CompileError> {
        let schedule = schedule(&self.fused, wishes, batch)?;
        let least = schedule.run_bytes(&self.fused);
        if let Some(memory) = wishes.memory.filter(|&memory| memory < least) {
            return Err(CompileError::Memory { memory, least });
        }
        self.programs.push(lower(&graph.name, &self.fused, &schedule));
        self.schedules.push(schedule);
        Ok(())
    }

    /// The plan for single pictures.
    pub fn single(&self) -> &Schedule {
        &self.schedules[self.schedules.len() - 1]
    }

    /// Bytes that a session on one thread needs: the arena and one scratch, whatever runs in them.
    pub fn arena_bytes(&self) -> usize {
        let most = |len: fn(&Schedule) -> usize| self.schedules.iter().map(len).max().unwrap_or(0);
        (most(|s| s.arena_len) + most(|s| s.scratch_len)) * size_of::<f32>()
    }
}
