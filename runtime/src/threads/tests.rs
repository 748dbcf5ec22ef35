use std::ffi::c_void;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

/// What a task of these tests is given: counters that it raises, one for each iteration.
struct Counters {
    counters: Vec<AtomicU32>,
    /// Numbers that the members' scratches are told apart by.
    scratches: Vec<f32>,
}

impl Counters {
    fn new(count: usize, members: usize) -> Self {
        let counters = (0..count).map(|_| AtomicU32::new(0)).collect();
        Self { counters, scratches: vec![0.0; members * 16] }
    }

    fn region(&mut self) -> Region {
        Region {
            task: count,
            operands: (&raw const *self).cast(),
            scratch: self.scratches.as_mut_ptr().cast(),
            scratch_distance: 64,
        }
    }

    /// Fails unless each of `0..count` has run `times` times and the others never.
    fn check(&self, count: usize, times: u32) {
        for (i, counter) in self.counters.iter().enumerate() {
            assert_eq!(counter.load(Relaxed), if i < count { times } else { 0 }, "iteration {i}");
        }
    }
}

/// Counts each iteration, and all iterations of a member in its scratch, which would lose some if
/// two threads had the same.
unsafe extern "C" fn count(
    operands: *const *mut c_void,
    scratch: *mut c_void,
    first: usize,
    last: usize,
) {
    // SAFETY: `Counters::region` gave a pointer to counters that outlive the region, and scratches.
    let counters = unsafe { &(*operands.cast::<Counters>()).counters };
    for counter in &counters[first..last] {
        counter.fetch_add(1, Relaxed);
        // SAFETY: as above.
        unsafe { *scratch.cast::<f32>() += 1.0 };
    }
}

/// Runs regions of all counts up to `most`, `times` each.
fn run(pool: &Pool, most: usize, times: u32) {
    for count in 0..=most {
        let mut counters = Counters::new(most + 1, pool.threads());
        let region = counters.region();
        for _ in 0..times {
            match pool.lease() {
                // SAFETY: the task may run on any threads; there is a scratch for each.
                Some(lease) => unsafe { lease.run(region, count) },
                // SAFETY: this thread has the counters to itself.
                None => unsafe { region.run(0, 0..count) },
            }
        }
        counters.check(count, times);
        let sum: f32 = counters.scratches.iter().sum();
        assert_eq!(sum as usize, count * times as usize);
    }
}

#[test]
fn every_iteration_runs_once_on_any_number_of_threads() {
    for threads in [1, 2, 3, 8, 17] {
        run(&pool(threads), 40, 30);
    }
}

#[test]
fn regions_follow_one_another_within_a_lease() {
    for threads in [1, 2, 5] {
        let pool = pool(threads);
        let mut counters = Counters::new(100, threads);
        let region = counters.region();
        let lease = pool.lease().unwrap();
        for _ in 0..2000 {
            // SAFETY: the task may run on any threads; there is a scratch for each.
            unsafe { lease.run(region, 100) };
        }
        counters.check(100, 2000);
    }
}

#[test]
fn what_a_region_wrote_is_seen_by_the_next() {
    /// Adds an iteration's right neighbour to it, from one half of the numbers to the other.
    unsafe extern "C" fn add(
        operands: *const *mut c_void,
        _: *mut c_void,
        first: usize,
        last: usize,
    ) {
        for i in first..last {
            // SAFETY: the operands are two vectors of 64 numbers, of which the second is written
            // at `i` by this iteration only.
            unsafe {
                let from: *const f32 = (*operands).cast();
                let to: *mut f32 = (*operands.add(1)).cast();
                *to.add(i) = *from.add(i) + *from.add((i + 1) % 64);
            }
        }
    }
    let pool = pool(3);
    let (mut a, mut b) = ([1.0_f32; 64], [0.0_f32; 64]);
    for i in 0..100 {
        let lease = pool.lease().unwrap();
        for _ in 0..10 {
            let (from, to) = (a.as_mut_ptr().cast(), b.as_mut_ptr().cast());
            for operands in [[from, to], [to, from]] {
                let operands = operands.as_ptr();
                let scratch = std::ptr::null_mut();
                let region = Region { task: add, operands, scratch, scratch_distance: 0 };
                // SAFETY: the iterations are independent, and use no scratch.
                unsafe { lease.run(region, 64) };
            }
        }
        // Doubled twenty times; exact in f32.
        assert_eq!(a, [(1 << 20) as f32; 64], "round {i}");
        a.fill(1.0);
    }
}

#[test]
fn only_one_thread_has_the_lease() {
    let pool = pool(2);
    let lease = pool.lease().unwrap();
    std::thread::scope(|scope| {
        assert!(scope.spawn(|| pool.lease().is_none()).join().unwrap());
    });
    drop(lease);
    assert!(pool.lease().is_some());
}

#[test]
fn callers_on_many_threads_share_a_pool() {
    for threads in [1, 2, 4] {
        let pool = pool(threads);
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    run(&pool, 20, 50);
                });
            }
        });
    }
}

#[test]
fn pools_end_whether_they_were_used_or_not() {
    for i in 0..100 {
        let pool = pool(1 + i % 4);
        if i % 2 == 0 {
            run(&pool, 3, 1);
        }
        let clone = pool.clone();
        std::thread::spawn(move || drop(clone)).join().unwrap();
        drop(pool);
    }
}

#[test]
fn pools_say_how_many_threads_they_have() {
    assert_eq!(format!("{:?}", pool(3)), "Pool { threads: 3 }");
}

/// The states of this process's threads whose names are `name`, as Linux knows them.
#[cfg(target_os = "linux")]
fn states(name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).ok();
    let statuses = tasks.filter_map(|task| status(task.unwrap()));
    let named = statuses.filter(|status| status.starts_with(&format!("Name:\t{name}\n")));
    let state =
        |status: &str| status.lines().find(|line| line.starts_with("State:")).map(str::to_owned);
    named.filter_map(|status| state(&status)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn idle_workers_sleep() {
    // A member's name that no other test's pool has.
    let (pool, name) = (pool(30), "resnet-29");
    run(&pool, 100, 10);
    let start = std::time::Instant::now();
    // Long enough for the busiest machine, where a thread takes its time to start; a worker that spins
    // would do so for ever.
    let sleeps = |states: &[String]| matches!(states, [state] if state.contains("sleeping"));
    while !sleeps(&states(name)) {
        assert!(start.elapsed().as_secs() < 60, "{:?}", states(name));
        std::thread::yield_now();
    }
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    for threads in [5000, usize::MAX] {
        let error = Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap_err().to_string();
        assert!(error.ends_with(" threads: a pool has at most 4096"), "{error}");
    }
}
