//! The doorway of `resnet!`: the work is done, and documented, in `resnet_compiler::expand`.

use proc_macro::TokenStream;

/// What `resnet!` hands its tokens to, with the path of its crate in front.
#[doc(hidden)]
#[proc_macro]
pub fn resnet(input: TokenStream) -> TokenStream {
    resnet_compiler::expand::expand(input.into(), env!("OUT_DIR").as_ref()).into()
}
