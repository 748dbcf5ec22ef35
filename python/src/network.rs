//! `Network`: a compiled network with its weights.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use resnet::{
    Answer, CompileError, Compiled, Compiler, DynSession, FeedError, Isa, Labels, Options, Pool,
    Precision, Preprocess, Weights, feed,
};
use resnet_compiler::profile::profile;

use crate::arguments::{Given, images, model};
use crate::error::{of_model, of_table, raise};
use crate::images::{Image, Images, image};
use crate::import::Imported;
use crate::quantize::precision;

/// A compiled network with its weights.
///
/// Several threads may call it at a time: each call takes a session of its own, and the GIL is released while it runs.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct Network {
    compiled: Compiled,
    network: Box<dyn resnet::Network>,
    threads: NonZeroUsize,
    pool: Option<Pool>,
    /// Sessions that no call uses now.
    idle: Mutex<Vec<Box<dyn DynSession>>>,
    labels: Option<Labels>,
    preprocess: Preprocess,
    random: bool,
    precision: &'static str,
}

/// Compile a network and load its weights.
///
/// `table` is what `check` takes. `weights` are a path (safetensors, or what `resnet pack` wrote), the bytes of a
/// safetensors file, a state dict or what `quantize` returned; without any, random ones are drawn, with which `classify`
/// refuses to answer.
///
/// `batch` is for how many images at a time memory is planned; other numbers run too. `threads` share the layers of one
/// call. `precision` is `"f32"`, `"bf16"`, in which activations take half the bytes and much of the network less time, or
/// `"int8"`; by default it is what the weights are in, and it is an error if quantised weights are to be anything but int8
/// or others int8; `exact` takes only algorithms that add up as the definition does. `memory` bounds weights and activations,
/// in bytes. `isa` is an instruction set other than the CPU's best, such as `"avx2"` or `"portable"`.
#[pyfunction]
#[pyo3(signature = (
    table, weights = None, *, batch = 1, threads = 1, precision = None, exact = false, memory = None, isa = None
))]
#[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
pub(crate) fn compile(
    py: Python<'_>,
    table: &Bound<'_, PyAny>,
    weights: Option<&Bound<'_, PyAny>>,
    batch: usize,
    threads: usize,
    precision: Option<&str>,
    exact: bool,
    memory: Option<usize>,
    isa: Option<&str>,
) -> PyResult<Network> {
    if batch == 0 {
        return Err(at_least_one("batch"));
    }
    let threads = NonZeroUsize::new(threads).ok_or_else(|| at_least_one("threads"))?;
    let model = model(py, table)?;
    let given = match (weights, table.cast::<Imported>()) {
        (None, Ok(imported)) => imported.get().weights()?,
        _ => crate::arguments::weights(weights)?,
    };
    let (precision, wished) = expect_precision(&given, precision)?;
    let isa = isa.map(str::parse::<Isa>).transpose().map_err(raise)?;
    let options = Options { batch, exact, memory, isa, precision: wished, ..Options::default() };
    py.detach(|| -> Result<Network, Failure> {
        let compiler = Compiler::new(&model.spec).options(options);
        let compiler = match &given {
            Given::Weights(weights) => compiler.weights(weights),
            Given::Random => compiler,
        };
        let compiled = compiler.compile().map_err(Failure::Compile)?;
        // Packed weights have a precision of their own.
        let halves = compiled.wishes().precision == Precision::Bf16;
        let precision = if halves { "bf16" } else { precision };
        let (random, weights) = given.or_random(compiled.tensors());
        let network = compiled.load_on(&weights, threads).map_err(Failure::other)?;
        let pool = match threads.get() {
            1 => None,
            _ => Some(Pool::new(threads).map_err(Failure::other)?),
        };
        let labels = match compiled.info().answer {
            Answer::Features => None,
            _ => model.labels(compiled.info().outputs).map_err(Failure::Model)?,
        };
        let (idle, preprocess) = (Mutex::default(), model.spec.preprocess.clone());
        Ok(Network {
            compiled,
            network,
            threads,
            pool,
            idle,
            labels,
            preprocess,
            random,
            precision,
        })
    })
    .map_err(|failure| failure.raise(py))
}

/// What the weights are computed in, which has to be what is wished, if anything is; and that of real numbers, if it is
/// wished.
fn expect_precision(
    given: &Given,
    wished: Option<&str>,
) -> PyResult<(&'static str, Option<Precision>)> {
    let found = match given {
        Given::Weights(weights) => precision(weights),
        Given::Random => "f32",
    };
    match (wished, found) {
        (None, _) => Ok((found, None)),
        (Some("int8"), "int8") => Ok((found, None)),
        (Some("int8"), _) => {
            Err(raise(format!("the weights are in {found}: `quantize` makes those in int8")))
        }
        (Some("f32" | "bf16"), "int8") => {
            Err(raise("the weights are in int8: give those that they were made of"))
        }
        (Some("f32"), _) => Ok(("f32", Some(Precision::F32))),
        (Some("bf16"), _) => Ok(("bf16", Some(Precision::Bf16))),
        (Some(other), _) => Err(PyValueError::new_err(format!(
            "precision is \"f32\", \"bf16\" or \"int8\", not {other:?}"
        ))),
    }
}

/// A time that was given in seconds.
fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("seconds has to be a number from 0, and is {seconds}"))
    })
}

fn at_least_one(what: &str) -> PyErr {
    PyValueError::new_err(format!("{what} has to be at least 1"))
}

/// What can go wrong while the GIL is released.
enum Failure {
    Compile(CompileError),
    Model(resnet::ModelError),
    Other(String),
}

impl Failure {
    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Compile(CompileError::Table(diagnostics)) => of_table(py, &diagnostics),
            Self::Compile(error) => raise(error),
            Self::Model(error) => of_model(py, error),
            Self::Other(text) => raise(text),
        }
    }
}

/// Why feeding images stopped.
struct Stopped(PyErr);

impl From<PyErr> for Stopped {
    fn from(error: PyErr) -> Self {
        Self(error)
    }
}

impl From<FeedError> for Stopped {
    fn from(error: FeedError) -> Self {
        Self(raise(error))
    }
}

/// The classes of an image with their probabilities, the most probable one first.
type Classes = Vec<(usize, String, f64)>;

#[pymethods]
impl Network {
    #[getter]
    fn name(&self) -> &str {
        &self.compiled.info().name
    }

    /// Channels, height and width of an image.
    #[getter]
    fn input(&self) -> (usize, usize, usize) {
        crate::report::shape(self.compiled.info().input)
    }

    /// Numbers in the answer for an image.
    #[getter]
    fn outputs(&self) -> usize {
        self.compiled.info().outputs
    }

    #[getter]
    fn depth(&self) -> usize {
        self.compiled.info().depth
    }

    #[getter]
    fn params(&self) -> u64 {
        self.compiled.info().params
    }

    /// Multiply-adds for one image.
    #[getter]
    fn macs(&self) -> u64 {
        self.compiled.info().macs
    }

    /// Bytes of a session's memory for activations.
    #[getter]
    fn arena_bytes(&self) -> usize {
        self.compiled.info().arena_bytes
    }

    /// The instruction set of the kernels.
    #[getter]
    fn isa(&self) -> String {
        self.compiled.isa().to_string()
    }

    /// `"int8"` if the weights of layers are 8-bit integers, else `"bf16"` or `"f32"`.
    #[getter]
    fn precision(&self) -> &'static str {
        self.precision
    }

    /// Names of the classes, if the table has them.
    #[getter]
    fn labels(&self) -> Option<Vec<String>> {
        self.labels.as_ref().map(|labels| labels.names().to_vec())
    }

    /// Whether the weights were drawn, as none were given.
    #[getter]
    fn has_random_weights(&self) -> bool {
        self.random
    }

    fn __repr__(&self) -> String {
        let info = self.compiled.info();
        let [channels, height, width] = info.input;
        let weights = if self.random { ", random weights" } else { "" };
        format!(
            "<Network {}: {channels}x{height}x{width} -> {}, {} params, {}, {}{weights}>",
            info.name,
            info.outputs,
            info.params,
            self.precision,
            self.compiled.isa()
        )
    }

    /// Run a batch `x` of shape `(N, C, H, W)`: a float32 array, or a tensor that speaks DLPack.
    ///
    /// It is copied only if its elements do not lie in that order. Returns logits (probabilities, where the table ends in
    /// softmax) of shape `(N, classes)`; of a table without a classifier, its last activation, `(N, C, H, W)`.
    fn __call__<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let info = self.compiled.info();
        if !info.features.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "`{}` has the features {}; call `features`",
                info.name,
                names(info)
            )));
        }
        let x = images(x, info.input)?;
        let batch = x.shape()[0];
        let outputs = self.run(&x)?;
        let outputs = match info.answer {
            // Of one activation, whose shape the graph knows.
            Answer::Features => {
                let shape = self.compiled.graph().output_shape();
                outputs.reshape((batch, shape.channels, shape.height, shape.width))?.into_any()
            }
            _ => outputs.reshape((batch, info.outputs))?.into_any(),
        };
        Ok(outputs)
    }

    /// The activations that the table names as features, each of shape `(N, C, H, W)`.
    fn features<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let info = self.compiled.info();
        if info.features.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "the table of `{}` names no features: give it a line such as `features: [conv4_x, conv5_x]`",
                info.name
            )));
        }
        let x = images(x, info.input)?;
        let batch = x.shape()[0];
        let outputs = self.run(&x)?.reshape((batch, info.outputs))?;
        let features = PyDict::new(x.py());
        for feature in info.features.iter() {
            let part = pyo3::types::PySlice::new(
                x.py(),
                feature.offset as isize,
                (feature.offset + feature.len()) as isize,
                1,
            );
            let all = pyo3::types::PySlice::full(x.py());
            let [channels, height, width] = feature.shape;
            let part = outputs.get_item((all, part))?;
            features.set_item(
                &*feature.name,
                part.call_method1("reshape", (batch, channels, height, width))?,
            )?;
        }
        Ok(features)
    }

    /// The `top` most probable classes of each image: number, name, probability.
    ///
    /// An image is a path, the bytes of a file, an array of uint8 of shape `(H, W, 3)` or `(H, W)`, or an image of
    /// Pillow's. It is resized, cropped and normalised as the table's `preprocess` says.
    #[pyo3(signature = (images, top = 5))]
    fn classify(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        top: usize,
    ) -> PyResult<Vec<Classes>> {
        let info = self.compiled.info();
        if matches!(info.answer, Answer::Features) {
            return Err(PyTypeError::new_err(format!(
                "`{}` has no classes; its outputs are features",
                info.name
            )));
        }
        if self.random {
            return Err(PyValueError::new_err(format!(
                "`{}` has random weights, so what it answers means nothing: compile it with `weights=`",
                info.name
            )));
        }
        if !images.is_instance_of::<PyList>() && !images.is_instance_of::<PyTuple>() {
            return Err(PyTypeError::new_err(format!(
                "expected a list of images, found {}; one image is `[image]`, and several are `list(images)`",
                images.get_type().name()?
            )));
        }
        let images: Vec<Image> =
            images.try_iter()?.map(|given| image(&given?)).collect::<PyResult<_>>()?;
        let source = Images { images, preprocess: &self.preprocess, shape: info.input };
        py.detach(|| {
            let mut all = Vec::with_capacity(source.images.len());
            feed(&*self.network, &source, self.threads, |_, fed| {
                all.push(self.classes(&fed.map_err(raise)?.answer, top));
                Ok::<(), Stopped>(())
            })
            .map(|()| all)
        })
        .map_err(|Stopped(error)| error)
    }

    /// Times in seconds of runs of `batch` images: for about `seconds`, and at least `runs` of them.
    #[pyo3(signature = (seconds = 0.2, *, batch = 1, runs = 5))]
    fn bench(&self, py: Python<'_>, seconds: f64, batch: usize, runs: usize) -> PyResult<Vec<f64>> {
        let duration = duration(seconds)?;
        if batch == 0 {
            return Err(at_least_one("batch"));
        }
        let info = self.compiled.info();
        let (input, mut output) =
            (vec![0.5; batch * info.input_len()], vec![0.0; batch * info.outputs]);
        py.detach(|| {
            self.with_session(|session| {
                session.run_batch(&input, &mut output).map_err(|error| error.to_string())?;
                let (start, mut times) = (Instant::now(), Vec::new());
                while times.len() < runs.max(1) || start.elapsed() < duration {
                    let run = Instant::now();
                    session.run_batch(&input, &mut output).map_err(|error| error.to_string())?;
                    times.push(run.elapsed().as_secs_f64());
                }
                Ok(times)
            })
        })
        .map_err(raise)
    }

    /// Where the time of a run goes: of each layer `name`, `algorithm` (of what multiplies and adds; else None), `ms`
    /// (its shortest time), `macs`, and the `bytes` that it moves at least.
    #[pyo3(signature = (seconds = 0.2))]
    fn profile<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let duration = duration(seconds)?;
        let compiled = &self.compiled;
        let layers = py
            .detach(|| {
                // Times do not depend on what the weights are.
                let weights = Weights::random(compiled.tensors(), 0);
                let pool = self.pool.as_ref();
                profile(
                    compiled.graph(),
                    compiled.isa(),
                    compiled.wishes(),
                    &weights,
                    pool,
                    5,
                    duration,
                )
            })
            .map_err(raise)?;
        let dict = |layer: &resnet_compiler::profile::Layer| {
            let dict = PyDict::new(py);
            dict.set_item("name", &layer.name)?;
            dict.set_item("algorithm", layer.algorithm.map(|algorithm| algorithm.word()))?;
            dict.set_item("ms", 1e3 * layer.time().as_secs_f64())?;
            dict.set_item("macs", layer.macs)?;
            dict.set_item("bytes", layer.bytes)?;
            Ok(dict)
        };
        layers.iter().map(dict).collect()
    }
}

fn names(info: &resnet::Info) -> String {
    let names: Vec<&str> = info.features.iter().map(|feature| &*feature.name).collect();
    names.join(", ")
}

impl Network {
    fn classes(&self, outputs: &[f32], top: usize) -> Classes {
        let label = |class: usize| match &self.labels {
            Some(labels) => labels.names()[class].clone(),
            None => format!("class {class}"),
        };
        let classes =
            resnet::classify(self.compiled.info().answer, outputs, top).unwrap_or_default();
        classes.into_iter().map(|(class, probability)| (class, label(class), probability)).collect()
    }

    /// The outputs of a batch, one after the other, in an array of Python's.
    fn run<'py>(&self, x: &PyReadonlyArrayDyn<'py, f32>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let input = x.as_slice()?;
        let mut outputs = vec![0.0; x.shape()[0] * self.compiled.info().outputs];
        x.py()
            .detach(|| {
                self.with_session(|session| {
                    session.run_batch(input, &mut outputs).map_err(|error| error.to_string())
                })
            })
            .map_err(raise)?;
        Ok(outputs.into_pyarray(x.py()))
    }

    /// Lends a session that no other call uses.
    fn with_session<T>(
        &self,
        run: impl FnOnce(&mut dyn DynSession) -> Result<T, String>,
    ) -> Result<T, String> {
        // A panic while the list is locked cannot leave it in between.
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut session = match waiting {
            Some(session) => session,
            None => self
                .network
                .session_in(self.pool.as_ref())
                .map_err(|error| format!("no memory for the network's activations: {error}"))?,
        };
        let outcome = run(&mut *session);
        idle().push(session);
        outcome
    }
}
