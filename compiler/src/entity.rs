//! Indices of the things that an IR consists of.

/// Defines the index of a kind of thing, which prints as a prefix of its own and a number.
macro_rules! entity {
    ($(#[$doc:meta])* $vis:vis $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[doc = concat!("\n\nPrints as `", $prefix, "3`.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name($vis u32);

        impl $name {
            /// That of a position.
            ///
            /// # Panics
            ///
            /// If there are more than 2^32 things.
            $vis fn at(index: usize) -> Self {
                Self(u32::try_from(index).expect("there are fewer than 2^32"))
            }

            /// The position among its kind.
            $vis fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&format!(concat!($prefix, "{}"), self.0))
            }
        }
    };
}

pub(crate) use entity;
