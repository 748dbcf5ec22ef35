//! Tables and weights.

use std::ffi::{CString, c_char};

use crate::arguments::{array, object, path, text};
use crate::error::{Failure, c_string, free, made};

/// A table of layers.
pub struct Model {
    pub(crate) model: library::Model,
    warnings: Option<CString>,
}

impl Model {
    fn of(model: library::Model) -> Self {
        let warnings = model.spec.warnings();
        let warnings = (!warnings.is_empty()).then(|| c_string(&warnings.render(false)));
        Self { model, warnings }
    }
}

/// Trained weights.
pub struct Weights(pub(crate) library::Weights);

/// Reads a table from a file, or takes a network that the library carries, such as "resnet50", by its name. A file
/// of labels that the table names lies beside it.
///
/// NULL if it cannot be read or contradicts itself, which `resnet_last_error` draws at its place.
///
/// # Safety
///
/// `table` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_model_open(table: *const c_char) -> *mut Model {
    made(|| {
        // SAFETY: NULL or a string, says the caller.
        let path = unsafe { path(table, "table")? };
        library::Model::open(path).map(Model::of).map_err(Failure::other)
    })
}

/// Reads a table from memory, YAML in UTF-8. NULL if it contradicts itself.
///
/// # Safety
///
/// `table` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_model_text(table: *const c_char) -> *mut Model {
    made(|| {
        // SAFETY: NULL or a string, says the caller.
        let table = unsafe { text(table, "table")? };
        library::Model::from_text(table, "<table>").map(Model::of).map_err(Failure::other)
    })
}

/// What is legal in the table and nearly always a mistake, a text of the model's; NULL if there is nothing.
///
/// # Safety
///
/// `model` is NULL or a model that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_model_warnings(model: *const Model) -> *const c_char {
    // SAFETY: NULL or a model, says the caller.
    let model = unsafe { object(model, "model") };
    let warnings = model.ok().and_then(|model| model.warnings.as_deref());
    warnings.map_or(std::ptr::null(), |text| text.as_ptr())
}

/// Frees a model; networks that were compiled of it stay. NULL is ignored.
///
/// # Safety
///
/// `model` is NULL or a model that is not freed and that no thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_model_free(model: *mut Model) {
    // SAFETY: as this function asks for.
    unsafe { free(model) }
}

/// Opens weights: a safetensors file, in f32, f16, bf16 or quantised, or what `resnet pack` made of one, which is
/// mapped and must not be changed in its place before weights and networks are freed. NULL if it cannot be read.
///
/// # Safety
///
/// `file` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_weights_open(file: *const c_char) -> *mut Weights {
    made(|| {
        // SAFETY: NULL or a string, says the caller.
        let path = unsafe { path(file, "file")? };
        library::Weights::open(path).map(Weights).map_err(Failure::other)
    })
}

/// Takes weights from memory: `len` bytes of such a file, which are copied. NULL if they are none.
///
/// # Safety
///
/// `bytes` is NULL or points at `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_weights_bytes(bytes: *const u8, len: usize) -> *mut Weights {
    made(|| {
        // SAFETY: NULL or that many bytes, says the caller.
        let bytes = unsafe { array(bytes, len, "bytes")? };
        library::Weights::from_bytes(bytes.to_vec()).map(Weights).map_err(Failure::other)
    })
}

/// Frees weights; networks that were compiled with them stay. NULL is ignored.
///
/// # Safety
///
/// `weights` is NULL or weights that are not freed and that no thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_weights_free(weights: *mut Weights) {
    // SAFETY: as this function asks for.
    unsafe { free(weights) }
}
