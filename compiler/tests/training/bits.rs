//! The same seed, the same bits.

use std::num::NonZeroUsize;

use resnet_compiler::network::Backend;
use resnet_compiler::train::Descent;
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
