//! The constants with which kernels are called, and how far they reach from an operand's address.

use super::{BLOCK, ByteEpilogue, Constant, Epilogue, Filter, Transform};

/// Most rows and columns of a blur's kernel: those of "Making Convolutional Networks
/// Shift-Invariant Again" (Zhang, 2019) have up to 7.
pub const LARGEST_BLUR: usize = 7;

params! {
    /// One row (or a run of consecutive pixels) of a convolution's output, for one group of output
    /// channels: `y = epilogue(bias + sum over blocks, kernel rows, kernel columns, lanes of x * w)`.
    ///
    /// Output pixel `p`, output block `o`, lane `l` (`o < out_blocks`, `l < 16`) is
    /// `y[o * y_block + p * 16 + l]`; its residual is `r[o * r_block + p * 16 + l]`. The sum over the
    /// input is taken in the order block, kernel row, kernel column, lane of the input, in one chain of
    /// fused multiply-adds that starts from the bias: the order, and so the result's bits, do not
    /// depend on how a kernel tiles the pixels.
    ///
    /// Weights are `[blocks][kernel_rows][kernel_columns][lanes][out_blocks * 16]`, 64-byte aligned,
    /// where `lanes` is 16 for [`Call::Conv`](super::Call::Conv) and 1 for [`Call::ConvPlanar`](super::Call::ConvPlanar).
    ///
    /// While it computes, the call asks for `next` elements to be brought into the second-level cache,
    /// most usefully weights that a later call reads: those that lie behind `n` by as much as this
    /// call's weights take. If `n` is `w`, they are the weights that follow; calls that share weights
    /// can share what follows by an `n` further on in `w`. At most one cache line is fetched for each
    /// row of weights that a tile of pixels passes; none is read, so they need not exist.
    ///
    /// For [`Call::ConvBf16`](super::Call::ConvBf16) inputs and weights are [`Bf16`](super::Bf16), whose products are exact; of two
    /// neighbouring lanes the second one's is added first. Weights are
    /// `[blocks][kernel_rows][kernel_columns][lanes / 2][out_blocks * 16][2]`. (`vdpbf16ps` computes that to the bit,
    /// but for products and sums below the least normal number, which are zero.) What is stored is what the epilogue says.
    ///
    /// For [`ConvU8Params`] the sums are exact, of bytes, and what follows is rounded after each
    /// operation, in one order, so that all instruction sets have the same bits. With `m` and `b` the
    /// scales and shifts of the output block, `q[o * 32 + l]` and `q[o * 32 + 16 + l]`, and the
    /// [`TensorLine`](super::TensorLine) `t`:
    ///
    /// ```text
    /// v = sum * m + b
    /// v = v + (r - t.offset) * t.factor            if there is a residual; r * t.factor if it is f32
    /// v = min(max(v, t.low), t.high)                  NaN stays NaN
    /// y = v, or round_half_even(v) + t.zero    as f32 or as u8 (NaN as 0)
    /// ```
    ///
    /// Their weights are `[blocks][kernel_rows][kernel_columns][lanes / 4][out_blocks * 16][4]`, where
    /// `lanes` is 16 for [`Call::ConvU8`](super::Call::ConvU8), and 4 for [`Call::ConvU8Quads`](super::Call::ConvU8Quads), whose input is a picture
    /// `[H][W][C]` of up to 4 channels: a row of its kernel is a run of bytes, whose quads are the columns, with zero
    /// weights up to a whole one.
    ///
    /// For [`ConvI16Params`], products of a Winograd convolution of bytes, the sums are exact too, of words,
    /// and `y = sum * s`, with a scale for each output channel. Weights are
    /// `[blocks][kernel_rows][kernel_columns][lanes / 2][out_blocks * 16][2]`.
    pub struct ConvParams<E = Epilogue> {
        /// Output pixels of this call, at least 1.
        pub pixels: usize,
        /// Distance between the inputs of neighbouring output pixels: `16 * stride`, `stride` if
        /// the input is planar, or `C * stride` for quads.
        pub x_step: usize,
        /// Input channel blocks of 16 (`conv`), or input channels (`conv_planar`).
        pub blocks: usize,
        /// Distance between input blocks (or channels).
        pub x_block: usize,
        /// Height of the kernel.
        pub kernel_rows: usize,
        /// Width of the kernel.
        pub kernel_columns: usize,
        /// Distance between the inputs of neighbouring kernel rows.
        pub x_row: usize,
        /// Distance between the inputs of neighbouring kernel columns: 16, 1 if planar, 4 for quads.
        pub x_column: usize,
        /// Output channel blocks of this call: 1 or 2.
        pub out_blocks: usize,
        /// Distance between output blocks.
        pub y_block: usize,
        /// Distance between residual blocks.
        pub r_block: usize,
        /// What is done with the result.
        pub epilogue: E,
        /// Elements to fetch ahead. 0: `n` is not used.
        pub next: usize,
    }

    /// The input of a Winograd convolution, for one row of tiles of one channel block (or of one channel
    /// that is planar, in which 16 neighbouring pixels stand for the block).
    ///
    /// What is multiplied with what is told by a pair of [`Filter`](super::Filter)s, one for the rows and one for the
    /// columns: those of the form, see [`Transform::filters`].
    ///
    /// With the filters' points `m` and `n` and the columns' step `s`, tile `t` is rows `0..m` and columns
    /// `s * t..s * t + n` of `x`, of which pixel `(row, column)`, lane `l` is
    /// `x[row * x_row + column * 16 + l]`. All of them are read, also where the convolution's output
    /// ends within the last tile. Its `m * n` points `V = B^T d B` are
    /// `y[(n * i + j) * y_point + t * 16 + l]` for row `i` and column `j` of `V`.
    ///
    /// The products of a point with its weights are a [`Call::Conv`](super::Call::Conv) with a 1x1 kernel whose pixels are
    /// tiles (for `Identity`, a [`Call::ConvPlanar`](super::Call::ConvPlanar) along the rows), and [`Call::WinogradOutput`](super::Call::WinogradOutput) makes
    /// the convolution's output of them.
    pub struct WinogradInputParams {
        /// The form, one of [`Transform::WINOGRAD`].
        pub form: Transform,
        /// Tiles of the row, at least 1.
        pub tiles: usize,
        /// Distance between input rows.
        pub x_row: usize,
        /// Distance between points.
        pub y_point: usize,
    }

    /// The input of a Winograd convolution of bytes, as [`WinogradInputParams`], for one row of tiles of one channel block.
    ///
    /// It is F(4x4, 3x3), but F2 in a dimension where a tile has one or two outputs, with `B^T` as follows, and four
    /// of F4's six points, [`Filter::F2_OF_F4`](super::Filter::F2_OF_F4), whose places alone are written.
    ///
    /// ```text
    /// 4  0 -5  0  1  0         4  0 -4  0
    /// 0 -4 -4  1  1  0         0 -3 -3  0
    /// 0  4 -4 -1  1  0         0  3 -3  0
    /// 0 -2 -1  2  1  0
    /// 0  2 -1 -2  1  0
    /// 0  4  0 -5  0  1         0 -1  0  1
    /// ```
    ///
    /// Points are words, exactly; they are multiplied by [`Call::ConvI16`](super::Call::ConvI16), and
    /// [`Call::WinogradOutputU8`](super::Call::WinogradOutputU8) makes the output.
    pub struct WinogradInputU8Params {
        /// Output rows of a tile, 1 to 4.
        pub rows: usize,
        /// Output columns of a tile, 1 to 4.
        pub columns: usize,
        /// Tiles of the row, at least 1.
        pub tiles: usize,
        /// Distance between input rows.
        pub x_row: usize,
        /// Distance between points.
        pub y_point: usize,
    }

    /// Weights of F(4x4, 3x3) from the bytes of a panel, where it is multiplied with: words, of which
    /// [`Call::ConvI16`](super::Call::ConvI16) takes the products.
    ///
    /// Of `n = 16 * out_blocks` output channels, `w` is `[36][n][2]` words and then bytes,
    /// `[8 * blocks][3][3][n][2]`, the two innermost of which are neighbouring input channels. With the
    /// integers `U = G g G^T` of each kernel `g`, `G` without its denominators, and the word `f` of the output
    /// channel and point, which both inputs share, word `y[point * y_point + (pair * n + output) * 2 + input]` is `U * f / 2^13`,
    /// rounded to an integer, a half upwards: `U` itself where `f` is 2^13, which is the largest.
    pub struct WinogradWeightsI8Params {
        /// Input blocks.
        pub blocks: usize,
        /// Output blocks, 1 or 2.
        pub out_blocks: usize,
        /// Distance between points.
        pub y_point: usize,
    }

    /// The output of a Winograd convolution, for one row of tiles of one block of output channels:
    /// `y = epilogue(bias + A^T M A)`.
    ///
    /// The filters are those of [`WinogradInputParams`]. With `n` points of a row, the products of tile
    /// `t` are `x[(n * i + j) * x_point + t * 16 + l]` for row `i` and column `j` of `M`. A tile `h` high
    /// and `w` wide is rows `0..h` and columns `w * t..w * t + w` of the output, of which only those
    /// within `rows` and `columns` are stored, at `y[row * y_row + column * 16 + l]`; their residual is
    /// `r[row * r_row + column * 16 + l]`. Products that these do not need, see
    /// [`Filter::needs`](super::Filter::needs), are read but do not count.
    ///
    /// For [`WinogradOutputU8Params`] it is what [`ConvU8Params`] do with `A^T M A`, `b` being the shifts, in the
    /// place of `sum * m`. Where there are no more than two rows, or columns, it is F2 in that dimension, of four of
    /// F4's points: see [`WinogradInputU8Params`].
    pub struct WinogradOutputParams<E = Epilogue> {
        /// The form, one of [`Transform::WINOGRAD`].
        pub form: Transform,
        /// Tiles of the row, at least 1.
        pub tiles: usize,
        /// Output rows: 1 to `h`.
        pub rows: usize,
        /// Output columns: more than `w * (tiles - 1)`, at most `w * tiles`.
        pub columns: usize,
        /// Distance between points.
        pub x_point: usize,
        /// Distance between output rows.
        pub y_row: usize,
        /// Distance between residual rows.
        pub r_row: usize,
        /// What is done with the result.
        pub epilogue: E,
    }

    /// A max pool, an average pool or a blur over one channel block's whole plane.
    ///
    /// The first window starts `padding` before the first pixel; the last one may reach over the far
    /// edges. A max pool and an average pool ignore what lies outside; every window has one pixel inside at
    /// least. A blur weighs a window's rows and columns, [`LARGEST_BLUR`] at most, by binomial coefficients whose sum is 1,
    /// and sees the picture mirrored at its first and last pixels; windows reach over the edges by
    /// less than the picture's size.
    pub struct PoolParams {
        /// Input height, without any ring.
        pub in_rows: usize,
        /// Input width, without any ring.
        pub in_columns: usize,
        /// Distance between input rows.
        pub x_row: usize,
        /// Output height.
        pub out_rows: usize,
        /// Output width.
        pub out_columns: usize,
        /// Distance between output rows.
        pub y_row: usize,
        /// Height of the window.
        pub kernel_rows: usize,
        /// Width of the window.
        pub kernel_columns: usize,
        /// Vertical stride.
        pub stride_rows: usize,
        /// Horizontal stride.
        pub stride_columns: usize,
        /// Rows of padding above.
        pub padding_rows: usize,
        /// Columns of padding on the left.
        pub padding_columns: usize,
    }

    /// The mean, or the mean square distance from given values, of one channel block's plane: 16
    /// results. Each 64 columns of a row have four running sums, of every fourth column, which are added in
    /// pairs; these parts are added in pairs, the pairs in pairs, and so on. For
    /// [`Call::Magnitude`](super::Call::Magnitude) the root of the mean square, whose sums are `f64`.
    pub struct MeanParams {
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between rows.
        pub x_row: usize,
    }

    /// One channel block's plane, each channel with numbers of its own: `y = epilogue(v)`, where the
    /// epilogue adds a residual and applies the activation. `v` is `x * w + b` for [`Call::Affine`](super::Call::Affine), a
    /// batch norm that no convolution could take in and that has no residual, `x` for
    /// [`Call::Add`](super::Call::Add), `x * sigmoid(g)` for [`Call::Gate`](super::Call::Gate) and `(x - m) * s + b` for [`Call::Normalise`](super::Call::Normalise); the product and its addition are
    /// fused.
    pub struct PlaneParams {
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between input rows.
        pub x_row: usize,
        /// Distance between residual rows.
        pub r_row: usize,
        /// Distance between output rows.
        pub y_row: usize,
        /// What is done with the result.
        pub epilogue: Epilogue,
    }

    /// A convolution along `channels` values that lie side by side, with zeros past both ends:
    /// `y[c] = sum over k of w[k] * x[c + k - kernel / 2]`, in the order of `k`.
    pub struct ChannelConvParams {
        /// Values; the output is filled with zeros up to a multiple of 16.
        pub channels: usize,
        /// Taps, an odd number.
        pub kernel: usize,
    }

    /// What the groups of a group norm have in common, from what each of their channels has: for
    /// [`Call::GroupMean`](super::Call::GroupMean) the mean of `x`, for [`Call::GroupScale`](super::Call::GroupScale) `w / sqrt(mean of v + epsilon)`, a
    /// number a channel.
    pub struct GroupParams {
        /// Values; the output is filled with zeros up to a multiple of 16.
        pub channels: usize,
        /// Values of a group, which lie side by side.
        pub group: usize,
        /// Added to a group's variance. A group's mean has none.
        pub epsilon: Constant,
    }

    /// One row of a zero-padding shortcut (option A), for all output channels: output channel `c` is
    /// input channel `c - before`, or zero (of bytes, the zero point) where there is none.
    pub struct ZeroPadParams {
        /// Output pixels of the row.
        pub pixels: usize,
        /// Distance between the inputs of neighbouring pixels: `16 * stride`.
        pub x_step: usize,
        /// Distance between input blocks.
        pub x_block: usize,
        /// Distance between output blocks.
        pub y_block: usize,
        /// Input channels.
        pub in_channels: usize,
        /// Output channels; lanes past them, to the end of the last block, become the same.
        pub out_channels: usize,
        /// Zero channels before the first input channel.
        pub before: usize,
    }

    /// Writes zeros, or the zero point of bytes, to the ring around one plane. The operand points at the
    /// plane's first element, ring included; a planar plane has `lanes` 1, an interleaved one its channels, a blocked one
    /// 16.
    pub struct RingParams {
        /// Height without the ring.
        pub rows: usize,
        /// Width without the ring.
        pub columns: usize,
        /// Ring rows above.
        pub top: usize,
        /// Ring rows below.
        pub bottom: usize,
        /// Ring columns on the left.
        pub left: usize,
        /// Ring columns on the right.
        pub right: usize,
        /// Elements in a pixel: 16, 4 or 1.
        pub lanes: usize,
    }

    /// Copies between planar (`[C][H][W]`) and blocked layout, or from one to the same, one block of up
    /// to 16 channels (or one planar plane, or up to 4 planes that are interleaved) a call.
    pub struct CopyParams {
        /// Channels of this block, 1 to 16; missing lanes of a blocked output become zero, or the zero
        /// point (for blocked to blocked: unused, all lanes count).
        pub channels: usize,
        /// Height.
        pub rows: usize,
        /// Width.
        pub columns: usize,
        /// Distance between rows of `x`.
        pub x_row: usize,
        /// Distance between rows of `y`.
        pub y_row: usize,
        /// Distance between the channels of the planar side (for planar to planar, of which a call
        /// copies one plane, and for blocked to blocked: unused).
        pub plane: usize,
    }

    /// Softmax over `channels` values that lie side by side; in place is allowed.
    pub struct SoftmaxParams {
        /// Values.
        pub channels: usize,
    }
}

/// A convolution of bytes: see [`ConvParams`].
pub type ConvU8Params = ConvParams<ByteEpilogue>;

/// Products of the points of a Winograd convolution of bytes: see [`ConvParams`].
pub type ConvI16Params = ConvParams<()>;

/// The output of a Winograd convolution of bytes: see [`WinogradOutputParams`].
pub type WinogradOutputU8Params = WinogradOutputParams<ByteEpilogue>;

/// From the first to the last of `n` places that are so far apart.
pub(super) const fn last(n: usize, distance: usize) -> usize {
    product([n.saturating_sub(1), distance])
}

/// A sum that stops at the largest number: what an operand reaches is compared with what there is, and must
/// not be taken for little where it is too much.
pub(super) const fn sum<const N: usize>(parts: [usize; N]) -> usize {
    let (mut sum, mut part) = (0_usize, 0);
    while part < N {
        sum = sum.saturating_add(parts[part]);
        part += 1;
    }
    sum
}

/// A product that stops at the largest number, likewise.
pub(super) const fn product<const N: usize>(factors: [usize; N]) -> usize {
    let (mut product, mut factor) = (1_usize, 0);
    while factor < N {
        product = product.saturating_mul(factors[factor]);
        factor += 1;
    }
    product
}

/// Elements of so many blocks, or pixels of one.
pub(super) const fn blocks(n: usize) -> usize {
    product([n, BLOCK])
}

/// Elements from the first to the last pixel of a plane of blocks.
pub(super) const fn plane(rows: usize, columns: usize, row: usize) -> usize {
    sum([last(rows, row), blocks(columns)])
}

pub(super) const fn padded(channels: usize) -> usize {
    blocks(channels.div_ceil(BLOCK))
}

impl<E> ConvParams<E> {
    /// Elements of the input, of which `lanes` lie side by side in a pixel.
    pub(super) const fn x_len(&self, lanes: usize) -> usize {
        sum([
            last(self.blocks, self.x_block),
            last(self.kernel_rows, self.x_row),
            last(self.kernel_columns, self.x_column),
            last(self.pixels, self.x_step),
            lanes,
        ])
    }

    /// Rows of weights, one for each input of an output.
    const fn w_rows(&self, lanes: usize) -> usize {
        product([self.blocks, self.kernel_rows, self.kernel_columns, lanes])
    }

    /// Elements of the weights.
    pub(super) const fn w_len(&self, lanes: usize) -> usize {
        product([self.w_rows(lanes), self.out_blocks, BLOCK])
    }

    /// Elements of the output, or of the residual, whose blocks are `block` apart.
    pub(super) const fn y_len(&self, block: usize) -> usize {
        sum([last(self.out_blocks, block), blocks(self.pixels)])
    }

    pub(super) const fn macs(&self, lanes: usize) -> u64 {
        (self.pixels as u64).saturating_mul(self.w_len(lanes) as u64)
    }
}

/// Points of a tile.
pub(super) const fn points(form: Transform) -> usize {
    let [rows, columns] = form.filters();
    rows.points() * columns.points()
}

impl WinogradWeightsI8Params {
    /// Bytes of the factors and of the kernels: the former take as much as an input block.
    pub(super) const fn w_len(&self) -> usize {
        product([sum([self.blocks, 1]), BYTES_OF_KERNELS, self.out_blocks])
    }

    /// Words from the first point to the last.
    pub(super) const fn y_len(&self) -> usize {
        let of_point = product([self.blocks, BLOCK, self.out_blocks, BLOCK]);
        sum([last(points(Transform::Winograd4x4), self.y_point), of_point])
    }
}

/// Of 3x3 kernels of an input and an output block.
const BYTES_OF_KERNELS: usize = 9 * BLOCK * BLOCK;

impl WinogradInputParams {
    pub(super) const fn x_len(&self) -> usize {
        tiles_len(self.form.filters(), self.tiles, self.x_row)
    }
}

impl WinogradInputU8Params {
    pub(super) const fn x_len(&self) -> usize {
        let filters = [Filter::of_bytes(self.rows), Filter::of_bytes(self.columns)];
        tiles_len(filters, self.tiles, self.x_row)
    }

    pub(super) const fn y_len(&self) -> usize {
        sum([last(points(Transform::Winograd4x4), self.y_point), blocks(self.tiles)])
    }
}

/// Elements from the first to the last pixel of a row of tiles.
const fn tiles_len([rows, columns]: [Filter; 2], tiles: usize, row: usize) -> usize {
    let columns = sum([last(tiles, columns.step()), columns.points()]);
    plane(rows.points(), columns, row)
}
