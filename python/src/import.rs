//! Other people's checkpoints.

use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use resnet::Model;
use resnet_import::{
    Activation, AntiAlias, GlobalPool, Options, Shortcut, ShortcutFrom, StemPool, StrideOn,
    ZeroChannels,
};
use safetensors::tensor::{Dtype, TensorView};

use crate::arguments::{Given, array, of_bytes};
use crate::error::{of_model, raise};

/// A table that was derived from a checkpoint, and its weights; `compile` takes it.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct Imported(resnet_import::Imported);

#[pymethods]
impl Imported {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// The layer table, YAML.
    #[getter]
    fn table(&self) -> &str {
        &self.0.table
    }

    /// What was left out, made up, renamed or assumed, a line each.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.0.said_at_length()
    }

    /// Names of the classes; empty if nothing says them.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.0.labels.clone()
    }

    /// The weights as a safetensors file.
    fn safetensors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.bytes()?))
    }

    fn __repr__(&self) -> String {
        format!("<Imported {}: {} tensors>", self.0.name, self.0.tensors().count())
    }
}

impl Imported {
    fn bytes(&self) -> PyResult<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.write_weights(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn weights(&self) -> PyResult<Given> {
        Ok(Given::Weights(of_bytes(self.bytes()?)?))
    }

    pub(crate) fn model(&self, py: Python<'_>) -> PyResult<Model> {
        let mut model =
            Model::from_text(&self.0.table, &self.0.name).map_err(|error| of_model(py, error))?;
        if let Some(labels) = &mut model.spec.labels {
            labels.value = resnet_compiler::spec::Labels::Names(self.0.labels.clone());
        }
        Ok(model)
    }
}

/// Derive a table from a checkpoint: PyTorch's, safetensors or ONNX, or a folder as timm and transformers save it.
///
/// Nothing in a pickle is run. What tensors do not tell is assumed, which `notes` of the answer say, or told by a keyword:
///
/// - `name`; `architecture`, timm's, such as `"resnetblur50"`
/// - which tensors: `key`, where in a pickle the state dict is; `prefix` of their names; `without`, a list of parts
/// - `input`, height and width; `mean`, `std`, lists with a number for each channel, of values from 0 to 1; `resize`
/// - stem: `stem_stride`; `pool`, one of `"max"`, `"none"`, `"ceil"`, `"stride"`, `"zeros"`
/// - stages: `strides`, `dilations`, lists with a number for each
/// - blocks: `stride_on` (`"1x1"`, `"3x3"`), `anti_alias` (`"blur"`, `"average"`), `shortcut`, `shortcut_from` (`"input"`,
///   `"norm"`), `zero_channels` (`"around"`, `"after"`), `activation`, such as `"silu"`
/// - norms: `norm_epsilon`, `norm_groups`, `norm_group_size`, `weight_standardization` (its epsilon)
/// - `global_pool`: `"average"` or `"max"`
///
/// docs/import.md says what each means, as options of the command.
#[pyfunction]
#[pyo3(signature = (path, **options))]
pub(crate) fn import_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Imported> {
    let options = options.map(read).transpose()?.unwrap_or_default();
    py.detach(|| resnet_import::import(path, &options)).map(Imported).map_err(raise)
}

fn read(given: &Bound<'_, PyDict>) -> PyResult<Options> {
    let mut options = Options::default();
    for (key, value) in given {
        let key: String = key.extract()?;
        set(&mut options, &key, &value).map_err(|error| {
            match error.is_instance_of::<PyTypeError>(given.py()) {
                true => PyTypeError::new_err(format!("`{key}`: {}", error.value(given.py()))),
                false => error,
            }
        })?;
    }
    Ok(options)
}

fn set(options: &mut Options, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match key {
        "name" => options.name = value.extract()?,
        "architecture" => options.architecture = value.extract()?,
        "key" => options.key = value.extract()?,
        "prefix" => options.prefix = value.extract()?,
        "without" => options.without = value.extract()?,
        "input" => options.input = value.extract()?,
        "stem_stride" => options.stem_stride = value.extract()?,
        "strides" => options.strides = value.extract()?,
        "dilations" => options.dilations = value.extract()?,
        "norm_groups" => options.norm_groups = value.extract()?,
        "norm_group_size" => options.norm_group_size = value.extract()?,
        "norm_epsilon" => options.norm_epsilon = value.extract()?,
        "weight_standardization" => options.weight_standardization = value.extract()?,
        "mean" => options.mean = value.extract()?,
        "std" => options.std = value.extract()?,
        "resize" => options.resize = value.extract()?,
        "stride_on" => {
            options.stride_on =
                word(key, value, &[("1x1", StrideOn::First), ("3x3", StrideOn::Second)])?;
        }
        "anti_alias" => {
            options.anti_alias =
                word(key, value, &[("blur", AntiAlias::Blur), ("average", AntiAlias::Average)])?;
        }
        "shortcut" => {
            let words: Vec<_> =
                Shortcut::ALL.iter().map(|&shortcut| (shortcut.word(), shortcut)).collect();
            options.shortcut = word(key, value, &words)?;
        }
        "shortcut_from" => {
            let words = [("input", ShortcutFrom::Input), ("norm", ShortcutFrom::Norm)];
            options.shortcut_from = word(key, value, &words)?;
        }
        "zero_channels" => {
            let words = [("around", ZeroChannels::Around), ("after", ZeroChannels::After)];
            options.zero_channels = word(key, value, &words)?;
        }
        "pool" => {
            let words = [
                ("max", StemPool::Max),
                ("none", StemPool::None),
                ("ceil", StemPool::Ceil),
                ("stride", StemPool::Stride),
                ("zeros", StemPool::Zeros),
            ];
            options.pool = word(key, value, &words)?;
        }
        "global_pool" => {
            let words = [("average", GlobalPool::Average), ("max", GlobalPool::Max)];
            options.global_pool = word(key, value, &words)?;
        }
        "activation" => {
            let words: Vec<_> =
                Activation::ALL.iter().map(|&activation| (activation.name(), activation)).collect();
            options.activation = word(key, value, &words)?;
        }
        _ => {
            return Err(PyTypeError::new_err(
                "there is no such keyword; `help(resnet.import_checkpoint)` has them all",
            ));
        }
    }
    Ok(())
}

/// The value that a word stands for.
fn word<T: Copy>(key: &str, value: &Bound<'_, PyAny>, words: &[(&str, T)]) -> PyResult<Option<T>> {
    if value.is_none() {
        return Ok(None);
    }
    let text: String = value.extract()?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|&(_, meaning)| Some(meaning)).ok_or_else(|| {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        PyValueError::new_err(format!("{key} is one of {}, not {text:?}", all.join(", ")))
    })
}

/// A state dict as the bytes of a safetensors file.
#[pyfunction]
pub(crate) fn to_safetensors<'py>(
    py: Python<'py>,
    state: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &serialized(state)?))
}

/// Arrays, or tensors that speak DLPack, by their names. Counters, which are integers, go along as such.
pub(crate) fn serialized(state: &Bound<'_, PyDict>) -> PyResult<Vec<u8>> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, value) in state {
        let name: String = name.extract().map_err(|_| {
            PyTypeError::new_err(format!("a tensor's name is a string, and {name} is none"))
        })?;
        let (array, dtype) = array(&value).map_err(|error| {
            PyTypeError::new_err(format!("`{name}`: {}", error.value(state.py())))
        })?;
        let dtype = match dtype.as_str() {
            "float16" => Dtype::F16,
            "float32" => Dtype::F32,
            "float64" => Dtype::F64,
            "int64" => Dtype::I64,
            "int32" => Dtype::I32,
            "uint8" => Dtype::U8,
            other => {
                return Err(PyTypeError::new_err(format!(
                    "`{name}` has elements of {other}; float32 is expected"
                )));
            }
        };
        let shape = array.getattr("shape")?.extract()?;
        let little_endian = array.getattr("dtype")?.call_method1("newbyteorder", ("<",))?;
        let array = array.call_method1("astype", (little_endian,))?;
        let bytes = array.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        tensors.push((name, dtype, shape, bytes.as_bytes().to_vec()));
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(raise)?;
    safetensors::serialize(views, None).map_err(raise)
}
