//! What functions take in more than one form.

use std::borrow::Cow;
use std::ffi::CString;
use std::path::PathBuf;

use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMemoryView};
use resnet::{Model, TensorSpec, Weights};

use crate::error::{TableWarning, of_model, raise};
use crate::import::{Imported, serialized};
use crate::quantize::Quantized;

/// A model: the name of a network of the zoo, a table's path, its text (which has more than one line), or what
/// was imported. What its table is warned of are warnings of Python's.
pub(crate) fn model(py: Python<'_>, table: &Bound<'_, PyAny>) -> PyResult<Model> {
    let model = open(py, table)?;
    let warnings = model.spec.warnings();
    if !warnings.is_empty() {
        let text = CString::new(warnings.render(false).replace('\0', "\u{fffd}"))?;
        PyErr::warn(py, &py.get_type::<TableWarning>(), &text, 1)?;
    }
    Ok(model)
}

fn open(py: Python<'_>, table: &Bound<'_, PyAny>) -> PyResult<Model> {
    if let Ok(imported) = table.cast::<Imported>() {
        return imported.get().model(py);
    }
    if let Ok(text) = table.extract::<String>() {
        return match text.contains('\n') {
            true => Model::from_text(&text, "<table>"),
            false => Model::open(text),
        }
        .map_err(|error| of_model(py, error));
    }
    match table.extract::<PathBuf>() {
        Ok(path) => Model::open(path).map_err(|error| of_model(py, error)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a table is the name of a network, a path, the text of a table, or what was imported, not {}{}",
            table.get_type().name()?,
            of_module(table)?
        ))),
    }
}

/// Weights: a file's path, the bytes of a safetensors file, a state dict, or what was quantised; `None` draws random
/// ones.
pub(crate) enum Given {
    Weights(Weights),
    Random,
}

pub(crate) fn weights(given: Option<&Bound<'_, PyAny>>) -> PyResult<Given> {
    let Some(given) = given else { return Ok(Given::Random) };
    if let Some(bytes) = bytes(given)? {
        return Ok(Given::Weights(of_bytes(bytes)?));
    }
    if let Ok(quantized) = given.cast::<Quantized>() {
        return quantized.get().weights();
    }
    if let Ok(state) = given.cast::<PyDict>() {
        return Ok(Given::Weights(of_bytes(serialized(state)?)?));
    }
    match given.extract::<PathBuf>() {
        Ok(path) => Ok(Given::Weights(Weights::open(path).map_err(raise)?)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "weights are a path, the bytes of a safetensors file, a state dict or what was quantised, not {}{}",
            given.get_type().name()?,
            of_module(given)?
        ))),
    }
}

/// A hint for who gives a module of PyTorch's.
fn of_module(given: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    let is_module = given.hasattr("state_dict")?;
    Ok(if is_module { "; `from_torch` compiles a module, with its weights" } else { "" })
}

/// The bytes of what holds a file's.
pub(crate) fn bytes(given: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    if !given.is_instance_of::<PyByteArray>() && !given.is_instance_of::<PyMemoryView>() {
        return Ok(None);
    }
    let bytes = given.py().get_type::<PyBytes>().call1((given,))?.cast_into::<PyBytes>()?;
    Ok(Some(bytes.as_bytes().to_vec()))
}

pub(crate) fn of_bytes(bytes: Vec<u8>) -> PyResult<Weights> {
    Weights::from_bytes(Cow::Owned(bytes)).map_err(raise)
}

impl Given {
    /// Whether they were drawn, and they.
    pub(crate) fn or_random(self, tensors: &[TensorSpec]) -> (bool, Weights) {
        match self {
            Self::Weights(weights) => (false, weights),
            Self::Random => (true, Weights::random(tensors, 0)),
        }
    }
}

/// A batch of images: an array of `float32`, or anything that speaks DLPack, of shape `(N, C, H, W)`. It is
/// copied only if its elements do not lie in that order.
pub(crate) fn images<'py>(
    x: &Bound<'py, PyAny>,
    [channels, height, width]: [usize; 3],
) -> PyResult<PyReadonlyArrayDyn<'py, f32>> {
    let (array, dtype) = array(x)?;
    if dtype != "float32" {
        let hint = match dtype.as_str() {
            "uint8" => "; pictures are for `classify`, which normalises them",
            _ => "; `x.astype(numpy.float32)` converts it",
        };
        return Err(PyTypeError::new_err(format!("expected float32, found {dtype}{hint}")));
    }
    let array = contiguous::<f32>(&array)?;
    let shape = array.shape();
    if shape.len() != 4 || shape[1..] != [channels, height, width] {
        let hint = if shape == [channels, height, width] { "; one image is `x[None]`" } else { "" };
        return Err(PyValueError::new_err(format!(
            "expected the shape (N, {channels}, {height}, {width}), found {}{hint}",
            tuple(shape)
        )));
    }
    Ok(array.readonly())
}

/// An array of numpy's, or a view of what speaks DLPack as one, with the name of its elements' type.
pub(crate) fn array<'py>(x: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, String)> {
    let numpy = x.py().import("numpy")?;
    let ndarray = numpy.getattr("ndarray")?;
    let array = if x.is_instance(&ndarray)? {
        if !x.get_type().is(&ndarray) && x.hasattr("mask")? {
            return Err(PyTypeError::new_err(
                "found a masked array, whose mask would be lost; `x.filled(value)` is an array",
            ));
        }
        x.clone()
    } else if x.hasattr("__dlpack__")? {
        view(&numpy, x)?
    } else {
        return Err(PyTypeError::new_err(format!(
            "expected a numpy array or a tensor that speaks DLPack, found {}",
            x.get_type().name()?
        )));
    };
    let dtype = array.getattr("dtype")?.getattr("name")?.extract()?;
    Ok((array, dtype))
}

/// What speaks DLPack as an array of numpy's.
fn view<'py>(numpy: &Bound<'py, PyModule>, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // PyTorch hands out the memory of a view that it negates when it is read.
    let negated = x.hasattr("is_neg")? && x.call_method0("is_neg")?.is_truthy()?;
    let x = if negated { &x.call_method0("resolve_neg")? } else { x };
    numpy.call_method1("from_dlpack", (x,)).map_err(|error| {
        let said = error.value(x.py());
        match (x.getattr("dtype"), x.getattr("device")) {
            (Ok(dtype), Ok(device)) => PyTypeError::new_err(format!(
                "expected float32 in the CPU's memory, found {dtype} on {device}: {said}"
            )),
            _ => error,
        }
    })
}

/// An array whose elements lie in their order, and their bytes in the machine's: itself, or a copy.
pub(crate) fn contiguous<'py, T: Element>(
    array: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = array.py();
    let contiguous =
        py.import("numpy")?.call_method1("ascontiguousarray", (array, dtype::<T>(py)))?;
    Ok(contiguous.cast_into::<PyArrayDyn<T>>()?)
}

/// A shape as Python writes it.
pub(crate) fn tuple(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({}{})", sizes.join(", "), if sizes.len() == 1 { "," } else { "" })
}
