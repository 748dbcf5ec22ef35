//! Warnings as tokens. Macros cannot warn; a use of something deprecated can, at the use's place and
//! with the deprecation's note.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::errors::{describe, in_tokens};
use crate::diagnostics::{Diagnostic, Severity, render};
use crate::spec::inline::Inline;
use crate::warnings::{Warning, Warnings};

/// What a file is warned of, all at its path, each as it would be drawn in a terminal.
pub(super) fn in_file(warnings: &Warnings, path: Span) -> TokenStream {
    let items = warnings.list().iter().map(|warning| {
        let drawn = render(warnings.source(), Severity::Warning, &[&warning.diagnostic], false);
        let text = drawn.strip_prefix("warning: ").unwrap_or(&drawn);
        self::warning(warning, text, (path, path))
    });
    items.collect()
}

/// What a table in tokens is warned of, each at its tokens.
pub(super) fn inline(warnings: &Warnings, inline: &Inline, name: Span) -> TokenStream {
    let items = warnings.list().iter().map(|warning| {
        let span = inline.tokens(warning.diagnostic.span).unwrap_or((name, name));
        let notes = warning.diagnostic.notes.iter().map(|note| in_tokens(note)).collect();
        let text = describe(&Diagnostic { notes, ..warning.diagnostic.clone() });
        self::warning(warning, &text, span)
    });
    items.collect()
}

/// The compiler says ``use of deprecated constant `_::warning::skipped_pixels`: `` and the note.
fn warning(warning: &Warning, text: &str, (first, last): (Span, Span)) -> TokenStream {
    let name = Ident::new(warning.lint.word(), last);
    let module = Ident::new("warning", first);
    quote! {
        const _: () = {
            #[allow(non_upper_case_globals)]
            mod warning {
                #[deprecated(note = #text)]
                pub(super) const #name: () = ();
            }
            #module::#name
        };
    }
}
