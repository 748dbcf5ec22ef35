//! `check`: shapes, counts and memory of a table.

use pyo3::prelude::*;
use resnet::{Model, Options, ZOO};
use resnet_compiler::graph::Graph;
use resnet_compiler::report;

use crate::arguments::model;
use crate::error::{of_model, of_table};

/// Counts of a network and of each of its layers. Notebooks show it as a table.
#[pyclass(frozen, module = "resnet")]
pub(crate) struct Report(report::Report);

/// A line of a report: a convolution with its norm, a pool, a linear layer.
#[pyclass(frozen, get_all, module = "resnet")]
pub(crate) struct Layer {
    name: String,
    op: &'static str,
    /// Channels, height and width of what it reads.
    input: (usize, usize, usize),
    /// Channels, height and width of what it makes.
    output: (usize, usize, usize),
    /// Weights, biases, scales and shifts.
    params: u64,
    /// Multiply-adds for one image.
    macs: u64,
}

#[pymethods]
impl Layer {
    fn __repr__(&self) -> String {
        let Self { name, op, output: (channels, height, width), params, macs, .. } = self;
        format!("<Layer {name}: {op} -> {channels}x{height}x{width}, {params} params, {macs} MACs>")
    }
}

#[pymethods]
impl Report {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Channels, height and width of an image.
    #[getter]
    fn input(&self) -> (usize, usize, usize) {
        shape(self.0.input)
    }

    #[getter]
    fn output(&self) -> (usize, usize, usize) {
        shape(self.0.output)
    }

    /// Weighted layers, projections not counted.
    #[getter]
    fn depth(&self) -> usize {
        self.0.depth
    }

    /// Weights, biases, and batch norm's scales and shifts.
    #[getter]
    fn params(&self) -> u64 {
        self.0.params
    }

    /// Multiply-adds for one image.
    #[getter]
    fn macs(&self) -> u64 {
        self.0.macs
    }

    /// Bytes of the memory for activations; `None` if it was not planned.
    #[getter]
    fn arena_bytes(&self) -> Option<u64> {
        self.0.arena_bytes
    }

    #[getter]
    fn layers(&self) -> Vec<Layer> {
        let layer = |layer: &report::Layer| Layer {
            name: layer.name.clone(),
            op: layer.op,
            input: shape(layer.input),
            output: shape(layer.output),
            params: layer.params,
            macs: layer.macs,
        };
        self.0.layers.iter().map(layer).collect()
    }

    /// What the table is warned of: the name that its `allow` knows, and the message.
    #[getter]
    fn warnings(&self) -> Vec<(&'static str, String)> {
        self.0.warnings.iter().map(|warning| (warning.name, warning.message.clone())).collect()
    }

    /// The JSON of `resnet check --format json`.
    fn json(&self) -> String {
        self.0.json()
    }

    fn __repr__(&self) -> String {
        self.0.to_string()
    }

    fn _repr_html_(&self) -> String {
        html(&self.0)
    }
}

pub(crate) fn shape([channels, height, width]: [usize; 3]) -> (usize, usize, usize) {
    (channels, height, width)
}

/// A table for notebooks.
fn html(report: &report::Report) -> String {
    let right = "style=\"text-align:right\"";
    let row = |cells: [String; 5]| {
        let [name, operation, rest @ ..] = cells;
        let rest = rest.map(|cell| format!("<td {right}>{cell}</td>")).concat();
        format!("<tr><td>{}</td><td>{}</td>{rest}</tr>", escape(&name), escape(&operation))
    };
    let times = |shape: [usize; 3]| shape.map(|size| size.to_string()).join("x");
    let layers: String = report
        .layers
        .iter()
        .map(|layer| {
            row([
                layer.name.clone(),
                layer.operation.clone(),
                times(layer.output),
                report::grouped(layer.params),
                report::scaled(layer.macs),
            ])
        })
        .collect();
    let head = ["layer", "operation", "output", "params", "MACs"]
        .map(|name| format!("<th>{name}</th>"))
        .concat();
    format!(
        "<table><caption>{}: {} to {}, depth {}, {} params, {} MACs</caption><thead><tr>{head}</tr></thead>\
         <tbody>{layers}</tbody></table>",
        escape(&report.name),
        times(report.input),
        times(report.output),
        report.depth,
        report::grouped(report.params),
        report::scaled(report.macs),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Check a table: shapes, parameters, multiply-adds, and the memory for batches of `batch` images.
///
/// `table` is the name of a network that the package carries, a path, or the text of a table (which has more than one
/// line). A mistake raises `TableError`.
#[pyfunction]
#[pyo3(signature = (table, *, batch = 1))]
pub(crate) fn check(py: Python<'_>, table: &Bound<'_, PyAny>, batch: usize) -> PyResult<Report> {
    let model = model(py, table)?;
    let options = Options { batch, ..Options::default() };
    py.detach(|| model.report(&options)).map(Report).map_err(|error| of_model(py, error))
}

/// The networks that the package carries.
#[pyfunction]
pub(crate) fn models(py: Python<'_>) -> PyResult<Vec<Report>> {
    let report = |name: &str| {
        let model = Model::open(name).map_err(|error| of_model(py, error))?;
        let graph = Graph::build(&model.spec).map_err(|error| of_table(py, &error))?;
        Ok(Report(report::Report::new(&graph, None)))
    };
    ZOO.iter().map(|(name, _)| report(name)).collect()
}
