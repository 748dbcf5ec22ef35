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

mod winograd;

use std::ops::Range;

use self::winograd::Evaluate;
use crate::kernels::BLOCK;
use crate::tensors::{ConvRecipe, Transform, VectorRecipe};

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

/// Packs one convolution: `weight` is `[out][in / groups][row][column]`, `out` the recipe's
/// [`len`](ConvRecipe::len) elements, all of which are written. See [`ConvRecipe`] for the form.
///
/// # Errors
///
/// If a slice has another length than the recipe asks for, or a variance is not positive.
pub fn pack_conv(
    recipe: &ConvRecipe,
    weight: &[f32],
    bias: Option<&[f32]>,
    norm: Option<Norm<'_>>,
    out: &mut [f32],
) -> Result<(), PackError> {
    let packer = Packer::new(recipe, bias, norm)?;
    let channels = recipe.out_channels;
    expect_len("weight", weight.len(), channels * weights_per_channel(recipe))?;
    expect_len("packed form", out.len(), recipe.len())?;
    let (panels, biases) = out.split_at_mut(recipe.bias_offset());
    for (panel, out) in panels.chunks_mut(recipe.panel_len()).enumerate() {
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
pub struct Packer<'a> {
    recipe: &'a ConvRecipe,
    scales: Vec<ChannelScale>,
}

impl<'a> Packer<'a> {
    /// A packer for a recipe, with the convolution's bias and batch norm.
    ///
    /// # Errors
    ///
    /// If the recipe is inconsistent, a slice has another length than it asks for, or a variance is
    /// not positive.
    pub fn new(
        recipe: &'a ConvRecipe,
        bias: Option<&[f32]>,
        norm: Option<Norm<'_>>,
    ) -> Result<Self, PackError> {
        check_recipe(recipe)?;
        let channels = recipe.out_channels;
        if let Some(bias) = bias {
            expect_len("bias", bias.len(), channels)?;
        }
        if let Some(norm) = norm {
            norm.expect_len(channels)?;
        }
        Ok(Self { recipe, scales: channel_scales(recipe, bias, norm)? })
    }

    /// What it packs.
    pub fn recipe(&self) -> &'a ConvRecipe {
        self.recipe
    }

    /// The elements of the weight tensor, in its own order, that a panel is made of: those of the
    /// panel's output channels.
    pub fn source(&self, panel: usize) -> Range<usize> {
        let len = weights_per_channel(self.recipe);
        let channels = self.channels(panel);
        channels.start * len..channels.end * len
    }

    /// Packs a panel; `weight` is its [`source`](Packer::source), `out` has the panel's elements,
    /// [`ConvRecipe::panel_len`] of them or, if the panel is the last one of an odd number of
    /// blocks, half as many. All are written.
    ///
    /// # Panics
    ///
    /// If a slice has another length.
    pub fn pack_panel(&self, panel: usize, weight: &[f32], out: &mut [f32]) {
        assert_eq!(weight.len(), self.source(panel).len(), "the weights of panel {panel}");
        match self.recipe.transform {
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
    /// [`bias_offset`](ConvRecipe::bias_offset) on.
    pub fn pack_biases(&self, out: &mut [f32]) {
        out.fill(0.0);
        for (out, scale) in out.iter_mut().zip(&self.scales) {
            *out = flush(scale.bias);
        }
    }

    /// The output channels of a panel.
    fn channels(&self, panel: usize) -> Range<usize> {
        let recipe = self.recipe;
        let first = panel * recipe.panel_blocks * BLOCK;
        first..(first + recipe.panel_blocks * BLOCK).min(recipe.out_channels)
    }

    fn pack_direct(&self, panel: usize, weight: &[f32], out: &mut [f32]) {
        let recipe = self.recipe;
        let rows = input_lanes(recipe) * kernel_len(recipe);
        let mut folded = vec![0.0; rows];
        // The last panel of an odd number of blocks is narrower.
        let row = out.len() / (recipe.in_blocks * rows);
        for (block, rows) in out.chunks_exact_mut(rows * row).enumerate() {
            self.fold_block((panel, block), weight, row, &mut folded, rows, flush);
        }
    }

    fn pack_winograd<const N: usize>(
        &self,
        evaluate: impl Evaluate<3, N>,
        panel: usize,
        weight: &[f32],
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
        weight: &[f32],
        out: &mut [f32],
        transform: impl Fn(&[f64], usize, usize, &mut [f32]),
    ) {
        let recipe = self.recipe;
        let rows = input_lanes(recipe) * kernel_len(recipe);
        let mut folded = vec![0.0; rows];
        let row = out.len() / (recipe.in_blocks * recipe.kernel_points() * input_lanes(recipe));
        let mut taps = vec![0.0; rows * row];
        for block in 0..recipe.in_blocks {
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
        weight: &[f32],
        row: usize,
        folded: &mut [T],
        rows: &mut [T],
        round: impl Fn(f64) -> T,
    ) {
        let recipe = self.recipe;
        if !covers_every_element(recipe) {
            rows.fill(T::default());
        }
        let (lanes, kernel) = (input_lanes(recipe), kernel_len(recipe));
        let group_in = recipe.in_channels / recipe.groups;
        let group_out = recipe.out_channels / recipe.groups;
        let first_in = (panel * recipe.in_block_step + block) * lanes;
        for (column, channel) in self.channels(panel).enumerate() {
            let group = channel / group_out * group_in;
            let inputs = intersection(first_in..first_in + lanes, group..group + group_in);
            if inputs.is_empty() {
                continue;
            }
            let source = (column * group_in + inputs.start - group) * kernel;
            let source = &weight[source..][..inputs.len() * kernel];
            let folded = &mut folded[..source.len()];
            let scale = self.scales[channel].weight;
            for (folded, &weight) in folded.iter_mut().zip(source) {
                *folded = round(f64::from(weight) * scale);
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

/// Packs a batch norm that stands alone; see [`VectorSource::Norm`](crate::tensors::VectorSource).
///
/// # Errors
///
/// If a slice has another length than the recipe asks for, or a variance is not positive.
pub fn pack_norm(recipe: &VectorRecipe, norm: Norm<'_>, out: &mut [f32]) -> Result<(), PackError> {
    norm.expect_len(recipe.channels)?;
    expect_len("packed form", out.len(), recipe.len())?;
    let (scales, shifts) = out.split_at_mut(recipe.run_len());
    scales.fill(0.0);
    shifts.fill(0.0);
    for channel in 0..recipe.channels {
        let scale = norm.scale(channel)?;
        let mean = f64::from(norm.mean[channel]);
        scales[channel] = flush(scale);
        shifts[channel] = flush(f64::from(norm.bias[channel]) - mean * scale);
    }
    Ok(())
}

/// What folding does to an output channel.
struct ChannelScale {
    weight: f64,
    bias: f64,
}

fn channel_scales(
    recipe: &ConvRecipe,
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
    (0..recipe.out_channels).map(scale).collect()
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

fn input_lanes(recipe: &ConvRecipe) -> usize {
    if recipe.planar { 1 } else { BLOCK }
}

fn kernel_len(recipe: &ConvRecipe) -> usize {
    recipe.kernel_rows * recipe.kernel_columns
}

/// Elements of the weight tensor for one output channel.
fn weights_per_channel(recipe: &ConvRecipe) -> usize {
    recipe.in_channels / recipe.groups * kernel_len(recipe)
}

fn intersection(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// Whether every element of the panels comes from a weight, so that none is zero by absence.
fn covers_every_element(recipe: &ConvRecipe) -> bool {
    recipe.groups == 1
        && recipe.out_channels.is_multiple_of(BLOCK)
        && recipe.in_channels == recipe.in_blocks * input_lanes(recipe)
}

fn check_recipe(recipe: &ConvRecipe) -> Result<(), PackError> {
    let ConvRecipe { out_channels, in_channels, groups, .. } = *recipe;
    let sizes = [out_channels, in_channels, groups, recipe.in_blocks, kernel_len(recipe)];
    if sizes.contains(&0) {
        return Err(PackError::Recipe("a size is zero"));
    }
    if !matches!(recipe.panel_blocks, 1 | 2) {
        return Err(PackError::Recipe("a panel has one or two output blocks"));
    }
    if !out_channels.is_multiple_of(groups) || !in_channels.is_multiple_of(groups) {
        return Err(PackError::Recipe("the groups do not divide the channels"));
    }
    if !recipe.transform.suits(recipe.planar, (recipe.kernel_rows, recipe.kernel_columns)) {
        return Err(PackError::Recipe("the transform is for another kernel or layout"));
    }
    let panel_out = recipe.panel_blocks * BLOCK;
    let (group_in, group_out) = (in_channels / groups, out_channels / groups);
    for first_out in (0..out_channels).step_by(panel_out) {
        let last_out = (first_out + panel_out).min(out_channels) - 1;
        let first_in = first_out / panel_out * recipe.in_block_step;
        let read =
            first_in * input_lanes(recipe)..(first_in + recipe.in_blocks) * input_lanes(recipe);
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
