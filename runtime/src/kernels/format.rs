//! The memory formats in which the convolution kernels read their weights.

use serde::Serialize;

use super::{BLOCK, Element, Filter, PANEL, QUAD, TENSOR_NUMBERS, WinogradWeightsI8Params};

/// What becomes of a convolution's weights besides folding, which is also the algorithm that
/// computes it.
///
/// Winograd's transforms give the weights of the products between
/// [`Call::WinogradInput`](super::Call::WinogradInput) and
/// [`Call::WinogradOutput`](super::Call::WinogradOutput).
#[repr(u32)]
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
}

/// The sizes of a convolution's weights, `[out][in / groups][row][column]` in PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConvShape {
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
}

impl ConvShape {
    /// Taps of a kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel_rows * self.kernel_columns
    }

    /// Weights of one output channel.
    pub fn channel_len(&self) -> usize {
        self.in_channels / self.groups * self.kernel_len()
    }

    /// Output channel blocks.
    pub fn out_blocks(&self) -> usize {
        self.out_channels.div_ceil(BLOCK)
    }
}

/// How the weights of a convolution are divided into panels, and what a panel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PanelFormat {
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
    /// What they are packed as: `f32`; `bf16`, where such products are taken; or, of a quantised convolution, `i8`, with a Winograd transform that
    /// is done already `i16`.
    pub element: Element,
}

impl PanelFormat {
    /// Input channels that stand side by side, at most: a block's, or one of a planar input, or four of a
    /// quantised picture.
    pub fn lanes(&self) -> usize {
        match (self.planar, self.element) {
            (false, _) => BLOCK,
            (true, Element::I8) => QUAD,
            (true, _) => 1,
        }
    }

    /// Whether the input is a quantised picture, whose channels lie side by side.
    pub fn is_interleaved(&self) -> bool {
        self.planar && self.element == Element::I8
    }

    /// Whether a Winograd transform is left to [`Call::WinogradWeightsI8`](super::Call::WinogradWeightsI8).
    pub fn is_untransformed(&self) -> bool {
        self.element == Element::I8 && self.transform != Transform::None
    }

    /// What products are taken of.
    pub fn factor(&self) -> Element {
        if self.is_untransformed() { Element::I16 } else { self.element }
    }
}

/// A convolution's weights as [`Call::Conv`] or [`Call::ConvPlanar`](super::Call::ConvPlanar) reads
/// them: weights of a shape in a format.
///
/// They are a run of *panels*, one per kernel call's group of output channels,
/// `[in_blocks][kernel_rows][kernel_columns][16 lanes][panel_blocks * 16]` each: panel `g` covers
/// output blocks `2g` and `2g + 1` (or the last single one, or one each if `panel_blocks` is 1). The
/// bias follows all panels: `[panel 0][panel 1]...[bias, out_channels rounded up to 16]`.
///
/// With a Winograd transform a panel is `[points][in_blocks][16 lanes][panel_blocks * 16]`, the
/// weights of so many 1x1 convolutions one after the other, or, where only the rows are filtered,
/// `[points][in_channels][kernel_columns][1][panel_blocks * 16]`. They have no bias, and the 32 zeros
/// that they take for one follow the bias, which is for the output transform.
///
/// A quantised panel may be left as bytes, of which [`Call::WinogradWeightsI8`](super::Call::WinogradWeightsI8) makes such a one: then it is the factors
/// of its words, `[points][panel_blocks * 16][2]`, and `[in_blocks][8][3][3][panel_blocks * 16][2]`.
///
/// Of a convolution of `bf16` and of a quantised one lanes are apart: those that a dot product takes together, four of
/// `i8` or two of `i16` or `bf16`, are the innermost, `[lanes / 4][panel_blocks * 16][4]`. Behind the panels of a quantised one are its
/// numbers, see [`Panels::numbers_len`]. For a quantised picture, `[H][W][C]`, a row of the kernel is a run of
/// `kernel_columns * C` inputs, in fours, the last ones with zeros: `[kernel_rows][fours][panel_blocks * 16][4]`.
///
/// Every part starts at a multiple of 64 bytes.
///
/// [`Call::Conv`]: super::Call::Conv
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Panels {
    /// The weights' sizes.
    #[serde(flatten)]
    pub shape: ConvShape,
    /// How they lie.
    #[serde(flatten)]
    pub format: PanelFormat,
}

impl Panels {
    /// Elements of one full panel.
    pub fn panel_len(&self) -> usize {
        let PanelFormat { panel_blocks, in_blocks, .. } = self.format;
        if self.format.is_untransformed() {
            let (blocks, out_blocks) = (in_blocks, panel_blocks);
            return WinogradWeightsI8Params { blocks, out_blocks, y_point: 0 }.w_len();
        }
        in_blocks * self.block_rows() * panel_blocks * BLOCK
    }

    /// Rows of weights that a panel has for each of its input blocks.
    pub fn block_rows(&self) -> usize {
        if self.format.is_interleaved() {
            return self.shape.kernel_rows * self.run_len();
        }
        self.kernel_points() * self.format.lanes()
    }

    /// Inputs of a kernel's row over an interleaved picture: a run of whole fours.
    pub fn run_len(&self) -> usize {
        (self.shape.kernel_columns * self.shape.in_channels).next_multiple_of(QUAD)
    }

    /// Packed weights of one input and one output channel.
    pub fn kernel_points(&self) -> usize {
        let [rows, columns] = self.format.transform.filters();
        rows.weights(self.shape.kernel_rows) * columns.weights(self.shape.kernel_columns)
    }

    /// Elements of all panels.
    pub fn weights_len(&self) -> usize {
        self.panel_len() / self.format.panel_blocks * self.shape.out_blocks()
    }

    /// Bytes before the bias.
    pub fn bias_offset(&self) -> usize {
        self.weights_len() * self.format.element.bytes()
    }

    /// Bytes before the zeros, and without them: [`Transform::None`] has none.
    pub fn zeros_offset(&self) -> usize {
        self.bias_offset() + self.shape.out_blocks() * BLOCK * Element::F32.bytes()
    }

    /// The `f32`s behind the panels. Bias and zeros; or, of a quantised convolution, a scale and a shift for each
    /// output channel, `[block][2][16]`, and a line of [`TENSOR_NUMBERS`]; with a Winograd transform scales for
    /// each point, as panels, `[points][panel_blocks * 16]` each, shifts, and the line.
    pub fn numbers_len(&self) -> usize {
        let zeros = if self.format.transform == Transform::None { 0 } else { PANEL };
        match self.format.element {
            Element::I8 | Element::I16 => self.tensor_numbers_offset() + TENSOR_NUMBERS,
            Element::F32 | Element::Bf16 | Element::U8 | Element::U32 => {
                self.shape.out_blocks() * BLOCK + zeros
            }
        }
    }

    /// Of a quantised Winograd convolution's numbers, those before the shifts: the scales.
    pub fn scales_len(&self) -> usize {
        self.kernel_points() * self.shape.out_blocks() * BLOCK
    }

    /// Of a quantised convolution's numbers, those before the tensor's.
    pub fn tensor_numbers_offset(&self) -> usize {
        let channels = self.shape.out_blocks() * BLOCK;
        match self.format.transform {
            Transform::None => 2 * channels,
            _ => self.scales_len() + channels,
        }
    }

    /// Bytes of panels and of what is behind them.
    pub fn bytes(&self) -> usize {
        self.bias_offset() + self.numbers_len() * Element::F32.bytes()
    }
}
