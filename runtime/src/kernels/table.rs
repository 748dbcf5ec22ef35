//! The macro that compiles every kernel for one instruction set.

/// Whether this CPU has a feature of its architecture.
#[cfg(target_arch = "x86_64")]
macro_rules! has_feature {
    ($feature:tt) => {
        std::arch::is_x86_feature_detected!($feature)
    };
}

/// Whether this CPU has a feature of its architecture.
#[cfg(target_arch = "aarch64")]
macro_rules! has_feature {
    ($feature:tt) => {
        std::arch::is_aarch64_feature_detected!($feature)
    };
}

/// For an instruction set's token type and its list of features: `new` and `new_unchecked`, and the
/// implementation of [`Token`](super::simd::Token).
///
/// Detection and code generation read the one list, so they cannot disagree.
macro_rules! isa_token {
    ($isa:ident: [$($feature:tt),*]) => {
        impl $isa {
            /// The token, if this CPU has the features.
            pub(in crate::kernels) fn new() -> Option<Self> {
                let available = true $( && has_feature!($feature) )*;
                available.then_some(Self(()))
            }

            /// The token, unasked.
            ///
            /// # Safety
            ///
            /// This CPU has the features.
            #[inline(always)]
            unsafe fn new_unchecked() -> Self {
                Self(())
            }
        }

        impl $crate::kernels::simd::Token for $isa {
            #[inline(always)]
            unsafe fn outlined<O: $crate::kernels::simd::Outlined>(self, op: O) {
                /// # Safety
                ///
                /// That of the `op`, and this CPU has the features.
                $( #[target_feature(enable = $feature)] )*
                #[inline(never)]
                unsafe fn run<O: $crate::kernels::simd::Outlined>(isa: $isa, op: O) {
                    // SAFETY: this is called below alone, with an `op` whose own contract holds.
                    unsafe { op.run(isa) }
                }
                // SAFETY: the token proves that the CPU has the features; `outlined` asks for what the
                // `op` does.
                unsafe { run(self, op) }
            }
        }
    };
}

/// The same, and `TABLE`, every kernel compiled with these features.
macro_rules! kernel_table {
    ($isa:ident: $features:tt) => {
        isa_token!($isa: $features);

        /// Every kernel, compiled for this instruction set. Its functions may be called only
        /// where `new` answers.
        pub(in crate::kernels) static TABLE: $crate::kernels::Table = {
            use $crate::kernels::*;
            kernels! { kernel_table! { @kernels $isa $features } }
        };
    };
    (@kernels $isa:ident $features:tt $(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $variant:ident = $module:ident::$name:ident($p:ident: $params:ident) {
            $( $operand:ident: $what:expr, )+
        } $( macs $macs:expr )?;
    )+) => {{
        $( $(#[cfg($cfg)])? kernel_table! { @kernel $isa $features $module $name $params ($($operand),+) } )+
        Table { $( $(#[cfg($cfg)])? $name ),+ }
    }};
    (@kernel $isa:ident [$($feature:tt),*]
        $module:ident $name:ident $params:ident ($($operand:ident),+)
    ) => {
        $( #[target_feature(enable = $feature)] )*
        unsafe extern "C" fn $name(params: *const $params, $( $operand: *mut ::std::ffi::c_void ),+) {
            // SAFETY: whoever calls a function of the table vouches for the CPU, and keeps the
            // contract of the kernel, which the catalogue documents.
            unsafe { $module::$name($isa::new_unchecked(), &*params, $( $operand.cast() ),+) }
        }
    };
}
