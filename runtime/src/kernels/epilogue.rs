//! The last steps of a kernel, the same ones for all that have them: a residual, an activation, the store.

use std::fmt;

use super::BLOCK;
use super::simd::Simd;

choices! {
    /// The function that is applied to a result, element by element.
    pub enum Activation {
        /// None.
        None,
        /// `max(0, x)`; NaN stays NaN.
        Relu,
    }
}

impl Activation {
    /// The table's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

params! {
    /// What is done with a result before it is stored.
    pub struct Epilogue {
        /// Whether the residual operand is added first. If not, it is not read.
        pub residual: bool,
        /// What is applied then.
        pub activation: Activation,
    }
}

impl Epilogue {
    /// Nothing.
    pub const NONE: Self = Self { residual: false, activation: Activation::None };
}

/// Pixels of a few blocks that lie side by side: where the first one is, and how far its block is from
/// the next one.
#[derive(Clone, Copy)]
pub(super) struct Pixels<P> {
    pub(super) at: P,
    pub(super) block: usize,
}

/// Finishes and stores the first `count` of `P` pixels of `B` blocks.
///
/// # Safety
///
/// `y` is writable for these pixels, and `r` readable where there is a residual.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const P: usize, const B: usize>(
    simd: S,
    epilogue: Epilogue,
    mut values: [[S::F16; P]; B],
    count: usize,
    r: Pixels<*const f32>,
    y: Pixels<*mut f32>,
) {
    if epilogue.residual {
        for (o, values) in values.iter_mut().enumerate() {
            for (p, value) in values.iter_mut().enumerate() {
                if p < count {
                    // SAFETY: the residual has the pixels and blocks of the output.
                    let residual = unsafe { simd.load(r.at.add(o * r.block + p * BLOCK)) };
                    *value = simd.add(*value, residual);
                }
            }
        }
    }
    match epilogue.activation {
        Activation::None => {}
        Activation::Relu => {
            for value in values.as_flattened_mut() {
                // With the value as second operand, NaN stays NaN.
                *value = simd.max(simd.splat(0.0), *value);
            }
        }
    }
    for (o, values) in values.iter().enumerate() {
        for (p, value) in values.iter().enumerate() {
            if p < count {
                // SAFETY: these pixels of these blocks are the caller's to write.
                unsafe { simd.store(y.at.add(o * y.block + p * BLOCK), *value) };
            }
        }
    }
}
