//! Compiled networks.

use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ptr::null;
use std::str::FromStr;

use crate::arguments::{array, array_mut, object, object_mut, text};
use crate::error::{Failure, Status, c_string, free, made, status};
use crate::model::{Model, Weights};

/// How to compile. All zero, as in `resnet_options options = {0};`, and a NULL in its place are the defaults.
#[repr(C)]
pub struct Options {
    /// Images that a session is to be given at a time, and may compute together; 0: 1. Any number may be given whatever
    /// stands here.
    pub batch: usize,
    /// Threads that pack the weights; 0: 1.
    pub threads: usize,
    /// Bytes that the network and a session on one thread may need, for which leaner algorithms are taken; 0: any
    /// number.
    pub memory: usize,
    /// Rules out algorithms that compute a convolution's sums in another way than they are defined.
    pub exact: bool,
    /// The instruction set, such as "avx2"; NULL: the best one of this CPU.
    pub isa: *const c_char,
    /// What activations are stored as and convolutions multiply, of weights that are not quantised: "f32" or "bf16";
    /// NULL: f32, or what packed weights are packed for.
    pub precision: *const c_char,
}

/// What the numbers of an output are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number for each class; softmax makes probabilities of them.
    Logits = 0,
    /// A probability for each class.
    Probabilities = 1,
    /// Activations, in channel, row, column order.
    Features = 2,
}

/// Facts about a network. Texts are the network's.
#[repr(C)]
pub struct Info {
    /// The network's name.
    pub name: *const c_char,
    /// Channels of an image.
    pub channels: usize,
    /// Height of an image.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Floats of an image: `channels * height * width`.
    pub input_len: usize,
    /// Floats of the output for an image: the classes, or the elements of the features.
    pub output_len: usize,
    /// What they are.
    pub answer: Answer,
    /// Weighted layers, projections not counted.
    pub depth: usize,
    /// Parameters.
    pub params: u64,
    /// Multiply-adds for an image.
    pub macs: u64,
    /// Bytes of memory for activations of a session on one thread.
    pub arena_bytes: usize,
    /// The instruction set whose kernels it calls.
    pub isa: *const c_char,
    /// Layers whose weights are in 8-bit integers; 0: all are in f32.
    pub quantised_layers: usize,
}

/// A class of an output.
#[repr(C)]
pub struct Class {
    /// Its index.
    pub index: usize,
    /// Its probability.
    pub probability: f64,
    /// Its name, a text of the network's; NULL if the table names no classes.
    pub label: *const c_char,
}

/// A compiled network with its weights.
pub struct Network {
    pub(crate) network: Box<dyn library::Network>,
    pub(crate) preprocess: library::Preprocess,
    name: CString,
    isa: CString,
    labels: Option<Vec<CString>>,
    quantised_layers: usize,
}

/// Compiles a model and packs its weights: milliseconds, and some more for each ten million parameters. NULL if weights
/// do not fit the model, the CPU lacks the instruction set, or there is no memory.
///
/// # Safety
///
/// `model` and `weights` are NULL or not freed; `options` is NULL or points at options, whose `isa` is NULL or a
/// string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_compile(
    model: *const Model,
    weights: *const Weights,
    options: *const Options,
) -> *mut Network {
    made(|| {
        // SAFETY: each is NULL or valid, says the caller.
        let (model, weights) = unsafe { (object(model, "model")?, object(weights, "weights")?) };
        // SAFETY: NULL or options, says the caller.
        let (threads, options) = unsafe { compile_options(options)? };
        let compiler = model.model.compiler().options(options).weights(&weights.0);
        let compiled = compiler.compile().map_err(Failure::other)?;
        let network = compiled.load_on(&weights.0, threads).map_err(Failure::other)?;
        let info = network.info();
        let labels = match info.answer {
            library::Answer::Features => None,
            _ => model.model.labels(info.outputs).map_err(Failure::other)?,
        };
        Ok(Network {
            name: c_string(&info.name),
            isa: c_string(compiled.isa().name()),
            labels: labels.map(|labels| labels.names().iter().map(|name| c_string(name)).collect()),
            preprocess: model.model.spec.preprocess.clone(),
            quantised_layers: weights.0.quantised().len(),
            network,
        })
    })
}

/// # Safety
///
/// `options` is NULL or points at options, whose `isa` and `precision` are NULL or strings.
unsafe fn compile_options(
    options: *const Options,
) -> Result<(NonZeroUsize, library::Options), Failure> {
    // SAFETY: NULL or options, says the caller.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return Ok((NonZeroUsize::MIN, library::Options::default()));
    };
    // SAFETY: NULL or a string, says the caller of both.
    let (isa, precision) =
        unsafe { (word(options.isa, "isa")?, word(options.precision, "precision")?) };
    let chosen = library::Options {
        batch: options.batch.max(1),
        exact: options.exact,
        memory: (options.memory > 0).then_some(options.memory),
        isa,
        precision,
        ..library::Options::default()
    };
    Ok((NonZeroUsize::new(options.threads).unwrap_or(NonZeroUsize::MIN), chosen))
}

/// What a word stands for; NULL for nothing.
///
/// # Safety
///
/// `at` is NULL or a string.
unsafe fn word<T>(at: *const c_char, name: &'static str) -> Result<Option<T>, Failure>
where
    T: FromStr<Err: Display>,
{
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: a string, says the caller.
    unsafe { text(at, name)? }.parse().map(Some).map_err(Failure::argument)
}

/// Tells shapes and counts.
///
/// # Safety
///
/// `network` is NULL or not freed; `info` is NULL or points at room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_network_info(network: *const Network, info: *mut Info) -> Status {
    status(|| {
        // SAFETY: each is NULL or valid, says the caller.
        let (network, info) = unsafe { (object(network, "network")?, object_mut(info, "info")?) };
        let facts = network.network.info();
        let [channels, height, width] = facts.input;
        *info = Info {
            name: network.name.as_ptr(),
            channels,
            height,
            width,
            input_len: facts.input_len(),
            output_len: facts.outputs,
            answer: match facts.answer {
                library::Answer::Logits => Answer::Logits,
                library::Answer::Probabilities => Answer::Probabilities,
                library::Answer::Features => Answer::Features,
            },
            depth: facts.depth,
            params: facts.params,
            macs: facts.macs,
            arena_bytes: facts.arena_bytes,
            isa: network.isa.as_ptr(),
            quantised_layers: network.quantised_layers,
        };
        Ok(())
    })
}

/// Tells the `classes_len` likeliest classes of the output for one image, the likeliest first; of equally likely
/// ones the lower index. `classes_len` is at most the number of classes.
///
/// # Safety
///
/// `network` is NULL or not freed; `output` is NULL or points at `output_len` floats, `classes` NULL or at room for
/// `classes_len` classes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_top_classes(
    network: *const Network,
    output: *const f32,
    output_len: usize,
    classes: *mut Class,
    classes_len: usize,
) -> Status {
    status(|| {
        // SAFETY: each is NULL or valid, says the caller.
        let (network, output, classes) = unsafe {
            (
                object(network, "network")?,
                array(output, output_len, "output")?,
                array_mut(classes, classes_len, "classes")?,
            )
        };
        let info = network.network.info();
        if output_len != info.outputs || classes_len > info.outputs {
            return Err(Failure::argument(format!(
                "`output` has {output_len} floats and `classes` has room for {classes_len}; an output of `{}` has {}",
                info.name, info.outputs
            )));
        }
        let top = library::classify(info.answer, output, classes_len).ok_or_else(|| {
            Failure::argument(format!("the outputs of `{}` are features, not classes", info.name))
        })?;
        for (class, (index, probability)) in classes.iter_mut().zip(top) {
            let label = network.labels.as_ref().map_or(null(), |labels| labels[index].as_ptr());
            *class = Class { index, probability, label };
        }
        Ok(())
    })
}

/// Frees a network; sessions that it has stay. NULL is ignored.
///
/// # Safety
///
/// `network` is NULL or a network that is not freed and that no thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_network_free(network: *mut Network) {
    // SAFETY: as this function asks for.
    unsafe { free(network) }
}
