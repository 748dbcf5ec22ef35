//! The gradients of every table of `tests/golden`, on every instruction set that this CPU has.

use std::collections::BTreeSet;

use resnet_compiler::emit::reference::{Gradients, gradients};
use resnet_compiler::graph::{Graph, Op, Shape};
use resnet_compiler::network::Backend;
use resnet_compiler::train::{Descent, Reached, Step, StepError, TableError};
use resnet_runtime::kernels::Isa;
use resnet_runtime::weights::Weights;

use super::{Batch, On, PLAIN, RATE, assert_close, file, golden, graph, state};

/// Of the largest gradient.
const TOLERANCE: f64 = 1e-5;

/// Where pixels are so few that some channel of a batch norm has nearly the same value in all of them, its gradient is
/// nearly divided by zero, and what was rounded before is magnified.
const TOLERANCE_OF_FEW: f64 = 5e-4;
const FEW: usize = 7;

/// Tables and batches of which one image has a value so near to zero before a ReLU that `f32` and `f64` see it on either side.
/// They have weights of another seed.
const KINKS: [(&str, usize, u64); 2] = [("aligned", 18, 7), ("res2net", 4, 6)];

/// Tables that answer with no row of logits. They are refused, and trained with the mean of their last row's pixels as logits.
const REFUSED: [&str; 9] = [
    "attention-variants",
    "blur-variants",
    "conv-rows",
    "dilation-rows",
    "features",
    "features-variants",
    "group-norm-variants",
    "pool-edges",
    "pre-activation-variants",
];

#[test]
fn gradients_are_those_by_definition() {
    let mut refused = BTreeSet::new();
    let mut names: Vec<String> = std::fs::read_dir(file("golden"))
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .strip_suffix(".yaml")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 56, "only {} goldens", names.len());
    for name in &names {
        let text = golden(name);
        let mut table = graph(name, &text);
        if is_refused(name, &table) {
            refused.insert(&**name);
            table = graph(name, &with_logits(&text));
        }
        let best = Isa::detect();
        // Winograd's and direct convolutions have kernels of their own, which have tests on every instruction set.
        let of_four = Isa::available().map(|isa| (isa, false)).chain([(best, true)]);
        check(name, &table, 4, of_four);
        check(name, &table, 1, [(best, true)].into_iter());
        // Image by image, in nine parts of two.
        check(name, &table, 18, [(best, false)].into_iter());
    }
    assert_eq!(refused, BTreeSet::from(REFUSED));
}

/// Whether a table's answer is refused, in these words.
fn is_refused(name: &str, table: &Graph) -> bool {
    let weights = Weights::random(&table.tensors, 5);
    match on(Isa::detect(), Backend::Interpret).step(table, 4, PLAIN, &weights) {
        Ok(_) => false,
        Err(error) => {
            let start = format!("the answer of `{name}` is ");
            let end = ": a classifier is needed to train";
            let error = error.to_string();
            assert!(error.starts_with(&start) && error.ends_with(end), "{name}: {error}");
            true
        }
    }
}

/// The table of its last row alone, with a mean behind it unless it is a classifier.
fn with_logits(text: &str) -> String {
    let (table, _) = text.split_once("expect:").unwrap();
    let mut lines: Vec<&str> =
        table.lines().filter(|line| !line.starts_with("features:")).collect();
    if !lines.last().unwrap().contains("op: linear") {
        lines.push("  - {layer: logits, op: global_average_pool}");
    }
    lines.join("\n")
}

fn on(isa: Isa, backend: Backend) -> On<'static> {
    On { isa, backend, pool: None }
}

/// Steps on each instruction set, exact or not.
fn check(name: &str, table: &Graph, len: usize, steps: impl Iterator<Item = (Isa, bool)>) {
    let other = KINKS.iter().find(|kink| (kink.0, kink.1) == (name, len));
    let seed = other.map_or(5, |kink| kink.2);
    let weights = Weights::random(&table.tensors, seed);
    let batch = Batch::random(table, len);
    let sample = smallest_sample(table, len);
    if sample < 2 {
        let error = on(Isa::detect(), Backend::Interpret).step(table, len, PLAIN, &weights);
        assert!(matches!(error, Err(StepError::Train(TableError::Batch { .. }))), "{name}");
        return;
    }
    let tolerance = if len == 1 && sample < FEW { TOLERANCE_OF_FEW } else { TOLERANCE };
    let expected = gradients(table, &weights, &batch.images, &batch.targets).unwrap();
    let of = expected.tensors.values().flatten();
    let largest = of.fold(0.0, |most: f64, gradient| most.max(gradient.abs()));
    for (isa, exact) in steps {
        let descent = Descent { exact, magnitudes: true, ..PLAIN };
        let [jit, interpreted] = [Backend::Jit, Backend::Interpret].map(|backend| {
            let mut step = on(isa, backend).step(table, len, descent.clone(), &weights).unwrap();
            let losses = step.run(&batch.images, &batch.targets, RATE).losses.to_vec();
            (step, losses)
        });
        let what = format!("{name}, batch {len}, {isa}, exact {exact}");
        assert_close(&what, &jit.1, expected.losses.iter().copied(), tolerance);
        assert_eq!(learned(&jit.0), expected.tensors.keys().cloned().collect(), "{what}");
        for (tensor, expected) in &expected.tensors {
            let found = jit.0.velocity(tensor).unwrap();
            let what = format!("{what}: {tensor}");
            assert_close(&what, &found, expected.iter().copied(), tolerance * largest);
        }
        check_reached(table, len, &jit.0, &expected, tolerance, &what);
        assert!(jit.1 == interpreted.1 && state(&jit.0) == state(&interpreted.0), "{what}");
    }
}

/// The norms of the gradients that reach all convolutions and linear layers.
fn check_reached(
    table: &Graph,
    len: usize,
    step: &Step,
    expected: &Gradients,
    tolerance: f64,
    what: &str,
) {
    let has_weights = |op: &Op| matches!(op, Op::Conv { .. } | Op::Linear { .. });
    let layers = table.nodes.iter().filter(|node| has_weights(&node.op));
    let expected: Vec<(&str, Shape, f64)> = layers
        .map(|node| (&*node.name, node.shape, expected.outputs[&node.name] * (len as f64).sqrt()))
        .collect();
    let largest = expected.iter().fold(0.0, |most: f64, (.., norm)| most.max(*norm));
    let found: Vec<Reached<'_>> = step.reached().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, (layer, shape, norm)) in found.iter().zip(expected) {
        assert_eq!((found.layer, found.output), (layer, shape), "{what}");
        let norms = (found.norm, norm);
        assert!((found.norm - norm).abs() <= tolerance * largest, "{what}: {layer} {norms:?}");
    }
}

/// Pixels of which the statistics of a batch norm are taken, where they are fewest.
fn smallest_sample(table: &Graph, len: usize) -> usize {
    let norms = table.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm(_)));
    norms.map(|node| len * node.shape.pixels()).min().unwrap_or(usize::MAX)
}

/// The tensors that the step learns.
fn learned(step: &Step) -> BTreeSet<String> {
    let names = step.tensors().map(|(spec, _)| spec.name.to_string());
    names.filter(|name| step.velocity(name).is_some()).collect()
}
