//! What code that `resnet!` writes is made of.
//!
//! The macro writes, for every network, its layers as functions over [`Kernels`], one straight
//! line of [`Run::parallel`] calls, and a constant [`Emitted`] that says how much memory they use
//! and how weights are packed. [`Model`] makes a loaded network of these, and [`Session`] runs it
//! with lengths that are types. Nothing here is written twice: below, it is the same
//! [`Loaded`] network that the JIT fills with machine code.
//!
//! Emitted functions contain `unsafe` blocks, because threads write disjoint parts of one arena
//! through raw pointers. What makes them sound is that the macro verified the whole program while
//! it expanded: no kernel call leaves the memory that [`Emitted`] states.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use crate::context::{self, Context};
use crate::session::{Code, CodeSession, Variant};
use crate::weights::{all_threads, load};

#[doc(no_inline)]
pub use crate::kernels::{Table as Kernels, *};
pub use crate::picture::{Channels, Filter, Preprocess, Resize};
pub use crate::session::{Answer, DynSession, Feature, Info, Loaded, Network, RunError};
pub use crate::threads::Pool;
pub use crate::weights::{
    Content, ConvSource, Init, LoadError, NormTensors, Packed, QuantisedSource, Recipe, Slice,
    Stored, TensorSpec, Weights, WeightsPlan,
};
pub use std::borrow::Cow::Borrowed;

/// One layer's code: runs some of the iterations of its parallel loops on its operands.
///
/// # Safety
///
/// The operands point at what the layer was compiled for, the scratch at as much as its network
/// states, of which no one else has the use meanwhile, and the CPU has the kernels' instruction
/// set.
pub type Layer<const OPERANDS: usize> = unsafe fn(
    kernels: &Kernels,
    operands: [*mut c_void; OPERANDS],
    scratch: *mut c_void,
    iterations: Range<usize>,
);

/// The straight line of layers.
///
/// # Safety
///
/// The run's memory has the sizes that the code's [`Emitted`] states.
pub type Infer = unsafe fn(run: &Run<'_>);

/// One run of a network: the memory it was given, and the kernels.
pub struct Run<'a> {
    context: &'a Context<'a>,
    kernels: &'static Kernels,
}

impl Run<'_> {
    /// The user's pictures. They are only read.
    pub fn input(&self) -> *mut c_void {
        self.context.input.cast_mut().cast()
    }

    /// The user's room for answers.
    pub fn output(&self) -> *mut c_void {
        self.context.output.cast()
    }

    /// The session's memory for activations.
    pub fn arena(&self) -> *mut c_void {
        self.context.arena
    }

    /// The packed weights. They are only read.
    pub fn weights(&self) -> *mut c_void {
        self.context.weights.cast_mut()
    }

    /// Runs all `count` iterations of a layer, divided among the session's threads.
    ///
    /// # Safety
    ///
    /// The operands are what the layer was compiled for, and its iterations are independent.
    pub unsafe fn parallel<const OPERANDS: usize>(
        &self,
        count: usize,
        layer: Layer<OPERANDS>,
        operands: [*mut c_void; OPERANDS],
    ) {
        let bound = Bound { kernels: self.kernels, layer, operands };
        // SAFETY: `task` reads what it is given as the `Bound` that it is, which outlives the
        // call and is not written; the caller vouches for the layer and its operands.
        unsafe {
            context::parallel(
                self.context,
                task::<OPERANDS>,
                std::ptr::from_ref(&bound).cast(),
                count,
            );
        }
    }
}

/// A layer with what it runs on.
struct Bound<const OPERANDS: usize> {
    kernels: &'static Kernels,
    layer: Layer<OPERANDS>,
    operands: [*mut c_void; OPERANDS],
}

/// # Safety
///
/// `bound` points at a [`Bound`] of as many operands, whose layer may run on them and the scratch.
unsafe extern "C" fn task<const OPERANDS: usize>(
    bound: *const *mut c_void,
    scratch: *mut c_void,
    first: usize,
    last: usize,
) {
    // SAFETY: the caller says that it is such a `Bound`, and that the layer may run.
    unsafe {
        let bound = &*bound.cast::<Bound<OPERANDS>>();
        (bound.layer)(bound.kernels, bound.operands, scratch, first..last);
    }
}

/// How to load a network that `resnet!` compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The instruction set whose kernels are called; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
    /// Threads that pack weights; as many as this process may use if there is no number.
    pub threads: Option<NonZeroUsize>,
}

/// A network as the macro writes it down.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Name, shapes and counts.
    pub info: Info,
    /// What it asks of weights.
    pub weights: WeightsPlan,
    /// The code, for falling numbers of pictures at a time; the last one is for 1.
    pub variants: &'static [EmittedVariant],
    /// Whether single pictures take a thread no longer than several together, see [`Loaded::new`].
    pub apart: bool,
}

/// The code for one number of pictures at a time.
#[derive(Clone, Copy, Debug)]
pub struct EmittedVariant {
    /// Pictures a run.
    pub batch: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of one thread's scratch.
    pub scratch_bytes: usize,
    /// The code.
    pub infer: Infer,
}

/// A network whose code somebody vouches for.
#[derive(Clone, Debug)]
pub struct Model(Emitted);

impl Model {
    /// Takes emitted code on trust.
    ///
    /// # Safety
    ///
    /// Each variant's `infer` reads `batch` pictures of the input, the packed weights, the arena and
    /// its thread's scratch, and writes `batch` answers, the arena and the scratch, within the
    /// lengths that `emitted` states, and nothing else.
    pub const unsafe fn new(emitted: Emitted) -> Self {
        Self(emitted)
    }

    /// The tensors that a weights file has to hold.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.0.weights.tensors.to_vec()
    }

    /// Folds and packs weights for the code.
    ///
    /// # Errors
    ///
    /// Weights that do not fit, an instruction set that the CPU lacks, or no memory.
    pub fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Loaded, LoadError> {
        let threads = options.threads.unwrap_or_else(all_threads);
        let packed = load(&self.0.weights, weights, threads)?;
        Ok(self.join(packed, options)?)
    }

    /// Uses weights that the macro packed, where they lie in the program.
    ///
    /// # Errors
    ///
    /// An instruction set that the CPU lacks; never without one in the options.
    ///
    /// # Panics
    ///
    /// If the weights have another length than the code needs: the macro made both.
    pub fn embedded<const BYTES: usize>(
        &self,
        weights: &'static EmbeddedWeights<BYTES>,
        options: &LoadOptions,
    ) -> Result<Loaded, UnavailableIsa> {
        self.join(Packed::Static(&weights.0), options)
    }

    fn join(&self, weights: Packed, options: &LoadOptions) -> Result<Loaded, UnavailableIsa> {
        let kernels = options.isa.unwrap_or_else(Isa::detect).table()?;
        assert_eq!(weights.as_bytes().len(), self.0.weights.bytes, "packed for another network");
        let variants: Vec<Variant> = self
            .0
            .variants
            .iter()
            .map(|&EmittedVariant { batch, arena_bytes, scratch_bytes, infer }| {
                let code = Arc::new(EmittedCode { infer, kernels });
                Variant { batch, arena_bytes, scratch_bytes, code }
            })
            .collect();
        // SAFETY: `Model::new` demands that each variant's lengths are what its code needs; the
        // weights have the code's length, and start on a cache line: a `Buffer` on a page,
        // an `EmbeddedWeights` by its type.
        Ok(unsafe { Loaded::new(self.0.info.clone(), variants, self.0.apart, weights) })
    }
}

struct EmittedCode {
    infer: Infer,
    kernels: &'static Kernels,
}

// SAFETY: only `Model` makes one, of code that `Model::new` was promised to stay within the
// lengths of its variant.
unsafe impl Code for EmittedCode {
    unsafe fn run(&self, context: &Context<'_>) {
        // SAFETY: the context's places have the lengths of the code's variant, as `Code::run` asks
        // for, which are what `Model::new` was promised; the kernels are `Isa::table`'s, of an
        // instruction set that the CPU has.
        unsafe { (self.infer)(&Run { context, kernels: self.kernels }) }
    }
}

/// Packed weights inside the program: `f32` in the machine's byte order, from a cache line on.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct EmbeddedWeights<const BYTES: usize>(pub [u8; BYTES]);

/// What runs a network that `resnet!` compiled: pictures of `INPUT` numbers in, answers of
/// `OUTPUT` numbers out, so that no length can be wrong. One per thread of the caller's.
pub struct Session<const INPUT: usize, const OUTPUT: usize>(CodeSession);

impl<const INPUT: usize, const OUTPUT: usize> Session<INPUT, OUTPUT> {
    /// A session of a network whose pictures and answers have these lengths.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn new(network: &Loaded, pool: Option<&Pool>) -> std::io::Result<Self> {
        let info = network.info();
        assert_eq!((info.input_len(), info.outputs), (INPUT, OUTPUT), "lengths of `{}`", info.name);
        network.code_session(pool).map(Self)
    }

    /// The network's answer to one picture (planar: channel, row, column order).
    ///
    /// A picture that is not of an array's type, such as a `Vec<f32>`, goes to
    /// [`try_run`](Session::try_run).
    pub fn run(&mut self, picture: &[f32; INPUT]) -> &[f32; OUTPUT] {
        let answer = DynSession::run(&mut self.0, picture);
        let answer = answer.expect("a picture has the network's length");
        answer.as_array().expect("an answer has the network's length")
    }

    /// The answer to a picture in a slice.
    ///
    /// # Errors
    ///
    /// If it has not `INPUT` numbers.
    pub fn try_run(&mut self, picture: &[f32]) -> Result<&[f32; OUTPUT], RunError> {
        let answer = DynSession::run(&mut self.0, picture)?;
        Ok(answer.as_array().expect("an answer has the network's length"))
    }

    /// The answers to any number of pictures, one after the other in `pictures` and `answers`. Those that
    /// a `batch` option of the macro lets the network compute together share each reading of the weights.
    ///
    /// # Errors
    ///
    /// If `pictures` is not a whole number of pictures or `answers` has not the room for their answers.
    pub fn run_batch(&mut self, pictures: &[f32], answers: &mut [f32]) -> Result<(), RunError> {
        DynSession::run_batch(&mut self.0, pictures, answers)
    }
}

impl<const INPUT: usize, const OUTPUT: usize> DynSession for Session<INPUT, OUTPUT> {
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError> {
        DynSession::run(&mut self.0, picture)
    }

    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        DynSession::run_batch(&mut self.0, pictures, outputs)
    }
}
