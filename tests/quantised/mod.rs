//! Random quantised weights for any table.

use std::collections::BTreeMap;
use std::sync::Arc;

use resnet::{Compiler, Spec, Weights};
use resnet_compiler::fuse::{FusedNode, FusedOp};
use resnet_compiler::graph::Graph;
use resnet_compiler::plan::Plan;
use resnet_compiler::schedule::{Choices, Wishes, candidates};
use resnet_runtime::kernels::Activation;
use safetensors::tensor::{Dtype, TensorView};

/// A sequence of numbers that look random.
pub(crate) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }
}

/// For each convolution some way to compute it, the same for any number of pictures together.
pub(crate) fn some_choices(
    spec: &Spec,
    weights: &Weights,
    mut random: Random,
    batch: usize,
) -> Arc<Choices> {
    let graph = Graph::build(spec).unwrap();
    let wishes = Wishes { quantised: Arc::new(weights.quantised()), ..Wishes::default() };
    let (_, levels) = Plan::with_levels(&graph, &wishes).unwrap();
    let layers = candidates(&levels.fused, &wishes).into_iter().map(|(id, choices)| {
        let choice = choices[random.next() % choices.len()];
        (levels.fused.node(id).name.clone(), choice)
    });
    let layers = layers.collect();
    Arc::new(Choices::new(&graph, &Wishes { batch, ..wishes }, layers))
}

/// The bytes of a tensor with what they are.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn file(tensors: &BTreeMap<String, Stored>) -> Weights {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    Weights::from_bytes(safetensors::serialize(views, None).unwrap()).unwrap()
}

/// Weights of a table, some of whose layers are quantised or `all` that can be; the others are as they
/// were.
pub(crate) fn partly_quantised(
    spec: &Spec,
    weights: &Weights,
    random: &mut Random,
    all: bool,
) -> Weights {
    let mut chosen: BTreeMap<String, Stored> = BTreeMap::new();
    let graph = Graph::build(spec).unwrap();
    for tensor in graph.tensors.iter().filter(|tensor| matches!(tensor.shape.len(), 2 | 4)) {
        if all || !random.next().is_multiple_of(4) {
            let bytes = vec![0; tensor.shape.iter().product()];
            chosen.insert(tensor.name.to_string(), (Dtype::I8, tensor.shape.to_vec(), bytes));
        }
    }
    let tensors = loop {
        match Compiler::new(spec).weights(&file(&chosen)).compile() {
            Ok(compiled) => break compiled.tensors().to_vec(),
            Err(error) => {
                // Layers that cannot be quantised are told one by one.
                let text = error.to_string();
                let name = text.split('`').nth(1).unwrap_or_else(|| panic!("{text}"));
                assert!(chosen.remove(name).is_some(), "{text}");
            }
        }
    };
    let mut all: BTreeMap<String, Stored> = BTreeMap::new();
    for tensor in &tensors {
        let name = tensor.name.to_string();
        let len: usize = tensor.shape.iter().product();
        let floats = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (dtype, bytes) = match chosen.get(&name) {
            Some(_) => (Dtype::I8, (0..len).map(|_| random.next() as u8).collect()),
            None if name.ends_with(".input_zero_point") => (Dtype::U8, vec![97]),
            None if name.ends_with(".input_scale") => (Dtype::F32, floats(vec![0.03; len])),
            None if name.ends_with(".weight_scale") => {
                let products = chosen[&name.replace("_scale", "")].2.len() / len;
                (Dtype::F32, floats(vec![1.0 / (73.0 * (products as f32).sqrt()); len]))
            }
            // A quantised layer has a bias, whether it had one or not.
            None => match weights.tensor(&name) {
                Ok(tensor) => (Dtype::F32, floats(tensor.values)),
                Err(_) => (Dtype::F32, floats(vec![0.1; len])),
            },
        };
        all.insert(name, (dtype, tensor.shape.to_vec(), bytes));
    }
    file(&all)
}

/// Whether what these weights leave of a table in real numbers are operators of which the reference has the
/// same bits as kernels: quantised convolutions, sums and averages.
pub(crate) fn is_defined_to_the_bit(spec: &Spec, weights: &Weights) -> bool {
    let graph = Graph::build(spec).unwrap();
    let wishes = Wishes { quantised: weights.quantised().into(), ..Wishes::default() };
    let (_, levels) = Plan::with_levels(&graph, &wishes).unwrap();
    // Without bytes the reference rounds nothing.
    !weights.quantised().is_empty() && levels.fused.nodes.iter().all(defined)
}

fn defined(node: &FusedNode) -> bool {
    match &node.op {
        FusedOp::Conv(conv) => conv.quantised(),
        FusedOp::Input
        | FusedOp::Pool(_)
        | FusedOp::Add
        | FusedOp::GlobalAveragePool
        | FusedOp::Quantise
        | FusedOp::Dequantise => {
            matches!(
                node.epilogue.activation,
                Activation::None | Activation::Relu | Activation::Relu6
            )
        }
        FusedOp::Affine(_)
        | FusedOp::Gate { .. }
        | FusedOp::GroupNorm(_)
        | FusedOp::ChannelConv { .. }
        | FusedOp::Blur(_)
        | FusedOp::Softmax
        | FusedOp::Narrow
        | FusedOp::Widen => false,
    }
}
