//! Arrays of Arrow in and out, over its C data interface: nothing is copied, and no package of Python's is needed.

use std::path::PathBuf;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use arrow_array::{Array, ArrayRef, StructArray, make_array};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods, PyTuple, PyType};
use resnet_arrow::RowsError;

use crate::error::raise;

/// A network over arrays of Arrow: `ArrowNetwork(model, weights)`, a table's path or the name of a network of the zoo, and
/// a file of weights.
///
/// Arrays are of anything that speaks Arrow's PyCapsule interface (`__arrow_c_array__`): pyarrow, nanoarrow, arro3. Pictures
/// are bytes or paths of files. A call runs on its own thread, with the GIL released, and decodes a few pictures at a time,
/// however many rows there are. It pickles as its two paths.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct ArrowNetwork {
    network: resnet_arrow::ArrowNetwork,
    model: PathBuf,
    weights: PathBuf,
}

#[pymethods]
impl ArrowNetwork {
    #[new]
    fn new(py: Python<'_>, model: PathBuf, weights: PathBuf) -> PyResult<Self> {
        let network = py.detach(|| resnet_arrow::ArrowNetwork::open(&model, &weights));
        Ok(Self { network: network.map_err(raise)?, model, weights })
    }

    /// The likeliest class of each picture: an array of structs of `label`, `class`, `probability` and `error`.
    ///
    /// Of a picture that cannot be used `error` says why, and the rest is null; the answer to null is null.
    fn classify(&self, py: Python<'_>, pictures: &Bound<'_, PyAny>) -> PyResult<ArrowArray> {
        answer(py, pictures, |pictures| self.network.classify(pictures))
    }

    /// The features of each picture: an array of structs of `features`, a list, and `error`.
    ///
    /// They are the answer of a network that ends in features, and of another one what goes into its classifier.
    fn features(&self, py: Python<'_>, pictures: &Bound<'_, PyAny>) -> PyResult<ArrowArray> {
        answer(py, pictures, |pictures| self.network.features(pictures))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyType>, (&PathBuf, &PathBuf)) {
        (py.get_type::<Self>(), (&self.model, &self.weights))
    }

    fn __repr__(&self) -> String {
        format!("ArrowNetwork({})", self.network.description())
    }
}

fn answer(
    py: Python<'_>,
    pictures: &Bound<'_, PyAny>,
    answer: impl Fn(&dyn Array) -> Result<StructArray, RowsError> + Sync,
) -> PyResult<ArrowArray> {
    let pictures = import(pictures)?;
    Ok(ArrowArray(py.detach(|| answer(&*pictures)).map_err(raise)?))
}

/// An array of Arrow, which `pyarrow.array` and whatever else speaks the PyCapsule interface takes.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct ArrowArray(StructArray);

#[pymethods]
impl ArrowArray {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The array as capsules of Arrow's C data interface: its type, and its buffers.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        // What is asked for is a wish; there is one type that it can have.
        let _ = requested_schema;
        let (array, schema) = to_ffi(&self.0.to_data()).map_err(raise)?;
        let schema = PyCapsule::new_with_value(py, schema, SCHEMA)?;
        Ok((schema, PyCapsule::new_with_value(py, array, ARRAY)?))
    }
}

const SCHEMA: &std::ffi::CStr = c"arrow_schema";
const ARRAY: &std::ffi::CStr = c"arrow_array";

/// The array that an object of Python's offers.
fn import(pictures: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    if !pictures.hasattr("__arrow_c_array__")? {
        let hint = match pictures.hasattr("__arrow_c_stream__")? {
            true => "; it has several parts: `combine_chunks()` of pyarrow's makes them one",
            false => "; `pyarrow.array` makes one of a list",
        };
        return Err(PyTypeError::new_err(format!(
            "expected an array of Arrow, which has `__arrow_c_array__`, found {}{hint}",
            pictures.get_type().name()?
        )));
    }
    let capsules = pictures.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>()?;
    let schema = capsules.get_item(0)?.cast_into::<PyCapsule>()?;
    let array = capsules.get_item(1)?.cast_into::<PyCapsule>()?;
    let schema = schema.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: a capsule of this name holds such a struct, by Arrow's PyCapsule interface, and both capsules live as long as
    // `capsules`. The array is moved out, and what is left behind is marked as released, so that the capsule's destructor
    // does nothing; its contents are as the interface says, or the producer breaks it.
    let data = unsafe {
        let array = FFI_ArrowArray::from_raw(array.as_ptr());
        from_ffi(array, schema.as_ref())
    };
    Ok(make_array(data.map_err(raise)?))
}
