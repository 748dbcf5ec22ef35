//! Steps against PyTorch's, which `tests/training/make.py` wrote down.

use resnet_compiler::network::Backend;
use resnet_compiler::train::{Descent, Rate, Reached, Step};
use resnet_runtime::kernels::{Decay, Isa};
use resnet_runtime::weights::Weights;
use serde_json::Value;

use super::{On, PLAIN, RATE, assert_close, file, golden, graph, targets};

/// Of the largest gradient, and of the largest running statistic of a tensor.
const TOLERANCE: f64 = 1e-4;

/// Of losses of about 1.
const LOSS_TOLERANCE: f64 = 1e-3;

#[test]
fn steps_are_pytorchs() {
    let text = std::fs::read_to_string(file("training/losses.json")).unwrap();
    let Value::Object(networks) = serde_json::from_str(&text).unwrap() else {
        panic!("losses.json is no object")
    };
    assert!(networks.len() >= 20, "only {} networks", networks.len());
    for (name, facts) in &networks {
        for exact in [true, false] {
            check(name, facts, exact);
        }
    }
}

fn check(name: &str, facts: &Value, exact: bool) {
    let number = |key: &str| facts[key].as_f64().unwrap() as f32;
    let len = number("batch") as usize;
    let table = graph(name, &golden(name));
    let classes = table.output_shape().channels;
    let targets = targets(len, classes, |image| (3 * image + 1) % classes, number("smoothing"));
    let images = images(name, len, table.input_shape().elements());
    let weights = Weights::open(file(&format!("golden/{name}.safetensors"))).unwrap();
    let on = On { isa: Isa::detect(), backend: Backend::Jit, pool: None };

    let theirs = Weights::open(file(&format!("training/{name}.safetensors"))).unwrap();
    let descent = Descent { exact, magnitudes: true, ..PLAIN };
    let mut step = on.step(&table, len, descent, &weights).unwrap();
    step.run(&images, &targets, RATE);
    check_reached(name, &step, &facts["reached"]);
    let found: Vec<(String, Vec<f32>, bool)> = step
        .tensors()
        .map(|(spec, values)| match step.velocity(&spec.name) {
            Some(gradient) => (spec.name.to_string(), gradient, true),
            None => (spec.name.to_string(), values, false),
        })
        .collect();
    let theirs: Vec<Vec<f32>> =
        found.iter().map(|(tensor, ..)| theirs.tensor(tensor).unwrap().values.to_vec()).collect();
    let most =
        |values: &[f32]| values.iter().fold(0.0, |most: f64, v| most.max(f64::from(v.abs())));
    let gradients = found.iter().zip(&theirs).filter(|((.., learned), _)| *learned);
    let largest = gradients.map(|(_, theirs)| most(theirs)).fold(0.0, f64::max);
    for ((tensor, found, learned), theirs) in found.iter().zip(&theirs) {
        let scale = if *learned { largest } else { most(theirs) };
        let expected = theirs.iter().copied().map(f64::from);
        assert_close(&format!("{name}: {tensor}"), found, expected, TOLERANCE * scale);
    }

    let decay = if number("decay") > 0.0 { Decay::Classic } else { Decay::None };
    let nesterov = facts["nesterov"].as_bool().unwrap();
    let descent = Descent { nesterov, decay, exact, ..PLAIN };
    let mut step = on.step(&table, len, descent, &weights).unwrap();
    let rate = Rate { rate: number("rate"), momentum: number("momentum"), decay: number("decay") };
    let theirs = facts["losses"].as_array().unwrap();
    assert_eq!(theirs.len(), 20, "{name}");
    for (at, theirs) in theirs.iter().enumerate() {
        let losses = step.run(&images, &targets, rate).losses;
        let loss = losses.iter().copied().map(f64::from).sum::<f64>() / len as f64;
        let theirs = theirs.as_f64().unwrap();
        assert!(
            (loss - theirs).abs() < LOSS_TOLERANCE,
            "{name}: the loss of step {at} is {loss}, PyTorch's {theirs}"
        );
    }
}

/// Fails unless the gradients that reached the layers are as large as PyTorch's hooks say.
fn check_reached(name: &str, step: &Step, theirs: &Value) {
    let found: Vec<Reached<'_>> = step.reached().collect();
    assert_eq!(found.len(), theirs.as_object().unwrap().len(), "{name}");
    let theirs: Vec<f64> = found.iter().map(|of| theirs[of.weight].as_f64().unwrap()).collect();
    let largest = theirs.iter().fold(0.0, |most: f64, &norm| most.max(norm));
    for (of, theirs) in found.iter().zip(theirs) {
        let error = (of.norm - theirs).abs();
        assert!(error < TOLERANCE * largest, "{name}: {of:?}, PyTorch's {theirs}");
    }
}

/// As `make.py` takes them from a golden's file.
fn images(name: &str, len: usize, elements: usize) -> Vec<f32> {
    let bytes = std::fs::File::open(file(&format!("golden/{name}.input.npy"))).unwrap();
    let ring: Vec<f32> = npyz::NpyFile::new(bytes).unwrap().into_vec().unwrap();
    let at = |i: usize| (101 * (i / elements) + i % elements) % ring.len();
    (0..len * elements).map(|i| ring[at(i)]).collect()
}
