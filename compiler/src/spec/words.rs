//! Enums whose variants are words of a table.

/// Declares an enum with the word for each variant: `ALL` and `word` follow from it.
macro_rules! words {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// All that there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The table's word for it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads its word.
            pub(in crate::spec) fn parse(
                text: &str,
            ) -> Result<Self, $crate::spec::cell::Refused> {
                $crate::spec::cell::choice(text, &[$(($word, Self::$variant)),+])
            }
        }
    };
}
pub(super) use words;
