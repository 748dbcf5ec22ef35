//! The Rust back end: a program becomes the source of one type, as `resnet!` puts it into the
//! user's crate and `resnet emit --as rust` prints it.
//!
//! Emitted code:
//! - for each [`Function`](crate::nest::Function) of the program `fnN(kernels, operands,
//!   scratch, iterations)`, loops with constant bounds around calls of the catalogue's kernels, whose
//!   parameters are constants;
//! - `infer(run)`, the straight line: a call of [`Run::parallel`] for each step;
//! - the plan of the weights as constants, and the type's methods, which are one line each: what
//!   they do is in [`resnet_runtime::compiled`].
//!
//! Kernels are called through the table of the instruction set that is picked when the network is
//! loaded, so each function exists once. One indirect call for a row of a convolution costs
//! nothing that can be measured, and the JIT's direct ones take the same pointers.
//!
//! [`Run::parallel`]: resnet_runtime::compiled::Run::parallel

mod code;
mod plan;
#[cfg(feature = "print")]
mod print;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use resnet_runtime::picture::Preprocess;
use resnet_runtime::session::{Feature, Info};

use crate::counts::grouped;
use crate::nest::{Program, VerifyError};
use crate::plan::Plan;

#[cfg(feature = "print")]
pub use print::print;

/// What the emitted type is made of besides its plan.
pub struct Parts<'a> {
    /// The path of the crate `resnet`, as the emitted code can name it.
    pub krate: &'a TokenStream,
    /// Attributes that the user wrote on the type.
    pub attributes: &'a TokenStream,
    /// The type's visibility.
    pub visibility: &'a TokenStream,
    /// The type's name.
    pub name: &'a Ident,
    /// How a picture becomes the network's input.
    pub preprocess: &'a Preprocess,
    /// Names of the classes; empty if there are none.
    pub labels: &'a [String],
    /// The file with the packed weights that the type carries.
    pub embedded: Option<&'a str>,
    /// Files whose change asks for a new expansion.
    pub tracked: &'a [String],
}

/// Emits the type and all its code, whose safety rests on the verifier.
///
/// # Errors
///
/// A program that fails verification, which is a bug in this compiler.
pub fn emit(plan: &Plan, parts: &Parts<'_>) -> Result<TokenStream, VerifyError> {
    let Parts { krate, attributes, visibility, name, tracked, .. } = parts;
    plan.programs.iter().try_for_each(Program::verify)?;
    let summary = summary(&plan.info);
    // A paragraph of its own behind the user's documentation.
    let gap = (!attributes.is_empty()).then(|| quote!(#[doc = ""]));
    let facts = facts(plan, parts);
    let methods = methods(name);
    let model = model(plan, name);
    let embedded = parts.embedded.map(|path| embedded(name, plan, path));
    let modules = plan.programs.iter().map(|program| code::module(krate, program));
    Ok(quote! {
        #attributes
        #gap
        #[doc = #summary]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #visibility struct #name(#krate::__private::Loaded);

        const _: () = {
            use #krate::__private as rt;
            // Whatever these words mean where the user is.
            use ::core::{default::Default, option::Option::{self, None, Some}, result::Result};
            // Cargo rebuilds when one of these files changes.
            #( const _: &[u8] = ::core::include_bytes!(#tracked); )*
            impl #name { #facts #methods }
            #embedded
            #model
            #(#modules)*
        };
    })
}

fn summary(info: &Info) -> String {
    let Info { name, input: [channels, height, width], outputs, depth, params, macs, .. } = info;
    format!(
        " The network `{name}`: pictures of {channels}x{height}x{width} in, {outputs} numbers out; \
         depth {depth}, {} parameters, {} multiply-adds.",
        grouped(*params),
        grouped(*macs),
    )
}

/// A number without a suffix.
fn number(value: usize) -> Literal {
    Literal::usize_unsuffixed(value)
}

fn facts(plan: &Plan, parts: &Parts<'_>) -> TokenStream {
    let Parts { labels, preprocess, .. } = parts;
    let Info { name, input, outputs, features, depth, params, macs, arena_bytes, .. } = &plan.info;
    let picture = number(plan.info.input_len());
    let input = input.map(number);
    let features = features.iter().map(|Feature { name, shape, .. }| {
        let shape = shape.map(number);
        quote!((#name, [#(#shape),*]))
    });
    let [classes, depth, arena_bytes] = [*outputs, *depth, *arena_bytes].map(number);
    let params = Literal::u64_unsuffixed(*params);
    let macs = Literal::u64_unsuffixed(*macs);
    let batch = number(plan.programs[0].batch);
    let preprocess = plan::preprocess(preprocess);
    quote! {
        /// The network's name.
        pub const NAME: &'static str = #name;
        /// Channels, height and width of a picture.
        pub const INPUT: [usize; 3] = [#(#input),*];
        /// Numbers in a picture.
        pub const INPUT_LEN: usize = #picture;
        /// Numbers in an answer.
        pub const CLASSES: usize = #classes;
        /// Names and shapes (channels, height and width) of the features that an answer consists
        /// of, one after the other; empty if the table names none.
        pub const FEATURES: &'static [(&'static str, [usize; 3])] = &[#(#features),*];
        /// Names of the classes; empty if the table has none.
        pub const LABELS: &'static [&'static str] = &[#(#labels),*];
        /// Weighted layers, projections not counted.
        pub const DEPTH: usize = #depth;
        /// Weights, biases and batch norm's scales and shifts.
        pub const PARAMS: usize = #params;
        /// Multiply-adds for one picture.
        pub const MACS: u64 = #macs;
        /// Bytes of memory for activations that a session on one thread has.
        pub const ARENA_BYTES: usize = #arena_bytes;
        /// Pictures that a session is to be given at a time, and may compute together.
        pub const BATCH: usize = #batch;

        /// How a picture becomes the network's input.
        pub fn preprocess() -> rt::Preprocess {
            #preprocess
        }
    }
}

fn methods(name: &Ident) -> TokenStream {
    quote! {
        /// The tensors that a weights file has to hold.
        pub fn tensors() -> ::std::vec::Vec<rt::TensorSpec> {
            MODEL.tensors()
        }

        /// Folds batch norms into the convolutions, packs the weights, and picks the best
        /// instruction set that this CPU has.
        ///
        /// # Errors
        ///
        /// Weights that do not fit the network, or no memory.
        pub fn load(weights: &rt::Weights) -> Result<Self, rt::LoadError> {
            Self::load_with(weights, &Default::default())
        }

        /// The same with options.
        ///
        /// # Errors
        ///
        /// An instruction set that this CPU lacks, too.
        pub fn load_with(
            weights: &rt::Weights,
            options: &rt::LoadOptions,
        ) -> Result<Self, rt::LoadError> {
            MODEL.load(weights, options).map(Self)
        }

        /// What runs the network on the thread that calls it: one per thread of the caller's.
        ///
        /// # Panics
        ///
        /// If the operating system does not give the memory, as a `Vec` would.
        pub fn session(&self) -> rt::Session<{ #name::INPUT_LEN }, { #name::CLASSES }> {
            self.session_in(None).expect("out of memory for a session")
        }

        /// The same, with a pool to divide each layer among its threads.
        ///
        /// # Errors
        ///
        /// If the operating system does not give the memory.
        pub fn session_in(
            &self,
            pool: Option<&rt::Pool>,
        ) -> ::std::io::Result<rt::Session<{ #name::INPUT_LEN }, { #name::CLASSES }>> {
            rt::Session::new(&self.0, pool)
        }
    }
}

fn model(plan: &Plan, name: &Ident) -> TokenStream {
    let info = plan::info(&plan.info);
    let weights = plan::weights(&plan.weights);
    let apart = plan.apart;
    let variants = plan.programs.iter().map(|program| {
        let module = code::module_name(program);
        let [batch, arena_bytes, scratch_bytes] =
            [program.batch, program.arena_bytes, program.scratch_bytes].map(number);
        quote! {
            rt::EmittedVariant {
                batch: #batch,
                arena_bytes: #arena_bytes,
                scratch_bytes: #scratch_bytes,
                infer: #module::infer,
            }
        }
    });
    quote! {
        impl rt::Network for #name {
            fn info(&self) -> &rt::Info {
                self.0.info()
            }

            fn session_in(
                &self,
                pool: Option<&rt::Pool>,
            ) -> ::std::io::Result<::std::boxed::Box<dyn rt::DynSession>> {
                rt::Network::session_in(&self.0, pool)
            }
        }

        #[allow(clippy::approx_constant)]
        // SAFETY: the compiler verified, over all values of the loops' variables, that no kernel
        // call leaves these lengths, and that only the arena, the scratch and the output are
        // written.
        static MODEL: rt::Model = unsafe {
            rt::Model::new(rt::Emitted {
                info: #info,
                weights: #weights,
                variants: &[#(#variants),*],
                apart: #apart,
            })
        };
    }
}

/// The constructors of a type that carries its weights, and the weights.
fn embedded(name: &Ident, plan: &Plan, path: &str) -> TokenStream {
    let bytes = number(plan.weights.bytes);
    // The file was written by the machine that builds, in its byte order.
    let other = if cfg!(target_endian = "little") { "big" } else { "little" };
    quote! {
        #[cfg(target_endian = #other)]
        ::core::compile_error!("embedded weights need a target of the byte order of this machine");

        impl #name {
            /// The network with the weights that it carries: nothing is read, checked or copied.
            pub fn embedded() -> Self {
                Self::embedded_with(&Default::default())
                    .expect("the CPU has the instruction set that was picked for it")
            }

            /// The same with options.
            ///
            /// # Errors
            ///
            /// An instruction set that this CPU lacks.
            pub fn embedded_with(
                options: &rt::LoadOptions,
            ) -> Result<Self, rt::UnavailableIsa> {
                MODEL.embedded(&WEIGHTS, options).map(Self)
            }
        }

        static WEIGHTS: rt::EmbeddedWeights<#bytes> =
            rt::EmbeddedWeights(*::core::include_bytes!(#path));
    }
}

/// An identifier for `text`, which is one.
fn identifier(text: &str) -> Ident {
    format_ident!("{text}")
}
