//! A mistake in a call, where it is.

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// A mistake, with the first and the last token that are to blame.
pub(super) struct Error {
    pub(super) span: (Span, Span),
    pub(super) message: String,
}

impl Error {
    pub(super) fn new(span: (Span, Span), message: String) -> Self {
        Self { span, message }
    }

    /// `compile_error!`, without the `;` of an item.
    pub(super) fn tokens(&self) -> TokenStream {
        let (first, last) = self.span;
        let mut message = Literal::string(&self.message);
        message.set_span(last);
        let mut body = Group::new(Delimiter::Brace, TokenTree::from(message).into());
        body.set_span(last);
        let mut path = TokenStream::new();
        for word in ["core", "compile_error"] {
            for spacing in [Spacing::Joint, Spacing::Alone] {
                let mut colon = Punct::new(':', spacing);
                colon.set_span(first);
                path.extend([TokenTree::from(colon)]);
            }
            path.extend([TokenTree::from(Ident::new(word, first))]);
        }
        let mut bang = Punct::new('!', Spacing::Alone);
        bang.set_span(first);
        path.extend([TokenTree::from(bang), TokenTree::from(body)]);
        path
    }
}
