//! Training steps against the gradients by definition, and these against finite differences.

use resnet_compiler::emit::reference::{Gradients, gradients};
use resnet_compiler::graph::Graph;
use resnet_compiler::network::Backend;
use resnet_compiler::spec::Spec;
use resnet_compiler::target::Target;
use resnet_compiler::train::{Descent, Rate, Step};
use resnet_runtime::weights::Weights;

const BATCH: usize = 8;

fn graph(path: &str) -> Graph {
    let path = format!("{}/../tests/golden/{path}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let spec = Spec::from_yaml_named(&text, &path).unwrap_or_else(|d| panic!("{d}"));
    Graph::build(&spec).unwrap_or_else(|d| panic!("{d}"))
}

/// Numbers that look random.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn batch(graph: &Graph) -> (Vec<f32>, Vec<f32>) {
    let classes = graph.output_shape().channels;
    let images = noise(BATCH * graph.input_shape().elements(), 4);
    let smooth = 0.1 / classes as f32;
    let target = |at: usize| {
        let (image, class) = (at / classes, at % classes);
        if (image * 7 + 3) % classes == class { 0.9 + smooth } else { smooth }
    };
    (images, (0..BATCH * classes).map(target).collect())
}

fn check(name: &str) {
    let graph = graph(name);
    let weights = Weights::random(&graph.tensors, 5);
    let (images, targets) = batch(&graph);
    let reference = gradients(&graph, &weights, &images, &targets).unwrap();
    for backend in [Backend::Jit, Backend::Interpret] {
        let target = Target::host(None).unwrap();
        let descent = Descent { decay: resnet_runtime::kernels::Decay::None, ..Descent::default() };
        let mut step =
            Step::compile(&graph, BATCH, descent, &weights, &target, backend, None).unwrap();
        let rate = Rate { rate: 0.1, momentum: 0.9, decay: 0.0 };
        let losses = step.run(&images, &targets, rate).losses.to_vec();
        for (found, expected) in losses.iter().zip(&reference.losses) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{name}: loss {found}, {expected}"
            );
        }
        // The first velocity is the gradient.
        compare(name, &reference, |tensor| step.velocity(tensor).expect("it is learned"));
    }
}

fn compare(name: &str, reference: &Gradients, found: impl Fn(&str) -> Vec<f32>) {
    let largest = reference.tensors.values().flatten().fold(0.0, |most: f64, g| most.max(g.abs()));
    for (tensor, expected) in &reference.tensors {
        let found = found(tensor);
        assert_eq!(found.len(), expected.len(), "{name}: {tensor}");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= 1e-5 * largest,
                "{name}: {tensor}[{at}]: {found}, {expected} of {largest}"
            );
        }
    }
}

#[test]
fn all() {
    let folder = format!("{}/../tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|e| {
            e.unwrap().file_name().into_string().unwrap().strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    names.sort();
    for name in names {
        let result = std::panic::catch_unwind(|| check(&name));
        let message = result
            .err()
            .map(|e| e.downcast_ref::<String>().cloned().unwrap_or_else(|| "?".to_owned()));
        println!("ALL {name}: {}", message.unwrap_or_else(|| "ok".to_owned()));
    }
}
