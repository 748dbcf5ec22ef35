//! Enums whose variants are words of a table.

/// Declares an enum with the word for each variant, and how it is read.
macro_rules! words {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident { $($variants:tt)+ }) => {
        $crate::words::words! {
            $(#[$meta])*
            $visibility enum $name { $($variants)+ }
        }

        impl $name {
            /// Reads its word.
            pub(in crate::spec) fn parse(
                text: &str,
            ) -> Result<Self, $crate::spec::cell::Refused> {
                let words: Vec<_> = Self::ALL.iter().map(|&value| (value.word(), value)).collect();
                $crate::spec::cell::choice(text, &words)
            }
        }
    };
}
pub(super) use words;
