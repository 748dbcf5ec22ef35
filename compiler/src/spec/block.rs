//! Rows of residual blocks, and the words of their fields.

use resnet_runtime::kernels::Activation;

use super::words::words;
use super::{Norm, Standardization};
use crate::diagnostics::Spanned;
use crate::geometry::Extent;

/// A `basic` or `bottleneck` row.
#[derive(Clone, Debug)]
pub struct BlockRow {
    /// Which block.
    pub kind: BlockKind,
    /// How many of them.
    pub repeat: Spanned<usize>,
    /// Output channels.
    pub channels: Spanned<usize>,
    /// Stride of the first block.
    pub stride: Spanned<Extent>,
    /// Which convolution has it.
    pub stride_on: StrideOn,
    /// Dilation of the 3x3 convolutions; 1 if left out.
    pub dilation: Spanned<Extent>,
    /// Dilation of the first block's first 3x3 convolution. Left out, it is the smaller one of this
    /// row's and of the block row before: a stage whose stride became dilation begins with the
    /// dilation of the stage before it, as torchvision's `replace_stride_with_dilation` has it.
    pub first_dilation: Option<Spanned<Extent>>,
    /// Whether the 3x3 convolutions are padded as TensorFlow's `SAME` pads.
    pub same_padding: bool,
    /// Whether convolutions have a bias beside their norm.
    pub bias: bool,
    /// What follows the norms and the addition; if none is named, the table's activation.
    pub activation: Option<Activation>,
    /// What ends the block. Left out, it is the block's activation, or none in a network of pre-activation.
    pub output_activation: Option<Activation>,
    /// Whether their weights are standardised, those of attention apart; as the table says if left out.
    pub weight_standardization: Option<Standardization>,
    /// The norm of every convolution.
    pub norm: Spanned<Norm>,
    /// What takes the stride over from a convolution.
    pub anti_alias: Option<Spanned<AntiAlias>>,
    /// What stands beside the main path.
    pub shortcut: Spanned<Shortcut>,
    /// What the shortcut reads. Left out, it is what the first norm and activation make where the shape changes in a
    /// network of pre-activation, and the block's input in any other.
    pub shortcut_from: Option<Spanned<ShortcutFrom>>,
    /// Where a zero-padding shortcut has its new channels.
    pub zero_channels: ZeroChannels,
    /// Kernel of a projection, odd both ways and padded by half of it; 1x1 if left out.
    pub projection_kernel: Extent,
    /// What weighs channels of the main path.
    pub attention: Option<Attention>,
    /// Whose output's channels these are.
    pub attention_on: AttentionOn,
    /// The norm that follows the convolution of a projection, if any. Left out, it is the blocks' own,
    /// or none in a network of pre-activation.
    pub projection_norm: Option<Option<Spanned<Norm>>>,
}

/// The residual block.
#[derive(Clone, Copy, Debug)]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1, a 3x3 and a 1x1 convolution.
    Bottleneck {
        /// What the first 1x1 convolution and the 3x3 convolution make; a quarter of the row's channels if left
        /// out.
        width: Option<Spanned<[usize; 2]>>,
        /// Groups of the 3x3 convolution.
        groups: Spanned<usize>,
        /// Chunks of channels, `width` each, that have 3x3 convolutions of their own, as in Res2Net.
        scale: Option<Spanned<usize>>,
    },
}

impl BlockRow {
    /// The chunks of a Res2Net's block.
    pub fn scale(&self) -> Option<Spanned<usize>> {
        match self.kind {
            BlockKind::Bottleneck { scale, .. } => scale,
            BlockKind::Basic => None,
        }
    }
}

impl BlockKind {
    /// The words for the convolutions that can have its stride, the default first.
    pub fn strides(&self) -> &'static [(&'static str, StrideOn)] {
        match self {
            Self::Basic => StrideOn::OF_BASIC,
            Self::Bottleneck { .. } => StrideOn::OF_BOTTLENECK,
        }
    }

    /// The words for the convolutions whose outputs' channels can be weighed, the default first.
    pub fn weighed(&self) -> &'static [(&'static str, AttentionOn)] {
        match self {
            Self::Basic => AttentionOn::OF_BASIC,
            Self::Bottleneck { .. } => AttentionOn::OF_BOTTLENECK,
        }
    }
}

words! {
    /// What takes the stride over from a block's convolution, which then has none, after its norm and ReLU.
    pub enum AntiAlias {
        /// A 3x3 binomial filter ("Making Convolutional Networks Shift-Invariant Again", Zhang, 2019).
        Blur = "blur",
        /// The mean of `stride x stride` pixels.
        Average = "average",
    }
}

/// What weighs channels of a block's main path, by their means over all pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Two 1x1 convolutions, the first of which has a fraction of the channels ("Squeeze-and-Excitation
    /// Networks", Hu et al., 2018).
    SqueezeExcitation {
        /// The channels in the middle.
        middle: Squeeze,
        /// What stands between the convolutions.
        activation: Activation,
        /// Whether the block's activation precedes it, where it weighs what the last convolution makes.
        after_activation: bool,
    },
    /// A convolution along the channels ("ECA-Net", Wang et al., 2020) with a kernel of so many of
    /// them; if none is named, of as many as the paper derives from their number.
    Efficient(Option<usize>),
}

/// The channels in the middle of a squeeze-and-excitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squeeze {
    /// The channels that are weighed divided by this, to the nearest multiple of 8, as timm has it.
    Reduction(usize),
    /// So many.
    Channels(usize),
}

/// The convolution of a block whose output's channels attention weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionOn {
    /// The last but one: the 3x3 convolution of a bottleneck, after its activation, as in RegNet Y.
    Middle,
    /// The last, after its norm and before the shortcut is added.
    Last,
}

impl AttentionOn {
    /// The words in basic blocks, the default first.
    pub const OF_BASIC: &'static [(&'static str, Self)] =
        &[("second", Self::Last), ("first", Self::Middle)];

    /// The words in bottlenecks, the default first.
    pub const OF_BOTTLENECK: &'static [(&'static str, Self)] =
        &[("1x1", Self::Last), ("3x3", Self::Middle)];
}

/// Which convolution of a block has the stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrideOn {
    /// The first: a basic block's first 3x3 convolution; the 1x1 convolution that a bottleneck begins
    /// with, as in the 2015 paper.
    First,
    /// The second: the 3x3 convolution of a bottleneck, as in published weights.
    Second,
}

impl StrideOn {
    /// The words in basic blocks, the default first.
    pub const OF_BASIC: &'static [(&'static str, Self)] =
        &[("first", Self::First), ("second", Self::Second)];

    /// The words in bottlenecks, the default first.
    pub const OF_BOTTLENECK: &'static [(&'static str, Self)] =
        &[("3x3", Self::Second), ("1x1", Self::First)];
}

words! {
    /// What a shortcut reads, in a network of pre-activation.
    pub enum ShortcutFrom {
        /// What the block reads.
        Input = "input",
        /// What the block's first norm and activation make of it, where the shape changes; else what the block reads.
        Norm = "norm",
        /// What they make of it in every block, as in timm's RegNet V.
        NormAlways = "norm_always",
    }
}

words! {
    /// Where the channels of zeros are that a shortcut adds.
    pub enum ZeroChannels {
        /// Half of them, rounded down, before the input's channels, and the rest after them.
        Around = "around",
        /// All after the input's channels.
        After = "after",
    }
}

words! {
    /// What stands beside a block's main path.
    pub enum Shortcut {
        /// The identity; where the shape changes a 1x1 convolution (option B).
        Projection = "projection",
        /// The identity; where the shape changes the mean of `stride x stride` pixels and a 1x1
        /// convolution of stride 1 (ResNet-D).
        PoolProjection = "pool_projection",
        /// The identity; where the shape changes every stride-th pixel and zero channels (option A).
        ZeroPad = "zero_pad",
        /// The identity; where the shape changes the mean of `stride x stride` pixels and zero channels.
        PoolZeroPad = "pool_zero_pad",
        /// A 1x1 convolution in every block (option C).
        ProjectAll = "project_all",
        /// The identity, and nothing where the shape changes.
        Identity = "identity",
        /// Nothing: a plain network.
        None = "none",
    }
}
