//! The layer table as its author wrote it: YAML in, cells with their places out.
//!
//! This stage knows the schema: which fields there are, which operation takes which, what a cell
//! may say. It does no arithmetic on shapes; that is [`crate::graph`]'s.
//!
//! ```
//! let text = "
//! name: tiny
//! input: 3x8x8
//! table:
//!   - {layer: conv1, op: conv, kernel: 3, channels: 16}
//!   - {layer: avgpool, op: global_average_pool}
//!   - {layer: fc, op: linear, channels: 10}
//! ";
//! let spec = resnet_compiler::spec::Spec::from_yaml(text)?;
//! assert_eq!(spec.table.len(), 3);
//! # Ok::<(), resnet_compiler::diagnostics::Diagnostics>(())
//! ```

mod block;
pub(crate) mod cell;
pub(crate) mod edit;
mod errors;
pub(crate) mod expect;
mod fields;
#[cfg(feature = "rust")]
pub mod inline;
mod lint;
mod read;
pub mod rows;
pub mod schema;
mod tree;
mod words;

pub use block::{
    AntiAlias, Attention, AttentionOn, BlockKind, BlockRow, Shortcut, ShortcutFrom, Squeeze,
    StrideOn, ZeroChannels,
};
pub use expect::{Expect, Expected};
pub use lint::Lint;
pub use schema::Operation;

use resnet_runtime::kernels::Activation;
use resnet_runtime::picture::Preprocess;

use crate::diagnostics::{Diagnostics, Source, Span, Spanned};
use crate::geometry::{Extent, Padding, Shape};

/// A layer table.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The text that every span points into.
    pub source: Source,
    /// The network's name.
    pub name: Spanned<String>,
    /// Shape of the picture.
    pub input: Spanned<Shape>,
    /// The rows, at least one.
    pub table: Vec<Row>,
    /// Batch norm's epsilon.
    pub norm_epsilon: f64,
    /// Whether in blocks batch norm and activation come before each convolution instead of after it.
    pub pre_activation: bool,
    /// The activation of rows and blocks that name none, but linear layers.
    pub activation: Activation,
    /// Whether weights of convolutions are standardised, where a row does not say otherwise.
    pub weight_standardization: Standardization,
    /// The rows whose outputs are the network's answer, in the table's order; if none is named, the
    /// last one's is.
    pub features: Vec<Spanned<String>>,
    /// What is not to be warned of.
    pub allow: Vec<Spanned<Lint>>,
    /// What the author expects the network to count.
    pub expect: Expect,
    /// How a picture becomes the network's input. What is left out is filled in: the crop is the
    /// network's own size, the shorter side is scaled to the longer side of the crop (so that the
    /// crop always fits and little is cut off), means are 0 and standard deviations 1.
    pub preprocess: Preprocess,
    /// Names of the classes.
    pub labels: Option<Spanned<Labels>>,
}

impl Spec {
    /// Parses a table. Messages call it `the table`; [`from_yaml_named`](Spec::from_yaml_named) gives it
    /// its file's name.
    ///
    /// # Errors
    ///
    /// Every mistake in the text that is not about shapes.
    pub fn from_yaml(text: &str) -> Result<Self, Diagnostics> {
        Self::from_yaml_named(text, "the table")
    }

    /// Parses a table that came from a file, whose name the messages show.
    ///
    /// # Errors
    ///
    /// Every mistake in the text that is not about shapes.
    pub fn from_yaml_named(text: &str, file_name: &str) -> Result<Self, Diagnostics> {
        read::read(Source::new(file_name, text))
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The whole row.
    pub span: Span,
    /// The row's name, unique in its table.
    pub layer: Spanned<String>,
    /// What it does; the place is that of the `op` cell.
    pub op: Spanned<RowOp>,
    /// What the author says it reads.
    pub input: Option<Spanned<Claim>>,
    /// What the author says it makes.
    pub output: Option<Spanned<Claim>>,
    /// By how much the author says that it multiplies its channels.
    pub upsample: Option<Spanned<f64>>,
    /// The state-dict prefix. Left out, rows have torchvision's names, counted by kind of row: `conv1`
    /// (and `bn1`), `conv2` ... for convolutions, `layer1`, `layer2` ... for blocks, `norm`, `norm2`
    /// ... for norms, `fc`, `fc2` ... for linear layers.
    pub weights: Option<Spanned<String>>,
}

/// The operation of a row.
#[derive(Clone, Debug)]
pub enum RowOp {
    /// A convolution, perhaps with batch norm and ReLU.
    Conv(ConvRow),
    /// A max pool or an average pool.
    Pool(PoolRow),
    /// A binomial filter over the mirrored picture, against aliasing.
    Blur(WindowCells),
    /// Residual blocks.
    Block(BlockRow),
    /// A norm of its own, as after the last block of a pre-activation network.
    Norm {
        /// Which one.
        norm: Spanned<Norm>,
        /// What follows; if none is named, the table's.
        activation: Option<Activation>,
    },
    /// The mean over all pixels.
    GlobalAveragePool,
    /// A fully connected layer with a bias.
    Linear {
        /// Output channels.
        channels: Spanned<usize>,
        /// What follows.
        activation: Activation,
    },
    /// Softmax over the channels.
    Softmax,
}

impl RowOp {
    /// Which operation it is.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Conv(_) => Operation::Conv,
            Self::Pool(PoolRow { kind: PoolKind::Max, .. }) => Operation::MaxPool,
            Self::Pool(PoolRow { kind: PoolKind::Average, .. }) => Operation::AveragePool,
            Self::Blur(_) => Operation::Blur,
            Self::Block(BlockRow { kind: BlockKind::Basic, .. }) => Operation::Basic,
            Self::Block(BlockRow { kind: BlockKind::Bottleneck { .. }, .. }) => {
                Operation::Bottleneck
            }
            Self::Norm { .. } => Operation::Norm,
            Self::GlobalAveragePool => Operation::GlobalAveragePool,
            Self::Linear { .. } => Operation::Linear,
            Self::Softmax => Operation::Softmax,
        }
    }

    /// The channels that it says it makes.
    pub fn channels(&self) -> Option<usize> {
        match self {
            Self::Conv(conv) => Some(conv.channels.value),
            Self::Block(block) => Some(block.channels.value),
            Self::Linear { channels, .. } => Some(channels.value),
            Self::Pool(_)
            | Self::Blur(_)
            | Self::Norm { .. }
            | Self::GlobalAveragePool
            | Self::Softmax => None,
        }
    }

    /// The cell of its stride, if it may have one.
    pub fn stride(&self) -> Option<&Spanned<Extent>> {
        match self {
            Self::Block(block) => Some(&block.stride),
            other => other.window().map(|window| &window.stride),
        }
    }

    /// The cells of its window; a block has several.
    pub fn window(&self) -> Option<&WindowCells> {
        match self {
            Self::Conv(ConvRow { window, .. })
            | Self::Pool(PoolRow { window, .. })
            | Self::Blur(window) => Some(window),
            Self::Block(_)
            | Self::Norm { .. }
            | Self::GlobalAveragePool
            | Self::Linear { .. }
            | Self::Softmax => None,
        }
    }

    /// Whether it makes a number of several pixels without weights.
    pub fn pools(&self) -> bool {
        matches!(self, Self::Pool(_) | Self::Blur(_) | Self::GlobalAveragePool)
    }
}

/// Kernel, stride and padding as written.
#[derive(Clone, Copy, Debug)]
pub struct WindowCells {
    /// Kernel.
    pub kernel: Spanned<Extent>,
    /// Stride; 1 if left out.
    pub stride: Spanned<Extent>,
    /// Distance between the pixels of a window; 1 if left out, and for pools.
    pub dilation: Spanned<Extent>,
    /// Padding; half the dilated kernel on each side, rounded down, if left out.
    pub padding: Spanned<PaddingCell>,
}

/// What a `padding` cell says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaddingCell {
    /// Pixels on each side.
    Sides(Padding),
    /// As much as TensorFlow's `SAME` pads for the size at hand.
    Same,
}

/// A `max_pool` or `average_pool` row.
#[derive(Clone, Copy, Debug)]
pub struct PoolRow {
    /// Which one.
    pub kind: PoolKind,
    /// Kernel, stride, padding.
    pub window: WindowCells,
    /// Whether padding counts as zeros; if not, a pool is over the pixels inside alone.
    pub count_padding: bool,
    /// Whether a last window that reaches past the padding is taken too (PyTorch's `ceil_mode`).
    pub round_up: bool,
}

/// What a pool makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Its largest pixel.
    Max,
    /// The mean of its pixels.
    Average,
}

impl PoolKind {
    /// The table's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Max => "max_pool",
            Self::Average => "average_pool",
        }
    }
}

/// What normalises activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Batch norm with running statistics.
    Batch,
    /// "Group Normalization" (Wu and He, 2018): with the statistics of the picture itself, over so
    /// many groups of channels.
    Group {
        /// Groups.
        groups: usize,
    },
}

impl Norm {
    /// The groups of a group norm that names none, as in the paper and in timm.
    pub const GROUPS: usize = 32;
}

/// Whether weights are standardised before they are used: "Micro-Batch Training with Batch-Channel
/// Normalization and Weight Standardization" (Qiao et al., 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standardization {
    /// They are used as they are.
    Off,
    /// They are, one output channel at a time.
    On {
        /// Added to the variance before the root.
        epsilon: f64,
    },
}

impl Standardization {
    /// The epsilon if none is named: that of timm's `StdConv2d`.
    pub const EPSILON: f64 = 1e-6;

    /// The epsilon, if weights are standardised.
    pub fn epsilon(self) -> Option<f64> {
        match self {
            Self::Off => None,
            Self::On { epsilon } => Some(epsilon),
        }
    }
}

/// A `conv` row.
#[derive(Clone, Debug)]
pub struct ConvRow {
    /// Kernel, stride, padding.
    pub window: WindowCells,
    /// Output channels.
    pub channels: Spanned<usize>,
    /// Groups.
    pub groups: Spanned<usize>,
    /// The norm that follows.
    pub norm: Option<Spanned<Norm>>,
    /// Whether the convolution has a bias of its own.
    pub bias: bool,
    /// What ends the row; if none is named, the table's activation.
    pub activation: Option<Activation>,
    /// Whether its weights are standardised; as the table says if left out.
    pub weight_standardization: Option<Standardization>,
    /// The state-dict prefix of the norm.
    pub norm_weights: Option<Spanned<String>>,
}

/// A size that the author claims for a row's input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Channels, if claimed.
    pub channels: Option<usize>,
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

impl Claim {
    /// Whether a shape is as claimed.
    pub fn matches(&self, shape: Shape) -> bool {
        self.channels.is_none_or(|channels| channels == shape.channels)
            && (self.height, self.width) == (shape.height, shape.width)
    }
}

/// Names of the classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// The names themselves.
    Names(Vec<String>),
    /// A file with a name a line; the path is relative to the table's.
    File(String),
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(channels) = self.channels {
            write!(f, "{channels}x")?;
        }
        write!(f, "{}x{}", self.height, self.width)
    }
}
