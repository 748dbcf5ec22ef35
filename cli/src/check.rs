//! `resnet check`: shapes, counts and memory of a table.

use std::io::Write;

use anyhow::Result;
use resnet::compiler::graph::Graph;
use resnet::compiler::plan::Plan;
use resnet::compiler::report::Report;
use resnet::compiler::schedule::Wishes;

use crate::Outcome;
use crate::args::{Check, Format};
use crate::labels::Labels;
use crate::model::{Model, budget, for_process};

pub(crate) fn check(options: &Check, out: &mut dyn Write) -> Result<Outcome> {
    let model = Model::open(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    Labels::of(&model, None, graph.output_len())?;
    let (exact, memory) = (options.exact, budget(options.memory));
    let arena_bytes = |batch| {
        let wishes = Wishes { batch, exact, memory, ..Wishes::default() };
        let plan = Plan::new(&graph, &wishes).map_err(for_process)?;
        anyhow::Ok(plan.info.arena_bytes as u64)
    };
    // What is expected is said of one picture at a time, whatever batch is looked at.
    model.spec.check_arena_bytes(arena_bytes(1)?)?;
    let report = Report::new(&graph, Some(arena_bytes(options.batch.get())?));
    match options.format.format {
        Format::Text => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", report.json())?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}
