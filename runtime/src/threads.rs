//! Threads, and the one way in which compiled code uses them.

mod region;
mod team;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::{fmt, io};

use team::Team;

pub(crate) use region::Region;
pub use region::Task;
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
