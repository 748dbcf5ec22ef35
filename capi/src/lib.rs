//! The C library, over the library for Rust: arguments, answers and errors of C. `include/resnet.h`, which a test
//! makes of this source, is what its users read.

mod arguments;
pub mod error;
pub mod image;
pub mod model;
pub mod network;
pub mod session;
