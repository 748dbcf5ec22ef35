//! The graph evaluated naively: the oracle that the optimised back ends are measured against.
//!
//! Every sum is taken in `f64` in the order of its definition, nothing is fused, folded or
//! blocked, and each operator is a page of loops or less. Weights are the stored `f32` values.

mod activation;

use std::collections::HashMap;

use resnet_runtime::session::{DynSession, Info, Network, RunError, check_lengths};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::{NormTensors, Weights, WeightsError};

use self::activation::activate;
use crate::graph::{
    Axis, Extent, Graph, GroupNorm, Node, Op, Padding, PoolKind, Pooling, Shape, Window, binomial,
};

/// A network that is evaluated by definition.
#[derive(Clone)]
pub struct Reference(std::sync::Arc<Evaluator>);

struct Evaluator {
    graph: Graph,
    info: Info,
    tensors: HashMap<String, Vec<f32>>,
    /// For each node the last one that reads it.
    last_reader: Vec<usize>,
}

/// An activation: channel, row, column order.
type Values = Vec<f64>;

impl Reference {
    /// Takes the tensors that `graph` needs out of `weights`.
    ///
    /// # Errors
    ///
    /// If tensors are missing, left over, misshapen or of an unknown type.
    pub fn load(graph: &Graph, info: Info, weights: &Weights) -> Result<Self, WeightsError> {
        weights.check_real("the reference")?;
        weights.check(&graph.tensors)?;
        let mut tensors = HashMap::new();
        for spec in &graph.tensors {
            tensors.insert(spec.name.to_string(), weights.tensor(&spec.name)?.values);
        }
        let mut last_reader = vec![0; graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                last_reader[input.index()] = index;
            }
        }
        for output in graph.outputs() {
            last_reader[output.index()] = graph.nodes.len();
        }
        let graph = graph.clone();
        Ok(Self(std::sync::Arc::new(Evaluator { graph, info, tensors, last_reader })))
    }

    /// The answer to one picture, in `f64`.
    ///
    /// # Errors
    ///
    /// If `picture` has not the network's size.
    pub fn evaluate(&self, picture: &[f32]) -> Result<Vec<f64>, RunError> {
        check_lengths(&self.0.info, picture, 1, self.0.info.outputs)?;
        Ok(self.0.evaluate(picture))
    }
}

impl Network for Reference {
    fn info(&self) -> &Info {
        &self.0.info
    }

    /// The reference always runs on the calling thread.
    fn session_in(&self, _pool: Option<&Pool>) -> std::io::Result<Box<dyn DynSession>> {
        let output = vec![0.0; self.0.info.outputs];
        Ok(Box::new(ReferenceSession { network: self.clone(), output }))
    }
}

struct ReferenceSession {
    network: Reference,
    output: Vec<f32>,
}

impl DynSession for ReferenceSession {
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError> {
        let answer = self.network.evaluate(picture)?;
        self.output.clear();
        self.output.extend(answer.into_iter().map(|v| v as f32));
        Ok(&self.output)
    }

    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        let info = &self.network.0.info;
        let (input_len, output_len) = (info.input_len(), info.outputs);
        check_lengths(info, pictures, pictures.len() / input_len, outputs.len())?;
        for (picture, output) in pictures.chunks(input_len).zip(outputs.chunks_mut(output_len)) {
            output.copy_from_slice(self.run(picture)?);
        }
        Ok(())
    }
}

impl Evaluator {
    fn evaluate(&self, picture: &[f32]) -> Values {
        let mut values: Vec<Values> = vec![Vec::new(); self.graph.nodes.len()];
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let value = match &node.op {
                Op::Input => picture.iter().map(|&v| f64::from(v)).collect(),
                _ => {
                    let inputs: Vec<&Values> =
                        node.inputs.iter().map(|input| &values[input.index()]).collect();
                    self.node(node, &inputs)
                }
            };
            values[index] = value;
            for input in &node.inputs {
                if self.last_reader[input.index()] == index {
                    values[input.index()] = Vec::new();
                }
            }
        }
        let outputs = self.graph.outputs();
        outputs.iter().flat_map(|id| std::mem::take(&mut values[id.index()])).collect()
    }

    fn node(&self, node: &Node, inputs: &[&Values]) -> Values {
        let x = inputs[0];
        let from = self.graph.node(node.inputs[0]).shape;
        match &node.op {
            Op::Input => x.clone(),
            Op::Conv { window, groups, weight, bias, standardise } => {
                let bias = bias.as_ref().map(|name| &self.tensors[name][..]);
                let weights: Values = self.tensors[weight].iter().map(|&w| f64::from(w)).collect();
                let weights = match standardise {
                    Some(epsilon) => standardised(&weights, node.shape.channels, *epsilon),
                    None => weights,
                };
                convolve(x, from, node.shape, window, *groups, &weights, bias)
            }
            Op::BatchNorm(norm) => self.normalise(x, node.shape, norm),
            Op::GroupNorm(norm) => self.normalise_groups(x, node.shape, norm),
            Op::Activation(activation) => x.iter().map(|&v| activate(*activation, v)).collect(),
            Op::Add => x.iter().zip(inputs[1]).map(|(a, b)| a + b).collect(),
            Op::Gate => {
                let planes = x.chunks(from.pixels()).zip(inputs[1]);
                let gated = |(plane, gate): (&[f64], &f64)| {
                    let weight = 1.0 / (1.0 + (-gate).exp());
                    plane.iter().map(|v| v * weight).collect::<Values>()
                };
                planes.flat_map(gated).collect()
            }
            Op::ChannelConv { kernel, weight } => {
                let weights = &self.tensors[weight];
                let sum = |channel: usize| {
                    let taps = weights.iter().enumerate().filter_map(|(k, &w)| {
                        let v = x.get((channel + k).checked_sub(kernel / 2)?)?;
                        Some(f64::from(w) * v)
                    });
                    taps.sum()
                };
                (0..x.len()).map(sum).collect()
            }
            Op::ZeroPad { stride, before } => zero_pad(x, from, node.shape, *stride, *before),
            Op::Pool(Pooling { kind, window, zeros }) => {
                let (x, from) = surrounded(x, from, *zeros);
                let window = Window { padding: window.padding.without(*zeros), ..*window };
                match kind {
                    PoolKind::Max => {
                        pool(&x, from, node.shape, &window, f64::NEG_INFINITY, f64::max)
                    }
                    PoolKind::Average => {
                        let add = |a, b| a + b;
                        let mut y = pool(&x, from, node.shape, &window, 0.0, add);
                        let ones = vec![1.0; from.elements()];
                        let pixels = pool(&ones, from, node.shape, &window, 0.0, add);
                        y.iter_mut().zip(pixels).for_each(|(sum, pixels)| *sum /= pixels);
                        y
                    }
                }
            }
            Op::Blur(window) => blur(x, from, node.shape, window),
            Op::GlobalAveragePool => x
                .chunks(from.pixels())
                .map(|plane| plane.iter().sum::<f64>() / from.pixels() as f64)
                .collect(),
            Op::Linear { weight, bias } => {
                let rows = self.tensors[weight].chunks(from.elements());
                let dot =
                    |row: &[f32]| row.iter().zip(x).map(|(&w, v)| f64::from(w) * v).sum::<f64>();
                rows.zip(&self.tensors[bias]).map(|(row, &b)| dot(row) + f64::from(b)).collect()
            }
            Op::Slice(channels) => {
                let pixels = from.pixels();
                x[channels.start * pixels..channels.end * pixels].to_vec()
            }
            Op::Concat => inputs.iter().flat_map(|input| input.iter().copied()).collect(),
            Op::Softmax => {
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let exp: Values = x.iter().map(|v| (v - max).exp()).collect();
                let sum: f64 = exp.iter().sum();
                exp.into_iter().map(|v| v / sum).collect()
            }
        }
    }

    fn normalise(&self, x: &Values, shape: Shape, norm: &NormTensors) -> Values {
        let of = |name: &str, channel: usize| f64::from(self.tensors[name][channel]);
        let mut y = Values::with_capacity(x.len());
        for (channel, plane) in x.chunks(shape.pixels()).enumerate() {
            let deviation = (of(&norm.variance, channel) + norm.epsilon).sqrt();
            let (mean, scale) = (of(&norm.mean, channel), of(&norm.weight, channel));
            let shift = of(&norm.bias, channel);
            y.extend(plane.iter().map(|v| (v - mean) / deviation * scale + shift));
        }
        y
    }

    fn normalise_groups(&self, x: &Values, shape: Shape, norm: &GroupNorm) -> Values {
        let of = |name: &str, channel: usize| f64::from(self.tensors[name][channel]);
        let mut y = Values::with_capacity(x.len());
        for group in x.chunks(x.len() / norm.groups) {
            let mean = group.iter().sum::<f64>() / group.len() as f64;
            let squares = group.iter().map(|v| (v - mean).powi(2));
            let deviation = (squares.sum::<f64>() / group.len() as f64 + norm.epsilon).sqrt();
            for plane in group.chunks(shape.pixels()) {
                let channel = y.len() / shape.pixels();
                let (scale, shift) = (of(&norm.weight, channel), of(&norm.bias, channel));
                y.extend(plane.iter().map(|v| (v - mean) / deviation * scale + shift));
            }
        }
        y
    }
}

/// The pairs of output and input positions along one direction for element `k` of the window:
/// where `input = output * stride + k * dilation - before` lies inside.
fn inside(
    k: usize,
    axis: Axis,
    inputs: usize,
    outputs: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let Axis { stride, dilation, before, .. } = axis;
    let at = k * dilation;
    let first = before.saturating_sub(at).div_ceil(stride);
    let last = (inputs + before).saturating_sub(at).div_ceil(stride).min(outputs);
    (first.min(last)..last).map(move |output| (output, output * stride + at - before))
}

/// Each output channel's weights with a mean of 0 and a variance of 1.
fn standardised(weights: &[f64], channels: usize, epsilon: f64) -> Values {
    let of = |own: &[f64]| {
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        let variance = own.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / own.len() as f64;
        own.iter().map(|w| (w - mean) / (variance + epsilon).sqrt()).collect::<Values>()
    };
    weights.chunks(weights.len() / channels).flat_map(of).collect()
}

fn convolve(
    x: &Values,
    from: Shape,
    to: Shape,
    window: &Window,
    groups: usize,
    weights: &[f64],
    bias: Option<&[f32]>,
) -> Values {
    let kernel = window.kernel;
    let (group_in, group_out) = (from.channels / groups, to.channels / groups);
    let mut y = vec![0.0; to.elements()];
    let mut taps = weights.iter();
    for (channel, plane) in y.chunks_mut(to.pixels()).enumerate() {
        plane.fill(bias.map_or(0.0, |bias| f64::from(bias[channel])));
        let group = channel / group_out;
        for input in &mut x.chunks(from.pixels()).skip(group * group_in).take(group_in) {
            for kr in 0..kernel.rows {
                for kc in 0..kernel.columns {
                    let weight = *taps.next().expect("weights were checked");
                    for (row, from_row) in inside(kr, window.rows(), from.height, to.height) {
                        let columns = inside(kc, window.columns(), from.width, to.width);
                        for (column, from_column) in columns {
                            plane[row * to.width + column] +=
                                weight * input[from_row * from.width + from_column];
                        }
                    }
                }
            }
        }
    }
    y
}

fn zero_pad(x: &Values, from: Shape, to: Shape, stride: Extent, before: usize) -> Values {
    let mut y = vec![0.0; to.elements()];
    let planes = y.chunks_mut(to.pixels()).skip(before);
    for (plane, input) in planes.zip(x.chunks(from.pixels())) {
        for row in 0..to.height {
            for column in 0..to.width {
                plane[row * to.width + column] =
                    input[row * stride.rows * from.width + column * stride.columns];
            }
        }
    }
    y
}

/// The picture with zeros around it.
fn surrounded(x: &Values, from: Shape, zeros: Padding) -> (Values, Shape) {
    let Padding { before, after } = zeros;
    let to = Shape {
        height: from.height + before.rows + after.rows,
        width: from.width + before.columns + after.columns,
        ..from
    };
    let mut y = vec![0.0; to.elements()];
    let planes = y.chunks_mut(to.pixels()).zip(x.chunks(from.pixels()));
    for (plane, input) in planes {
        let rows = plane.chunks_mut(to.width).skip(before.rows);
        for (row, input) in rows.zip(input.chunks(from.width)) {
            row[before.columns..][..from.width].copy_from_slice(input);
        }
    }
    (y, to)
}

fn pool(
    x: &Values,
    from: Shape,
    to: Shape,
    window: &Window,
    start: f64,
    combine: fn(f64, f64) -> f64,
) -> Values {
    let kernel = window.kernel;
    let mut y = vec![start; to.elements()];
    for (plane, input) in y.chunks_mut(to.pixels()).zip(x.chunks(from.pixels())) {
        for kr in 0..kernel.rows {
            for kc in 0..kernel.columns {
                for (row, from_row) in inside(kr, window.rows(), from.height, to.height) {
                    let columns = inside(kc, window.columns(), from.width, to.width);
                    for (column, from_column) in columns {
                        let value = &mut plane[row * to.width + column];
                        *value = combine(*value, input[from_row * from.width + from_column]);
                    }
                }
            }
        }
    }
    y
}

fn blur(x: &Values, from: Shape, to: Shape, window: &Window) -> Values {
    let kernel = window.kernel;
    let [row_weights, column_weights] = [kernel.rows, kernel.columns].map(binomial);
    let mut y = vec![0.0; to.elements()];
    for (plane, input) in y.chunks_mut(to.pixels()).zip(x.chunks(from.pixels())) {
        for (at, sum) in plane.iter_mut().enumerate() {
            let (row, column) = (at / to.width, at % to.width);
            for (kr, row_weight) in row_weights.iter().enumerate() {
                let from_row = mirrored(row, kr, window.rows(), from.height);
                for (kc, column_weight) in column_weights.iter().enumerate() {
                    let from_column = mirrored(column, kc, window.columns(), from.width);
                    let pixel = input[from_row * from.width + from_column];
                    *sum += row_weight * column_weight * pixel;
                }
            }
        }
    }
    y
}

/// Where element `k` of a window looks, in a picture mirrored at its first and last pixel.
fn mirrored(output: usize, k: usize, axis: Axis, size: usize) -> usize {
    let from = (output * axis.stride + k).abs_diff(axis.before);
    if from < size { from } else { 2 * (size - 1) - from }
}
