//! `Trainer` and `fit`: from images with classes to weights.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use resnet::train::{
    Augment, Backbone, Crop, Dataset, Decay, FitError, FitOptions, Options, Schedule, fit as run,
};
use resnet::{Image as Decoded, Isa, Model, ModelError};
use resnet_compiler::graph::Graph;

use crate::arguments::{Given, bytes, model, weights};
use crate::error::{of_table, raise};
use crate::images::{Image, image};
use crate::import::Imported;

/// Images with classes.
struct Labelled {
    images: Vec<Image>,
    classes: Vec<usize>,
}

impl Dataset for Labelled {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn class(&self, index: usize) -> usize {
        self.classes[index]
    }

    fn name(&self, index: usize) -> String {
        match &self.images[index] {
            Image::File(path) => format!("`{}`", path.display()),
            Image::Bytes(_) | Image::Pixels(_) => format!("image {index}"),
        }
    }

    fn image(&self, index: usize) -> Result<Cow<'_, Decoded>, String> {
        let image = &self.images[index];
        image.decode().map_err(|error| format!("{}: {error}", self.name(index)))
    }
}

/// A sequence of images, or an array of `(N, H, W, 3)`, and one class for each.
fn labelled(images: &Bound<'_, PyAny>, classes: &Bound<'_, PyAny>) -> PyResult<Labelled> {
    let own = images.try_iter()?.map(|given| image(&given?)).collect::<PyResult<Vec<_>>>()?;
    let class = |given: PyResult<Bound<'_, PyAny>>| {
        let given = given?;
        given.extract::<usize>().map_err(|_| {
            PyTypeError::new_err(format!("a class is a whole number from 0 on, not {given}"))
        })
    };
    let classes = classes.try_iter()?.map(class).collect::<PyResult<Vec<_>>>()?;
    if own.len() != classes.len() {
        return Err(PyValueError::new_err(format!(
            "there are {} images and {} classes",
            own.len(),
            classes.len()
        )));
    }
    Ok(Labelled { images: own, classes })
}

fn threads(threads: usize) -> PyResult<Option<NonZeroUsize>> {
    match NonZeroUsize::new(threads) {
        None => Err(PyValueError::new_err("threads has to be at least 1")),
        some => Ok(some),
    }
}

/// Weights that are given, or those of what was imported.
fn given(table: &Bound<'_, PyAny>, given: Option<&Bound<'_, PyAny>>) -> PyResult<Given> {
    match (given, table.cast::<Imported>()) {
        (None, Ok(imported)) => imported.get().weights(),
        _ => weights(given),
    }
}

/// The table's text for so many classes, with their names: those that are given, or the table's if there are as many.
fn text(model: &Model, classes: usize, labels: Option<Vec<String>>) -> PyResult<String> {
    let own = match labels {
        Some(labels) if labels.len() != classes => {
            return Err(PyValueError::new_err(format!(
                "there are {} labels for {classes} classes",
                labels.len()
            )));
        }
        Some(labels) => Some(labels),
        None => match model.labels(classes) {
            Ok(labels) => labels.map(|labels| labels.names().to_vec()),
            // They are of other classes.
            Err(ModelError::Labels(_)) => None,
            Err(error) => return Err(raise(error)),
        },
    };
    model.spec.with_classes(classes, own.as_deref()).map_err(raise)
}

/// A network that is trained: a step compiled from its table, over images with classes.
#[pyclass(module = "resnet")]
pub(crate) struct Trainer {
    trainer: resnet::train::Trainer,
    data: Labelled,
    table: String,
}

#[pymethods]
impl Trainer {
    #[new]
    #[pyo3(signature = (
        table, images, classes, weights = None, *, labels = None, epochs = 60, batch = 128, rate = 0.1,
        schedule = "one-cycle", warm_up = None, momentum = 0.9, nesterov = true, decay = 5e-4, decoupled = false,
        smoothing = 0.0, crop = None, flip = true, cutout = 0, mixup = 0.0, average = None, freeze = None, memory = None,
        seed = 1, threads = 1, isa = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn new(
        py: Python<'_>,
        table: &Bound<'_, PyAny>,
        images: &Bound<'_, PyAny>,
        classes: &Bound<'_, PyAny>,
        weights: Option<&Bound<'_, PyAny>>,
        labels: Option<Vec<String>>,
        epochs: usize,
        batch: usize,
        rate: f64,
        schedule: &str,
        warm_up: Option<f64>,
        momentum: f64,
        nesterov: bool,
        decay: f64,
        decoupled: bool,
        smoothing: f32,
        crop: Option<&str>,
        flip: bool,
        cutout: usize,
        mixup: f32,
        average: Option<f64>,
        freeze: Option<Vec<String>>,
        memory: Option<usize>,
        seed: u64,
        threads: usize,
        isa: Option<&str>,
    ) -> PyResult<Self> {
        let model = model(py, table)?;
        let data = labelled(images, classes)?;
        let graph = Graph::build(&model.spec).map_err(|error| of_table(py, &error))?;
        let input = graph.input_shape();
        let crop = match crop {
            Some(crop) => crop.parse().map_err(raise)?,
            None if data.is_empty() => Crop::None,
            None => {
                let first = data.image(0).map_err(raise)?;
                Crop::usual((first.height(), first.width()), (input.height, input.width))
            }
        };
        let options = Options {
            epochs,
            batch,
            rate,
            schedule: match schedule {
                "one-cycle" => Schedule::OneCycle,
                "cosine" => Schedule::Cosine,
                other => {
                    return Err(PyValueError::new_err(format!(
                        "`{other}` is no schedule; there are: one-cycle, cosine"
                    )));
                }
            },
            warm_up,
            momentum,
            nesterov,
            decay,
            decay_kind: if decoupled { Decay::Decoupled } else { Decay::Classic },
            smoothing,
            augment: Augment { crop, flip, cutout, mixup },
            average,
            freeze: freeze.unwrap_or_default(),
            memory,
            seed,
            threads: self::threads(threads)?,
            isa: isa.map(str::parse::<Isa>).transpose().map_err(raise)?,
        };
        let text = text(&model, graph.output_shape().channels, labels)?;
        let given = given(table, weights)?;
        let trainer = py.detach(|| match &given {
            Given::Random => resnet::train::Trainer::new(&model.spec, &data, options),
            Given::Weights(weights) => {
                resnet::train::Trainer::fine_tune(&model.spec, &data, options, weights, |_| ())
            }
        });
        Ok(Self { trainer: trainer.map_err(raise)?, data, table: text })
    }

    /// Runs the next epoch, or what is left of it: `epoch`, `loss`, `accuracy` and `rate`. KeyboardInterrupt ends it behind the running step;
    /// another call goes on with the next one.
    fn epoch<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if self.trainer.is_done() {
            return Err(PyValueError::new_err("all epochs are done"));
        }
        let Self { trainer, data, .. } = self;
        let mut stopped = None;
        let epoch = py.detach(|| {
            trainer.epoch(data, |_| match Python::attach(|py| py.check_signals()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            })
        });
        let epoch = epoch.map_err(raise)?;
        if let Some(error) = stopped {
            return Err(error);
        }
        let dict = PyDict::new(py);
        dict.set_item("epoch", epoch.epoch)?;
        dict.set_item("loss", epoch.progress.loss)?;
        dict.set_item("accuracy", epoch.progress.accuracy)?;
        dict.set_item("rate", epoch.progress.rate)?;
        Ok(dict)
    }

    /// Whether all epochs are done.
    #[getter]
    fn is_done(&self) -> bool {
        self.trainer.is_done()
    }

    /// The table with the `labels` and the `preprocess` that it is trained with.
    #[getter]
    fn table(&self) -> &str {
        &self.table
    }

    /// The weights as they are now, or their average, as a safetensors file.
    fn safetensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.trainer.weights().map_err(raise)?))
    }

    /// All that is needed to go on: a file's bytes.
    fn checkpoint<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.trainer.checkpoint().map_err(raise)?))
    }

    /// Goes on from a checkpoint of the same training: the same bits as without a stop.
    fn resume(&mut self, checkpoint: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = bytes(checkpoint)?.ok_or_else(|| {
            PyTypeError::new_err("a checkpoint is the bytes that `checkpoint()` has returned")
        })?;
        self.trainer.resume(&bytes).map_err(raise)
    }

    fn __repr__(&self) -> String {
        let (done, of) = (self.trainer.epochs(), self.trainer.options().epochs);
        format!("<Trainer: {done} of {of} epochs, {} images>", self.data.len())
    }
}

/// A classifier that was fitted, in its network.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct Fitted {
    classifier: resnet::train::Classifier,
    weights: Vec<u8>,
    /// The table with its classes.
    #[pyo3(get)]
    table: String,
    /// The part of the images that are right.
    #[pyo3(get)]
    accuracy: f64,
    /// The same of those for validation, if there are any.
    #[pyo3(get)]
    validation_accuracy: Option<f64>,
}

#[pymethods]
impl Fitted {
    /// The mean cross-entropy over the images.
    #[getter]
    fn loss(&self) -> f64 {
        self.classifier.loss
    }

    /// Steps of the search.
    #[getter]
    fn iterations(&self) -> usize {
        self.classifier.iterations
    }

    /// Whether the search has reached the minimum.
    #[getter]
    fn converged(&self) -> bool {
        self.classifier.converged
    }

    /// All weights of the network with its new classifier, as a safetensors file.
    fn safetensors<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.weights)
    }

    fn __repr__(&self) -> String {
        format!("<Fitted: {:.2} % right, loss {:.4}>", 100.0 * self.accuracy, self.classifier.loss)
    }
}

/// Fit the classifier alone, by the features that trained weights make of few images.
///
/// `images` are what `Trainer` takes, and `classes` their classes, 0 to one less than there are; `validate` is a tuple of both, on which
/// `validation_accuracy` is measured. What is minimised is `C * sum of cross-entropies + sum of squared weights / 2`, as
/// scikit-learn's `LogisticRegression` does. `labels` are the classes' names.
#[pyfunction]
#[pyo3(signature = (
    table, weights, images, classes, *, validate = None, C = 1.0, labels = None, threads = 1, isa = None
))]
#[expect(clippy::too_many_arguments, non_snake_case, reason = "they are Python's keywords")]
pub(crate) fn fit(
    py: Python<'_>,
    table: &Bound<'_, PyAny>,
    weights: Option<&Bound<'_, PyAny>>,
    images: &Bound<'_, PyAny>,
    classes: &Bound<'_, PyAny>,
    validate: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    C: f64,
    labels: Option<Vec<String>>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Fitted> {
    let model = model(py, table)?;
    let data = labelled(images, classes)?;
    let validate = validate.map(|(images, classes)| labelled(&images, &classes)).transpose()?;
    let isa = isa.map(str::parse::<Isa>).transpose().map_err(raise)?;
    let options = FitOptions { c: C, threads: self::threads(threads)?, isa };
    let Given::Weights(weights) = given(table, weights)? else {
        return Err(PyTypeError::new_err("a table has no weights, so they have to be given"));
    };
    let highest = data.classes.iter().max().map_or(0, |class| class + 1);
    let count = labels.as_ref().map_or(highest, Vec::len);
    let table = text(&model, count, labels)?;
    py.detach(|| -> Result<Fitted, FitError> {
        let backbone = Backbone::new(&model.spec, &weights, &options)?;
        let features = backbone.features(&data, |_| ())?;
        let classifier = run(&features, count, &options)?;
        let validation_accuracy = match &validate {
            Some(data) => Some(classifier.accuracy(&backbone.features(data, |_| ())?)?),
            None => None,
        };
        let (weights, accuracy) = (backbone.weights(&classifier)?, classifier.accuracy(&features)?);
        Ok(Fitted { classifier, weights, table, accuracy, validation_accuracy })
    })
    .map_err(raise)
}
