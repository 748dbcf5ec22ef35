//! Operators by definition: sums in `f64`, in their order.

use std::collections::HashMap;

use resnet_runtime::weights::{NormTensors, Weights, WeightsError};

use crate::graph::{Axis, Extent, GroupNorm, Padding, PoolKind, Pooling, Shape, Window, binomial};

/// An activation: channel, row, column order.
pub(super) type Values = Vec<f64>;

/// Tensors of real numbers, by their names.
pub(super) struct Tensors(HashMap<String, Vec<f32>>);

impl Tensors {
    /// Reads tensors of these names.
    pub(super) fn read<'a>(
        names: impl Iterator<Item = &'a str>,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let read = |name: &str| Ok((name.to_owned(), weights.tensor(name)?.values));
        names.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The values of a tensor.
    pub(super) fn of(&self, name: &str) -> &[f32] {
        &self.0[name]
    }

    /// The weights of a convolution with so many output channels.
    pub(super) fn conv(&self, weight: &str, outputs: usize, standardise: Option<f64>) -> Values {
        let weights: Values = self.of(weight).iter().map(|&w| f64::from(w)).collect();
        match standardise {
            Some(epsilon) => standardised(&weights, outputs, epsilon),
            None => weights,
        }
    }

    /// A convolution along the channels of a single pixel.
    pub(super) fn channel_conv(&self, x: &Values, kernel: usize, weight: &str) -> Values {
        let weights = self.of(weight);
        let sum = |channel: usize| {
            let taps = weights.iter().enumerate().filter_map(|(k, &w)| {
                let v = x.get((channel + k).checked_sub(kernel / 2)?)?;
                Some(f64::from(w) * v)
            });
            taps.sum()
        };
        (0..x.len()).map(sum).collect()
    }

    pub(super) fn batch_norm(&self, x: &Values, shape: Shape, norm: &NormTensors) -> Values {
        let of = |name: &str, channel: usize| f64::from(self.0[name][channel]);
        let mut y = Values::with_capacity(x.len());
        for (channel, plane) in x.chunks(shape.pixels()).enumerate() {
            let deviation = (of(&norm.variance, channel) + norm.epsilon).sqrt();
            let (mean, scale) = (of(&norm.mean, channel), of(&norm.weight, channel));
            let shift = of(&norm.bias, channel);
            y.extend(plane.iter().map(|v| (v - mean) / deviation * scale + shift));
        }
        y
    }

    pub(super) fn group_norm(&self, x: &Values, shape: Shape, norm: &GroupNorm) -> Values {
        let of = |name: &str, channel: usize| f64::from(self.0[name][channel]);
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

/// Each channel multiplied by the sigmoid of its gate.
pub(super) fn gate(x: &Values, pixels: usize, gates: &Values) -> Values {
    let planes = x.chunks(pixels).zip(gates);
    let gated = |(plane, gate): (&[f64], &f64)| {
        let weight = 1.0 / (1.0 + (-gate).exp());
        plane.iter().map(|v| v * weight).collect::<Values>()
    };
    planes.flat_map(gated).collect()
}

/// A max pool or an average pool.
pub(super) fn pooling(x: &Values, from: Shape, to: Shape, pooling: &Pooling) -> Values {
    let Pooling { kind, window, zeros } = pooling;
    let (x, from) = surrounded(x, from, *zeros);
    let window = Window { padding: window.padding.without(*zeros), ..*window };
    match kind {
        PoolKind::Max => pool(&x, from, to, &window, f64::NEG_INFINITY, f64::max),
        PoolKind::Average => {
            let add = |a, b| a + b;
            let mut y = pool(&x, from, to, &window, 0.0, add);
            let ones = vec![1.0; from.elements()];
            let pixels = pool(&ones, from, to, &window, 0.0, add);
            y.iter_mut().zip(pixels).for_each(|(sum, pixels)| *sum /= pixels);
            y
        }
    }
}

/// The mean of each plane.
pub(super) fn means(x: &Values, pixels: usize) -> Values {
    x.chunks(pixels).map(|plane| plane.iter().sum::<f64>() / pixels as f64).collect()
}

/// Softmax over all values.
pub(super) fn softmax(x: &Values) -> Values {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Values = x.iter().map(|v| (v - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|v| v / sum).collect()
}

/// The pairs of output and input positions along one direction for element `k` of the window:
/// where `input = output * stride + k * dilation - before` lies inside.
pub(super) fn inside(
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

pub(super) fn convolve(
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

pub(super) fn zero_pad(
    x: &Values,
    from: Shape,
    to: Shape,
    stride: Extent,
    before: usize,
) -> Values {
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
pub(super) fn surrounded(x: &Values, from: Shape, zeros: Padding) -> (Values, Shape) {
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

pub(super) fn pool(
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

pub(super) fn blur(x: &Values, from: Shape, to: Shape, window: &Window) -> Values {
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
pub(super) fn mirrored(output: usize, k: usize, axis: Axis, size: usize) -> usize {
    let from = (output * axis.stride + k).abs_diff(axis.before);
    if from < size { from } else { 2 * (size - 1) - from }
}
