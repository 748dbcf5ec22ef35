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
    Static(&'static [u8]),
    /// In a file of packed weights that is mapped; they start on a page.
    Mapped(Arc<PackedFile>),
}

impl Packed {
    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Owned(buffer) => buffer.as_bytes(),
            Self::Static(weights) => weights,
            Self::Mapped(file) => file.elements(),
        }
    }
}
