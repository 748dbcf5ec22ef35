//! What loading takes beside the weights that it packs. A test crate of its own: it counts the bytes of the process.

#[expect(dead_code, reason = "other tests need more of it")]
mod quantised;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use quantised::{Random, partly_quantised};
use resnet::{Compiler, Spec, Weights};
use resnet_compiler::graph::Graph;

/// The system's allocator; counts the bytes that it has handed out, and the most of them.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = BYTES.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(bytes, Relaxed);
        // SAFETY: the layout has a size, which `alloc` demands of its caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: all memory of this allocator comes from `System.alloc` above, with the layout that the
        // caller gives back.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Winograd's words of bytes take eight times as much as they, and are never there for a whole layer.
#[test]
fn words_of_a_layer_are_made_one_by_one() {
    let text = "name: one\ninput: 256x14x14\ntable:\n  \
                - {layer: conv1, op: conv, kernel: 3, channels: 256, activation: none}\n";
    let spec = Spec::from_yaml_named(text, "one").unwrap_or_else(|error| panic!("{error}"));
    let graph = Graph::build(&spec).unwrap();
    let weights = Weights::random(&graph.tensors, 1);
    let weights = partly_quantised(&spec, &weights, &mut Random(1), true);
    let compiled = Compiler::new(&spec).weights(&weights).compile().unwrap();
    let weight = 256 * 256 * 9;
    let before = BYTES.load(Relaxed);
    MOST.store(before, Relaxed);
    let network = compiled.load(&weights).unwrap();
    let most = MOST.load(Relaxed) - before;
    // The packed ones, those that were read, and some for what is done meanwhile.
    assert!(most > weight, "{most} bytes: the packed weights are counted");
    assert!(most < 4 * weight, "{most} bytes, where the weights take {weight}");
    drop(network);
}
