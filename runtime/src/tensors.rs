//! What a network asks of a weights file, and how what it gets is packed.

use serde::Serialize;

use crate::kernels::{BLOCK, Filter};

/// A tensor that a network needs: its name in the state dict, its shape, and what random weights
/// should look like there.
///
/// Compilers use it as it stands; code that `resnet!` writes holds it, and [`ConvRecipe`], as
/// constants, with `&'static str` for names.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec<Name = String, Shape = Vec<usize>> {
    /// The name in the state dict, such as `layer1.0.conv1.weight`.
    pub name: Name,
    /// The shape, as PyTorch has it (`[out, in / groups, rows, columns]` for a convolution).
    pub shape: Shape,
    /// The distribution of random weights.
    pub init: Init,
}

impl TensorSpec<&str, &[usize]> {
    /// The same with names of its own.
    pub fn to_owned(&self) -> TensorSpec {
        TensorSpec { name: self.name.to_owned(), shape: self.shape.to_vec(), init: self.init }
    }
}

/// How random weights are drawn, so that activations keep a healthy size through any depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform between two bounds.
    Uniform(f32, f32),
}

/// Names of the four tensors of a batch norm, and its epsilon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NormTensors<Name = String> {
    /// Scale, `[channels]`.
    pub weight: Name,
    /// Shift, `[channels]`.
    pub bias: Name,
    /// Running mean, `[channels]`.
    pub mean: Name,
    /// Running variance, `[channels]`.
    pub variance: Name,
    /// Added to the variance before the root.
    pub epsilon: f64,
}

/// What becomes of a convolution's weights besides folding, which is also the algorithm that
/// computes it.
///
/// Winograd's transforms give the weights of the products between
/// [`Call::WinogradInput`](crate::kernels::Call::WinogradInput) and
/// [`Call::WinogradOutput`](crate::kernels::Call::WinogradOutput).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Transform {
    /// Nothing: a direct convolution.
    None,
    /// F(2x2, 3x3): each 3x3 kernel becomes 16 points.
    Winograd2x2,
    /// F(4x4, 3x3): 36 points.
    Winograd4x4,
    /// Tiles of 2x2 outputs of a 3x3 kernel with stride 2: 16 points, for 25 products.
    Winograd2x2Stride2,
    /// Tiles of 4x4 outputs of a 3x3 kernel with stride 2: 36 points, for 81 products.
    Winograd4x4Stride2,
    /// Columns of 4 outputs of a 7x7 kernel with stride 2, of a planar input: each of the kernel's
    /// columns becomes 13 points.
    Winograd4x1Stride2,
}

impl Transform {
    /// All of Winograd's.
    pub const WINOGRAD: [Self; 5] = [
        Self::Winograd2x2,
        Self::Winograd4x4,
        Self::Winograd2x2Stride2,
        Self::Winograd4x4Stride2,
        Self::Winograd4x1Stride2,
    ];

    /// What the rows and the columns are filtered by; nothing, of a direct convolution.
    pub const fn filters(self) -> [Filter; 2] {
        match self {
            Self::None => [Filter::Identity; 2],
            Self::Winograd2x2 => [Filter::F2; 2],
            Self::Winograd4x4 => [Filter::F4; 2],
            Self::Winograd2x2Stride2 => [Filter::F2s2; 2],
            Self::Winograd4x4Stride2 => [Filter::F4s2; 2],
            Self::Winograd4x1Stride2 => [Filter::F4x7s2, Filter::Identity],
        }
    }

    /// Whether the weights of such a kernel can become that. What filters the rows alone is for
    /// planar inputs, the others are for blocked ones; a direct convolution's may be for either.
    pub fn suits(self, planar: bool, kernel: (usize, usize)) -> bool {
        let [rows, columns] = self.filters();
        self == Self::None
            || kernel == (rows.taps(), rows.taps()) && planar == (columns == Filter::Identity)
    }

    /// The one with tiles of so many output pixels, for convolutions of this stride.
    pub fn of_tile(rows: usize, columns: usize, stride: usize) -> Option<Self> {
        Self::WINOGRAD.into_iter().find(|transform| {
            let filters = transform.filters();
            filters.map(Filter::outputs) == [rows, columns] && filters[0].stride() == stride
        })
    }
}

/// How one convolution's weights are folded and laid out for [`Call::Conv`] or
/// [`Call::ConvPlanar`](crate::kernels::Call::ConvPlanar).
///
/// The packed form is a run of *panels*, one per kernel call's group of output channels: panel `g`
/// covers output blocks `2g` and `2g + 1` (or the last single one, or one each if `panel_blocks`
/// is 1), its bias follows all panels: `[panel 0][panel 1]...[bias, out_channels rounded up to 16]`.
///
/// With a Winograd transform a panel is `[points][in_blocks][16 lanes][panel_blocks * 16]`, the
/// weights of so many 1x1 convolutions one after the other, or, where only the rows are filtered,
/// `[points][in_channels][kernel_columns][1][panel_blocks * 16]`. They have no bias, and the 32 zeros
/// that they take for one follow the bias, which is for the output transform.
///
/// Every part of the packed form starts at a multiple of 16 elements.
///
/// [`Call::Conv`]: crate::kernels::Call::Conv
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConvRecipe<Name = String> {
    /// Name of the weight tensor.
    pub weight: Name,
    /// Name of the bias tensor, if the convolution has one.
    pub bias: Option<Name>,
    /// The batch norm to fold in.
    pub norm: Option<NormTensors<Name>>,
    /// Output channels.
    pub out_channels: usize,
    /// Input channels of the whole convolution.
    pub in_channels: usize,
    /// Groups.
    pub groups: usize,
    /// Height of the kernel.
    pub kernel_rows: usize,
    /// Width of the kernel.
    pub kernel_columns: usize,
    /// True: weights for a planar input, `[in_channels][kernel_rows][kernel_columns][1][..]`.
    pub planar: bool,
    /// Output blocks of a panel: 2, or 1.
    pub panel_blocks: usize,
    /// Input blocks (or channels, if planar) that one panel reads.
    pub in_blocks: usize,
    /// Panel `g` starts at input block `g * in_block_step` (0: every panel reads all of them).
    pub in_block_step: usize,
    /// What the weights become.
    pub transform: Transform,
    /// Where the packed form starts in the network's weight memory, in `f32` elements; a
    /// multiple of 16.
    pub offset: usize,
}

/// Numbers a channel that a kernel reads beside an activation, each run padded with zeros to a
/// multiple of 16.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorRecipe<Name = String> {
    /// What they are made of.
    pub source: VectorSource<Name>,
    /// Numbers in a run.
    pub channels: usize,
    /// Where they start in the network's weight memory, in `f32` elements; a multiple of 16.
    pub offset: usize,
}

/// What a [`VectorRecipe`] packs.
#[derive(Clone, Debug, PartialEq)]
pub enum VectorSource<Name = String> {
    /// A batch norm without a convolution: a run of scales `weight / sqrt(variance + epsilon)`, then
    /// a run of shifts `bias - mean * scale`.
    Norm(NormTensors<Name>),
    /// A tensor of `channels` elements as it is.
    Tensor(Name),
}

impl<Name> VectorRecipe<Name> {
    /// Elements of one run.
    pub fn run_len(&self) -> usize {
        self.channels.next_multiple_of(BLOCK)
    }

    /// Elements of the packed form.
    pub fn len(&self) -> usize {
        match self.source {
            VectorSource::Norm(_) => 2 * self.run_len(),
            VectorSource::Tensor(_) => self.run_len(),
        }
    }

    /// A recipe never packs nothing.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl VectorRecipe<&str> {
    /// The same with names of its own.
    pub fn to_owned(&self) -> VectorRecipe {
        let source = match &self.source {
            VectorSource::Norm(norm) => VectorSource::Norm(norm.to_owned()),
            VectorSource::Tensor(name) => VectorSource::Tensor((*name).to_owned()),
        };
        VectorRecipe { source, channels: self.channels, offset: self.offset }
    }
}

impl NormTensors<&str> {
    /// The same with names of its own.
    pub fn to_owned(&self) -> NormTensors {
        NormTensors {
            weight: self.weight.to_owned(),
            bias: self.bias.to_owned(),
            mean: self.mean.to_owned(),
            variance: self.variance.to_owned(),
            epsilon: self.epsilon,
        }
    }
}

impl ConvRecipe<&str> {
    /// The same with names of its own.
    pub fn to_owned(&self) -> ConvRecipe {
        ConvRecipe {
            weight: self.weight.to_owned(),
            bias: self.bias.map(str::to_owned),
            norm: self.norm.as_ref().map(NormTensors::to_owned),
            out_channels: self.out_channels,
            in_channels: self.in_channels,
            groups: self.groups,
            kernel_rows: self.kernel_rows,
            kernel_columns: self.kernel_columns,
            planar: self.planar,
            panel_blocks: self.panel_blocks,
            in_blocks: self.in_blocks,
            in_block_step: self.in_block_step,
            transform: self.transform,
            offset: self.offset,
        }
    }
}

impl<Name> ConvRecipe<Name> {
    /// Output channel blocks.
    pub fn out_blocks(&self) -> usize {
        self.out_channels.div_ceil(BLOCK)
    }

    /// Elements of one full panel.
    pub fn panel_len(&self) -> usize {
        let lanes = if self.planar { 1 } else { BLOCK };
        let rows = self.in_blocks * self.kernel_points() * lanes;
        rows * self.panel_blocks * BLOCK
    }

    /// Packed weights of one input and one output channel.
    pub fn kernel_points(&self) -> usize {
        let [rows, columns] = self.transform.filters();
        rows.weights(self.kernel_rows) * columns.weights(self.kernel_columns)
    }

    /// Elements before the bias.
    pub fn bias_offset(&self) -> usize {
        self.panel_len() / self.panel_blocks * self.out_blocks()
    }

    /// Elements before the zeros, and without them: [`Transform::None`] has none.
    pub fn zeros_offset(&self) -> usize {
        self.bias_offset() + self.out_blocks() * BLOCK
    }

    /// Elements of the packed form.
    pub fn len(&self) -> usize {
        let zeros = if self.transform == Transform::None { 0 } else { 2 * BLOCK };
        self.zeros_offset() + zeros
    }

    /// A recipe never packs nothing.
    pub fn is_empty(&self) -> bool {
        false
    }
}
