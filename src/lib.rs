//! A compiler from ResNet layer tables to native inference functions.

pub use resnet_compiler as compiler;
pub use resnet_runtime as runtime;
