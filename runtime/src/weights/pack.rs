//! Packs the weights of a convolution into the order in which its kernel reads them, with the
//! batch norm folded in.
//!
//! PyTorch keeps `[out][in / groups][row][column]`: all of one output channel lies together. A
//! kernel wants 16 or 32 output channels side by side, so packing is a transposition. It goes one
//! panel and one input block at a time, and in it one output channel at a time: that reads a run
//! of `16 * rows * columns` weights, and what it writes scattered is one stretch of the packed
//! form (18 KB for a 3x3 kernel) that stays in the first-level cache until it is full.
//!
//! Folding, and Winograd's transform, are done in `f64` and rounded once. What would be a denormal
//! `f32` becomes zero.

mod bytes;
mod halves;
mod winograd;
mod words;

use std::ops::Range;

pub use self::bytes::pack_bytes;
use self::winograd::Evaluate;
pub use self::words::{POINTS, Points, pack_kernels, pack_words};
use crate::kernels::{BLOCK, ConvShape, PanelFormat, Panels, Transform};

/// The values of a batch norm, one an output channel.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Scale.
    pub weight: &'a [f32],
    /// Shift.
    pub bias: &'a [f32],
    /// Running mean.
    pub mean: &'a [f32],
    /// Running variance.
    pub variance: &'a [f32],
    /// Added to the variance before the root.
    pub epsilon: f64,
}

/// Why a convolution cannot be packed. The caller knows the layer and says its name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackError {
    /// A tensor has the wrong number of elements.
    #[error("the {tensor} has {found} elements where the network needs {expected}")]
    Length {
        /// Which one.
        tensor: &'static str,
        /// Its elements.
        found: usize,
        /// The elements that the recipe asks for.
        expected: usize,
    },
    /// A batch norm cannot divide by the root of this.
    #[error(
        "the running variance of channel {channel} is {variance}; with the epsilon {epsilon} it \
         has to be a positive number"
    )]
    Variance {
        /// The output channel.
        channel: usize,
        /// Its running variance.
        variance: f32,
        /// The norm's epsilon.
        epsilon: f64,
    },
    /// The recipe contradicts itself: a mistake of the compiler, not of the weights file.
    #[error("the packing recipe is inconsistent: {0}")]
    Recipe(&'static str),
}

/// Packs one convolution: `weight` is `[out][in / groups][row][column]`, `out` the
/// elements of `panels`, all of which are written. See [`Panels`] for the form.
///
/// # Errors
///
/// If a slice has another length than the panels ask for, or a variance is not positive.
pub fn pack_conv(
    panels: &Panels,
    weight: &[f32],
    bias: Option<&[f32]>,
    norm: Option<Norm<'_>>,
    out: &mut [f32],
) -> Result<(), PackError> {
    let packer = Packer::new(*panels, bias, norm)?;
    let ConvShape { out_channels, .. } = panels.shape;
    expect_len("weight", weight.len(), out_channels * panels.shape.channel_len())?;
    expect_len("packed form", out.len(), panels.weights_len() + panels.numbers_len())?;
    let (out, biases) = out.split_at_mut(panels.weights_len());
    for (panel, out) in out.chunks_mut(panels.panel_len()).enumerate() {
        packer.pack_panel(panel, &weight[packer.source(panel)], out);
    }
    packer.pack_biases(biases);
    Ok(())
}

/// Packs one convolution a panel at a time, in any order and on any thread, so that a panel's
/// weights are all that has to be in memory.
///
/// With a norm, output channel `c` is scaled by `s = norm.weight / sqrt(norm.variance + epsilon)`,
/// and its bias becomes `(bias - norm.mean) * s + norm.bias`.
pub struct Packer {
    panels: Panels,
    scales: Vec<ChannelScale>,
    /// An epsilon, if weights are standardised first.
    standardise: Option<f64>,
}

/// Weight standardization (Qiao et al., 2019) of one output channel, whose weights become `(weight -
/// mean) * scale`: their mean is 0 and their variance, not corrected for the sample, is 1 but for the
/// epsilon that is added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// The weights' mean.
    pub mean: f64,
    /// `1 / sqrt(variance + epsilon)`.
    pub scale: f64,
}

impl Standard {
    /// Weights as they are.
    const NONE: Self = Self { mean: 0.0, scale: 1.0 };

    /// That of the weights of one output channel.
    pub fn of(weights: &[f32], epsilon: f64) -> Self {
        let len = weights.len() as f64;
        let mean = weights.iter().map(|&weight| f64::from(weight)).sum::<f64>() / len;
        let squares = weights.iter().map(|&weight| (f64::from(weight) - mean).powi(2));
        let variance = squares.sum::<f64>() / len;
        Self { mean, scale: 1.0 / (variance + epsilon).sqrt() }
    }
}

/// The weights of a panel's output channels.
#[derive(Clone, Copy)]
struct Source<'a> {
    weight: &'a [f32],
    /// One an output channel; empty if they are taken as they are.
    standards: &'a [Standard],
}

impl Packer {
    /// A packer of a convolution with this bias and batch norm.
    ///
    /// # Errors
    ///
    /// If the format does not suit the shape, a slice has another length than it asks for, or a
    /// variance is not positive.
    pub fn new(
        panels: Panels,
        bias: Option<&[f32]>,
        norm: Option<Norm<'_>>,
    ) -> Result<Self, PackError> {
        check(&panels)?;
        let channels = panels.shape.out_channels;
        if let Some(bias) = bias {
            expect_len("bias", bias.len(), channels)?;
        }
        if let Some(norm) = norm {
            norm.expect_len(channels)?;
        }
        Ok(Self { panels, scales: channel_scales(channels, bias, norm)?, standardise: None })
    }

    /// The same, of weights that are standardised with this epsilon before anything is folded in.
    pub fn standardising(self, epsilon: Option<f64>) -> Self {
        Self { standardise: epsilon, ..self }
    }

    /// The elements of the weight tensor, in its own order, that a panel is made of: those of the
    /// panel's output channels.
    pub fn source(&self, panel: usize) -> Range<usize> {
        let len = self.panels.shape.channel_len();
        let channels = self.channels(panel);
        channels.start * len..channels.end * len
    }

    /// Packs a panel; `weight` is its [`source`](Packer::source), `out` has the panel's elements,
    /// [`Panels::panel_len`] of them or, if the panel is the last one of an odd number of
    /// blocks, half as many. All are written.
    ///
    /// # Panics
    ///
    /// If a slice has another length.
    pub fn pack_panel(&self, panel: usize, weight: &[f32], out: &mut [f32]) {
        assert_eq!(weight.len(), self.source(panel).len(), "the weights of panel {panel}");
        let standards: Vec<Standard> = match self.standardise {
            Some(epsilon) => {
                let channels = weight.chunks(self.panels.shape.channel_len());
                channels.map(|weights| Standard::of(weights, epsilon)).collect()
            }
            None => Vec::new(),
        };
        let weight = Source { weight, standards: &standards };
        match self.panels.format.transform {
            Transform::None => self.pack_direct(panel, weight, out),
            Transform::Winograd2x2 => self.pack_winograd(winograd::f2, panel, weight, out),
            Transform::Winograd4x4 => self.pack_winograd(winograd::f4, panel, weight, out),
            Transform::Winograd2x2Stride2 => self.pack_winograd(winograd::f2s2, panel, weight, out),
            Transform::Winograd4x4Stride2 => self.pack_winograd(winograd::f4s2, panel, weight, out),
            Transform::Winograd4x1Stride2 => {
                let evaluate = winograd::f4x7s2;
                self.pack_blocks(panel, weight, out, |taps, row, block, out| {
                    winograd::transform_columns(evaluate, taps, row, block, out, flush);
                });
            }
        }
    }

    /// Writes what follows the panels: `out` is the packed form from
    /// [`bias_offset`](Panels::bias_offset) on.
    pub fn pack_biases(&self, out: &mut [f32]) {
        out.fill(0.0);
        for (out, scale) in out.iter_mut().zip(&self.scales) {
            *out = flush(scale.bias);
        }
    }

    /// The shape of the convolution.
    pub(super) fn shape(&self) -> &ConvShape {
        &self.panels.shape
    }

    /// The output channels of a panel.
    pub(super) fn channels(&self, panel: usize) -> Range<usize> {
        let len = self.panels.format.panel_blocks * BLOCK;
        panel * len..((panel + 1) * len).min(self.panels.shape.out_channels)
    }

    fn pack_direct(&self, panel: usize, weight: Source<'_>, out: &mut [f32]) {
        let Panels { shape, format } = &self.panels;
        let rows = format.lanes() * shape.kernel_len();
        let mut folded = vec![0.0; rows];
        // The last panel of an odd number of blocks is narrower.
        let row = out.len() / (format.in_blocks * rows);
        for (block, rows) in out.chunks_exact_mut(rows * row).enumerate() {
            self.fold_block((panel, block), weight, row, &mut folded, rows, flush);
        }
    }

    fn pack_winograd<const N: usize>(
        &self,
        evaluate: impl Evaluate<3, N>,
        panel: usize,
        weight: Source<'_>,
        out: &mut [f32],
    ) {
        self.pack_blocks(panel, weight, out, |taps, row, block, out| {
            winograd::transform_block(evaluate, taps, row, block, out, flush);
        });
    }

    /// Hands each block of a panel, folded, to `transform`: the taps, the output channels of a row,
    /// the block, and the packed panel.
    fn pack_blocks(
        &self,
        panel: usize,
        weight: Source<'_>,
        out: &mut [f32],
        transform: impl Fn(&[f64], usize, usize, &mut [f32]),
    ) {
        let Panels { shape, format } = &self.panels;
        let rows = format.lanes() * shape.kernel_len();
        let mut folded = vec![0.0; rows];
        let row = out.len() / (format.in_blocks * self.panels.kernel_points() * format.lanes());
        let mut taps = vec![0.0; rows * row];
        for block in 0..format.in_blocks {
            self.fold_block((panel, block), weight, row, &mut folded, &mut taps, |value| value);
            transform(&taps, row, block, out);
        }
    }

    /// Folds input block `block` of panel `panel`, whose weights are `weight`, into `rows`, which
    /// are `[kernel][lane][row]`: for each of its output channels, the input channels that the
    /// output channel reads.
    fn fold_block<T: Copy + Default>(
        &self,
        (panel, block): (usize, usize),
        weight: Source<'_>,
        row: usize,
        folded: &mut [T],
        rows: &mut [T],
        round: impl Fn(f64) -> T,
    ) {
        if !covers_every_element(&self.panels) {
            rows.fill(T::default());
        }
        let Panels { shape, format } = &self.panels;
        let (lanes, kernel) = (format.lanes(), shape.kernel_len());
        let group_in = shape.in_channels / shape.groups;
        let group_out = shape.out_channels / shape.groups;
        let first_in = (panel * format.in_block_step + block) * lanes;
        for (column, channel) in self.channels(panel).enumerate() {
            let group = channel / group_out * group_in;
            let inputs = intersection(first_in..first_in + lanes, group..group + group_in);
            if inputs.is_empty() {
                continue;
            }
            let source = (column * group_in + inputs.start - group) * kernel;
            let source = &weight.weight[source..][..inputs.len() * kernel];
            let folded = &mut folded[..source.len()];
            let standard = weight.standards.get(column).unwrap_or(&Standard::NONE);
            let fold = self.scales[channel].fold(standard);
            for (folded, &weight) in folded.iter_mut().zip(source) {
                *folded = round(fold(weight));
            }
            let first_lane = inputs.start - first_in;
            scatter(folded, kernel, lanes, first_lane, row, rows, column);
        }
    }
}

impl Norm<'_> {
    fn expect_len(&self, channels: usize) -> Result<(), PackError> {
        expect_len("norm's weight", self.weight.len(), channels)?;
        expect_len("norm's bias", self.bias.len(), channels)?;
        expect_len("norm's running mean", self.mean.len(), channels)?;
        expect_len("norm's running variance", self.variance.len(), channels)
    }

    /// What a channel is multiplied by.
    fn scale(&self, channel: usize) -> Result<f64, PackError> {
        let (variance, epsilon) = (self.variance[channel], self.epsilon);
        let root = (f64::from(variance) + epsilon).sqrt();
        // False for NaN too.
        if !(root > 0.0 && root.is_finite()) {
            return Err(PackError::Variance { channel, variance, epsilon });
        }
        Ok(f64::from(self.weight[channel]) / root)
    }
}

/// Packs a batch norm that stands alone, into as many scales and then as many shifts: `out` is two
/// runs of one number a channel, each padded with zeros to the same length.
///
/// # Errors
///
/// If the norm has another length than `channels`, or a variance is not positive.
///
/// # Panics
///
/// If `out` has not the room.
pub fn pack_norm(channels: usize, norm: Norm<'_>, out: &mut [f32]) -> Result<(), PackError> {
    norm.expect_len(channels)?;
    let (scales, shifts) = out.split_at_mut(out.len() / 2);
    scales.fill(0.0);
    shifts.fill(0.0);
    for channel in 0..channels {
        let scale = norm.scale(channel)?;
        let mean = f64::from(norm.mean[channel]);
        scales[channel] = flush(scale);
        shifts[channel] = flush(f64::from(norm.bias[channel]) - mean * scale);
    }
    Ok(())
}

/// A part of packed weights that consists of `f32`: it starts on a cache line.
pub(super) fn numbers(packed: &mut [u8]) -> &mut [f32] {
    bytemuck::cast_slice_mut(packed)
}

/// What folding does to an output channel.
struct ChannelScale {
    weight: f64,
    bias: f64,
}

impl ChannelScale {
    /// What becomes of each weight of the channel.
    fn fold(&self, standard: &Standard) -> impl Fn(f32) -> f64 + use<> {
        let (mean, scale) = (standard.mean, standard.scale * self.weight);
        move |weight| (f64::from(weight) - mean) * scale
    }
}

/// A convolution's weights and biases with all that is folded into them, before they are rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// In the order of the weight tensor.
    pub weight: Vec<f64>,
    /// One an output channel.
    pub bias: Vec<f64>,
}

impl Folded {
    /// Folds the weights of `channels` output channels, which are standardised first if there is an epsilon
    /// for that.
    ///
    /// # Errors
    ///
    /// If a slice has another length than the channels ask for, or a variance is not positive.
    pub fn new(
        channels: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
        norm: Option<Norm<'_>>,
        standardise: Option<f64>,
    ) -> Result<Self, PackError> {
        if let Some(bias) = bias {
            expect_len("bias", bias.len(), channels)?;
        }
        if let Some(norm) = norm {
            norm.expect_len(channels)?;
        }
        let len = weight.len() / channels.max(1);
        expect_len("weight", weight.len(), channels * len)?;
        let scales = channel_scales(channels, bias, norm)?;
        let mut folded = Vec::with_capacity(weight.len());
        for (weights, scale) in weight.chunks(len.max(1)).zip(&scales) {
            let standard =
                standardise.map_or(Standard::NONE, |epsilon| Standard::of(weights, epsilon));
            let fold = scale.fold(&standard);
            folded.extend(weights.iter().map(|&weight| fold(weight)));
        }
        Ok(Self { weight: folded, bias: scales.into_iter().map(|scale| scale.bias).collect() })
    }
}

fn channel_scales(
    channels: usize,
    bias: Option<&[f32]>,
    norm: Option<Norm<'_>>,
) -> Result<Vec<ChannelScale>, PackError> {
    let scale = |channel: usize| {
        let bias = bias.map_or(0.0, |bias| f64::from(bias[channel]));
        let Some(norm) = norm else { return Ok(ChannelScale { weight: 1.0, bias }) };
        let weight = norm.scale(channel)?;
        let mean = f64::from(norm.mean[channel]);
        Ok(ChannelScale { weight, bias: (bias - mean) * weight + f64::from(norm.bias[channel]) })
    };
    (0..channels).map(scale).collect()
}

/// Writes one output channel's column of a panel's rows, which are `[kernel][lane]`: `folded` is
/// `[lane][kernel]`, its first lane is `first_lane` of the rows.
fn scatter<T: Copy>(
    folded: &[T],
    kernel: usize,
    lanes: usize,
    first_lane: usize,
    row: usize,
    rows: &mut [T],
    column: usize,
) {
    for (k, rows) in rows.chunks_exact_mut(lanes * row).enumerate() {
        let rows = rows.chunks_exact_mut(row).skip(first_lane);
        for (row, folded) in rows.zip(folded.chunks_exact(kernel)) {
            row[column] = folded[k];
        }
    }
}

/// Rounds to `f32`; a result too small for a normal number becomes zero.
fn flush(value: f64) -> f32 {
    let value = value as f32;
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

fn intersection(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// Whether every element of the panels comes from a weight, so that none is zero by absence.
fn covers_every_element(Panels { shape, format }: &Panels) -> bool {
    shape.groups == 1
        && shape.out_channels.is_multiple_of(BLOCK)
        && shape.in_channels == format.in_blocks * format.lanes()
}

fn check(Panels { shape, format }: &Panels) -> Result<(), PackError> {
    let &ConvShape { out_channels, in_channels, groups, kernel_rows, kernel_columns } = shape;
    let &PanelFormat { planar, panel_blocks, in_blocks, in_block_step, transform, .. } = format;
    if [out_channels, in_channels, groups, in_blocks, shape.kernel_len()].contains(&0) {
        return Err(PackError::Recipe("a size is zero"));
    }
    if !matches!(panel_blocks, 1 | 2) {
        return Err(PackError::Recipe("a panel has one or two output blocks"));
    }
    if !out_channels.is_multiple_of(groups) || !in_channels.is_multiple_of(groups) {
        return Err(PackError::Recipe("the groups do not divide the channels"));
    }
    if !transform.suits(planar, (kernel_rows, kernel_columns)) {
        return Err(PackError::Recipe("the transform is for another kernel or layout"));
    }
    let panel_out = panel_blocks * BLOCK;
    let (group_in, group_out) = (in_channels / groups, out_channels / groups);
    for first_out in (0..out_channels).step_by(panel_out) {
        let last_out = (first_out + panel_out).min(out_channels) - 1;
        let first_in = first_out / panel_out * in_block_step;
        let read = first_in * format.lanes()..(first_in + in_blocks) * format.lanes();
        let needed = first_out / group_out * group_in..(last_out / group_out + 1) * group_in;
        if intersection(read, needed.clone()) != needed {
            return Err(PackError::Recipe("a panel does not read all inputs of its groups"));
        }
    }
    Ok(())
}

fn expect_len(tensor: &'static str, found: usize, expected: usize) -> Result<(), PackError> {
    if found == expected { Ok(()) } else { Err(PackError::Length { tensor, found, expected }) }
}
