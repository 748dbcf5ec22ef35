//! `resnet check`: shapes, counts and memory of a table.

use std::io::Write;

use anyhow::Result;
use resnet::compiler::graph::Graph;
use resnet::compiler::network::plan;
use resnet::compiler::report::Report;
use resnet::compiler::schedule::Wishes;

use crate::Outcome;
use crate::args::{Check, Format};
use crate::model::{Model, budget, for_process};

pub(crate) fn check(options: &Check, out: &mut dyn Write) -> Result<Outcome> {
    let model = Model::open(&options.model.model)?;
    let graph = Graph::build(&model.spec)?;
    model.labels(graph.output_len())?;
    // The budget is for one picture at a time, whatever batch is looked at.
    let (exact, memory) = (options.exact, budget(options.memory));
    let wishes = |batch| Wishes { batch, exact, memory, ..Wishes::default() };
    let (_, single, _) = plan(&graph, &wishes(1), 1).map_err(for_process)?;
    model.spec.check_arena_bytes(single.arena_bytes() as u64)?;
    let arena_bytes = match options.batch.get() {
        1 => single.arena_bytes(),
        batch => plan(&graph, &wishes(batch), batch).map_err(for_process)?.1.arena_bytes(),
    };
    let report = Report::new(&graph, Some(arena_bytes as u64));
    match options.format.format {
        Format::Text => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", report.json())?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}
