//! Enums whose values people write as words, in tables and in saved schedules.

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

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}
pub(crate) use words;

/// Why a word is not read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("found `{found}`, expected one of {}", known.join(", "))]
pub struct UnknownWord {
    /// The word.
    pub found: String,
    /// Those that there are.
    pub known: Vec<&'static str>,
}

/// The value of a word.
pub(crate) fn find<T: Copy>(
    found: &str,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<T, UnknownWord> {
    all.iter().copied().find(|&value| word(value) == found).ok_or_else(|| UnknownWord {
        found: found.to_owned(),
        known: all.iter().copied().map(word).collect(),
    })
}
