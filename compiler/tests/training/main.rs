//! Training steps against gradients by definition in `f64`, these against finite differences, both against PyTorch, and
//! steps against themselves on other threads and back ends.

mod bits;
mod differences;
mod frozen;
mod memory;
mod pytorch;
mod reference;

use std::collections::BTreeSet;
use std::path::PathBuf;

use resnet_compiler::graph::Graph;
use resnet_compiler::network::Backend;
use resnet_compiler::spec::Spec;
use resnet_compiler::target::Target;
use resnet_compiler::train::{Descent, Rate, Step, StepError};
use resnet_runtime::kernels::{Decay, Isa};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

/// A file of the repository's tests.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

/// The text of a table of `tests/golden`.
fn golden(name: &str) -> String {
    std::fs::read_to_string(file(&format!("golden/{name}.yaml"))).unwrap()
}

fn graph(name: &str, text: &str) -> Graph {
    let spec = Spec::from_yaml_named(text, name).unwrap_or_else(|error| panic!("{error}"));
    Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"))
}

/// Numbers in -1..1, the same in every run (a xorshift generator).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40
    }

    fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }

    fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.bits() as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

/// A batch with what its classes should be.
struct Batch {
    len: usize,
    images: Vec<f32>,
    targets: Vec<f32>,
}

impl Batch {
    /// Random images, and labels smoothed by a tenth.
    fn random(graph: &Graph, len: usize) -> Self {
        let images = Random(0x2545_f491).vec(len * graph.input_shape().elements());
        let classes = graph.output_shape().channels;
        let of = |image: usize| (image * 7 + 3) % classes;
        Self { len, images, targets: targets(len, classes, of, 0.1) }
    }
}

/// Probabilities of classes, as PyTorch's label smoothing has them.
fn targets(len: usize, classes: usize, of: impl Fn(usize) -> usize, smoothing: f32) -> Vec<f32> {
    let each = smoothing / classes as f32;
    let target = |at: usize| match of(at / classes) == at % classes {
        true => 1.0 - smoothing + each,
        false => each,
    };
    (0..len * classes).map(target).collect()
}

/// A step that decays nothing, so that the first velocity is the gradient.
const PLAIN: Descent = Descent {
    nesterov: false,
    decay: Decay::None,
    norm_momentum: 0.1,
    exact: false,
    frozen: BTreeSet::new(),
    magnitudes: false,
    recompute: 0,
};

const RATE: Rate = Rate { rate: 0.05, momentum: 0.9, decay: 1e-3 };

/// What a step is compiled for.
struct On<'a> {
    isa: Isa,
    backend: Backend,
    pool: Option<&'a Pool>,
}

impl On<'_> {
    fn step(
        &self,
        graph: &Graph,
        batch: usize,
        descent: Descent,
        weights: &Weights,
    ) -> Result<Step, StepError> {
        let target = Target::host(Some(self.isa)).unwrap();
        Step::compile(graph, batch, descent, weights, &target, self.backend, self.pool)
    }
}

/// The bits of all tensors, and of their velocities.
fn state(step: &Step) -> Vec<(String, Vec<u32>)> {
    let bits = |values: Vec<f32>| values.iter().map(|value| value.to_bits()).collect();
    let tensors = step.tensors().flat_map(|(spec, values)| {
        let velocity = step.velocity(&spec.name).map(|v| (format!("velocity of {}", spec.name), v));
        [Some((spec.name.to_string(), values)), velocity]
    });
    tensors.flatten().map(|(name, values)| (name, bits(values))).collect()
}

/// Fails unless every value is within `tolerance` of the expected one.
fn assert_close(
    what: &str,
    found: &[f32],
    expected: impl ExactSizeIterator<Item = f64>,
    tolerance: f64,
) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= tolerance,
            "{what}[{at}] is {found}, expected {expected}, within {tolerance:e}"
        );
    }
}
