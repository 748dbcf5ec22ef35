//! The compiler: from a layer table to one native inference function.
//!
//! ```text
//! YAML -spec-> Spec -graph-> Graph -fuse-> Fused -schedule-> Schedule -nest-> Program
//!                              |                                               |- emit::jit
//!                              |- onnx                                         |- emit::rust
//!                              '- emit::reference                              '- emit::interpret
//! ```
//!
//! Each stage is a module and each arrow is a type; every stage can be called alone.

pub mod classes;
pub mod counts;
pub mod diagnostics;
pub mod emit;
mod entity;
#[cfg(feature = "rust")]
pub mod expand;
pub mod family;
pub mod fuse;
pub mod geometry;
pub mod graph;
pub mod labels;
mod limits;
pub mod model;
pub mod nest;
pub mod network;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod plan;
pub mod profile;
#[cfg(feature = "jit")]
pub mod quantize;
pub mod report;
pub mod schedule;
pub mod spec;
pub mod target;
#[cfg(feature = "train")]
pub mod train;
pub mod tune;
pub mod warnings;
pub mod words;
pub mod zoo;
