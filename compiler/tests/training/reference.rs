//! The gradients of every table of `tests/golden`, on every instruction set that this CPU has.

use std::collections::BTreeSet;

use resnet_compiler::emit::reference::gradients;
use resnet_compiler::graph::{Graph, Op};
use resnet_compiler::network::Backend;
use resnet_compiler::train::{Step, StepError, TrainError};
use resnet_runtime::kernels::Isa;
use resnet_runtime::weights::Weights;

use super::{Batch, On, PLAIN, RATE, assert_close, file, golden, graph, state};

/// Of the largest gradient.
const TOLERANCE: f64 = 1e-5;

/// Tables that answer with no row of logits. They are refused, and trained with the mean of their last row's pixels as logits.
const REFUSED: [&str; 10] = [
    "attention-variants",
    "blur-variants",
    "conv-rows",
    "dilation-rows",
    "features",
    "features-variants",
    "group-norm-variants",
    "padding-same",
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
        for batch in [4, 1] {
            check(name, &table, batch);
        }
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

/// The table of the last row alone, with a mean behind it.
fn with_logits(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("features:"));
    let lines = lines.flat_map(|line| match line.starts_with("expect:") {
        true => vec!["  - {layer: logits, op: global_average_pool}"],
        false => vec![line],
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn on(isa: Isa, backend: Backend) -> On<'static> {
    On { isa, backend, pool: None }
}

fn check(name: &str, table: &Graph, len: usize) {
    let weights = Weights::random(&table.tensors, 5);
    let batch = Batch::random(table, len);
    if !has_statistics(table, len) {
        let error = on(Isa::detect(), Backend::Interpret).step(table, len, PLAIN, &weights);
        assert!(matches!(error, Err(StepError::Train(TrainError::Batch { .. }))), "{name}");
        return;
    }
    let expected = gradients(table, &weights, &batch.images, &batch.targets).unwrap();
    let of = expected.tensors.values().flatten();
    let largest = of.fold(0.0, |most: f64, gradient| most.max(gradient.abs()));
    for isa in Isa::available() {
        let [jit, interpreted] = [Backend::Jit, Backend::Interpret].map(|backend| {
            let mut step = on(isa, backend).step(table, len, PLAIN, &weights).unwrap();
            let losses = step.run(&batch.images, &batch.targets, RATE).losses.to_vec();
            (step, losses)
        });
        let what = format!("{name}, batch {len}, {isa}");
        assert_close(&what, &jit.1, expected.losses.iter().copied(), 1e-5);
        assert_eq!(learned(&jit.0), expected.tensors.keys().cloned().collect(), "{what}");
        for (tensor, expected) in &expected.tensors {
            let found = jit.0.velocity(tensor).unwrap();
            let what = format!("{what}: {tensor}");
            assert_close(&what, &found, expected.iter().copied(), TOLERANCE * largest);
        }
        assert!(jit.1 == interpreted.1 && state(&jit.0) == state(&interpreted.0), "{what}");
    }
}

/// Whether every batch norm has at least two pixels.
fn has_statistics(table: &Graph, len: usize) -> bool {
    let enough = |pixels: usize| len * pixels >= 2;
    table
        .nodes
        .iter()
        .all(|node| !matches!(node.op, Op::BatchNorm(_)) || enough(node.shape.pixels()))
}

/// The tensors that the step learns.
fn learned(step: &Step) -> BTreeSet<String> {
    let names = step.tensors().map(|(spec, _)| spec.name.to_string());
    names.filter(|name| step.velocity(name).is_some()).collect()
}
