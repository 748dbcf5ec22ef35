//! The instruction sets of x86-64 beyond its baseline.

pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod avx512bf16;
pub(super) mod avx512vnni;
pub(super) mod avxvnni;
mod words;
