//! Which instruction set the kernels use: chosen once, when a network is loaded.

use std::{fmt, str::FromStr};

use super::simd::{Outlined, Simd};
use super::{Table, portable};

#[cfg(target_arch = "x86_64")]
use super::x86_64::{avx2, avx512};

/// An instruction set that the kernels are written for. Prints, and parses, as `avx512`, `avx2` or
/// `portable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512F, with 512-bit registers.
    Avx512,
    /// AVX2 and FMA, with 256-bit registers. The same bits as AVX-512.
    Avx2,
    /// What every CPU of the target has. Multiplies and adds are not fused, so results differ
    /// from the others' in their last bits.
    Portable,
}

impl Isa {
    /// Every instruction set, best first, whether this CPU has it or not.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The best one that this CPU has.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Those that this CPU has, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        self.table().is_ok()
    }

    /// Its kernels.
    ///
    /// # Errors
    ///
    /// If this CPU lacks it: whoever holds a table from here has a CPU that can run it.
    pub fn table(self) -> Result<&'static Table, UnavailableIsa> {
        let table = match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Avx512::new().map(|_| &avx512::TABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::new().map(|_| &avx2::TABLE),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => None,
            Self::Portable => portable::Portable::new().map(|_| &portable::TABLE),
        };
        table.ok_or(UnavailableIsa(self))
    }

    /// Runs `op`, compiled for it.
    ///
    /// # Errors
    ///
    /// If this CPU lacks it: nothing is run.
    ///
    /// # Safety
    ///
    /// That of the `op`.
    pub(super) unsafe fn run(self, op: impl Outlined) -> Result<(), UnavailableIsa> {
        let unavailable = UnavailableIsa(self);
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                let simd = avx512::Avx512::new().ok_or(unavailable)?;
                // SAFETY: the caller's promise.
                unsafe { simd.outlined(op) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                let simd = avx2::Avx2::new().ok_or(unavailable)?;
                // SAFETY: the caller's promise.
                unsafe { simd.outlined(op) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => return Err(unavailable),
            Self::Portable => {
                let simd = portable::Portable::new().ok_or(unavailable)?;
                // SAFETY: the caller's promise.
                unsafe { simd.outlined(op) }
            }
        }
        Ok(())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        let found = Self::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// This CPU lacks an instruction set that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no {0}; the best instruction set it has is {best}", best = Isa::detect())]
pub struct UnavailableIsa(pub Isa);

/// No instruction set has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction set `{0}`; expected avx512, avx2 or portable")]
pub struct UnknownIsa(pub String);
