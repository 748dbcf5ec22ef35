//! The catalogue of kernels and their implementations, one per instruction set.
//!
//! Activations are blocked by [`BLOCK`] channels: `[C / 16][H][W][16]` of `f32` or of bytes, on every
//! instruction set, so that one plan and one packed-weight format serve all of them. Loop nests
//! belong to the compiler; a kernel owns the register tile.
//!
//! All distances in parameters are in elements of their operand, not bytes.
//!
//! # How a kernel is made
//!
//! The bodies are written once, over the trait `Simd` of "16 `f32` lanes", which is
//! one block of channels, and `Dot` of products of integers: `conv`, `winograd`, `pool`, `copy`, `softmax`. An instruction set is a small type
//! that implements the traits (`portable`, those of `x86_64`); the macro in `table`
//! wraps every body in a function that is compiled for it and collects these in a [`Table`].
//! [`Isa`] picks a table, once, when a network is compiled (or loaded, if `resnet!` compiled it).
//!
//! The trap: everything between such a wrapper and the intrinsics has to be `#[inline(always)]`,
//! and a closure is not, nor are some
//! adapters of iterators (`skip`, `step_by`). Code that stays out of line is compiled for the baseline CPU, where each
//! intrinsic becomes a call.

#[macro_use]
mod params;
#[macro_use]
mod catalogue;
#[macro_use]
mod table;

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod activation;
mod bf16;
mod channel;
mod constants;
mod conv;
mod copy;
mod epilogue;
mod filter;
mod float_mode;
mod format;
mod isa;
pub(crate) mod limits;
mod norm;
mod operand;
mod pool;
mod portable;
mod quantise;
mod simd;
mod softmax;
#[cfg(feature = "train")]
mod training;
mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use bf16::Bf16;
pub use catalogue::*;
pub use constants::*;
pub use epilogue::{
    Activation, ByteEpilogue, Epilogue, OutputElement, Precision, ResidualElement, TensorLine,
    UnknownPrecision,
};
pub use filter::Filter;
pub use float_mode::FlushDenormals;
pub use format::{ConvShape, PanelFormat, Panels, Transform};
pub use isa::{Isa, UnavailableIsa, UnknownIsa};
pub use operand::{Element, Operand, Role};
pub use params::Constant;
#[cfg(feature = "train")]
pub use training::*;

pub(crate) use filter::{F4OfBytes, points as winograd_points};

/// Channels in one block of an activation, and lanes of a kernel's vectors.
pub const BLOCK: usize = 16;

/// The most output channels whose weights a kernel takes at once: those of a panel.
pub const PANEL: usize = 2 * BLOCK;

/// Channels whose bytes a dot product takes together: those of a quantised picture's pixel.
pub const QUAD: usize = 4;

/// Words, or [`Bf16`], that a dot product takes together: neighbouring channels.
pub const PAIR: usize = 2;

/// Elements of a [`TensorLine`]: a cache line.
pub const TENSOR_NUMBERS: usize = 16;

/// Bytes of a cache line, on which packed weights and activations start.
pub const LINE_BYTES: usize = 64;
