//! Which instruction set the kernels use: chosen once, when a network is compiled, or loaded where
//! `resnet!` compiled it.

use std::{fmt, str::FromStr};

use super::simd::{Outlined, Token};
use super::{Element, Table};

/// The instruction sets, best first: a variant, its name, the module whose token has the variant's name,
/// and the architecture that has it, if not every one.
macro_rules! isas {
    (
        $(#[$enum_doc:meta])*
        pub enum Isa {
            $(
                $(#[doc = $doc:literal])+
                $variant:ident = isa($name:literal, $($module:ident)::+ $(, $arch:literal)?),
            )+
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Isa {
            $( $(#[doc = $doc])+ $variant, )+
        }

        const LIST: &[Isa] = &[$( Isa::$variant ),+];
        const NAMES: &[&str] = &[$( $name ),+];
        const SUMMARIES: &[&str] = &[$( concat!($( $doc ),+) ),+];

        /// The kernels of an instruction set, if this CPU has it.
        fn kernels(isa: Isa) -> Option<&'static Table> {
            $(
                $( #[cfg(target_arch = $arch)] )?
                {
                    use super::$($module)::+::{$variant, TABLE};
                    if isa == Isa::$variant {
                        return $variant::new().map(|_| &TABLE);
                    }
                }
            )+
            None
        }

        impl Isa {
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
                $(
                    $( #[cfg(target_arch = $arch)] )?
                    {
                        use super::$($module)::+::$variant;
                        if self == Self::$variant {
                            let simd = $variant::new().ok_or(UnavailableIsa(self))?;
                            // SAFETY: the token, which `new` makes only where the CPU has the instruction
                            // set, proves that; this function asks for what the `op` does.
                            unsafe { simd.outlined(op) }
                            return Ok(());
                        }
                    }
                )+
                Err(UnavailableIsa(self))
            }
        }
    };
}

isas! {
    /// An instruction set that the kernels are written for. Prints, and parses, as its name.
    pub enum Isa {
        /// AVX-512 F, BW, VL, VNNI and BF16, with 512-bit registers. The same bits as AVX-512.
        Avx512Bf16 = isa("avx512bf16", x86_64::avx512bf16, "x86_64"),
        /// AVX-512 F, BW, VL and VNNI, with 512-bit registers. The same bits as AVX-512.
        Avx512Vnni = isa("avx512vnni", x86_64::avx512vnni, "x86_64"),
        /// AVX-512F, with 512-bit registers.
        Avx512 = isa("avx512", x86_64::avx512, "x86_64"),
        /// AVX2, FMA and AVX-VNNI, with 256-bit registers. The same bits as AVX2.
        AvxVnni = isa("avxvnni", x86_64::avxvnni, "x86_64"),
        /// AVX2 and FMA, with 256-bit registers. The same bits as AVX-512.
        Avx2 = isa("avx2", x86_64::avx2, "x86_64"),
        /// NEON and its dot products of bytes, with 128-bit registers. The same bits as NEON.
        NeonDot = isa("neondot", aarch64::neondot, "aarch64"),
        /// NEON, with 128-bit registers. The same bits as AVX-512.
        Neon = isa("neon", aarch64::neon, "aarch64"),
        /// What every CPU of the target has. Multiplies and adds are not fused, so results differ
        /// from the others' in their last bits.
        Portable = isa("portable", portable),
    }
}

impl Isa {
    /// Every instruction set, best first, whether this CPU has it or not.
    pub const ALL: &[Self] = LIST;

    /// Its name.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// What a CPU needs to have for it, and what its results are like, in a sentence or two.
    pub const fn summary(self) -> &'static str {
        SUMMARIES[self as usize].trim_ascii()
    }

    /// Whether it has an instruction that sums products of such elements: of the bytes of a quantised network, or of
    /// [`Bf16`](super::Bf16). Without one, kernels make others of them first.
    pub const fn multiplies(self, element: Element) -> bool {
        let bytes = element.is_quantised();
        match self {
            Self::Avx512Bf16 => true,
            Self::Avx512Vnni | Self::AvxVnni | Self::NeonDot => {
                bytes || matches!(element, Element::F32)
            }
            Self::Avx512 | Self::Avx2 | Self::Neon | Self::Portable => {
                matches!(element, Element::F32)
            }
        }
    }

    /// The best one that this CPU has.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// Those that this CPU has, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_available())
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
        kernels(self).ok_or(UnavailableIsa(self))
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
        let found = Self::ALL.iter().copied().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// This CPU lacks an instruction set that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this CPU has no {0}; the best instruction set it has is {best}", best = Isa::detect())]
pub struct UnavailableIsa(pub Isa);

/// No instruction set has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown instruction set `{0}`; expected one of {names}", names = NAMES.join(", "))]
pub struct UnknownIsa(pub String);
