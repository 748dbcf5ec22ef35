//! Values that saved schedules have as words.

/// Why a word is not read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("found `{found}`, expected one of {}", known.join(", "))]
pub struct UnknownWord {
    /// The word.
    pub found: String,
    /// Those that there are.
    pub known: &'static [&'static str],
}

/// Gives an enum its values' words, to write and to read.
macro_rules! words {
    ($name:ident { $($value:ident: $word:literal),* $(,)? }) => {
        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$value),*];

            /// The word that it is written as.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::schedule::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$value),)*
                    _ => Err($crate::schedule::UnknownWord {
                        found: word.to_owned(),
                        known: &[$($word),*],
                    }),
                }
            }
        }
    };
}

pub(super) use words;
