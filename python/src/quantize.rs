//! `quantize`: weights in 8-bit integers.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use resnet::quantize::{Method, Options, Precision, Report, Seen};
use resnet::{Isa, Source, Weights};
use resnet_compiler::graph::Graph;

use crate::arguments::{Given, images, model, of_bytes, weights};
use crate::error::{of_table, raise};
use crate::images::{Images, image};
use crate::import::Imported;

/// Weights of which layers are in 8-bit integers; `compile` takes it as weights.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct Quantized(resnet::quantize::Quantized);

#[pymethods]
impl Quantized {
    /// Of each convolution and linear layer `name`, `precision` (`"int8"` or `"f32"`), `reason` (why it stays in f32), `macs`
    /// and `output_snr_db` (signal to noise of its results where it alone is quantised, in decibels).
    #[getter]
    fn layers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let dict = |layer: &resnet::quantize::Layer| {
            let dict = PyDict::new(py);
            dict.set_item("name", &layer.name)?;
            dict.set_item("precision", word(layer.precision))?;
            dict.set_item("reason", &layer.reason)?;
            dict.set_item("macs", layer.macs)?;
            dict.set_item("output_snr_db", layer.output_snr_db)?;
            Ok(dict)
        };
        self.0.report.layers.iter().map(dict).collect()
    }

    /// The weights as a safetensors file, which every command takes.
    fn safetensors<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.as_bytes())
    }

    fn __repr__(&self) -> String {
        let Report { network, layers, pictures, .. } = &self.0.report;
        let quantised = layers.iter().filter(|layer| layer.precision == Precision::Int8).count();
        format!(
            "<Quantized {network}: {quantised} of {} layers in int8, by {pictures} images>",
            layers.len()
        )
    }
}

impl Quantized {
    pub(crate) fn weights(&self) -> PyResult<Given> {
        Ok(Given::Weights(of_bytes(self.0.as_bytes().to_vec())?))
    }
}

fn word(precision: Precision) -> &'static str {
    match precision {
        Precision::Int8 => "int8",
        Precision::F32 => "f32",
    }
}

/// What weights are computed in: `"int8"` if layers of them are quantised.
pub(crate) fn precision(weights: &Weights) -> &'static str {
    word(if weights.quantised().is_empty() { Precision::F32 } else { Precision::Int8 })
}

/// Prepared images, one after the other.
struct Array<'a> {
    floats: &'a [f32],
    len: usize,
}

impl Source for Array<'_> {
    type Error = String;

    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, String> {
        input.copy_from_slice(&self.floats[index * input.len()..][..input.len()]);
        Ok(None)
    }
}

/// Round weights to 8-bit integers, and choose the scales of activations.
///
/// `calibration` are some hundred images like those that the network will see: a list of what `classify` takes, or
/// prepared ones of shape `(N, C, H, W)`, float32. `weights` is `None` if `table` is what was imported. `method` is
/// `"least-squares"`, `"min-max"` or `"percentile=P"`; layers named by `keep`, and the `keep_worst` with the worst signal to
/// noise, stay in f32. An image that cannot be read is an error.
#[pyfunction]
#[pyo3(signature = (
    table, weights, calibration, *, method = "least-squares", keep = None, keep_worst = 0, threads = 1, isa = None
))]
#[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
pub(crate) fn quantize(
    py: Python<'_>,
    table: &Bound<'_, PyAny>,
    weights: Option<&Bound<'_, PyAny>>,
    calibration: &Bound<'_, PyAny>,
    method: &str,
    keep: Option<Vec<String>>,
    keep_worst: usize,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Quantized> {
    let threads = NonZeroUsize::new(threads)
        .ok_or_else(|| PyValueError::new_err("threads has to be at least 1"))?;
    let options = Options {
        method: method.parse::<Method>().map_err(raise)?,
        keep: keep.unwrap_or_default(),
        keep_worst,
        threads,
        isa: isa.map(str::parse::<Isa>).transpose().map_err(raise)?,
    };
    let model = model(py, table)?;
    let given = match (weights, table.cast::<Imported>()) {
        (None, Ok(imported)) => imported.get().weights()?,
        (None, Err(_)) => {
            return Err(PyTypeError::new_err("a table has no weights, so they have to be given"));
        }
        (given, _) => self::weights(given)?,
    };
    let Given::Weights(weights) = given else { unreachable!("they are given") };
    let graph = Graph::build(&model.spec).map_err(|error| of_table(py, &error))?;
    let input = graph.input_shape();
    let shape = [input.channels, input.height, input.width];
    let run = |source: &(dyn Source<Error = String> + Sync)| {
        let mut failed = None;
        let quantized = resnet::quantize(&model.spec, &weights, source, &options, |_, seen| {
            if let Seen::Failed(error) = seen {
                failed.get_or_insert(error);
            }
        });
        // An image that cannot be had is not left out in silence.
        match failed {
            Some(error) => Err(error),
            None => quantized.map_err(|error| error.to_string()),
        }
    };
    let is_list = calibration.is_instance_of::<pyo3::types::PyList>()
        || calibration.is_instance_of::<pyo3::types::PyTuple>();
    let quantized = if is_list {
        let list = calibration.try_iter()?.map(|given| image(&given?)).collect::<PyResult<_>>()?;
        let source = Images { images: list, preprocess: &model.spec.preprocess, shape };
        py.detach(|| run(&source))
    } else if calibration.extract::<PathBuf>().is_ok() {
        return Err(PyTypeError::new_err(
            "images to calibrate on are a list of images or an array of prepared ones, not a path",
        ));
    } else {
        let array = images(calibration, shape)?;
        let floats = array.as_slice()?;
        let source = Array { floats, len: floats.len() / graph.input_shape().elements() };
        py.detach(|| run(&source))
    };
    quantized.map(Quantized).map_err(raise)
}
