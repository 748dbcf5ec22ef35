//! Back ends: each prints one [`Program`](crate::nest::Program) in another language.

#[cfg(feature = "jit")]
pub mod clif;
#[cfg(feature = "jit")]
pub mod jit;
#[cfg(feature = "rust")]
pub mod rust;
