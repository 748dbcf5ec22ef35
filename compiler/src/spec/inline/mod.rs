//! The layer table in Rust tokens: another notation for the same schema.
//!
//! ```text
//! Tiny: 3x32x32 => {
//!     conv1:   conv(3x3, 16)                -> 32x32;
//!     conv2_x: basic(16) * 3                -> 32x32;
//!     conv3_x: basic(32, stride = 2) * 3    -> 16x16;
//!     avgpool: global_average_pool          -> 1x1;
//!     fc:      linear(10);
//!     expect = { depth = 14 };
//! }
//! ```
//!
//! Tokens become the same tree that YAML becomes, and are read by the same reader: whatever a field
//! means, and whatever is wrong with it, is said in one place. The tree's places are ranges of a
//! [`Source`] into which the tokens are copied; [`Inline::tokens`] leads from there back to the
//! compiler's own spans.

mod parse;
mod print;

use proc_macro2::{Ident, Span as TokenSpan, TokenStream, TokenTree};

use crate::diagnostics::{Diagnostics, Source, Span};
use crate::spec::{Spec, read};

use parse::Transcript;
pub use print::print;

/// A table in tokens, read.
pub struct Inline {
    /// The table, or what is wrong with it.
    pub spec: Result<Spec, Diagnostics>,
    pieces: Vec<Piece>,
}

/// A token, with its place in the text.
struct Piece {
    kind: Kind,
    text: String,
    span: Span,
    token: TokenSpan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An identifier.
    Word,
    /// A number.
    Number,
    /// A string; the piece's text is what it means.
    Text,
    /// A punctuation mark or a bracket. Arrows are one piece.
    Mark,
}

impl Inline {
    /// Reads a table: the type's name, which is the network's unless the body says another, the
    /// shape of the picture, and the rows and settings.
    pub fn read(name: &Ident, input: TokenStream, body: TokenStream) -> Self {
        let mut transcript = Transcript::default();
        transcript.add(TokenTree::from(name.clone()).into());
        let input_start = transcript.pieces.len();
        transcript.add(input);
        let body_start = transcript.pieces.len();
        transcript.add(body);
        let Transcript { text, pieces } = transcript;
        let source = Source::new("resnet!", &text);
        let spec = parse::table(&source, &pieces, [input_start, body_start])
            .and_then(|root| read::read_tree(source, &root, "the table"));
        Self { spec, pieces }
    }

    /// The first and the last token under a span of the spec's source.
    pub fn tokens(&self, span: Span) -> Option<(TokenSpan, TokenSpan)> {
        let range = span.range();
        let mut under = self.pieces.iter().filter(|piece| {
            let piece = piece.span.range();
            piece.start < range.end.max(range.start + 1) && range.start < piece.end
        });
        let first = under.next()?;
        Some((first.token, under.next_back().unwrap_or(first).token))
    }
}

#[cfg(test)]
mod tests;
