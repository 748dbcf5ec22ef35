//! What a step needs, said before it is compiled.

use std::num::NonZeroUsize;

use resnet_compiler::network::Backend;
use resnet_compiler::report::TrainingMemory;
use resnet_compiler::train::{Descent, memory, within};
use resnet_runtime::kernels::Isa;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use super::{On, PLAIN, golden, graph};

#[test]
fn the_plan_says_what_a_session_allocates() {
    let pool = Pool::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for name in ["bottleneck", "conv-groups", "eca", "group-norm", "weight-standardization"] {
        let table = graph(name, &golden(name));
        let weights = Weights::random(&table.tensors, 3);
        for batch in [2, 9] {
            let said = memory(&table, batch, PLAIN).unwrap();
            for pool in [None, Some(&pool)] {
                let on = On { isa: Isa::detect(), backend: Backend::Interpret, pool };
                let step = on.step(&table, batch, PLAIN, &weights).unwrap();
                let threads = pool.map_or(1, Pool::threads);
                assert_eq!(said.total(threads as u64), step.bytes() as u64, "{name}, {batch}");
            }
            assert!(said.kept > 0 && said.kept <= said.arena, "{name}, {batch}: {said:?}");
        }
    }
}

/// As much as may be is kept: one block less made again would not fit.
#[test]
fn a_step_keeps_to_its_memory() {
    let table = graph("bottleneck", &golden("bottleneck"));
    let batch = 16;
    let with = |recompute| Descent { recompute, ..PLAIN };
    let needs = |recompute| memory(&table, batch, with(recompute)).unwrap().total(2);
    let within = |bytes| within(&table, batch, PLAIN, bytes, 2);
    assert_eq!(within(needs(0)).unwrap().recompute, 0);
    let (most, least) = (needs(0), needs(usize::MAX));
    assert!(least < most, "{least} of {most}");
    for bytes in [least, least.midpoint(most), most - 1] {
        let found = within(bytes).unwrap().recompute;
        assert!(needs(found) <= bytes && needs(found - 1) > bytes, "{bytes}: {found}");
    }
    let error = within(least - 1).unwrap_err().to_string();
    assert!(error.contains(&format!("needs {least} bytes at least")), "{error}");
}

/// Counted by hand: blocks of 16 channels, a ring of one pixel around what a 3x3 convolution reads.
#[test]
fn what_is_kept_is_what_the_way_back_reads() {
    let table = graph(
        "tiny",
        "
name: tiny
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 20}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
",
    );
    let batch = 5;
    let said = memory(&table, batch, PLAIN).unwrap();
    let of = |blocks: usize, rows: usize, columns: usize| blocks * rows * columns * 16;
    // The images, what the convolution made of them, that after norm and ReLU, and the means that the classifier reads.
    let images = batch * (of(1, 10, 10) + of(2, 8, 8) + of(2, 8, 8) + of(2, 1, 1));
    // Mean, scale and inverse deviation of each channel.
    let moments = 2 * 3 * 16;
    let learned = |lens: &[usize]| lens.iter().map(|len: &usize| len.next_multiple_of(16)).sum();
    let momentum: usize = learned(&[20 * 27, 20, 20, 200, 10]);
    let bytes = |elements: usize| 4 * elements as u64;
    let expected = TrainingMemory {
        batch: 5,
        kept: bytes(images + moments),
        momentum: bytes(momentum),
        // With a running mean and variance of each channel.
        weights: bytes(momentum + 2 * 32),
        ..said
    };
    assert_eq!(said, expected);
}
