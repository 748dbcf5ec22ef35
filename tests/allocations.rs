//! After a session's first run, running allocates nothing and touches no fresh memory, with or
//! without a pool. A test crate of its own: it counts all allocations of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use resnet::{Backend, Compiler, Network, Options, Pool, Spec, Weights};

resnet::resnet! { Emitted = "models/cifar-resnet20.yaml"; }

/// The system's allocator; counts what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the layout has a size, which `alloc` demands of its caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: all memory of this allocator comes from `System.alloc` above, with the layout that the
        // caller gives back.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Pages that this process touched for the first time, or again after they were taken from it.
#[cfg(target_os = "linux")]
fn page_faults() -> usize {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name, in parentheses, may contain anything; minor faults are the eighth word after it.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap().parse().unwrap()
}

#[cfg(not(target_os = "linux"))]
fn page_faults() -> usize {
    0
}

/// The fewest allocations and the fewest page faults of `work` in several attempts: the test's own
/// harness may allocate at the same time, and the system may take a page away, but not each time.
fn cost(mut work: impl FnMut()) -> (usize, usize) {
    let mut fewest = (usize::MAX, usize::MAX);
    for _ in 0..10 {
        let faults = page_faults();
        let allocations = ALLOCATIONS.load(Relaxed);
        work();
        let allocations = ALLOCATIONS.load(Relaxed) - allocations;
        let faults = page_faults() - faults;
        fewest = (fewest.0.min(allocations), fewest.1.min(faults));
    }
    fewest
}

/// All of them in one test: another one at the same time would be counted too.
#[test]
fn a_run_allocates_nothing_and_touches_no_fresh_memory() {
    check_counting();
    let spec = Spec::from_yaml(resnet::zoo("cifar-resnet20").unwrap()).unwrap();
    let weights = Weights::random(&Emitted::tensors(), 1);
    let compile = |backend| {
        let options = Options { backend, batch: 2, ..Options::default() };
        Compiler::new(&spec).options(options).compile().unwrap().load(&weights).unwrap()
    };
    let networks: Vec<(&str, Box<dyn Network>)> = vec![
        #[cfg(feature = "jit")]
        ("JIT", compile(Backend::Jit)),
        ("interpreter", compile(Backend::Interpret)),
        ("macro", Box::new(Emitted::load(&weights).unwrap())),
    ];
    let pictures = vec![0.5; 3 * Emitted::INPUT_LEN];
    let mut answers = vec![0.0; 3 * Emitted::CLASSES];
    let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
    for (name, network) in &networks {
        for pool in [None, Some(&pool)] {
            let mut session = network.session_in(pool).unwrap();
            let mut run = || {
                session.run(&pictures[..Emitted::INPUT_LEN]).unwrap();
                session.run_batch(&pictures, &mut answers).unwrap();
            };
            // Memory is touched in the first run; a second one gives a pool's threads, which
            // might have come too late, another chance to touch their stacks.
            run();
            run();
            assert_eq!(cost(run), (0, 0), "{name}, {pool:?}: allocations, page faults");
        }
    }
}

/// That what the test looks for would be seen.
fn check_counting() {
    let (allocations, faults) = cost(|| {
        let len = 1 << 20;
        let mut fresh = resnet_runtime::memory::Buffer::zeroed(len).unwrap();
        fresh.as_mut_bytes().fill(1);
        drop(std::hint::black_box((fresh, Box::new(1))));
    });
    assert!(allocations > 0);
    assert!(faults > 0 || cfg!(not(target_os = "linux")));
}
