//! What a compiled network needs while it runs: kernels for every instruction set, packed weights,
//! the arena, threads, and pictures.
//!
//! This crate knows nothing of layer tables or graphs; the compiler depends on it, never the
//! reverse. Code that the `resnet!` macro emits uses this crate alone.

pub mod compiled;
pub mod kernels;
pub mod load;
pub mod machine;
pub mod memory;
pub mod pack;
pub mod packed;
pub mod picture;
pub mod session;
pub mod tensors;
pub mod threads;
pub mod weights;
