//! The constants of training's kernels.

use super::super::constants::{last, padded, plane};
use super::super::{Activation, BLOCK, Constant, PoolParams};

params! {
    /// The gradient of a convolution's weights over some rows of one image, for one input block (or one channel of a
    /// planar input) and one tap of the kernel: `y[i][o] = sum over rows and columns of x[i] * d[o]`.
    ///
    /// The input at output pixel `(row, column)` is `x[row * x_row + column * x_step + i]`, the output's gradient
    /// `d[o / 16 * d_block + row * d_row + column * 16 + o % 16]`; `y` is `[inputs][out_blocks * 16]`, as a panel
    /// of packed weights has it. Each sum is one chain of fused multiply-adds from zero, row by row, to which the
    /// old `y` is added at the end.
    pub struct ConvGradientParams {
        /// Output rows.
        pub rows: usize,
        /// Output columns.
        pub columns: usize,
        /// Inputs side by side, 1 to 16: the lanes of a block, or of a planar input the columns of the kernel.
        pub inputs: usize,
        /// Distance between the inputs of neighbouring output rows.
        pub x_row: usize,
        /// Distance between the inputs of neighbouring output columns.
        pub x_step: usize,
        /// Output channel blocks: 1 or 2.
        pub out_blocks: usize,
        /// Distance between rows of the gradient.
        pub d_row: usize,
        /// Distance between blocks of the gradient.
        pub d_block: usize,
    }

    /// Brings `lines` cache lines from `x` on into the second-level cache. Nothing is read: a hint that the CPU may ignore.
    pub struct FetchParams {
        /// Lines.
        pub lines: usize,
    }

    /// Weights and the points of F(4x4, 3x3) that they become, or the sums of points' products and the gradient of the
    /// weights that these become, for `len` numbers that lie side by side in each tap and in each point.
    ///
    /// For [`Call::WinogradWeights`](super::super::Call::WinogradWeights) `x` is 9 taps and `y` 36 points, as packed weights have them; for
    /// [`Call::WinogradWeightsGradient`](super::super::Call::WinogradWeightsGradient) `x` is `sums` times 36 points, which are added up in order, and `y` 9 taps.
    pub struct WinogradWeightsParams {
        /// Numbers, a multiple of 16.
        pub len: usize,
        /// Distance between the taps or points of `x`.
        pub x_part: usize,
        /// Sets of points that are added up.
        pub sums: usize,
        /// Distance between them.
        pub x_sum: usize,
        /// Distance between the points or taps of `y`.
        pub y_part: usize,
    }

    /// Numbers by their indices: `y[i] = sum over parts of x[part * distance + t[i]]`, in the parts' order, or zero
    /// where the index is [`NOWHERE`].
    pub struct GatherParams {
        /// Indices.
        pub len: usize,
        /// Elements of `x` that an index can name.
        pub of: usize,
        /// Arrays that are added up.
        pub parts: usize,
        /// Distance between them.
        pub distance: usize,
    }

    /// What the numbers of each image of a batch come to, for one channel block.
    ///
    /// For [`Call::BatchMoments`](super::super::Call::BatchMoments) they are a mean and a variance, `p[image * distance]`
    /// and `second` further on, both over `pixels` of one image. Those of the batch become `y`: the mean, `g / sqrt(variance +
    /// epsilon)`, and `1 / sqrt(variance + epsilon)`, 16 of each. The running statistics `v`, the mean and 16 further on
    /// the variance, move towards them by `momentum`, towards the sample's unbiased variance.
    ///
    /// For [`Call::BatchGradient`](super::super::Call::BatchGradient) they are sums over one image, of the gradient and of its
    /// products with what the input is over its mean; `m` is the `y` of the moments. The gradients of scale and shift
    /// become `w` and `b`, and `y` the coefficients of [`Call::NormInput`](super::super::Call::NormInput).
    ///
    /// For [`Call::SumImages`](super::super::Call::SumImages) they are means over `pixels`, and `y` their sum times
    /// `pixels`.
    pub struct BatchParams {
        /// Images.
        pub images: usize,
        /// Distance between an image's numbers and the next one's.
        pub distance: usize,
        /// Distance between the first number of a channel and the second.
        pub second: usize,
        /// Pixels of an image.
        pub pixels: usize,
        /// Added to the variance.
        pub epsilon: Constant,
        /// How far running statistics move.
        pub momentum: Constant,
    }

    /// One channel block's plane of a gradient and of what it is the gradient of.
    ///
    /// With `v` the gradient `g` where the activation of which `z` is the output (or, of one whose output does not tell, the
    /// input) has the derivative 1, else times its derivative:
    /// [`Call::Mask`](super::super::Call::Mask) has `y = v`, [`Call::NormSums`](super::super::Call::NormSums) too, and
    /// `s = sum of v`, and 16 further on `sum of v * (x - m)`.
    /// [`Call::NormInput`](super::super::Call::NormInput) has `y = a * g + (b * (x - m) + c)`, where `c` holds 16 of each of `a`, `b`
    /// and `c`, and to which `r` is added if there is one.
    pub struct GradientParams {
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between rows of the norm's input.
        pub x_row: usize,
        /// Distance between rows of the activation's output.
        pub z_row: usize,
        /// Distance between rows of the gradient.
        pub g_row: usize,
        /// Distance between rows of the residual.
        pub r_row: usize,
        /// Distance between rows of the output.
        pub y_row: usize,
        /// The activation.
        pub activation: Activation,
        /// Whether there is a residual.
        pub residual: bool,
    }

    /// Rows and columns of one channel block with zeros between them: pixel `(row, column)` of `x` becomes `(row *
    /// stride_rows - skipped_rows, column * stride_columns - skipped_columns)` of `y`, if it has that one, and all others
    /// are zero; `r` is added if there is one.
    pub struct DilateParams {
        /// Height of `x`.
        pub rows: usize,
        /// Width of `x`.
        pub columns: usize,
        /// Rows above that `y` does not have.
        pub skipped_rows: usize,
        /// Columns on the left that `y` does not have.
        pub skipped_columns: usize,
        /// Vertical stride.
        pub stride_rows: usize,
        /// Horizontal stride.
        pub stride_columns: usize,
        /// Distance between rows of `x`.
        pub x_row: usize,
        /// Height of `y`.
        pub y_rows: usize,
        /// Width of `y`.
        pub y_columns: usize,
        /// Distance between rows of `y`.
        pub y_row: usize,
        /// Distance between rows of `r`.
        pub r_row: usize,
        /// Whether there is a residual.
        pub residual: bool,
    }

    /// One block of channels that are others': channel `c` of `y` is channel `c + skipped - before` of `x`, dilated, or zero
    /// where `x` has none; `r` is added if there is one. So are channels taken out and put among others, and the gradient of a
    /// zero-padding shortcut's input is made.
    pub struct ShiftParams {
        /// Where the pixels go.
        pub dilate: DilateParams,
        /// The first channel of this block.
        pub first: usize,
        /// Channels of `y`; past the last are zeros.
        pub y_channels: usize,
        /// Channels of `x`; those past the last are not read.
        pub x_channels: usize,
        /// Channels of `y` before the first of `x`.
        pub before: usize,
        /// Channels of `x` before the first of `y`.
        pub skipped: usize,
        /// Distance between blocks of `x`.
        pub x_block: usize,
    }

    /// The same number for all pixels of one channel block: `y = x / pixels`, where `r` is added if there is one.
    pub struct SpreadParams {
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between rows of `y`.
        pub y_row: usize,
        /// Distance between rows of `r`.
        pub r_row: usize,
        /// Whether there is a residual.
        pub residual: bool,
    }

    /// The gradient of a pool's input, one channel block. Of a max pool the first pixel of a window that is as large
    /// as its output has the output's gradient, as in PyTorch; of an average pool all have their share. A blur's windows see
    /// mirrored pixels past the edges instead, and no zeros.
    pub struct PoolGradientParams {
        /// Rows of zeros above that count as pixels; windows reach into them first.
        pub zero_rows: usize,
        /// The same below.
        pub zero_rows_after: usize,
        /// Columns of zeros on the left that count as pixels.
        pub zero_columns: usize,
        /// The same on the right.
        pub zero_columns_after: usize,
        /// The pool; `y_row` is the distance between rows of its output and `x_row` between those of its input.
        pub pool: PoolParams,
        /// Distance between rows of the output's gradient.
        pub g_row: usize,
        /// Distance between rows of the input's gradient.
        pub d_row: usize,
        /// Distance between rows of `r`.
        pub r_row: usize,
        /// Whether `r` is added.
        pub residual: bool,
    }

    /// The gradient of the 16 gates of one channel block: `y = sum over pixels of x * g, times s * (1 - s)`, where `s` is the
    /// sigmoid of the gate.
    pub struct GateGradientParams {
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between rows of what is gated.
        pub x_row: usize,
        /// Distance between rows of the gradient.
        pub g_row: usize,
    }

    /// The gradient of the taps of a convolution along the channels: `y[k] = sum over images and channels of x[c + k - kernel / 2] *
    /// g[c]`, zeros up to a multiple of 16.
    pub struct ChannelConvGradientParams {
        /// Images.
        pub images: usize,
        /// Values of an image.
        pub channels: usize,
        /// Taps, an odd number.
        pub kernel: usize,
        /// Distance between images of `x`.
        pub x_image: usize,
        /// Distance between images of `g`.
        pub g_image: usize,
    }

    /// A group norm's statistics of one image, of all its channel blocks, and its gradient.
    ///
    /// For [`Call::GroupMoments`](super::super::Call::GroupMoments), `p` has a mean for each channel and `second` further on a
    /// variance; a block of `y` has 16 of each of the groups' mean, `w / sqrt(variance + epsilon)`, and `1 / sqrt(variance +
    /// epsilon)`.
    ///
    /// For [`Call::GroupGradient`](super::super::Call::GroupGradient), `p` has the pairs of
    /// [`Call::NormSums`](super::super::Call::NormSums), and `m` is the `y` of the moments. What the image adds to the
    /// gradients of scale and shift becomes `w` and `b`, and `y` the coefficients of
    /// [`Call::NormInput`](super::super::Call::NormInput).
    pub struct GroupNormParams {
        /// Channels; past the last are zeros.
        pub channels: usize,
        /// Channels of a group, which lie side by side.
        pub group: usize,
        /// Distance between means and variances.
        pub second: usize,
        /// Pixels of a channel.
        pub pixels: usize,
        /// Added to a group's variance.
        pub epsilon: Constant,
    }

    /// Weight standardization of one output channel: `y = (x - mean) / sqrt(variance + epsilon)`, and the gradient before it.
    pub struct StandardiseParams {
        /// Weights.
        pub len: usize,
        /// Zeros that are written behind them.
        pub padding: usize,
        /// Added to the variance.
        pub epsilon: Constant,
    }

    /// Softmax and cross-entropy of one image: with `p = softmax(x)` and the probabilities `t` that are to be, `l = sum of t *
    /// -log(p)`, and `y = scale * (p * sum of t - t)`, zeros past the last channel.
    pub struct CrossEntropyParams {
        /// Classes.
        pub channels: usize,
        /// What the gradient is multiplied with: one over the batch.
        pub scale: Constant,
    }

    /// A step of stochastic gradient descent with momentum, as PyTorch has it, with the rate `h[0]`, the momentum `h[1]` and
    /// the decay `h[2]`:
    ///
    /// ```text
    /// w = w * (1 - rate * decay)                  if decay is decoupled
    /// g = g + decay * w                           if it is classic
    /// v = momentum * v + g
    /// w = w - rate * v, or, of Nesterov, w - rate * (g + momentum * v)
    /// ```
    pub struct SgdParams {
        /// Numbers.
        pub len: usize,
        /// What the weights are drawn to zero by.
        pub decay: Decay,
        /// Whether the step looks ahead.
        pub nesterov: bool,
    }
}

choices! {
    /// How weights decay.
    pub enum Decay {
        /// They do not.
        None,
        /// As a part of the gradient: L2 regularisation.
        Classic,
        /// Apart from the gradient ("Decoupled Weight Decay Regularization", Loshchilov and Hutter, 2019).
        Decoupled,
    }
}

/// The index of what is nowhere, and zero.
pub const NOWHERE: u32 = u32::MAX;

/// Numbers of each image of a norm: two a channel.
pub const PAIR_LEN: usize = 2 * BLOCK;

/// Numbers of a norm for the whole batch: three a channel.
pub const TRIPLE_LEN: usize = 3 * BLOCK;

/// Numbers that a step is told: rate, momentum, decay.
pub const HYPER_LEN: usize = 16;

impl ConvGradientParams {
    pub(in super::super) const fn x_len(&self) -> usize {
        last(self.rows, self.x_row) + last(self.columns, self.x_step) + self.inputs
    }

    pub(in super::super) const fn d_len(&self) -> usize {
        last(self.out_blocks, self.d_block) + plane(self.rows, self.columns, self.d_row)
    }

    pub(in super::super) const fn y_len(&self) -> usize {
        self.inputs * self.out_blocks * BLOCK
    }

    pub(in super::super) const fn macs(&self) -> u64 {
        ((self.rows * self.columns) as u64).saturating_mul(self.y_len() as u64)
    }
}

impl WinogradWeightsParams {
    /// Elements of so many parts, so far apart.
    pub(in super::super) const fn parts(&self, parts: usize, distance: usize) -> usize {
        last(parts, distance) + self.len
    }
}

impl GatherParams {
    pub(in super::super) const fn x_len(&self) -> usize {
        last(self.parts, self.distance) + self.of
    }
}

impl BatchParams {
    pub(in super::super) const fn p_len(&self) -> usize {
        last(self.images, self.distance) + self.second + BLOCK
    }
}

impl GradientParams {
    pub(in super::super) const fn plane(&self, row: usize) -> usize {
        plane(self.rows, self.columns, row)
    }
}

impl DilateParams {
    pub(in super::super) const fn x_len(&self) -> usize {
        plane(self.rows, self.columns, self.x_row)
    }

    pub(in super::super) const fn y_len(&self, row: usize) -> usize {
        plane(self.y_rows, self.y_columns, row)
    }
}

impl ShiftParams {
    pub(in super::super) const fn x_len(&self) -> usize {
        last(self.x_channels.div_ceil(BLOCK), self.x_block) + self.dilate.x_len()
    }
}

impl GateGradientParams {
    pub(in super::super) const fn plane(&self, row: usize) -> usize {
        plane(self.rows, self.columns, row)
    }
}

impl ChannelConvGradientParams {
    pub(in super::super) const fn len(&self, image: usize) -> usize {
        last(self.images, image) + self.channels
    }

    pub(in super::super) const fn y_len(&self) -> usize {
        padded(self.kernel)
    }
}

impl StandardiseParams {
    pub(in super::super) const fn y_len(&self) -> usize {
        self.len + self.padding
    }
}

impl GroupNormParams {
    /// Numbers of all channel blocks, so many a block.
    pub(in super::super) const fn blocks(&self, each: usize) -> usize {
        self.channels.div_ceil(BLOCK) * each
    }
}

impl SpreadParams {
    pub(in super::super) const fn len(&self, row: usize) -> usize {
        plane(self.rows, self.columns, row)
    }
}

impl PoolGradientParams {
    pub(in super::super) const fn in_len(&self, row: usize) -> usize {
        plane(self.pool.in_rows, self.pool.in_columns, row)
    }

    pub(in super::super) const fn out_len(&self, row: usize) -> usize {
        plane(self.pool.out_rows, self.pool.out_columns, row)
    }
}

impl CrossEntropyParams {
    pub(in super::super) const fn padded(&self) -> usize {
        padded(self.channels)
    }
}
