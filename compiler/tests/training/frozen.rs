//! Layers that stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use resnet_compiler::emit::reference::gradients;
use resnet_compiler::graph::{Graph, Op};
use resnet_compiler::network::{Backend, Compiler};
use resnet_compiler::spec::Spec;
use resnet_compiler::train::{Descent, Step, frozen};
use resnet_compiler::zoo::zoo;
use resnet_runtime::kernels::{Decay, Isa};
use resnet_runtime::weights::Weights;

use super::differences::{Tensor, on_grid, weights};
use super::{Batch, On, PLAIN, RATE, Random, assert_close, golden, graph, state};

/// Without kinks, so that differences are derivatives.
const SMOOTH: &str = "
name: smooth
input: 3x9x8
activation: silu
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 6}
  - {layer: conv2_x, op: basic, repeat: 2, channels: 20, stride: 2}
  - {layer: conv3_x, op: bottleneck, channels: 24, stride: 2, shortcut: pool_projection}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn step(table: &Graph, batch: usize, backend: Backend, frozen: BTreeSet<String>) -> Step {
    let weights = Weights::random(&table.tensors, 5);
    let on = On { isa: Isa::detect(), backend, pool: None };
    on.step(table, batch, Descent { frozen, ..PLAIN }, &weights).unwrap()
}

/// Half of a difference of weights.
const HALF: f32 = 1.0 / 256.0;

/// A network whose norms are all frozen is the one that inference computes: the losses are its, and the gradients are their
/// differences.
#[test]
fn frozen_norms_have_the_statistics_of_inference() {
    let table = graph("smooth", SMOOTH);
    let norms: Vec<String> = table
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::BatchNorm(_)))
        .map(|node| node.name.clone())
        .collect();
    let descent = Descent { frozen: frozen(&table, &norms).unwrap(), ..PLAIN };
    let batch = Batch::random(&table, 3);
    let mut tensors = on_grid(&table);
    let on = On { isa: Isa::detect(), backend: Backend::Jit, pool: None };
    let mut step = on.step(&table, 3, descent.clone(), &weights(&tensors)).unwrap();
    let losses = step.run(&batch.images, &batch.targets, RATE).losses.to_vec();
    assert_close("losses", &losses, inferred(&tensors, &batch).into_iter(), 1e-5);

    let velocity = |name: &str| step.velocity(name).unwrap();
    let learned: Vec<String> = table.tensors.iter().map(|spec| spec.name.to_string()).collect();
    let learned: Vec<&String> = learned
        .iter()
        .filter(|name| step.velocity(name).is_some() && !descent.frozen.contains(*name))
        .collect();
    let all = learned.iter().flat_map(|name| velocity(name));
    let largest = all.fold(0.0, |most: f64, gradient| most.max(f64::from(gradient.abs())));
    let mut random = Random(0x9e37_79b9);
    for name in learned {
        let gradient = velocity(name);
        for _ in 0..3 {
            let at = random.below(gradient.len());
            let mut loss = |step: f32| {
                tensors.get_mut(name).unwrap().values[at] += step;
                inferred(&tensors, &batch).iter().sum::<f64>() / 3.0
            };
            let difference = (loss(HALF) - loss(-2.0 * HALF)) / f64::from(2.0 * HALF);
            loss(HALF);
            let what = format!("{name}[{at}], of {largest}");
            assert_close(&what, &gradient[at..=at], [difference].into_iter(), 2e-3 * largest);
        }
    }
}

/// The cross-entropy of each image, by the network of inference in `f64`.
fn inferred(tensors: &BTreeMap<String, Tensor>, batch: &Batch) -> Vec<f64> {
    let spec = Spec::from_yaml(SMOOTH).unwrap();
    let compiled = Compiler::new(&spec).backend(Backend::Reference).compile().unwrap();
    let network = compiled.load(&weights(tensors)).unwrap();
    let mut session = network.session();
    let len = batch.images.len() / batch.len;
    let images = batch.images.chunks(len).zip(batch.targets.chunks(5));
    let loss = |(image, targets): (&[f32], &[f32])| -> f64 {
        let logits: Vec<f64> =
            session.run(image).unwrap().iter().map(|&logit| f64::from(logit)).collect();
        let sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        targets.iter().zip(&logits).map(|(&p, logit)| f64::from(p) * (sum - logit)).sum()
    };
    images.map(loss).collect()
}

/// What is frozen keeps its bits, and what descent remembers of it; everything else moves. Both back ends agree.
#[test]
fn frozen_tensors_keep_every_bit() {
    let cases: [(&str, &[&str]); 7] = [
        ("basic", &["layer1", "bn1"]),
        ("basic", &["conv2_x.0", "fc.bias"]),
        ("group-norm", &["layer1"]),
        ("eca", &["layer1"]),
        ("res2net", &["layer1.0.bns"]),
        ("weight-standardization", &["conv1"]),
        ("squeeze-excitation", &["layer1.0.se"]),
    ];
    for (name, layers) in cases {
        let table = graph(name, &golden(name));
        let kept = frozen(&table, &names(layers)).unwrap();
        let batch = Batch::random(&table, 6);
        let [found, interpreted] = [Backend::Jit, Backend::Interpret].map(|backend| {
            let weights = Weights::random(&table.tensors, 5);
            let on = On { isa: Isa::detect(), backend, pool: None };
            let descent =
                Descent { decay: Decay::Classic, nesterov: true, frozen: kept.clone(), ..PLAIN };
            let mut step = on.step(&table, 6, descent, &weights).unwrap();
            let before = state(&step);
            for _ in 0..2 {
                step.run(&batch.images, &batch.targets, RATE);
            }
            (before, state(&step))
        });
        assert!(found == interpreted, "{name}");
        for ((tensor, before), (_, after)) in found.0.iter().zip(&found.1) {
            let own = tensor.strip_prefix("velocity of ").unwrap_or(tensor);
            assert_eq!(before == after, kept.contains(own), "{name}: {tensor}");
        }
    }
}

/// With everything before the classifier frozen a step has nothing to go back for: less memory, and the gradient that the whole
/// network of inference has.
#[test]
fn what_nobody_reads_is_not_computed() {
    let table = graph("smooth", SMOOTH);
    let whole = step(&table, 8, Backend::Interpret, BTreeSet::new());
    let front = frozen(&table, &names(&["conv1", "conv2_x", "conv3_x"])).unwrap();
    let classifier = step(&table, 8, Backend::Interpret, front.clone());
    assert!(classifier.bytes() < whole.bytes(), "{} {}", classifier.bytes(), whole.bytes());
    assert!(classifier.learns());
    let all = table.tensors.iter().map(|spec| spec.name.to_string()).collect();
    assert!(!step(&table, 8, Backend::Interpret, all).learns());
    // Of a network without norms the definition knows the gradients too.
    let plain = graph(
        "plain",
        "{name: plain, input: 3x8x8, table: [{layer: a, op: conv, kernel: 3, channels: 8, norm: none}, \
         {layer: b, op: conv, kernel: 3, channels: 8, stride: 2, norm: none}, \
         {layer: p, op: global_average_pool}, {layer: fc, op: linear, channels: 3}]}",
    );
    let batch = Batch::random(&plain, 4);
    let weights = Weights::random(&plain.tensors, 5);
    let expected = gradients(&plain, &weights, &batch.images, &batch.targets).unwrap();
    let mut step = step(&plain, 4, Backend::Jit, frozen(&plain, &names(&["a"])).unwrap());
    step.run(&batch.images, &batch.targets, RATE);
    for (tensor, gradient) in &expected.tensors {
        let found = step.velocity(tensor).unwrap();
        match tensor.starts_with("conv1") {
            true => assert!(found.iter().all(|&velocity| velocity == 0.0), "{tensor}"),
            false => assert_close(tensor, &found, gradient.iter().copied(), 1e-5),
        }
    }
}

#[test]
fn layers_have_the_tables_names_and_the_state_dicts() {
    let graph = Graph::build(&Spec::from_yaml(zoo("resnet18").unwrap()).unwrap()).unwrap();
    let of = |layers: &[&str]| frozen(&graph, &names(layers));
    let block = of(&["layer1.0"]).unwrap();
    assert_eq!(block, of(&["conv2_x.0"]).unwrap());
    assert_eq!(block.len(), 2 * (1 + 4));
    assert!(block.contains("layer1.0.bn2.running_mean"));
    // A row with its norm, by the table's name; the state dict calls the norm otherwise.
    assert_eq!(of(&["conv1"]).unwrap().len(), 5);
    assert_eq!(of(&["conv1.weight", "bn1"]).unwrap(), of(&["conv1"]).unwrap());
    assert_eq!(of(&["fc.bias"]).unwrap().len(), 1);
    for (wrong, near) in [("layer5", "layer1"), ("conv2", "conv1"), ("layer1.2", "layer1.0")] {
        let error = of(&["fc", wrong]).unwrap_err();
        assert_eq!(error.name, wrong);
        assert!(error.near.iter().any(|name| name == near), "{error}");
    }
    // What has no weights is no layer to freeze.
    assert!(of(&["avgpool"]).unwrap_err().near.is_empty());
}
