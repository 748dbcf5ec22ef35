//! Threads, and the one way in which compiled code uses them.

mod team;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::{fmt, io};

use crate::session::Context;

use team::Team;

pub(crate) use team::Lease;

/// A pool of threads that sessions may share; cloning shares the same threads.
///
/// The thread that calls a session works too, so a pool of 2 starts one thread. A session without
/// a pool runs on the thread that calls it alone, and so does one whose pool is busy with another
/// session's run: that changes no result. During a run idle threads watch for work; after it they
/// sleep.
#[derive(Clone)]
pub struct Pool(Arc<Team>);

/// More than any machine has. With several times as many, a process can run out of mappings in the
/// middle of a thread's start, where the standard library aborts.
const MOST_THREADS: usize = 4096;

/// The pool could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not start {threads} threads: {reason}")]
pub struct PoolError {
    threads: usize,
    reason: io::Error,
}

impl Pool {
    /// A pool of `threads` threads, that of the caller counted.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the threads, or there are more than 4096.
    pub fn new(threads: NonZeroUsize) -> Result<Self, PoolError> {
        let threads = threads.get();
        let team = if threads > MOST_THREADS {
            Err(io::Error::other(format!("a pool has at most {MOST_THREADS}")))
        } else {
            Team::new(threads)
        };
        let team = team.map_err(|reason| PoolError { threads, reason })?;
        Ok(Self(Arc::new(team)))
    }

    /// How many threads.
    pub fn threads(&self) -> usize {
        self.0.threads()
    }

    /// The use of the threads for one run, unless another run has it.
    pub(crate) fn lease(&self) -> Option<Lease<'_>> {
        self.0.lease()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// The body of a parallel region: runs iterations `first..last` on `operands`, with the scratch of
/// the thread that it runs on. It does not unwind.
///
/// # Safety
///
/// The operands point at what the region was compiled for, the scratch at as many elements as its
/// network needs, which no one else uses meanwhile.
pub type Task =
    unsafe extern "C" fn(operands: *const *mut f32, scratch: *mut f32, first: usize, last: usize);

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
    operands: *const *mut f32,
    count: usize,
) {
    // SAFETY: the caller passes on the session's context, which outlives the run.
    let &Context { scratch, scratch_distance, team, .. } = unsafe { &*context };
    let region = Region { task, operands, scratch, scratch_distance };
    match team {
        // SAFETY: the caller vouches for the task and its operands, and the session for as many
        // scratches as its pool has threads.
        Some(team) if count > 1 => unsafe { team.run(region, count) },
        // SAFETY: as above; this thread has the first scratch, since no other works now.
        _ => unsafe { region.run(0, 0..count) },
    }
}

/// What is to be done in a region.
#[derive(Clone, Copy)]
struct Region {
    task: Task,
    operands: *const *mut f32,
    scratch: *mut f32,
    scratch_distance: usize,
}

// SAFETY: `operands` points at pointers that no one writes during the region, and the iterations
// may run on any thread: `parallel` demands that they are independent of one another. Each thread
// uses a scratch of its own.
unsafe impl Send for Region {}

impl Region {
    /// Nothing.
    const EMPTY: Self = {
        unsafe extern "C" fn nothing(_: *const *mut f32, _: *mut f32, _: usize, _: usize) {}
        let (operands, scratch) = (std::ptr::null(), std::ptr::null_mut());
        Self { task: nothing, operands, scratch, scratch_distance: 0 }
    };

    /// Runs some iterations on the thread that is `member` of its team.
    ///
    /// # Safety
    ///
    /// The task may run these iterations, and there is a scratch for this member that no other
    /// thread uses.
    unsafe fn run(&self, member: usize, iterations: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            let scratch = self.scratch.add(member * self.scratch_distance);
            (self.task)(self.operands, scratch, iterations.start, iterations.end);
        }
    }
}
