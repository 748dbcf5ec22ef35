//! What quantised layers are made of: their tensors in a file, and the numbers that kernels take beside
//! the weights.
//!
//! Of a layer `X`, the elements of `X.weight` are bytes from -127 to 127, `X.weight_scale` has a number
//! for each output channel, and `X.input_scale` and `X.input_zero_point` say what the bytes of its input
//! stand for: `(byte - zero point) * scale`. `X.bias` has real numbers, with the batch norm folded in.
//!
//! With the sum `acc` of an output channel's products of bytes and weights, in integers, its output is
//!
//! ```text
//! v = acc * (sx * sw / sy) + (bias / sy - zx * (sum of weights) * sx * sw / sy) + (r - zr) * (sr / sy)
//! y = round_half_even(min(max(v, lo), hi)) + zy
//! ```
//!
//! where `s` are scales and `z` zero points of the input `x`, the weights `w`, the residual `r` and the
//! output `y`. What stands in brackets is computed here in `f64` and rounded once; the rest is `f32`,
//! each operation rounded, so that all instruction sets agree. An output of `f32` has scale 1, no zero
//! point, and is not rounded to integers. An activation function is `lo` and `hi`.
//!
//! A Winograd convolution has, in the place of `acc * (sx * sw / sy)`, the sums of its points, each multiplied
//! by a scale of its own, as [`WinogradOutputParams`](crate::kernels::WinogradOutputParams) says; their words
//! are [`Points`].

use super::error::WeightsError;
use super::pack::{POINTS, Points, numbers, pack_bytes, pack_kernels, pack_words};
use super::recipe::QuantisedSource;
use super::source::Weights;
use crate::kernels::{Activation, BLOCK, F4OfBytes, Panels, TENSOR_NUMBERS, TensorLine, Transform};

/// The layer of a weight tensor: `X` of `X.weight`.
pub fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

/// Names of the tensors of a quantised layer, beside its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// A number for each output channel.
    pub weight_scale: String,
    /// A number for each output channel.
    pub bias: String,
    /// A number.
    pub input_scale: String,
    /// A byte.
    pub input_zero_point: String,
}

impl Names {
    /// Those of a layer.
    pub fn of(module: &str) -> Self {
        let name = |part: &str| format!("{module}.{part}");
        Self {
            weight_scale: name("weight_scale"),
            bias: name("bias"),
            input_scale: name("input_scale"),
            input_zero_point: name("input_zero_point"),
        }
    }
}

/// What the bytes of an activation stand for: `(byte - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    scale: f64,
    zero: f64,
}

impl Scale {
    /// That of `f32`.
    const NONE: Self = Self { scale: 1.0, zero: 0.0 };

    /// What [`Call::Quantise`](crate::kernels::Call::Quantise) is given.
    fn to_bytes(self) -> TensorLine {
        let [low, high] = self.limits(Activation::None);
        let factor = (1.0 / self.scale) as f32;
        TensorLine { factor, offset: 0.0, low, high, zero: self.zero as f32 }
    }

    /// What [`Call::Dequantise`](crate::kernels::Call::Dequantise) is given.
    fn of_bytes(self) -> TensorLine {
        TensorLine {
            factor: self.scale as f32,
            offset: self.zero as f32,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            zero: 0.0,
        }
    }

    /// What a value is clamped to before it is rounded, in steps of the scale from the zero point on.
    fn limits(self, activation: Activation) -> [f32; 2] {
        let [least, most] = [-self.zero, 255.0 - self.zero];
        let limits = match activation {
            Activation::Relu => [0.0, most],
            Activation::Relu6 => [0.0, most.min((6.0 / self.scale).round_ties_even())],
            _ => [least, most],
        };
        limits.map(|limit| limit as f32)
    }
}

/// The numbers by which the input of a layer becomes bytes, and by which they become `f32` again; its
/// weight tensor is `weight`.
///
/// # Errors
///
/// A scale that is no positive number.
pub fn conversions(weight: &str, weights: &Weights) -> Result<[TensorLine; 2], WeightsError> {
    let scale = scale(weight, weights)?;
    Ok([scale.to_bytes(), scale.of_bytes()])
}

/// What the bytes of the input of a layer stand for.
fn scale(weight: &str, weights: &Weights) -> Result<Scale, WeightsError> {
    let Names { input_scale, input_zero_point, .. } = Names::of(module(weight));
    let scale = positive(&input_scale, weights)?[0];
    let mut zero = Vec::new();
    weights.read_bytes(&input_zero_point, 0..1, &mut zero)?;
    Ok(Scale { scale, zero: f64::from(zero[0]) })
}

/// A tensor of scales.
fn positive(name: &str, weights: &Weights) -> Result<Vec<f64>, WeightsError> {
    let values = weights.tensor(name)?.values;
    match values.iter().position(|scale| !scale.is_normal() || *scale < 0.0) {
        None => Ok(values.into_iter().map(f64::from).collect()),
        Some(index) => Err(WeightsError::Scale {
            origin: weights.origin().to_owned(),
            tensor: name.to_owned(),
            index,
            value: values[index],
        }),
    }
}

/// A quantised layer, as it is computed.
pub struct Layer {
    /// The weight's elements, in row-major order.
    pub weight: Vec<i8>,
    /// For each output channel `sx * sw / sy`, and `bias / sy`.
    channels: Vec<[f64; 2]>,
    /// `zx`.
    zero: f64,
    /// What the residual is multiplied by after its zero point is subtracted, limits, and the output's
    /// zero point.
    pub tensor: TensorLine,
}

impl Layer {
    /// Reads a layer.
    ///
    /// # Errors
    ///
    /// Scales that are no positive numbers, or two layers that read one activation by different scales.
    pub fn read(source: &QuantisedSource, weights: &Weights) -> Result<Self, WeightsError> {
        let own = scale(&source.weight, weights)?;
        let x = scale(&source.input, weights)?;
        if own != x {
            return Err(WeightsError::Scales {
                origin: weights.origin().to_owned(),
                layers: [module(&source.weight).to_owned(), module(&source.input).to_owned()],
            });
        }
        let of = |weight: Option<&str>| weight.map_or(Ok(Scale::NONE), |w| scale(w, weights));
        let y = of(source.output.as_deref())?;
        let r = of(source.residual.as_deref())?;
        let names = Names::of(module(&source.weight));
        let scales = positive(&names.weight_scale, weights)?;
        let biases = weights.tensor(&names.bias)?;

        let mut bytes = Vec::new();
        let len = weights.shape(&source.weight)?.iter().product();
        weights.read_bytes(&source.weight, 0..len, &mut bytes)?;
        let weight: Vec<i8> = bytes.into_iter().map(|byte| byte as i8).collect();
        let channel =
            |(&scale, &bias): (&f64, &f32)| [x.scale * scale / y.scale, f64::from(bias) / y.scale];
        let channels = scales.iter().zip(biases.values.iter()).map(channel).collect();
        let [low, high] = match (&source.output, source.activation) {
            (Some(_), activation) => y.limits(activation),
            (None, Activation::Relu) => [0.0, f32::INFINITY],
            (None, Activation::Relu6) => [0.0, 6.0],
            (None, _) => [f32::NEG_INFINITY, f32::INFINITY],
        };
        let tensor = TensorLine {
            factor: (r.scale / y.scale) as f32,
            offset: r.zero as f32,
            low,
            high,
            zero: y.zero as f32,
        };
        Ok(Self { weight, channels, zero: x.zero, tensor })
    }

    /// The weights of each output channel.
    fn rows(&self) -> impl ExactSizeIterator<Item = (&[i8], [f64; 2])> {
        let len = self.weight.len() / self.channels.len();
        self.weight.chunks_exact(len).zip(self.channels.iter().copied())
    }

    /// For each output channel what the sums of a direct convolution are multiplied by, and what is added
    /// then.
    pub fn direct(&self) -> Vec<[f32; 2]> {
        let of_channel = |(weight, [factor, bias]): (&[i8], [f64; 2])| {
            let sum: i64 = weight.iter().map(|&weight| i64::from(weight)).sum();
            [factor as f32, (bias - self.zero * sum as f64 * factor) as f32]
        };
        self.rows().map(of_channel).collect()
    }

    /// What a Winograd convolution has for each output channel of a 3x3 kernel, one after the other: words take eight times what
    /// weights do.
    pub fn winograd(&self) -> impl ExactSizeIterator<Item = WinogradChannel> {
        let of_channel = |(weight, [factor, bias]): (&[i8], [f64; 2])| {
            let points = Points::of(weight);
            let scales = points.each_ref().map(|point| (point.step * factor) as f32);
            let Points { words, step, .. } = &points[F4OfBytes::ONES];
            let sum: i64 = words.iter().map(|&word| i64::from(word)).sum();
            let of_zeros = self.zero * f64::from(F4OfBytes::OF_ONES) * sum as f64 * step * factor;
            WinogradChannel { points, scales, shift: (bias - of_zeros) as f32 }
        };
        self.rows().map(of_channel)
    }
}

/// An output channel of a quantised Winograd convolution.
pub struct WinogradChannel {
    /// Its weights.
    pub points: [Points; POINTS],
    /// What the sums of each point are multiplied by.
    pub scales: [f32; POINTS],
    /// What is added to the output.
    pub shift: f32,
}

/// Packs a quantised convolution: its panels and its numbers, see [`Panels`].
///
/// # Errors
///
/// See [`Layer::read`].
pub(super) fn pack(
    source: &QuantisedSource,
    panels: &Panels,
    weights: &Weights,
    out: &mut [u8],
) -> Result<(), WeightsError> {
    let layer = Layer::read(source, weights)?;
    let (packed, rest) = out.split_at_mut(panels.bias_offset());
    let (of_channels, of_tensor) = numbers(rest).split_at_mut(panels.tensor_numbers_offset());
    of_channels.fill(0.0);
    if panels.format.transform == Transform::None {
        pack_bytes(panels, &layer.weight, bytemuck::cast_slice_mut(packed));
        for (channel, [factor, shift]) in layer.direct().into_iter().enumerate() {
            let (block, lane) = (channel / BLOCK * 2 * BLOCK, channel % BLOCK);
            of_channels[block + lane] = factor;
            of_channels[block + BLOCK + lane] = shift;
        }
    } else {
        let (scales, shifts) = of_channels.split_at_mut(panels.scales_len());
        let of_panel = panels.format.panel_blocks * BLOCK;
        let points = layer.winograd().enumerate().map(|(at, channel)| {
            shifts[at] = channel.shift;
            let rest = &mut scales[at / of_panel * POINTS * of_panel..];
            // The last panel of an odd number of blocks is narrower.
            let width = of_panel.min(rest.len() / POINTS);
            for (point, scale) in channel.scales.into_iter().enumerate() {
                rest[point * width + at % of_panel] = scale;
            }
            channel.points
        });
        if panels.format.is_untransformed() {
            let weights = layer.weight.chunks_exact(panels.shape.channel_len());
            pack_kernels(panels, weights.zip(points), bytemuck::cast_slice_mut(packed));
        } else {
            pack_words(panels, points, bytemuck::cast_slice_mut(packed));
        }
    }
    of_tensor.copy_from_slice(&layer.tensor.to_line());
    Ok(())
}

/// Packs the two lines of numbers of [`conversions`].
///
/// # Errors
///
/// See there.
pub(super) fn pack_conversions(
    weight: &str,
    weights: &Weights,
    out: &mut [u8],
) -> Result<(), WeightsError> {
    let lines = conversions(weight, weights)?;
    for (out, line) in numbers(out).chunks_exact_mut(TENSOR_NUMBERS).zip(lines) {
        out.copy_from_slice(&line.to_line());
    }
    Ok(())
}
