//! AArch64.

pub(super) mod neon;
pub(super) mod neondot;
