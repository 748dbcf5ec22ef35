//! Back ends: each prints one [`Program`](crate::nest::Program) in another language. `onnx` prints
//! the [`Graph`](crate::graph::Graph), which is what other runtimes start from.

#[cfg(feature = "jit")]
pub mod clif;
#[cfg(feature = "jit")]
pub mod jit;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "rust")]
pub mod rust;
