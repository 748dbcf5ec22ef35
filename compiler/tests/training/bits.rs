//! The same seed, the same bits.

use std::num::NonZeroUsize;

use resnet_compiler::network::Backend;
use resnet_compiler::train::{Descent, memory};
use resnet_runtime::kernels::{Decay, Isa};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use super::{Batch, On, PLAIN, RATE, golden, graph, state};

/// Images of a batch: so few that operators run one after the other, and so many that they run image by image, two in each part.
const BATCHES: [usize; 2] = [6, 24];

/// Three steps on one to three threads, twice, by both back ends.
#[test]
fn threads_runs_and_back_ends_agree_in_every_bit() {
    let tables = ["basic", "eca", "group-norm", "res2net", "weight-standardization", "zero-pad"];
    let pools = [1, 2, 3].map(|n| Pool::new(NonZeroUsize::new(n).unwrap()).unwrap());
    for (name, decay) in tables.into_iter().zip([Decay::Classic, Decay::Decoupled].iter().cycle()) {
        let table = graph(name, &golden(name));
        let weights = Weights::random(&table.tensors, 3);
        let descent = Descent { nesterov: true, decay: *decay, ..PLAIN };
        for batch in BATCHES.map(|len| Batch::random(&table, len)) {
            let run = |backend, pool| {
                let on = On { isa: Isa::detect(), backend, pool };
                let mut step = on.step(&table, batch.len, descent.clone(), &weights).unwrap();
                let mut losses = Vec::new();
                for _ in 0..3 {
                    let found = step.run(&batch.images, &batch.targets, RATE);
                    losses.extend(found.losses.iter().chain(found.logits).map(|v| v.to_bits()));
                }
                (losses, state(&step))
            };
            let what = format!("{name}, batch {}", batch.len);
            let expected = run(Backend::Jit, None);
            let last = &expected.0[expected.0.len() / 3 * 2..];
            assert_ne!(expected.0[..batch.len], last[..batch.len], "{what} learns");
            for pool in &pools {
                for again in 0..2 {
                    let found = run(Backend::Jit, Some(pool));
                    assert!(found == expected, "{what}, {} threads, {again}", pool.threads());
                }
            }
            assert!(run(Backend::Interpret, None) == expected, "{what}, interpreted");
            assert!(run(Backend::Interpret, pools.last()) == expected, "{what}, threads");
        }
    }
}

/// Whatever is made again has the bits that it had: of a few blocks, and of all, of networks with every kind of block, and of one
/// without any shortcuts.
#[test]
fn recomputing_changes_nothing_but_memory() {
    let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
    let on = On { isa: Isa::detect(), backend: Backend::Jit, pool: Some(&pool) };
    let names = [
        "activation",
        "blur",
        "bottleneck",
        "eca",
        "pre-activation",
        "res2net",
        "weight-standardization",
    ];
    let golden = names.map(|name| graph(name, &golden(name)));
    for table in golden.iter().chain([&graph("plain", PLAIN_TABLE)]) {
        let name = &table.name;
        let weights = Weights::random(&table.tensors, 3);
        for batch in BATCHES.map(|len| Batch::random(table, len)) {
            let run = |recompute| {
                let descent = Descent { nesterov: true, recompute, ..PLAIN };
                let said = memory(table, batch.len, descent.clone()).unwrap();
                let mut step = on.step(table, batch.len, descent, &weights).unwrap();
                assert_eq!(said.total(2), step.bytes() as u64, "{name}");
                let mut losses = Vec::new();
                for _ in 0..2 {
                    let found = step.run(&batch.images, &batch.targets, RATE);
                    losses.extend(found.losses.iter().chain(found.logits).map(|v| v.to_bits()));
                }
                ((losses, state(&step)), said)
            };
            let (expected, most) = run(0);
            let (found, _) = run(1);
            assert!(found == expected, "{name}, batch {}, the first block", batch.len);
            let (found, least) = run(usize::MAX);
            assert!(found == expected, "{name}, batch {}, all blocks", batch.len);
            assert!(most.recomputed == 0 && least.recomputed > 0, "{name}");
            // Where each image has its own statistics, nothing is kept but in a thread's scratch.
            if name != "weight-standardization" {
                assert!(least.kept < most.kept, "{name}: {} of {}", least.kept, most.kept);
            }
        }
    }
}

const PLAIN_TABLE: &str = "
name: plain
input: 3x16x16
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2, op: conv, kernel: 3, channels: 16}
  - {layer: conv3, op: conv, kernel: 3, channels: 16}
  - {layer: conv4, op: conv, kernel: 3, channels: 16}
  - {layer: conv5, op: conv, kernel: 3, channels: 16}
  - {layer: conv6, op: conv, kernel: 3, channels: 16}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
";

/// What is measured has the same bits on any threads, and measuring changes none of what a step does.
#[test]
fn measuring_changes_nothing() {
    let pool = Pool::new(NonZeroUsize::new(3).unwrap()).unwrap();
    for name in ["bottleneck", "eca", "group-norm", "zero-pad"] {
        let table = graph(name, &golden(name));
        let weights = Weights::random(&table.tensors, 3);
        // So many that images are run one by one.
        let batch = Batch::random(&table, 9);
        let run = |magnitudes, backend, pool| {
            let on = On { isa: Isa::detect(), backend, pool };
            let descent = Descent { magnitudes, ..PLAIN };
            let mut step = on.step(&table, batch.len, descent, &weights).unwrap();
            for _ in 0..2 {
                step.run(&batch.images, &batch.targets, RATE);
            }
            let reached: Vec<u64> = step.reached().map(|of| of.norm.to_bits()).collect();
            (state(&step), reached)
        };
        let [plain, measured] = [false, true].map(|is| run(is, Backend::Jit, None));
        assert!(plain.0 == measured.0, "{name}");
        assert!(plain.1.is_empty() && measured.1.len() > 3, "{name}: {measured:?}");
        assert!(run(true, Backend::Jit, Some(&pool)) == measured, "{name}, on threads");
        assert!(run(true, Backend::Interpret, None) == measured, "{name}, interpreted");
    }
}
