//! What a compiled network needs while it runs: kernels for every instruction set, packed weights,
//! the arena, threads, and pictures.
//!
//! This crate knows nothing of layer tables or graphs; the compiler depends on it, never the
//! reverse. Code that the `resnet!` macro emits uses this crate alone.

pub mod classes;
pub mod compiled;
pub mod context;
pub mod file;
pub mod kernels;
pub mod machine;
pub mod memory;
pub mod object;
pub mod picture;
pub mod session;
pub mod threads;
#[cfg(feature = "train")]
pub mod training;
pub mod weights;
