//! The Python module `resnet._resnet`: what `resnet/__init__.py` offers, over the library.
//!
//! Thin on purpose: arguments and answers are turned into one another here, and everything else is the library's.

mod arguments;
mod arrow;
mod error;
mod family;
mod images;
mod import;
mod network;
mod quantize;
mod report;
mod train;

use pyo3::prelude::*;

#[pymodule]
mod _resnet {
    #[pymodule_export]
    use crate::{
        arrow::{ArrowArray, ArrowNetwork},
        error::{ResnetError, TableError, TableWarning},
        family::family,
        import::{Imported, import_checkpoint, to_safetensors},
        network::{Network, compile},
        quantize::{Quantized, quantize},
        report::{Layer, Report, check, models},
        train::{Fitted, Trainer, fit},
    };
}
