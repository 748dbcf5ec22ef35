//! The threads behind a pool, and how they share the iterations of one region after another.
//!
//! A run takes a lease of the team; its thread then is member 0, and the workers are the others.
//! A region begins with one range of iterations for each member. A member takes from the front of
//! its own range, half of what is left at a time, and when that is empty from the backs of the
//! others': so that neighbouring iterations stay together and mostly in the same core's cache from
//! layer to layer, and that a thread which is late or disturbed keeps nobody waiting for longer
//! than the iterations that it has taken. A worker that comes too late finds nothing left.
//!
//! # Why the memory that is shared without a lock is sound
//!
//! The description of the region, [`Shared::region`], is written by the lease's thread alone, and
//! only while no region is open; it is read by those who have claimed iterations, which they can
//! only of an open region. In detail:
//!
//! - [`Lease::run`] writes the description, then stores the ranges (release). A claim is a
//!   successful compare-and-swap (acquire) on a range that is not empty. What it reads was stored
//!   by `run` or is what another claim left of that, which continues the store's release sequence.
//!   So the writing of the description happens before the claim. It does not matter whether the
//!   claimer knew which region it claims of.
//! - Who has claimed adds the number of finished iterations to [`Shared::done`] (release)
//!   afterwards. `run` returns when all iterations have been counted (acquire). So all reading of
//!   the description and all the tasks' work happen before `run` returns, and before the next
//!   region is opened.
//! - Between regions every range is empty: all iterations have been claimed.
//! - Two leases at once are impossible, and a lease's end (release) happens before the next one's
//!   beginning (acquire).

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::region::Region;
use crate::kernels::FlushDenormals;

/// How often who waits looks before it offers its core to others: some tens of microseconds, which
/// is longer than most of what a run does between regions, and less than it takes to wake a thread
/// many times.
const SPINS: u32 = 1000;

/// Workers that wait for leases.
pub(super) struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What members share. What is written during a region lies on cache lines of its own.
struct Shared {
    /// The region that is open.
    region: UnsafeCell<Region>,
    /// Goes up with every region; workers wait for that.
    epoch: Line<AtomicUsize>,
    /// How many iterations of the region workers have finished.
    done: Line<AtomicUsize>,
    /// The iterations that nobody has claimed, one range for each member.
    ranges: Box<[Line<Unclaimed>]>,
    /// Whether there is a lease.
    leased: AtomicBool,
    /// Whether its run has opened regions, so that more are to be expected.
    running: AtomicBool,
    /// Whether the workers are to end.
    closed: AtomicBool,
}

// SAFETY: only `region` is not `Sync` by itself; see the module's documentation.
unsafe impl Sync for Shared {}
// SAFETY: a `Region` may be sent; everything else is `Send` by itself.
unsafe impl Send for Shared {}

/// A pair of cache lines, since CPUs fetch the neighbour too.
#[repr(align(128))]
struct Line<T>(T);

/// A range of iterations: the first in the upper half, the end in the lower.
struct Unclaimed(AtomicU64);

impl Unclaimed {
    /// The largest number of iterations.
    const MOST: usize = u32::MAX as usize;

    fn set(&self, range: Range<u64>) {
        self.0.store(range.start << 32 | range.end, Ordering::Release);
    }

    /// Claims half of the range, at least one iteration; none of an empty one.
    fn claim(&self, end: End) -> Option<Range<usize>> {
        let mut packed = self.0.load(Ordering::Relaxed);
        loop {
            let (first, last) = (packed >> 32, packed & u64::from(u32::MAX));
            if first >= last {
                return None;
            }
            let half = (last - first).div_ceil(2);
            let (claimed, left) = match end {
                End::Front => (first..first + half, first + half..last),
                End::Back => (last - half..last, first..last - half),
            };
            let left = left.start << 32 | left.end;
            // Acquire: the claimer goes on to read the region.
            match self.0.compare_exchange_weak(packed, left, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(claimed.start as usize..claimed.end as usize),
                Err(found) => packed = found,
            }
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl Team {
    /// A team of `threads` members, one of which is whoever has the lease.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub(super) fn new(threads: usize) -> std::io::Result<Self> {
        let ranges = (0..threads).map(|_| Line(Unclaimed(AtomicU64::new(0)))).collect();
        let shared = Arc::new(Shared {
            region: UnsafeCell::new(Region::EMPTY),
            epoch: Line(AtomicUsize::new(0)),
            done: Line(AtomicUsize::new(0)),
            ranges,
            leased: AtomicBool::new(false),
            running: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        // Dropping the team ends those workers that could be started.
        let mut team = Self { shared, workers: Vec::with_capacity(threads.saturating_sub(1)) };
        for member in 1..threads {
            let shared = Arc::clone(&team.shared);
            let thread = thread::Builder::new().name(format!("resnet-{member}"));
            team.workers.push(thread.spawn(move || shared.serve(member))?);
        }
        Ok(team)
    }

    pub(super) fn threads(&self) -> usize {
        self.shared.ranges.len()
    }

    /// The use of the team, unless somebody else has it.
    pub(super) fn lease(&self) -> Option<Lease<'_>> {
        // Acquire: what the last lease did to the region happened before.
        let free = !self.shared.leased.swap(true, Ordering::Acquire);
        // Not `then_some`: a lease that is made is one that ends.
        free.then(|| Lease { team: self, not_sync: PhantomData })
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker cannot panic: all it calls are tasks, which may not unwind.
            let _ = worker.join();
        }
    }
}

/// The use of a team, for one run; the thread that has it is a member.
pub(crate) struct Lease<'a> {
    team: &'a Team,
    /// One region at a time, so one thread at a time: not `Sync`.
    not_sync: PhantomData<std::cell::Cell<()>>,
}

impl Lease<'_> {
    /// Runs iterations `0..count` of a region and returns when all are done.
    ///
    /// # Safety
    ///
    /// Running the region's task over these iterations is sound, on any threads at once, with a
    /// scratch for each member of the team.
    pub(crate) unsafe fn run(&self, region: Region, count: usize) {
        let shared = &*self.team.shared;
        if count > Unclaimed::MOST {
            // As if the team had this member only: such a region takes hours anyway.
            // SAFETY: the task may run these iterations on any thread, says the caller, so on this
            // one; no region is open, so that no other thread uses the first scratch.
            return unsafe { region.run(0, 0..count) };
        }
        // SAFETY: no region is open and this thread has the lease, so no one else reads or writes
        // the description; see the module's documentation.
        unsafe { *shared.region.get() = region };
        shared.done.0.store(0, Ordering::Relaxed);
        let members = shared.ranges.len() as u64;
        for (member, range) in (0..).zip(&shared.ranges) {
            let start = |member: u64| (count as u64 * member).div_ceil(members);
            range.0.set(start(member)..start(member + 1));
        }
        // Release: who sees it finds the ranges filled.
        shared.epoch.0.fetch_add(1, Ordering::Release);
        if !shared.running.load(Ordering::Relaxed) {
            shared.running.store(true, Ordering::Relaxed);
            // Where a worker is not asleep, this costs next to nothing.
            self.team.workers.iter().for_each(|worker| worker.thread().unpark());
        }
        let left = count - shared.work(0);
        let mut patience = Patience::default();
        // Acquire: what workers wrote happened before.
        while shared.done.0.load(Ordering::Acquire) < left {
            if !patience.spin() {
                thread::yield_now();
            }
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.team.shared.running.store(false, Ordering::Relaxed);
        // Release: the next lease finds the region closed.
        self.team.shared.leased.store(false, Ordering::Release);
    }
}

impl Shared {
    /// A worker's life.
    fn serve(&self, member: usize) {
        let _flush = FlushDenormals::new();
        let mut epoch = 0;
        while self.wait(&mut epoch) {
            let finished = self.work(member);
            if finished > 0 {
                // Release: what the tasks wrote happened before.
                self.done.0.fetch_add(finished, Ordering::Release);
            }
        }
    }

    /// Waits for another region than `epoch`; false if there will be none.
    fn wait(&self, epoch: &mut usize) -> bool {
        let mut patience = Patience::default();
        loop {
            let current = self.epoch.0.load(Ordering::Acquire);
            if current != *epoch {
                *epoch = current;
                return true;
            }
            if self.closed.load(Ordering::Relaxed) {
                return false;
            }
            if patience.spin() {
            } else if self.running.load(Ordering::Relaxed) {
                thread::yield_now();
            } else {
                // Whoever sets `running` or `closed` unparks after it, so this does not miss it.
                thread::park();
            }
        }
    }

    /// Runs iterations until none are left that nobody has claimed; how many it were.
    fn work(&self, member: usize) -> usize {
        let mut finished = 0;
        while let Some(iterations) = self.claim(member) {
            finished += iterations.len();
            // SAFETY: these iterations are claimed and not yet counted, so the region they are of
            // is open and its description does not change; `Lease::run`'s caller vouches for the
            // task, and no other thread is this member.
            unsafe { (*self.region.get()).run(member, iterations) };
        }
        finished
    }

    fn claim(&self, member: usize) -> Option<Range<usize>> {
        let (before, from) = self.ranges.split_at(member);
        let (own, behind) = from.split_first()?;
        let others = || behind.iter().chain(before).find_map(|range| range.0.claim(End::Back));
        own.0.claim(End::Front).or_else(others)
    }
}

/// How long to wait at full attention.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    /// Waits for a moment; false, at once, after many.
    fn spin(&mut self) -> bool {
        let patient = self.0 < SPINS;
        if patient {
            self.0 += 1;
            spin_loop();
        }
        patient
    }
}
