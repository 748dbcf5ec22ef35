//! Errors of the library as exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use resnet::{Diagnostics, ModelError};

create_exception!(resnet, ResnetError, PyValueError, "What the compiler cannot do, and why.");
create_exception!(
    resnet,
    TableError,
    ResnetError,
    "A table contradicts itself.\n\n\
     The text draws every mistake at its place; `line` and `column` are those of the first, from 1, and `mistakes` has\n\
     all of them as tuples of line, column and message."
);

create_exception!(
    resnet,
    TableWarning,
    PyUserWarning,
    "What is legal in a table and nearly always a mistake; `allow` in the table silences it."
);

/// An exception with an error's text.
pub(crate) fn raise(error: impl std::fmt::Display) -> PyErr {
    ResnetError::new_err(error.to_string())
}

/// A model's, with the places of a table's mistakes.
pub(crate) fn of_model(py: Python<'_>, error: ModelError) -> PyErr {
    match error {
        ModelError::Table(diagnostics) => of_table(py, &diagnostics),
        other => raise(other),
    }
}

/// A table's mistakes.
pub(crate) fn of_table(py: Python<'_>, diagnostics: &Diagnostics) -> PyErr {
    let mistakes: Vec<(usize, usize, String)> = diagnostics
        .list()
        .iter()
        .map(|mistake| {
            let (line, column) = diagnostics.source().line_column(mistake.span);
            (line, column, mistake.message.clone())
        })
        .collect();
    let error = TableError::new_err(diagnostics.render(false));
    let [line, column] = match mistakes.first() {
        Some(&(line, column, _)) => [Some(line), Some(column)],
        None => [None, None],
    };
    let value = error.value(py);
    let set = value
        .setattr("line", line)
        .and_then(|()| value.setattr("column", column))
        .and_then(|()| value.setattr("mistakes", mistakes));
    match set {
        Ok(()) => error,
        Err(failed) => failed,
    }
}
