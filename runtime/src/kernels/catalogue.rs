//! Every kernel, declared once: its name, its function, its parameters (`constants.rs` has them), and what
//! it does with each of its operands.
//!
//! The list at the end of this file generates the enum [`Call`] (a kernel with its constants, what
//! the compiler puts into a loop nest), the struct [`Table`] (the function pointers of one
//! instruction set) and the tables themselves, and the compiler's verifier checks programs by it.

use std::ffi::c_void;

use super::constants::*;
use super::operand::{
    Element::{Bf16, F32, I8, I16, U8},
    Operand,
};
use super::params::Param;
use super::{BLOCK, QUAD, TENSOR_NUMBERS};
#[cfg(feature = "train")]
use super::{operand::Element::U32, training::*};

macro_rules! catalogue {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $variant:ident = $module:ident::$name:ident($p:ident: $params:ident) {
            $( $operand:ident: $what:expr, )+
        } $( macs $macs:expr )?;
    )+) => {
        /// A kernel with its constants: the leaf of a loop nest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Call {
            $( $(#[doc = $doc])* $(#[cfg($cfg)])? $variant($params), )+
        }

        /// The kernels of one instruction set, which nothing outside of this module can make or change:
        /// whoever has one got it from [`Isa::table`](super::Isa::table), on a CPU that has the
        /// instruction set.
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct Table {
            $( $(#[cfg($cfg)])? pub(in crate::kernels) $name: unsafe extern "C" fn(
                *const $params,
                $( catalogue!(@pointer $operand) ),+
            ), )+
        }

        impl Table {
            $(
                $(#[doc = $doc])*
                ///
                /// # Safety
                ///
                /// That of [`Call::invoke`].
                #[inline]
                #[allow(clippy::too_many_arguments, reason = "as many as the kernel has operands")]
                $(#[cfg($cfg)])?
                pub unsafe fn $name(&self, params: &$params, $( $operand: *mut c_void ),+) {
                    // SAFETY: the CPU has the instruction set, as the table exists; the operands reach as
                    // far as `Call::operands` says, as `Call::invoke` asks for.
                    unsafe { (self.$name)(params, $( $operand ),+) }
                }
            )+
        }

        /// The most operands that a kernel has.
        pub const MAX_OPERANDS: usize = {
            let counts = [$( [$( stringify!($operand) ),+].len() ),+];
            let (mut most, mut kernel) = (0, 0);
            while kernel < counts.len() {
                most = if counts[kernel] > most { counts[kernel] } else { most };
                kernel += 1;
            }
            most
        };

        impl Call {
            /// The kernel's name, the same on every instruction set.
            pub fn name(&self) -> &'static str {
                match self { $( $(#[cfg($cfg)])? Call::$variant(_) => stringify!($name), )+ }
            }

            /// The names of the operands, in the order in which the kernel takes them.
            pub fn names(&self) -> &'static [&'static str] {
                match self { $( $(#[cfg($cfg)])? Call::$variant(_) => &[$( stringify!($operand) ),+], )+ }
            }

            /// The operands, in the order in which the kernel takes them.
            pub fn operands(&self) -> Vec<Operand> {
                match self {
                    $( $(#[cfg($cfg)])? Call::$variant($p) => {
                        let _ = $p;
                        vec![$( $what.named(stringify!($operand)) ),+]
                    } )+
                }
            }

            /// Multiply-adds, of those kernels whose time they are.
            pub fn macs(&self) -> u64 {
                match self {
                    $( $(#[cfg($cfg)])? Call::$variant($p) => { let _ = $p; 0 $( + $macs )? } )+
                }
            }

            fn param(&self) -> &dyn Param {
                match self { $( $(#[cfg($cfg)])? Call::$variant(params) => params, )+ }
            }

            /// The Rust expression that makes the parameters, where the catalogue's names are in scope.
            pub fn expression(&self) -> String {
                self.param().expression()
            }

            /// The name of the parameters' type.
            pub fn params(&self) -> &'static str {
                match self { $( $(#[cfg($cfg)])? Call::$variant(_) => stringify!($params), )+ }
            }

            /// The parameters as they lie in this machine's memory, for code that is made for it; padding
            /// is zero.
            pub fn bytes(&self) -> Vec<u8> {
                let len = match self { $( $(#[cfg($cfg)])? Call::$variant(_) => size_of::<$params>(), )+ };
                let mut bytes = vec![0; len];
                self.param().write(&mut bytes);
                bytes
            }

            /// The address of the kernel in `table`.
            pub fn address(&self, table: &Table) -> *const u8 {
                match self { $( $(#[cfg($cfg)])? Call::$variant(_) => table.$name as *const u8, )+ }
            }

            /// How many bytes from the start of a [`Table`] the kernel's address stands, for code that reads it
            /// there.
            pub fn offset(&self) -> usize {
                match self { $( $(#[cfg($cfg)])? Call::$variant(_) => std::mem::offset_of!(Table, $name), )+ }
            }

            /// Runs the kernel on `operands`.
            ///
            /// # Panics
            ///
            /// If the number of operands is not that of [`Call::names`].
            ///
            /// # Safety
            ///
            /// Each operand is readable, or writable, for as many elements as [`Call::operands`] says, and aligned
            /// for one of them; what
            /// is written overlaps no other operand, unless it is in the place of the one that it may be
            /// in. The CPU has the table's instruction set.
            pub unsafe fn invoke(&self, table: &Table, operands: &[*mut c_void]) {
                match (self, operands) {
                    $(
                        $(#[cfg($cfg)])?
                        // SAFETY: whoever has a table got it from `Isa::table`, on a CPU with its
                        // instruction set; the operands reach as far as `operands` says, which is what
                        // the kernel touches of each.
                        (Call::$variant(params), &[$( $operand ),+]) => unsafe {
                            (table.$name)(params, $( $operand ),+)
                        },
                    )+
                    _ => panic!("{} takes {:?}", self.name(), self.names()),
                }
            }
        }
    };
    (@pointer $operand:ident) => { *mut c_void };
}

/// Hands the declarations of all kernels to a macro, behind what it is given here.
macro_rules! kernels {
    ($macro:ident! { $($first:tt)* }) => { $macro! { $($first)*
    /// A row of a convolution over a blocked input.
    Conv = conv::conv(p: ConvParams) {
        x: Operand::read(F32, p.x_len(BLOCK)),
        w: Operand::read(F32, p.w_len(BLOCK)).aligned(),
        b: Operand::read(F32, blocks(p.out_blocks)).aligned(),
        r: Operand::read(p.epilogue.element(), p.y_len(p.r_block)).only_if(p.epilogue.residual),
        n: Operand::hint(),
        y: Operand::write(p.epilogue.element(), p.y_len(p.y_block)).over("r"),
    } macs p.macs(BLOCK);
    /// A row of a convolution over a planar input (few channels: the stem).
    ConvPlanar = conv::conv_planar(p: ConvParams) {
        x: Operand::read(F32, p.x_len(1)),
        w: Operand::read(F32, p.w_len(1)).aligned(),
        b: Operand::read(F32, blocks(p.out_blocks)).aligned(),
        r: Operand::read(p.epilogue.element(), p.y_len(p.r_block)).only_if(p.epilogue.residual),
        n: Operand::hint(),
        y: Operand::write(p.epilogue.element(), p.y_len(p.y_block)).over("r"),
    } macs p.macs(1);
    /// A row of a convolution of [`Bf16`](super::Bf16) over a blocked input.
    ConvBf16 = conv::conv_bf16(p: ConvParams) {
        x: Operand::read(Bf16, p.x_len(BLOCK)),
        w: Operand::read(Bf16, p.w_len(BLOCK)).aligned(),
        b: Operand::read(F32, blocks(p.out_blocks)).aligned(),
        r: Operand::read(p.epilogue.element(), p.y_len(p.r_block)).only_if(p.epilogue.residual),
        n: Operand::hint(),
        y: Operand::write(p.epilogue.element(), p.y_len(p.y_block)).over("r"),
    } macs p.macs(BLOCK);
    /// A row of a convolution of bytes over a blocked input.
    ConvU8 = conv::conv_u8(p: ConvU8Params) {
        x: Operand::read(U8, p.x_len(BLOCK)),
        w: Operand::read(I8, p.w_len(BLOCK)).aligned(),
        q: Operand::read(F32, blocks(product([p.out_blocks, 2]))).aligned(),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        r: Operand::read(p.epilogue.residual(), p.y_len(p.r_block)).only_if(p.epilogue.has_residual()),
        n: Operand::hint(),
        y: Operand::write(p.epilogue.output(), p.y_len(p.y_block)).over_if(p.epilogue.in_place(), "r"),
    } macs p.macs(BLOCK);
    /// A row of a convolution of bytes over a picture of 4 channels side by side.
    ConvU8Quads = conv::conv_u8_quads(p: ConvU8Params) {
        x: Operand::read(U8, p.x_len(QUAD)),
        w: Operand::read(I8, p.w_len(QUAD)).aligned(),
        q: Operand::read(F32, blocks(product([p.out_blocks, 2]))).aligned(),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        r: Operand::read(p.epilogue.residual(), p.y_len(p.r_block)).only_if(p.epilogue.has_residual()),
        n: Operand::hint(),
        y: Operand::write(p.epilogue.output(), p.y_len(p.y_block)).over_if(p.epilogue.in_place(), "r"),
    } macs p.macs(QUAD);
    /// Products of one point of a Winograd convolution of bytes.
    ConvI16 = conv::conv_i16(p: ConvI16Params) {
        x: Operand::read(I16, p.x_len(BLOCK)),
        w: Operand::read(I16, p.w_len(BLOCK)).aligned(),
        s: Operand::read(F32, blocks(p.out_blocks)).aligned(),
        n: Operand::hint(),
        y: Operand::write(F32, p.y_len(p.y_block)),
    } macs p.macs(BLOCK);
    /// A row of tiles into the points of a Winograd form.
    WinogradInput = winograd::winograd_input(p: WinogradInputParams) {
        x: Operand::read(F32, p.x_len()),
        y: Operand::write(F32, sum([last(points(p.form), p.y_point), blocks(p.tiles)])),
    };
    /// A row of tiles of [`Bf16`](super::Bf16) into the points of a Winograd form.
    WinogradInputBf16 = winograd::winograd_input_bf16(p: WinogradInputParams) {
        x: Operand::read(Bf16, p.x_len()),
        y: Operand::write(F32, sum([last(points(p.form), p.y_point), blocks(p.tiles)])),
    };
    /// Words of a panel of Winograd weights of bytes.
    WinogradWeightsI8 = winograd::winograd_weights_i8(p: WinogradWeightsI8Params) {
        w: Operand::read(I8, p.w_len()).aligned(),
        y: Operand::write(I16, p.y_len()),
    };
    /// The points of a row of Winograd tiles of bytes.
    WinogradInputU8 = winograd::winograd_input_u8(p: WinogradInputU8Params) {
        x: Operand::read(U8, p.x_len()),
        y: Operand::write(I16, p.y_len()),
    };
    /// The products of Winograd's points into a row of tiles.
    WinogradOutput = winograd::winograd_output(p: WinogradOutputParams) {
        x: Operand::read(F32, sum([last(points(p.form), p.x_point), blocks(p.tiles)])),
        b: Operand::read(F32, BLOCK).aligned(),
        r: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.r_row)).only_if(p.epilogue.residual),
        y: Operand::write(p.epilogue.element(), plane(p.rows, p.columns, p.y_row)).over("r"),
    };
    /// The products of Winograd's points into a row of tiles of a convolution of bytes.
    WinogradOutputU8 = winograd::winograd_output_u8(p: WinogradOutputU8Params) {
        x: Operand::read(F32, sum([last(points(p.form), p.x_point), blocks(p.tiles)])),
        b: Operand::read(F32, BLOCK).aligned(),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        r: Operand::read(p.epilogue.residual(), plane(p.rows, p.columns, p.r_row)).only_if(p.epilogue.has_residual()),
        y: Operand::write(p.epilogue.output(), plane(p.rows, p.columns, p.y_row)).over_if(p.epilogue.in_place(), "r"),
    };
    /// Max pool of one channel block.
    MaxPool = pool::max_pool(p: PoolParams) {
        x: Operand::read(F32, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(F32, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Max pool of one channel block of [`Bf16`](super::Bf16).
    MaxPoolBf16 = pool::max_pool_bf16(p: PoolParams) {
        x: Operand::read(Bf16, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(Bf16, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Max pool of one channel block of bytes.
    MaxPoolU8 = pool::max_pool_u8(p: PoolParams) {
        x: Operand::read(U8, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(U8, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Average pool of one channel block.
    AveragePool = pool::average_pool(p: PoolParams) {
        x: Operand::read(F32, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(F32, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Average pool of one channel block of [`Bf16`](super::Bf16).
    AveragePoolBf16 = pool::average_pool_bf16(p: PoolParams) {
        x: Operand::read(Bf16, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(Bf16, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Anti-aliasing of one channel block, by a binomial filter.
    Blur = pool::blur(p: PoolParams) {
        x: Operand::read(F32, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(F32, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Anti-aliasing of one channel block of [`Bf16`](super::Bf16).
    BlurBf16 = pool::blur_bf16(p: PoolParams) {
        x: Operand::read(Bf16, plane(p.in_rows, p.in_columns, p.x_row)),
        y: Operand::write(Bf16, plane(p.out_rows, p.out_columns, p.y_row)),
    };
    /// Scale and shift of one channel block.
    Affine = channel::affine(p: PlaneParams) {
        x: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.x_row)),
        w: Operand::read(F32, BLOCK).aligned(),
        b: Operand::read(F32, BLOCK).aligned(),
        y: Operand::write(p.epilogue.element(), plane(p.rows, p.columns, p.y_row)),
    };
    /// Gates of one channel block.
    Gate = channel::gate(p: PlaneParams) {
        x: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.x_row)),
        g: Operand::read(F32, BLOCK),
        r: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.r_row)).only_if(p.epilogue.residual),
        y: Operand::write(p.epilogue.element(), plane(p.rows, p.columns, p.y_row)).over("r"),
    };
    /// A residual and one channel block.
    Add = channel::add(p: PlaneParams) {
        x: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.x_row)),
        r: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.r_row)).only_if(p.epilogue.residual),
        y: Operand::write(p.epilogue.element(), plane(p.rows, p.columns, p.y_row)).over("r"),
    };
    /// One channel block with another mean and another deviation.
    Normalise = norm::normalise(p: PlaneParams) {
        x: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.x_row)),
        m: Operand::read(F32, BLOCK),
        s: Operand::read(F32, BLOCK),
        b: Operand::read(F32, BLOCK).aligned(),
        r: Operand::read(p.epilogue.element(), plane(p.rows, p.columns, p.r_row)).only_if(p.epilogue.residual),
        y: Operand::write(p.epilogue.element(), plane(p.rows, p.columns, p.y_row)).over("r"),
    };
    /// A convolution along the channels of one pixel.
    ChannelConv = channel::channel_conv(p: ChannelConvParams) {
        x: Operand::read(F32, p.channels),
        w: Operand::read(F32, p.kernel).aligned(),
        y: Operand::write(F32, padded(p.channels)),
    };
    /// Global mean of one channel block.
    Mean = pool::mean(p: MeanParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(F32, BLOCK),
    };
    /// Global mean of one channel block of [`Bf16`](super::Bf16).
    MeanBf16 = pool::mean_bf16(p: MeanParams) {
        x: Operand::read(Bf16, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(F32, BLOCK),
    };
    /// Global mean square distance of one channel block from `m`.
    Variance = norm::variance(p: MeanParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        m: Operand::read(F32, BLOCK),
        y: Operand::write(F32, BLOCK),
    };
    /// Global mean square distance of one channel block of [`Bf16`](super::Bf16) from `m`.
    VarianceBf16 = norm::variance_bf16(p: MeanParams) {
        x: Operand::read(Bf16, plane(p.rows, p.columns, p.x_row)),
        m: Operand::read(F32, BLOCK),
        y: Operand::write(F32, BLOCK),
    };
    /// Means of groups of channels.
    GroupMean = norm::group_mean(p: GroupParams) {
        x: Operand::read(F32, p.channels),
        y: Operand::write(F32, padded(p.channels)).over("x"),
    };
    /// Scales of groups of channels, from the channels' variances.
    GroupScale = norm::group_scale(p: GroupParams) {
        v: Operand::read(F32, p.channels),
        w: Operand::read(F32, p.channels).aligned(),
        y: Operand::write(F32, padded(p.channels)).over("v"),
    };
    /// A row of a zero-padding shortcut.
    ZeroPad = copy::zero_pad(p: ZeroPadParams) {
        x: Operand::read(
            F32,
            sum([last(p.in_channels.div_ceil(BLOCK), p.x_block), last(p.pixels, p.x_step), BLOCK])
        ),
        y: Operand::write(F32, sum([last(p.out_channels.div_ceil(BLOCK), p.y_block), blocks(p.pixels)])),
    };
    /// A row of a zero-padding shortcut of [`Bf16`](super::Bf16).
    ZeroPadBf16 = copy::zero_pad_bf16(p: ZeroPadParams) {
        x: Operand::read(
            Bf16,
            sum([last(p.in_channels.div_ceil(BLOCK), p.x_block), last(p.pixels, p.x_step), BLOCK])
        ),
        y: Operand::write(Bf16, sum([last(p.out_channels.div_ceil(BLOCK), p.y_block), blocks(p.pixels)])),
    };
    /// A row of a zero-padding shortcut of bytes, whose zero point `t` says.
    ZeroPadU8 = copy::zero_pad_u8(p: ZeroPadParams) {
        x: Operand::read(
            U8,
            sum([last(p.in_channels.div_ceil(BLOCK), p.x_block), last(p.pixels, p.x_step), BLOCK])
        ),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        y: Operand::write(U8, sum([last(p.out_channels.div_ceil(BLOCK), p.y_block), blocks(p.pixels)])),
    };
    /// Zeros around a plane.
    Ring = copy::ring(p: RingParams) {
        y: Operand::write(
            F32,
            product([sum([p.top, p.rows, p.bottom]), sum([p.left, p.columns, p.right]), p.lanes])
        ),
    };
    /// Zeros around a plane of [`Bf16`](super::Bf16).
    RingBf16 = copy::ring_bf16(p: RingParams) {
        y: Operand::write(
            Bf16,
            product([sum([p.top, p.rows, p.bottom]), sum([p.left, p.columns, p.right]), p.lanes])
        ),
    };
    /// Zero points, which `t` says, around a plane of bytes.
    RingU8 = copy::ring_u8(p: RingParams) {
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        y: Operand::write(
            U8,
            product([sum([p.top, p.rows, p.bottom]), sum([p.left, p.columns, p.right]), p.lanes])
        ),
    };
    /// One block of `f32` to one of bytes: `y = round_half_even(min(max(x * t.factor, t.low), t.high)) +
    /// t.zero`; NaN to 0.
    Quantise = quantise::quantise(p: CopyParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        y: Operand::write(U8, plane(p.rows, p.columns, p.y_row)),
    };
    /// Up to 4 planes of `f32` to a picture of bytes, whose channels lie side by side, by the same formula.
    QuantiseInterleaved = quantise::quantise_interleaved(p: CopyParams) {
        x: Operand::read(F32, sum([last(p.channels, p.plane), last(p.rows, p.x_row), p.columns])),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        y: Operand::write(U8, sum([last(p.rows, p.y_row), product([p.columns, p.channels])])),
    };
    /// One block of bytes to one of `f32`: `y = (x - t.offset) * t.factor`.
    Dequantise = quantise::dequantise(p: CopyParams) {
        x: Operand::read(U8, plane(p.rows, p.columns, p.x_row)),
        t: Operand::read(F32, TENSOR_NUMBERS).aligned(),
        y: Operand::write(F32, plane(p.rows, p.columns, p.y_row)),
    };
    /// One block of `f32` to one of [`Bf16`](super::Bf16).
    Narrow = copy::narrow(p: CopyParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(Bf16, plane(p.rows, p.columns, p.y_row)),
    };
    /// One block of [`Bf16`](super::Bf16) to one of `f32`.
    Widen = copy::widen(p: CopyParams) {
        x: Operand::read(Bf16, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(F32, plane(p.rows, p.columns, p.y_row)),
    };
    /// One planar plane to another, row by row.
    CopyPlanar = copy::copy_planar(p: CopyParams) {
        x: Operand::read(F32, sum([last(p.rows, p.x_row), p.columns])),
        y: Operand::write(F32, sum([last(p.rows, p.y_row), p.columns])),
    };
    /// Up to 16 planes to one block.
    ToBlocked = copy::to_blocked(p: CopyParams) {
        x: Operand::read(F32, sum([last(p.channels, p.plane), last(p.rows, p.x_row), p.columns])),
        y: Operand::write(F32, plane(p.rows, p.columns, p.y_row)),
    };
    /// One block to up to 16 planes.
    ToPlanar = copy::to_planar(p: CopyParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(F32, sum([last(p.channels, p.plane), last(p.rows, p.y_row), p.columns])),
    };
    /// Softmax.
    Softmax = softmax::softmax(p: SoftmaxParams) {
        x: Operand::read(F32, p.channels),
        y: Operand::write(F32, p.channels).over("x"),
    };
    /// The gradient of a convolution's weights, of some rows of an image.
    #[cfg(feature = "train")]
    ConvGradient = training::conv_gradient(p: ConvGradientParams) {
        x: Operand::read(F32, p.x_len()),
        d: Operand::read(F32, p.d_len()),
        y: Operand::write(F32, p.y_len()).aligned(),
    } macs p.macs();
    /// Asks for what will be read soon.
    #[cfg(feature = "train")]
    Fetch = training::fetch(p: FetchParams) {
        x: Operand::hint(),
    };
    /// Weights into the points of F(4x4, 3x3).
    #[cfg(feature = "train")]
    WinogradWeights = training::winograd_weights(p: WinogradWeightsParams) {
        x: Operand::read(F32, p.parts(9, p.x_part)),
        y: Operand::write(F32, p.parts(36, p.y_part)),
    };
    /// Sums of products of points into the gradient of weights.
    #[cfg(feature = "train")]
    WinogradWeightsGradient = training::winograd_weights_gradient(p: WinogradWeightsParams) {
        x: Operand::read(F32, last(p.sums, p.x_sum) + p.parts(36, p.x_part)),
        y: Operand::write(F32, p.parts(9, p.y_part)),
    };
    /// A row of tiles of an output's gradient into points of F(4x4, 3x3), as [`Call::WinogradInput`] those of an input.
    #[cfg(feature = "train")]
    WinogradGradient = training::winograd_gradient(p: WinogradInputParams) {
        x: Operand::read(F32, plane(4, 4 * p.tiles, p.x_row)),
        y: Operand::write(F32, last(36, p.y_point) + p.tiles * BLOCK),
    };
    /// Numbers in another order, or sums of some.
    #[cfg(feature = "train")]
    Gather = training::gather(p: GatherParams) {
        x: Operand::read(F32, p.x_len()),
        t: Operand::read(U32, p.len),
        y: Operand::write(F32, p.len),
    };
    /// Means and variances of a batch.
    #[cfg(feature = "train")]
    BatchMoments = training::batch_moments(p: BatchParams) {
        p: Operand::read(F32, p.p_len()),
        g: Operand::read(F32, BLOCK),
        v: Operand::write(F32, PAIR_LEN),
        y: Operand::write(F32, TRIPLE_LEN),
    };
    /// The gradients of a batch norm's scales and shifts, and the coefficients of its input's.
    #[cfg(feature = "train")]
    BatchGradient = training::batch_gradient(p: BatchParams) {
        p: Operand::read(F32, p.p_len()),
        m: Operand::read(F32, TRIPLE_LEN),
        w: Operand::write(F32, BLOCK),
        b: Operand::write(F32, BLOCK),
        y: Operand::write(F32, TRIPLE_LEN),
    };
    /// Sums over a batch of what are means of images.
    #[cfg(feature = "train")]
    SumImages = training::sum_images(p: BatchParams) {
        p: Operand::read(F32, p.p_len()),
        y: Operand::write(F32, BLOCK),
    };
    /// The gradient before an activation, and its sums for a batch norm.
    #[cfg(feature = "train")]
    NormSums = training::norm_sums(p: GradientParams) {
        x: Operand::read(F32, p.plane(p.x_row)),
        m: Operand::read(F32, BLOCK),
        z: Operand::read(F32, p.plane(p.z_row)),
        g: Operand::read(F32, p.plane(p.g_row)),
        s: Operand::write(F32, PAIR_LEN),
        y: Operand::write(F32, p.plane(p.y_row)).over("g"),
    };
    /// The gradient of a batch norm's input.
    #[cfg(feature = "train")]
    NormInput = training::norm_input(p: GradientParams) {
        x: Operand::read(F32, p.plane(p.x_row)),
        m: Operand::read(F32, BLOCK),
        g: Operand::read(F32, p.plane(p.g_row)),
        c: Operand::read(F32, TRIPLE_LEN),
        r: Operand::read(F32, p.plane(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.plane(p.y_row)).over(if p.residual { "r" } else { "g" }),
    };
    /// The gradient before an activation.
    #[cfg(feature = "train")]
    Mask = training::mask(p: GradientParams) {
        z: Operand::read(F32, p.plane(p.z_row)),
        g: Operand::read(F32, p.plane(p.g_row)),
        y: Operand::write(F32, p.plane(p.y_row)).over("g"),
    };
    /// The gradient before a global mean.
    #[cfg(feature = "train")]
    Spread = training::spread(p: SpreadParams) {
        x: Operand::read(F32, BLOCK),
        r: Operand::read(F32, p.len(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.len(p.y_row)).over("r"),
    };
    /// Pixels with zeros between them.
    #[cfg(feature = "train")]
    Dilate = training::dilate(p: DilateParams) {
        x: Operand::read(F32, p.x_len()),
        r: Operand::read(F32, p.y_len(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.y_len(p.y_row)).over("r"),
    };
    /// Channels at other places.
    #[cfg(feature = "train")]
    Shift = training::shift(p: ShiftParams) {
        x: Operand::read(F32, p.x_len()),
        r: Operand::read(F32, p.dilate.y_len(p.dilate.r_row)).only_if(p.dilate.residual),
        y: Operand::write(F32, p.dilate.y_len(p.dilate.y_row)).over("r"),
    };
    /// The gradient before a max pool.
    #[cfg(feature = "train")]
    MaxPoolGradient = training::max_pool_gradient(p: PoolGradientParams) {
        x: Operand::read(F32, p.in_len(p.pool.x_row)),
        z: Operand::read(F32, p.out_len(p.pool.y_row)),
        g: Operand::read(F32, p.out_len(p.g_row)),
        r: Operand::read(F32, p.in_len(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.in_len(p.d_row)).over("r"),
    };
    /// The gradient before an average pool.
    #[cfg(feature = "train")]
    AveragePoolGradient = training::average_pool_gradient(p: PoolGradientParams) {
        g: Operand::read(F32, p.out_len(p.g_row)),
        r: Operand::read(F32, p.in_len(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.in_len(p.d_row)).over("r"),
    };
    /// The loss, and the gradient of the logits.
    #[cfg(feature = "train")]
    CrossEntropy = training::cross_entropy(p: CrossEntropyParams) {
        x: Operand::read(F32, p.channels),
        t: Operand::read(F32, p.channels),
        l: Operand::write(F32, 1),
        y: Operand::write(F32, p.padded()),
    };
    /// A step of descent.
    #[cfg(feature = "train")]
    Sgd = training::sgd(p: SgdParams) {
        g: Operand::read(F32, p.len),
        h: Operand::read(F32, HYPER_LEN),
        v: Operand::write(F32, p.len),
        w: Operand::write(F32, p.len),
    };
    /// How large the values of one channel block are: the root of the mean square of each channel.
    #[cfg(feature = "train")]
    Magnitude = training::magnitude(p: MeanParams) {
        x: Operand::read(F32, plane(p.rows, p.columns, p.x_row)),
        y: Operand::write(F32, BLOCK),
    };
    /// The gradient before a blur.
    #[cfg(feature = "train")]
    BlurGradient = training::blur_gradient(p: PoolGradientParams) {
        g: Operand::read(F32, p.out_len(p.g_row)),
        r: Operand::read(F32, p.in_len(p.r_row)).only_if(p.residual),
        y: Operand::write(F32, p.in_len(p.d_row)).over("r"),
    };
    /// The gradient of gates.
    #[cfg(feature = "train")]
    GateGradient = training::gate_gradient(p: GateGradientParams) {
        x: Operand::read(F32, p.plane(p.x_row)),
        s: Operand::read(F32, BLOCK),
        g: Operand::read(F32, p.plane(p.g_row)),
        y: Operand::write(F32, BLOCK),
    };
    /// The gradient of the taps of a convolution along the channels.
    #[cfg(feature = "train")]
    ChannelConvGradient = training::channel_conv_gradient(p: ChannelConvGradientParams) {
        x: Operand::read(F32, p.len(p.x_image)),
        g: Operand::read(F32, p.len(p.g_image)),
        y: Operand::write(F32, p.y_len()),
    };
    /// Means and scales of the groups of one image.
    #[cfg(feature = "train")]
    GroupMoments = training::group_moments(p: GroupNormParams) {
        p: Operand::read(F32, p.second + p.channels),
        w: Operand::read(F32, p.channels),
        y: Operand::write(F32, p.blocks(TRIPLE_LEN)),
    };
    /// One image's part of the gradients of a group norm's scales and shifts, and the coefficients of its input's.
    #[cfg(feature = "train")]
    GroupGradient = training::group_gradient(p: GroupNormParams) {
        p: Operand::read(F32, p.blocks(PAIR_LEN)),
        m: Operand::read(F32, p.blocks(TRIPLE_LEN)),
        w: Operand::write(F32, p.blocks(BLOCK)),
        b: Operand::write(F32, p.blocks(BLOCK)),
        y: Operand::write(F32, p.blocks(TRIPLE_LEN)),
    };
    /// Standardised weights of one output channel.
    #[cfg(feature = "train")]
    Standardise = training::standardise(p: StandardiseParams) {
        x: Operand::read(F32, p.len),
        y: Operand::write(F32, p.y_len()),
    };
    /// The gradient before it.
    #[cfg(feature = "train")]
    StandardiseGradient = training::standardise_gradient(p: StandardiseParams) {
        x: Operand::read(F32, p.len),
        g: Operand::read(F32, p.len),
        y: Operand::write(F32, p.y_len()),
    };
    } };
}

kernels! { catalogue! {} }
