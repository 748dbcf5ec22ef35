//! A fused graph some of whose layers are quantised. What these compute is defined to the bit, as
//! [`quantised`](resnet_runtime::weights::quantised) says; operators on real numbers around them are computed in
//! `f64` and rounded to `f32` once, but for sums of pixels, whose order decides about the bytes made of them.

use std::collections::BTreeMap;

use resnet_runtime::kernels::{TensorLine, Transform};
use resnet_runtime::weights::quantised::{Layer, WinogradChannel, conversions};
use resnet_runtime::weights::{LoadError, NormTensors, Slice, Stored, Weights, WeightsPlan};

use super::activation::activate;
use super::operators::{
    Tensors, Values, blur, convolve, gate, pool, pooling, softmax, surrounded, zero_pad,
};
use super::{walk, winograd};
use crate::fuse::formats;
use crate::fuse::{Conv, Format, Fused, FusedId, FusedNode, FusedOp, Residual};
use crate::graph::{Extent, Padding, PoolKind, Pooling, Shape, Window};

/// A fused graph and its weights.
pub(super) struct Evaluator {
    fused: Fused,
    /// The tensors of layers that are not quantised.
    tensors: Tensors,
    /// Those that are, by their weights.
    layers: BTreeMap<String, (Layer, Channels)>,
    /// To bytes and back, by the weights of the layers that read the bytes.
    conversions: BTreeMap<String, [TensorLine; 2]>,
}

/// A quantised layer's output channels.
enum Channels {
    /// What sums are multiplied by, and what is added then.
    Direct(Vec<[f32; 2]>),
    Winograd(Vec<WinogradChannel>),
}

impl Evaluator {
    pub(super) fn load(
        fused: &Fused,
        plan: &WeightsPlan,
        weights: &Weights,
    ) -> Result<Self, LoadError> {
        weights.check(&plan.tensors)?;
        let real = plan.tensors.iter().filter(|spec| matches!(spec.stored, Stored::Float));
        let tensors = Tensors::read(real.map(|spec| &*spec.name), weights)?;
        let (mut layers, mut lines) = (BTreeMap::new(), BTreeMap::new());
        for node in &fused.nodes {
            if let FusedOp::Conv(conv) = &node.op
                && conv.quantised()
            {
                let source = formats::source(fused, node, conv);
                let layer = Layer::read(&source, weights)?;
                let channels = match plan.transform(&conv.weight) {
                    Some(Transform::None) | None => Channels::Direct(layer.direct()),
                    Some(_) => Channels::Winograd(layer.winograd().collect()),
                };
                layers.insert(conv.weight.clone(), (layer, channels));
            }
            if let Format::U8(weight) = &node.format {
                lines.insert(weight.clone(), conversions(weight, weights)?);
            }
        }
        Ok(Self { fused: fused.clone(), tensors, layers, conversions: lines })
    }

    pub(super) fn evaluate(&self, image: &[f32]) -> Values {
        let nodes = &self.fused.nodes;
        let reads = |index: usize| nodes[index].reads().map(FusedId::index).collect();
        let outputs = self.fused.outputs.iter().map(|id| id.index()).collect();
        walk(image, nodes.len(), reads, outputs, |index, inputs| self.node(&nodes[index], inputs))
    }

    /// `inputs` are what the node reads, in the order of [`FusedNode::reads`]. Bytes are whole numbers.
    fn node(&self, node: &FusedNode, inputs: &[&Values]) -> Values {
        let Some(input) = node.input else { unreachable!("only the image reads nothing") };
        let (x, from) = (inputs[0], self.fused.node(input).shape);
        let y = match &node.op {
            FusedOp::Input => unreachable!("the image is given"),
            FusedOp::Conv(conv) if conv.quantised() => return self.quantised(node, conv, inputs),
            FusedOp::Quantise => {
                let [line, _] = self.conversions[scale(&node.format)];
                let byte = |&v: &f64| f64::from(to_byte(line, v as f32 * line.factor));
                return x.iter().map(byte).collect();
            }
            FusedOp::Dequantise => {
                let [_, line] = self.conversions[scale(&self.fused.node(input).format)];
                let real = |&v: &f64| f64::from((v as f32 - line.offset) * line.factor);
                return x.iter().map(real).collect();
            }
            FusedOp::Conv(conv) => self.conv(node, conv, x, from),
            FusedOp::Pool(Pooling { kind: PoolKind::Average, window, zeros }) => {
                let (x, from) = surrounded(x, from, *zeros);
                let window = Window { padding: window.padding.without(*zeros), ..*window };
                averages(&x, from, node.shape, &window)
            }
            FusedOp::Pool(pool) => pooling(x, from, node.shape, pool),
            FusedOp::Affine(norm) => self.tensors.batch_norm(x, node.shape, norm),
            FusedOp::Add => x.clone(),
            FusedOp::Gate { .. } => gate(x, from.pixels(), inputs[inputs.len() - 1]),
            FusedOp::GroupNorm(norm) => self.tensors.group_norm(x, node.shape, norm),
            FusedOp::ChannelConv { kernel, weight } => {
                self.tensors.channel_conv(x, *kernel, weight)
            }
            FusedOp::Blur(window) => blur(x, from, node.shape, window),
            FusedOp::GlobalAveragePool => {
                let mean = |plane: &[f64]| f64::from(mean(plane, from.width));
                x.chunks(from.pixels()).map(mean).collect()
            }
            FusedOp::Softmax => softmax(x),
            FusedOp::Narrow | FusedOp::Widen => unreachable!("{NO_HALVES}"),
        };
        let residual =
            node.epilogue.residual.map(|residual| self.residual(node, residual, inputs[1]));
        let finish = |(at, v): (usize, f64)| {
            let sum = v + residual.as_ref().map_or(0.0, |residual| residual[at]);
            f64::from(activate(node.epilogue.activation, sum) as f32)
        };
        y.into_iter().enumerate().map(finish).collect()
    }

    fn quantised(&self, node: &FusedNode, conv: &Conv, inputs: &[&Values]) -> Values {
        let (layer, channels) = &self.layers[&conv.weight];
        let input = self.fused.node(node.input.expect("a convolution reads"));
        let (from, to) = (input.shape, node.shape);
        let zero = self.zero(&input.format);
        let values: Vec<f32> = match channels {
            Channels::Direct(channels) => {
                let sums = self.sums(layer, conv, inputs[0], zero, [from, to]);
                let shifted =
                    |(channel, sum): (&[f32; 2], f64)| sum as f32 * channel[0] + channel[1];
                let channels = channels.iter().flat_map(|c| std::iter::repeat_n(c, to.pixels()));
                channels.zip(sums).map(shifted).collect()
            }
            Channels::Winograd(channels) => {
                let mut y = winograd::convolve(inputs[0], zero, from, to, &conv.window, channels);
                for (channel, plane) in channels.iter().zip(y.chunks_mut(to.pixels())) {
                    plane.iter_mut().for_each(|v| *v += channel.shift);
                }
                y
            }
        };
        let residual =
            node.epilogue.residual.map(|residual| self.residual(node, residual, inputs[1]));
        let tensor = layer.tensor;
        let finish = |(at, mut v): (usize, f32)| {
            if let Some(residual) = &residual {
                v += residual[at] as f32 * tensor.factor;
            }
            match node.format {
                Format::U8(_) => f64::from(to_byte(tensor, v)),
                Format::F32 => f64::from(v.clamp(tensor.low, tensor.high)),
                Format::Bf16 => unreachable!("{NO_HALVES}"),
            }
        };
        values.into_iter().enumerate().map(finish).collect()
    }

    /// The sums of products of bytes: whole numbers that `f64` holds.
    fn sums(
        &self,
        layer: &Layer,
        conv: &Conv,
        x: &Values,
        zero: f64,
        [from, to]: [Shape; 2],
    ) -> Values {
        // Around the image are zero points.
        let x: Values = x.iter().map(|byte| byte - zero).collect();
        let weights: Values = layer.weight.iter().map(|&w| f64::from(w)).collect();
        let mut sums = convolve(&x, from, to, &conv.window, conv.groups, &weights, None);
        let products = weights.len() / to.channels;
        for (own, plane) in weights.chunks(products).zip(sums.chunks_mut(to.pixels())) {
            let of_zeros = zero * own.iter().sum::<f64>();
            plane.iter_mut().for_each(|sum| *sum += of_zeros);
        }
        sums
    }

    /// A convolution of real numbers, with its batch norm.
    fn conv(&self, node: &FusedNode, conv: &Conv, x: &Values, from: Shape) -> Values {
        let own = node.shape.channels;
        let slice = conv.slice.unwrap_or(Slice { of: [own, from.channels], at: [0, 0] });
        let [first, first_input] = slice.at;
        let mut weights = self.tensors.conv(&conv.weight, slice.of[0], conv.standardise);
        if conv.slice.is_some() {
            let kernel = conv.window.kernel.rows * conv.window.kernel.columns;
            let rows = weights.chunks(slice.of[1] * kernel).skip(first).take(own);
            let cut = |row: &[f64]| row[first_input * kernel..][..from.channels * kernel].to_vec();
            weights = rows.flat_map(cut).collect();
        }
        let mut y = convolve(x, from, node.shape, &conv.window, conv.groups, &weights, None);
        for (channel, plane) in y.chunks_mut(node.shape.pixels()).enumerate() {
            let of = |name: &str| f64::from(self.tensors.of(name)[first + channel]);
            let (mut scale, mut shift) = (1.0, conv.bias.as_deref().map_or(0.0, of));
            if let Some(NormTensors { weight, bias, mean, variance, epsilon }) = &conv.norm {
                scale = of(weight) / (of(variance) + epsilon).sqrt();
                shift = (shift - of(mean)) * scale + of(bias);
            }
            // Of several slices of a weight the first one adds.
            let shift = if first_input == 0 { shift } else { 0.0 };
            plane.iter_mut().for_each(|v| *v = *v * scale + shift);
        }
        y
    }

    /// What is added to a node, if bytes by how much they are over their zero point.
    fn residual(&self, node: &FusedNode, residual: Residual, values: &Values) -> Values {
        let source = self.fused.node(residual.source());
        let zero = self.zero(&source.format);
        let over: Values = values.iter().map(|v| v - zero).collect();
        match residual {
            Residual::Same(_) => over,
            Residual::ZeroPad { stride, before, .. } => {
                zero_pad(&over, source.shape, node.shape, stride, before)
            }
        }
    }

    /// The zero point of bytes.
    fn zero(&self, format: &Format) -> f64 {
        match format {
            Format::U8(weight) => f64::from(self.conversions[weight][1].offset),
            Format::F32 | Format::Bf16 => 0.0,
        }
    }
}

/// What planning sees to.
const NO_HALVES: &str = "a quantised network has no bf16";

/// The weight of the layer by whose scale bytes are made.
fn scale(format: &Format) -> &str {
    match format {
        Format::U8(weight) => weight,
        Format::F32 | Format::Bf16 => unreachable!("these are bytes"),
    }
}

fn to_byte(line: TensorLine, v: f32) -> u8 {
    (v.clamp(line.low, line.high).round_ties_even() + line.zero) as u8
}

/// `a + b` in `f32`.
fn add(a: f64, b: f64) -> f64 {
    f64::from((a + b) as f32)
}

/// An average pool whose windows are summed in `f32`, row by row.
fn averages(x: &Values, from: Shape, to: Shape, window: &Window) -> Values {
    let Window { kernel, stride, padding, .. } = *window;
    let side =
        |kernel, stride, before, after| Window::new(kernel, stride, Padding { before, after });
    let along = |e: Extent, rest| Extent { rows: rest, ..e };
    let [before, after] = [padding.before, padding.after].map(|e| along(e, 0));
    let columns = side(along(kernel, 1), along(stride, 1), before, after);
    let along = |e: Extent, rest| Extent { columns: rest, ..e };
    let [before, after] = [padding.before, padding.after].map(|e| along(e, 0));
    let rows = side(along(kernel, 1), along(stride, 1), before, after);
    let lines = Shape { height: from.height, ..to };
    let sum = |x: &Values| {
        let x = pool(x, from, lines, &columns, 0.0, add);
        pool(&x, lines, to, &rows, 0.0, add)
    };
    let pixels = sum(&vec![1.0; from.elements()]);
    sum(x).iter().zip(pixels).map(|(sum, pixels)| sum / pixels).collect()
}

/// The mean of a plane in `f32`: of four sums for each 64 pixels of a row, which are added in pairs, the
/// pairs in pairs, and so on.
fn mean(plane: &[f64], width: usize) -> f32 {
    let mut levels: Vec<Option<f32>> = Vec::new();
    for part in plane.chunks(width).flat_map(|row| row.chunks(64)) {
        let mut sums = [0.0; 4];
        for (at, &v) in part.iter().enumerate() {
            sums[at % 4] += v as f32;
        }
        let mut sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        let mut level = 0;
        while let Some(Some(other)) = levels.get_mut(level).map(Option::take) {
            sum += other;
            level += 1;
        }
        levels.resize(levels.len().max(level + 1), None);
        levels[level] = Some(sum);
    }
    let total = levels.into_iter().flatten().fold(0.0, |total: f32, sum| total + sum);
    total / plane.len() as f32
}
