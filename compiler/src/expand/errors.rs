//! Mistakes as tokens: `compile_error!` where the mistake is, and a stand-in for the type.

use proc_macro2::{Literal, Span, TokenStream};
use quote::quote;

use super::call::Item;
use super::error::Error;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::spec::inline::Inline;

/// How many mistakes of a table are shown; the rest is counted.
const MOST_SHOWN: usize = 20;

/// Mistakes, at least one.
pub(super) struct Errors(Vec<Error>);

impl Errors {
    pub(super) fn one(span: Span, message: String) -> Self {
        Self(vec![Error::new((span, span), message)])
    }

    pub(super) fn or<T>(list: Vec<Error>, value: T) -> Result<T, Self> {
        if list.is_empty() { Ok(value) } else { Err(Self(list)) }
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

/// The mistakes as items.
pub(super) fn complaints(errors: &[Error]) -> TokenStream {
    errors.iter().map(Error::tokens).collect()
}

/// Everything that is wrong with a file, as it would be drawn in a terminal.
pub(super) fn in_file(error: &Diagnostics) -> String {
    let drawn = error.render(false);
    // The compiler writes `error: ` in front of the first line itself.
    drawn.strip_prefix("error: ").unwrap_or(&drawn).to_owned()
}

/// Everything that is wrong with a table in tokens, each at its tokens.
pub(super) fn inline(error: &Diagnostics, inline: &Inline, name: Span) -> Errors {
    let list = error.list();
    let locate = |diagnostic: &Diagnostic| inline.tokens(diagnostic.span).unwrap_or((name, name));
    let mut errors: Vec<Error> = list
        .iter()
        .take(MOST_SHOWN)
        .map(|diagnostic| Error::new(locate(diagnostic), describe(diagnostic)))
        .collect();
    if let Some(rest) = list.len().checked_sub(MOST_SHOWN).filter(|rest| *rest > 0) {
        errors.push(Error::new((name, name), format!("{rest} more errors")));
    }
    Errors(errors)
}

/// What `compile_error!` can say: text, without other places.
pub(super) fn describe(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.message.clone();
    if let Some(label) = &diagnostic.label {
        text += &format!(": {label}");
    }
    for note in &diagnostic.notes {
        text += &format!("\nnote: {}", note.replace('\n', "\n      "));
    }
    if let Some(help) = &diagnostic.help {
        text += &format!("\nhelp: {}", in_tokens(help));
    }
    text
}

/// A help's YAML, `field: value` between backticks, in this notation.
pub(super) fn in_tokens(help: &str) -> String {
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let parts = help.split('`').enumerate().map(|(i, part)| match part.split_once(": ") {
        Some(("output", claim)) if i % 2 == 1 => format!("-> {claim}"),
        Some((field, value)) if i % 2 == 1 && is_word(field) => format!("{field} = {value}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

/// What is known of a network that could not be compiled.
pub(super) struct Known {
    pub(super) input: Option<[usize; 3]>,
    pub(super) outputs: Option<usize>,
}

/// The errors, with a type of the right name and all its methods, so that nothing else in the
/// crate is wrong because of them.
pub(super) fn skeleton(
    krate: &TokenStream,
    item: &Item,
    errors: &Errors,
    known: &Known,
) -> TokenStream {
    let Item { attributes, visibility, name, weights, .. } = item;
    let errors = complaints(&errors.0);
    let input = known.input.unwrap_or([1; 3]).map(Literal::usize_unsuffixed);
    let outputs = Literal::usize_unsuffixed(known.outputs.unwrap_or(1));
    let session = session(known);
    let embedded = weights.as_ref().map(|_| {
        quote! {
            pub fn embedded() -> Self { loop {} }
            pub fn embedded_with(_: &rt::LoadOptions)
                -> ::core::result::Result<Self, rt::UnavailableIsa> { loop {} }
        }
    });
    quote! {
        #errors
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #name;

        const _: () = {
            use #krate::__private as rt;
            #session
            impl #name {
                pub const NAME: &'static str = "";
                pub const INPUT: [usize; 3] = [#(#input),*];
                pub const INPUT_LEN: usize = Self::INPUT[0] * Self::INPUT[1] * Self::INPUT[2];
                pub const CLASSES: usize = #outputs;
                pub const FEATURES: &'static [(&'static str, [usize; 3])] = &[];
                pub const LABELS: &'static [&'static str] = &[];
                pub const DEPTH: usize = 0;
                pub const PARAMS: usize = 0;
                pub const MACS: u64 = 0;
                pub const ARENA_BYTES: usize = 0;
                pub const BATCH: usize = 1;
                pub fn preprocess() -> rt::Preprocess { loop {} }
                pub fn tensors() -> ::std::vec::Vec<rt::TensorSpec> { loop {} }
                pub fn load(_: &rt::Weights)
                    -> ::core::result::Result<Self, rt::LoadError> { loop {} }
                pub fn load_with(_: &rt::Weights, _: &rt::LoadOptions)
                    -> ::core::result::Result<Self, rt::LoadError> { loop {} }
                pub fn session(&self) -> Session { loop {} }
                pub fn session_in(&self, _: ::core::option::Option<&rt::Pool>)
                    -> ::std::io::Result<Session> { loop {} }
                #embedded
            }
            impl rt::Network for #name {
                fn info(&self) -> &rt::Info { loop {} }
                fn session_in(&self, _: ::core::option::Option<&rt::Pool>)
                    -> ::std::io::Result<::std::boxed::Box<dyn rt::DynSession>> { loop {} }
            }
        };
    }
}

/// The type of the stand-in's sessions: the real one if its lengths are known, and else one whose
/// unknown lengths are whatever the user says.
fn session(known: &Known) -> TokenStream {
    let outputs = known.outputs.map(Literal::usize_unsuffixed);
    if let (Some(input), Some(outputs)) = (known.input, &outputs) {
        let input = Literal::usize_unsuffixed(input.iter().product());
        return quote!(type Session = rt::Session<#input, #outputs>;);
    }
    let (parameter, generics, outputs) = match outputs {
        Some(outputs) => (quote!(), quote!(), quote!(#outputs)),
        None => (quote!(const O: usize), quote!(<const O: usize>), quote!(O)),
    };
    quote! {
        pub struct Session;
        impl Session {
            pub fn run<const I: usize, #parameter>(&mut self, _: &[f32; I]) -> &[f32; #outputs] {
                loop {}
            }
            pub fn try_run #generics (
                &mut self,
                _: &[f32],
            ) -> ::core::result::Result<&[f32; #outputs], rt::RunError> {
                loop {}
            }
            pub fn run_batch(
                &mut self,
                _: &[f32],
                _: &mut [f32],
            ) -> ::core::result::Result<(), rt::RunError> {
                loop {}
            }
        }
    }
}
