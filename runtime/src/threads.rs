//! Threads, and the one way in which compiled code uses them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::kernels::FlushDenormals;
use crate::session::Context;

/// A pool of threads that sessions may share; cloning shares the same threads.
///
/// A session without a pool runs on the thread that calls it. Idle threads sleep.
#[derive(Clone, Debug)]
pub struct Pool(Arc<rayon::ThreadPool>);

/// The pool could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not start {threads} threads: {reason}")]
pub struct PoolError {
    threads: usize,
    reason: rayon::ThreadPoolBuildError,
}

impl Pool {
    /// A pool of `threads` threads.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the threads.
    pub fn new(threads: NonZeroUsize) -> Result<Self, PoolError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|i| format!("resnet-{i}"))
            .build()
            .map(|pool| Self(Arc::new(pool)))
            .map_err(|reason| PoolError { threads: threads.get(), reason })
    }

    /// How many threads.
    pub fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` on a thread of the pool and waits for it.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }
}

/// The body of a parallel region: runs iterations `first..last` on `operands`, with the scratch of
/// the thread that it runs on.
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
/// division changes no result.
///
/// # Safety
///
/// `context` is the one that the session gave to the code, `operands` points at as many pointers
/// as the task reads, and running the task over `0..count` is sound.
pub unsafe extern "C" fn parallel(
    context: *const Context,
    task: Task,
    operands: *const *mut f32,
    count: usize,
) {
    // SAFETY: the caller passes on the session's context, which outlives the run.
    let &Context { scratch, scratch_distance, threads, .. } = unsafe { &*context };
    if threads <= 1 || count <= 1 {
        // SAFETY: the caller vouches for the task and its operands; this thread has the only
        // scratch, or runs alone and may take the first.
        unsafe { task(operands, scratch, 0, count) };
    } else {
        let region = Region { task, operands, scratch, scratch_distance };
        split(region, 0, count, threads.min(count));
    }
}

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
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn run(&self, first: usize, last: usize) {
        let _flush = FlushDenormals::new();
        let thread = rayon::current_thread_index().unwrap_or(0);
        // SAFETY: `parallel`'s caller vouches for the task over the whole range, of which this
        // is a part. The session has as many scratches as its pool has threads, and a thread runs
        // one part after the other.
        unsafe {
            let scratch = self.scratch.add(thread * self.scratch_distance);
            (self.task)(self.operands, scratch, first, last);
        }
    }
}

/// Halves the range until there is one part for each thread.
fn split(region: Region, first: usize, last: usize, parts: usize) {
    if parts <= 1 {
        return region.run(first, last);
    }
    let left = parts / 2;
    let middle = first + (last - first) * left / parts;
    rayon::join(
        || split(region, first, middle, left),
        || split(region, middle, last, parts - left),
    );
}
