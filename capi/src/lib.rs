//! The C library, over the library for Rust: arguments, answers and errors of C. `include/resnet.h`, which a test
//! makes of this source, is what its users read.

// What networks in object files call.
pub use resnet_kernels::resnet_kernels_run;

mod arguments;
pub mod error;
pub mod image;
pub mod model;
pub mod network;
pub mod session;
