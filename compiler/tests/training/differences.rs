//! The gradients by definition against central differences of the losses by definition.

use std::collections::{BTreeMap, BTreeSet};

use resnet_compiler::emit::reference::gradients;
use resnet_compiler::graph::{Graph, Op, PoolKind};
use resnet_runtime::weights::Weights;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Batch, Random, graph};

/// Half of a difference: weights are multiples of it, so that they move by it exactly.
const STEP: f32 = 1.0 / (1 << 20) as f32;

/// Of the largest gradient: the differences' own error, mostly of losses that are rounded to 53 bits.
const TOLERANCE: f64 = 1e-7;

/// Coordinates of each tensor.
const COORDINATES: usize = 4;

const TABLES: [&str; 4] = [
    "
name: convolutions
input: 3x11x9
table:
  - {layer: conv1, op: conv, kernel: 3, stride: 2, channels: 6, bias: true}
  - {layer: conv2, op: conv, kernel: 2x3, dilation: 1x2, groups: 2, channels: 8, activation: silu}
  - {layer: point, op: conv, kernel: 1, padding: 1, channels: 5, norm: none, activation: gelu}
  - {layer: pool1, op: max_pool, kernel: 3, stride: 2}
  - {layer: pool2, op: max_pool, kernel: 2, stride: 1, padding: 1, count_padding: true}
  - {layer: fc1, op: linear, channels: 7, activation: leaky_relu}
  - {layer: fc2, op: linear, channels: 4, weights: out}
  - {layer: prob, op: softmax}
",
    "
name: blocks
input: 3x9x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 6, activation: hard_swish}
  - {layer: padded, op: basic, channels: 9, stride: 2, shortcut: zero_pad, squeeze_excitation: {channels: 4}}
  - {layer: pooled, op: bottleneck, repeat: 2, channels: 12, stride: 2, shortcut: pool_projection, eca: 3}
  - {layer: scaled, op: bottleneck, repeat: 2, channels: 12, width: 3, scale: 3, activation: relu6}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
",
    "
name: groups
input: 3x10x10
weight_standardization: true
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 6, norm: {groups: 2}}
  - {layer: blur, op: blur, kernel: 3, stride: 2}
  - {layer: average, op: average_pool, kernel: 3, padding: 1}
  - {layer: block, op: basic, channels: 8, stride: 2, norm: {groups: 4}, anti_alias: average}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
",
    "
name: before
input: 3x8x8
pre_activation: true
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 6, norm: none, activation: none}
  - {layer: body, op: basic, repeat: 2, channels: 8, stride: 2}
  - {layer: norm, op: norm}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
",
];

#[test]
fn gradients_are_differences_of_losses() {
    let mut seen = BTreeSet::new();
    for text in TABLES {
        let table = graph("a table", text);
        seen.extend(table.nodes.iter().map(|node| kind(&node.op)));
        check(&table);
    }
    assert_eq!(seen, BTreeSet::from(KINDS));
}

fn check(table: &Graph) {
    let batch = Batch::random(table, 3);
    let mut random = Random(0x9e37_79b9);
    let mut tensors = on_grid(table);
    let of = |tensors: &BTreeMap<String, Tensor>| {
        gradients(table, &weights(tensors), &batch.images, &batch.targets).unwrap()
    };
    let expected = of(&tensors).tensors;
    let largest = expected.values().flatten().fold(0.0, |most: f64, g| most.max(g.abs()));
    for (name, gradient) in &expected {
        for _ in 0..COORDINATES {
            let at = random.below(gradient.len());
            let mut loss = |step: f32| {
                tensors.get_mut(name).unwrap().values[at] += step;
                let losses = of(&tensors).losses;
                losses.iter().sum::<f64>() / losses.len() as f64
            };
            let difference = loss(STEP) - loss(-2.0 * STEP);
            loss(STEP);
            let (found, expected) = (difference / f64::from(2.0 * STEP), gradient[at]);
            assert!(
                (found - expected).abs() <= TOLERANCE * largest,
                "{}: {name}[{at}]: the gradient is {expected}, the difference {found}, of {largest}",
                table.name
            );
        }
    }
}

pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// Random weights, rounded to multiples of the step.
pub(super) fn on_grid(table: &Graph) -> BTreeMap<String, Tensor> {
    let random = Weights::random(&table.tensors, 11);
    let tensor = |name: &str| {
        let found = random.tensor(name).unwrap();
        let values = found.values.iter().map(|value| (value / STEP).round() * STEP).collect();
        Tensor { shape: found.shape.to_vec(), values }
    };
    table.tensors.iter().map(|spec| (spec.name.to_string(), tensor(&spec.name))).collect()
}

pub(super) fn weights(tensors: &BTreeMap<String, Tensor>) -> Weights {
    let bytes: Vec<Vec<u8>> = tensors
        .values()
        .map(|tensor| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        (name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap())
    });
    Weights::from_bytes(safetensors::serialize(views, None).unwrap()).unwrap()
}

/// All operators.
const KINDS: [&str; 17] = [
    "activation",
    "add",
    "average pool",
    "batch norm",
    "blur",
    "channel conv",
    "concat",
    "conv",
    "gate",
    "global average pool",
    "group norm",
    "input",
    "linear",
    "max pool",
    "slice",
    "softmax",
    "zero pad",
];

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Input => "input",
        Op::Conv { .. } => "conv",
        Op::BatchNorm(_) => "batch norm",
        Op::GroupNorm(_) => "group norm",
        Op::Activation(_) => "activation",
        Op::Add => "add",
        Op::Gate => "gate",
        Op::ChannelConv { .. } => "channel conv",
        Op::ZeroPad { .. } => "zero pad",
        Op::Pool(pool) if pool.kind == PoolKind::Max => "max pool",
        Op::Pool(_) => "average pool",
        Op::Blur(_) => "blur",
        Op::GlobalAveragePool => "global average pool",
        Op::Linear { .. } => "linear",
        Op::Slice(_) => "slice",
        Op::Concat => "concat",
        Op::Softmax => "softmax",
    }
}
