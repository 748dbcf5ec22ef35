//! AVX2 with AVX-VNNI, the dot products of bytes in 256-bit registers. Over `f32` it is AVX2.

use super::avx2::HasAvx2;

/// Token: the CPU has AVX2, FMA and AVX-VNNI.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct AvxVnni(());

// SAFETY: both are in the list below.
unsafe impl HasAvx2 for AvxVnni {}

kernel_table!(AvxVnni: ["avx2", "fma", "avxvnni"]);
