//! A compiler from ResNet layer tables to native inference functions.
//!
//! A ResNet is written as a table: kernel, stride, channels, repeats, shortcut. This crate checks
//! every shape, plans memory and algorithms, and turns the whole network into one fused function.
//!
//! ```
//! let table = "
//! name: tiny
//! input: 3x32x32
//! table:
//!   - {layer: conv1,   op: conv,  kernel: 3, channels: 16,          output: 32x32}
//!   - {layer: conv2_x, op: basic, repeat: 2, channels: 32, stride: 2, output: 16x16}
//!   - {layer: avgpool, op: global_average_pool,                     output: 1x1}
//!   - {layer: fc,      op: linear, channels: 10}
//! ";
//! let spec = resnet::Spec::from_yaml(table)?;
//! let compiled = resnet::Compiler::new(&spec).compile()?; // machine code: the JIT
//! // Real weights: `resnet::Weights::open("tiny.safetensors")?`.
//! let weights = resnet::Weights::random(compiled.tensors(), 1);
//! let network = compiled.load(&weights)?;
//! let mut session = network.session();
//! let logits = session.run(&vec![0.5; 3 * 32 * 32])?;
//! assert_eq!(logits.len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There are two ways over one lowering. [`Compiler::compile`] makes machine code at run time, by Cranelift's
//! JIT; [`Compiler::backend`] chooses the interpreter or the f64 reference instead. [`resnet!`] makes the
//! same while the user's crate is built: sizes are then types, and mistakes in the table are errors of the build.
//!
//! From a name to the names of classes: [`Model::open`] takes a network of the zoo or a table's file,
//! [`Model::labels`] are its classes, [`Images`] are decoded and preprocessed as [`feed`] runs them on all
//! threads, and [`classify`] makes probabilities of an answer. Weights that are packed already say which
//! algorithms they are packed for; [`Compiler::weights`] takes those.
//!
//! [`quantize()`] makes weights in 8-bit integers of those in f32.
//!
//! A loaded [`Network`] is shared between threads; a session belongs to one of them. Results
//! have the same bits for any number of threads, any position in a batch and each of the
//! back ends that share the lowering.
//!
//! # Features
//!
//! `jit` and `image` are on by default: `jit` compiles tables at run time, with Cranelift; `interpret`,
//! which it implies, is all of that but the machine code; `image` decodes pictures; `onnx` writes networks
//! for other runtimes (`resnet::onnx`); `train` trains them (`resnet::train`). The macro needs none of them.
//!
//! # Debug builds
//!
//! The kernels and the compiler are ordinary Rust, and many times as slow where they are not optimised.
//! What optimises them in debug builds too stands in the user's own `Cargo.toml`:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```

mod feed;
#[cfg(feature = "jit")]
mod quantized;
#[cfg(feature = "train")]
mod training;

pub use feed::{Fed, FeedError, Source, feed};
#[cfg(feature = "image")]
pub use feed::{ImageFile, Images};
#[cfg(feature = "jit")]
pub use quantized::quantize;
pub use resnet_runtime::classes::{classify, softmax, top_k};
pub use resnet_runtime::compiled::{LoadOptions, Session};
pub use resnet_runtime::kernels::{Isa, Precision, UnavailableIsa, UnknownIsa, UnknownPrecision};
pub use resnet_runtime::picture::{Image, ImageError, Preprocess};
pub use resnet_runtime::session::{Answer, DynSession, Feature, Info, Network, RunError};
pub use resnet_runtime::threads::{Pool, PoolError};
pub use resnet_runtime::weights::file::PackedError;
pub use resnet_runtime::weights::{Init, LoadError, Stored, TensorSpec, Weights, WeightsError};

/// What [`resnet!`] writes is made of: no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use resnet_macros::resnet;
    pub use resnet_runtime::compiled::*;
}

#[doc = include_str!("../docs/macro.md")]
#[macro_export]
macro_rules! resnet {
    // A procedural macro cannot name the crate that it belongs to, whatever its user calls it;
    // this one can.
    ($($tokens:tt)*) => {
        $crate::__private::resnet! { [$crate] $($tokens)* }
    };
}

#[cfg(feature = "interpret")]
pub use resnet_compiler::{
    diagnostics::Diagnostics,
    labels::{Labels, LabelsError},
    model::{Model, ModelError},
    network::{Backend, CompileError, Compiled, Compiler, Options, UnknownBackend},
    plan::{Plan, PlanError, WritePackedError},
    report::Report,
    schedule::{Choices, ChoicesError},
    spec::{Lint, Spec},
    warnings::{Warning, Warnings},
    zoo::{ZOO, zoo},
};

/// What [`quantize()`] is told, and what it answers.
#[cfg(feature = "jit")]
pub mod quantize {
    pub use resnet_compiler::quantize::{
        Input, Layer, Method, Options, PASSES, Precision, QuantizeError, Quantized, Report, Seen,
        UnknownMethod, check_unquantised,
    };
}

/// Training: a table, images with classes, and options become weights that every other part of this crate reads.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use resnet::train::{InMemory, Options, Trainer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let spec = resnet::Spec::from_yaml(resnet::zoo("cifar-resnet20").unwrap())?;
/// let data = InMemory::default(); // with images pushed to it
/// let mut trainer = Trainer::new(&spec, &data, Options::default())?;
/// while !trainer.is_done() {
///     let epoch = trainer.epoch(&data, |_| ControlFlow::Continue(()))?;
///     println!("{epoch:?}");
/// }
/// std::fs::write("w.safetensors", trainer.weights()?)?;
/// # Ok(()) }
/// ```
#[cfg(feature = "train")]
pub mod train {
    pub use crate::training::{
        Augment, Backbone, CheckpointError, Classifier, Crop, Dataset, Epoch, Features, Files,
        FitError, FitOptions, GradientOptions, Gradients, InMemory, LayerGradient, Options,
        Prepared, Progress, Schedule, TrainError, Trainer, UnknownCrop, fit, gradients,
    };
    pub use resnet_compiler::classes::ClassesError;
    pub use resnet_compiler::train::{StepError, TableError, UnknownLayer};
    pub use resnet_runtime::kernels::Decay;
}

/// Networks for other runtimes.
#[cfg(feature = "onnx")]
pub mod onnx {
    pub use resnet_compiler::onnx::{OnnxError, write};
}

/// The pages with programs in them, which have to compile.
#[cfg(all(doctest, feature = "jit", feature = "image"))]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/library.md")]
    struct Library;
}
