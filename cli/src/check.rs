//! `resnet check`: shapes, counts and memory of a table.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use resnet::{Compiler, Model, ModelError, Options, Report, Weights};
use resnet_compiler::graph::Graph;
use resnet_compiler::report::PackedWeights;
use resnet_compiler::train;

use crate::Outcome;
use crate::args::{Check, Deny, Format};
use crate::model::{budget, for_process, open_model, open_weights, weights};
use crate::{output, voice};

pub(crate) fn check(options: &Check, out: &mut dyn Write) -> Result<Outcome> {
    let mut reports = Vec::new();
    for path in &options.models {
        match report(options, path) {
            Ok(report) => reports.push(report),
            // One alone is the command's own error.
            Err(error) if options.models.len() == 1 => return Err(error),
            Err(error) => voice::report(&error),
        }
    }
    match options.format.format {
        Format::Text => {
            for (index, report) in reports.iter().enumerate() {
                let gap = if index > 0 { "\n" } else { "" };
                write!(out, "{gap}{report}")?;
            }
        }
        Format::Json if options.models.len() == 1 => writeln!(out, "{}", reports[0].json())?,
        Format::Json => output::json(out, &reports)?,
    }
    out.flush()?;
    let mut passed = reports.len() == options.models.len();
    for Report { name, warnings, .. } in &reports {
        if options.deny == Some(Deny::Warnings) && !warnings.is_empty() {
            passed = false;
            let (count, many) = (warnings.len(), if warnings.len() == 1 { "" } else { "s" });
            voice::error!(
                "`{name}`: {count} warning{many}, which `--deny warnings` does not let pass"
            );
        }
    }
    Ok(if passed { Outcome::Done } else { Outcome::SomeFailed })
}

fn report(options: &Check, path: &Path) -> Result<Report> {
    let model = open_model(path)?;
    let opened = open_weights(options.weights.as_deref(), false)?;
    let (batch, exact, is_trained) = (options.batch.get(), options.exact, options.train);
    let of_step = options.memory.filter(|_| is_trained);
    let memory = budget(options.memory.filter(|_| !is_trained));
    let precision = options.precision.get();
    let options = Options { batch, exact, memory, precision, ..Options::default() };
    let mut report = counted(&model, &options, opened.as_ref())?;
    if is_trained {
        let graph = Graph::build(&model.spec)?;
        let mut descent = train::Descent::default();
        if let Some(bytes) = of_step {
            descent = train::within(&graph, batch, descent, bytes as u64, 1)?;
        }
        report.training = Some(train::memory(&graph, batch, descent)?);
    }
    let Some(opened) = opened else { return Ok(report) };
    let plan = Compiler::new(&model.spec).options(options).weights(&opened).plan();
    let plan = plan.map_err(for_process)?;
    let weights = weights(Some(opened), None, &plan.weights.tensors)?;
    let bytes = plan.weights.bytes as u64;
    let packed = PackedWeights { bytes, quantised_layers: weights.quantised().len() };
    let arena_bytes = Some(plan.info.arena_bytes as u64);
    Ok(Report { arena_bytes, weights: Some(packed), ..report })
}

/// Checks a table that is to be planned so, perhaps for these weights, and counts what it has.
pub(crate) fn counted(
    model: &Model,
    options: &Options,
    weights: Option<&Weights>,
) -> Result<Report> {
    // The budget is for the weights that are given, if some are.
    let memory = options.memory.filter(|_| weights.is_none());
    let of_table = Options { memory, ..options.clone() };
    model.report(&of_table).map_err(|error| match error {
        ModelError::Plan(error) => for_process(error.into()),
        error => error.into(),
    })
}
