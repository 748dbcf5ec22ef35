//! `resnet check`: shapes, counts and memory of a table.

use std::io::Write;

use anyhow::Result;
use resnet_compiler::graph::Graph;
use resnet_compiler::plan::Plan;
use resnet_compiler::report::Report;
use resnet_compiler::schedule::Wishes;

use crate::Outcome;
use crate::args::{Check, Deny, Format};
use crate::model::{budget, for_process, labels, open_model};

pub(crate) fn check(options: &Check, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    labels(&model, None, graph.output_len())?;
    let (exact, memory) = (options.exact, budget(options.memory));
    let arena_bytes = |batch| {
        let wishes = Wishes { batch, exact, memory, ..Wishes::default() };
        let plan = Plan::new(&graph, &wishes).map_err(|error| for_process(error.into()))?;
        anyhow::Ok(plan.info.arena_bytes as u64)
    };
    // What is expected is said of one picture at a time, whatever batch is looked at.
    model.spec.check_arena_bytes(arena_bytes(1)?)?;
    let warnings = model.spec.warnings();
    let report =
        Report::new(&graph, Some(arena_bytes(options.batch.get())?)).with_warnings(&warnings);
    match options.format.format {
        Format::Text => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", report.json())?,
    }
    out.flush()?;
    let count = warnings.list().len();
    if options.deny == Some(Deny::Warnings) && count > 0 {
        let warnings = if count == 1 { "warning" } else { "warnings" };
        anyhow::bail!("{count} {warnings}, which `--deny warnings` does not let pass");
    }
    Ok(Outcome::Done)
}
