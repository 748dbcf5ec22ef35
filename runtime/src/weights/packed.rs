//! Packed weights, where they lie.

use std::sync::Arc;

use super::file::PackedFile;
use crate::memory::Buffer;

/// Packed weights: what the recipes of a [`WeightsPlan`](super::WeightsPlan) say, each at its offset.
#[derive(Debug)]
pub enum Packed {
    /// In memory of their own, where loading packed them.
    Owned(Buffer),
    /// In the program's file; they start on a cache line.
    Static(&'static [f32]),
    /// In a file of packed weights that is mapped; they start on a page.
    Mapped(Arc<PackedFile>),
}

impl Packed {
    /// The elements.
    pub fn as_slice(&self) -> &[f32] {
        match self {
            Self::Owned(buffer) => buffer.as_slice(),
            Self::Static(weights) => weights,
            Self::Mapped(file) => bytemuck::cast_slice(file.elements()),
        }
    }
}
