//! The catalogue of kernels and their implementations, one per instruction set.
//!
//! Activations are blocked by [`BLOCK`] channels: `[C / 16][H][W][16]` of `f32`, on every
//! instruction set, so that one plan and one packed-weight format serve all of them. Loop nests
//! belong to the compiler; a kernel owns the register tile.
//!
//! All distances in parameters are in `f32` elements, not bytes.

mod catalogue;

pub use catalogue::*;

/// Channels in one block of an activation.
pub const BLOCK: usize = 16;
