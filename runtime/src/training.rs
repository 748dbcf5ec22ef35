//! Sessions of programs that change their weights.

use crate::context::Context;
use crate::kernels::FlushDenormals;
use crate::memory::{Buffer, Workspace};
use crate::session::Variant;
use crate::threads::Pool;

/// A training step with the memory that it changes: it owns its weights, where a [`Network`](crate::session::Network)
/// shares them.
pub struct TrainingSession {
    variant: Variant,
    input_len: usize,
    output_len: usize,
    weights: Buffer,
    workspace: Workspace,
    pool: Option<Pool>,
}

impl TrainingSession {
    /// A session on the thread that calls it, or on the pool's.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    ///
    /// # Safety
    ///
    /// The variant's code reads `input_len` numbers, writes `output_len`, reads and writes `weights` to its end,
    /// and needs no more arena and scratch than the variant says.
    pub unsafe fn new(
        variant: Variant,
        [input_len, output_len]: [usize; 2],
        weights: Buffer,
        pool: Option<&Pool>,
    ) -> std::io::Result<Self> {
        let threads = pool.map_or(1, Pool::threads);
        let workspace = Workspace::new(variant.arena_bytes, variant.scratch_bytes, threads)?;
        Ok(Self { variant, input_len, output_len, weights, workspace, pool: pool.cloned() })
    }

    /// Runs the step once.
    ///
    /// # Panics
    ///
    /// If input or output have other lengths than the step's.
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) {
        assert_eq!((input.len(), output.len()), (self.input_len, self.output_len));
        let lease = self.pool.as_ref().and_then(Pool::lease);
        let context = Context::training(
            input,
            output,
            &mut self.workspace,
            &mut self.weights,
            lease.as_ref(),
        );
        let _flush = FlushDenormals::new();
        // SAFETY: `new` was promised that the code stays within these lengths; the weights are borrowed to be
        // changed for as long as the context lives.
        unsafe { self.variant.code.run(&context) }
    }

    /// The weights, and all else that lasts from step to step.
    pub fn weights(&self) -> &[u8] {
        self.weights.as_bytes()
    }

    /// The same, to be changed between steps.
    pub fn weights_mut(&mut self) -> &mut [u8] {
        self.weights.as_mut_bytes()
    }

    /// Bytes of the arena and of all threads' scratches.
    pub fn workspace_bytes(&self) -> usize {
        self.variant.arena_bytes
            + self.variant.scratch_bytes * self.pool.as_ref().map_or(1, Pool::threads)
    }
}
