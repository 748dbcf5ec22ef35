//! `resnet models`: the networks that the command carries.

use std::io::Write;

use anyhow::Result;
use resnet::{Model, ModelError, ZOO, zoo};
use resnet_compiler::counts::scaled;
use resnet_compiler::geometry::Shape;
use resnet_compiler::graph::Graph;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Format, Models};
use crate::output;

/// A network; the JSON has these names.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    params: u64,
    macs: u64,
    input: [usize; 3],
}

pub(crate) fn models(options: &Models, out: &mut dyn Write) -> Result<Outcome> {
    if let Some(name) = &options.name {
        let table = zoo(name).ok_or_else(|| ModelError::unknown(name))?;
        out.write_all(table.as_bytes())?;
        out.flush()?;
        return Ok(Outcome::Done);
    }
    let entries: Vec<Entry> = ZOO.iter().map(|(name, _)| entry(name)).collect::<Result<_>>()?;
    match options.format.format {
        Format::Json => output::json(out, &entries)?,
        Format::Text => text(out, &entries)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn entry(name: &'static str) -> Result<Entry> {
    let graph = Graph::build(&Model::open(name)?.spec)?;
    let Shape { channels, height, width } = graph.input_shape();
    let (params, macs) = (graph.params, graph.macs);
    Ok(Entry { name, params, macs, input: [channels, height, width] })
}

fn text(out: &mut dyn Write, entries: &[Entry]) -> Result<()> {
    let longest = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    writeln!(out, "{:longest$}  {:>8}  {:>8}  input", "name", "params", "MACs")?;
    for &Entry { name, params, macs, input: [channels, height, width] } in entries {
        let (params, macs) = (scaled(params), scaled(macs));
        writeln!(out, "{name:longest$}  {params:>8}  {macs:>8}  {channels}x{height}x{width}")?;
    }
    Ok(())
}
