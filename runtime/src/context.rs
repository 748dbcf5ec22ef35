//! What compiled code is given on every run, and the one function that it calls besides kernels.
//!
//! Both are the contract between the runtime and its back ends, whose code may be in another language:
//!
//! ```c
//! struct resnet_context {
//!     const float *input;       // batch x C x H x W
//!     float *output;            // batch x outputs
//!     void *arena;
//!     const void *weights;      // packed
//!     void *scratch;            // the first thread's
//!     size_t scratch_distance;  // in bytes, from one thread's scratch to the next one's
//!     const void *team;         // opaque; NULL: one thread
//! };
//!
//! // Some iterations of a region, on one thread and with its scratch.
//! typedef void resnet_task(void *const *operands, void *scratch, size_t first, size_t last);
//!
//! // All iterations of a region, divided among the session's threads.
//! void parallel(const struct resnet_context *, resnet_task *, void *const *operands, size_t count);
//!
//! // A network: reads input and weights; writes output, arena and scratches.
//! void infer(const struct resnet_context *);
//! ```

use std::ffi::c_void;
use std::mem::offset_of;

use crate::memory::Workspace;
use crate::threads::{Lease, Region, Task};

/// The memory of one run. It borrows all that it points at.
#[repr(C)]
pub struct Context<'a> {
    /// Pictures, planar: `batch x C x H x W`.
    pub input: *const f32,
    /// Answers: `batch x outputs`.
    pub output: *mut f32,
    /// The session's arena.
    pub arena: *mut c_void,
    /// The network's packed weights.
    pub weights: *const c_void,
    /// The first thread's scratch.
    pub scratch: *mut c_void,
    /// Bytes from one thread's scratch to the next one's.
    pub scratch_distance: usize,
    /// The threads among which [`parallel`] divides a region; none: it runs on the thread that calls
    /// it.
    team: Option<&'a Lease<'a>>,
}

// Emitted code reads the fields by their offsets.
const _: () = {
    const WORD: usize = size_of::<usize>();
    assert!(offset_of!(Context<'_>, input) == 0);
    assert!(offset_of!(Context<'_>, output) == WORD);
    assert!(offset_of!(Context<'_>, arena) == 2 * WORD);
    assert!(offset_of!(Context<'_>, weights) == 3 * WORD);
    assert!(offset_of!(Context<'_>, scratch) == 4 * WORD);
    assert!(offset_of!(Context<'_>, scratch_distance) == 5 * WORD);
    assert!(offset_of!(Context<'_>, team) == 6 * WORD);
    assert!(size_of::<Context<'_>>() == 7 * WORD);
};

impl<'a> Context<'a> {
    /// A run on this memory, and on the threads of `team` if there is one.
    pub(crate) fn new(
        input: &'a [f32],
        output: &'a mut [f32],
        workspace: &'a mut Workspace,
        weights: &'a [u8],
        team: Option<&'a Lease<'a>>,
    ) -> Self {
        Self {
            input: input.as_ptr(),
            output: output.as_mut_ptr(),
            arena: workspace.arena(),
            weights: weights.as_ptr().cast(),
            scratch: workspace.scratch(),
            scratch_distance: workspace.scratch_distance(),
            team,
        }
    }

    /// A run that may change the weights too.
    #[cfg(feature = "train")]
    pub(crate) fn training(
        input: &'a [f32],
        output: &'a mut [f32],
        workspace: &'a mut Workspace,
        weights: &'a mut crate::memory::Buffer,
        team: Option<&'a Lease<'a>>,
    ) -> Self {
        // Not through a slice, from which nobody may write.
        let weights = weights.as_mut_ptr().cast_const();
        Self { weights, ..Self::new(input, output, workspace, &[], team) }
    }

    /// A run on the thread that calls it alone, in memory that nobody borrows.
    pub(crate) fn in_place(
        input: *const f32,
        output: *mut f32,
        arena: *mut c_void,
        weights: *const c_void,
        scratch: *mut c_void,
    ) -> Self {
        Self { input, output, arena, weights, scratch, scratch_distance: 0, team: None }
    }

    /// A run on the thread that calls it alone.
    pub fn single(
        input: &'a [f32],
        output: &'a mut [f32],
        workspace: &'a mut Workspace,
        weights: &'a [u8],
    ) -> Self {
        Self::new(input, output, workspace, weights, None)
    }
}

/// Runs iterations `0..count` of `task`, divided among the session's threads.
///
/// Every iteration writes places of its own and reads nothing that another one writes, so the
/// division changes no result. It allocates nothing and takes no lock.
///
/// # Safety
///
/// `context` is the one that the session gave to the code, `operands` points at as many pointers
/// as the task reads, and running the task over `0..count` is sound.
pub unsafe extern "C" fn parallel(
    context: *const Context<'_>,
    task: Task,
    operands: *const *mut c_void,
    count: usize,
) {
    // SAFETY: `context` is what the session gave to the code, which it borrows until the run ends.
    let &Context { scratch, scratch_distance, team, .. } = unsafe { &*context };
    let region = Region { task, operands, scratch, scratch_distance };
    match team {
        // SAFETY: the task may run over `0..count` with these operands, as this function asks for; a
        // session makes its workspace with as many scratches as its pool has threads.
        Some(team) if count > 1 => unsafe { team.run(region, count) },
        // SAFETY: as above; this thread has the first scratch, since no other works now.
        _ => unsafe { region.run(0, 0..count) },
    }
}
