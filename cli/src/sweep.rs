//! `resnet sweep`: sizes and times of a family of networks.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use resnet::compiler::family::Member;
use resnet::compiler::network::{Backend, Compiler};
use resnet::compiler::report::{grouped, scaled};
use resnet::compiler::spec::Spec;
use resnet::runtime::kernels::Isa;
use resnet::runtime::threads::Pool;
use resnet::runtime::weights::Weights;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Format, Sweep};
use crate::bench::{fill, measure, pool, threads_text, zeros};
use crate::family::Size;
use crate::model::isa;
use crate::output::{self, Kind, Output};
use crate::scatter::{Dot, Scatter};

/// Results; the JSON has these names.
#[derive(Serialize)]
struct Results {
    isa: String,
    threads: usize,
    networks: Vec<Row>,
}

/// A network.
#[derive(Serialize)]
struct Row {
    name: String,
    depth: usize,
    /// The multiplier of all channels.
    width: f64,
    params: u64,
    macs: u64,
    arena_bytes: usize,
    min_ms: f64,
    median_ms: f64,
    gflops: f64,
}

pub(crate) fn sweep(options: &Sweep, out: &mut dyn Write) -> Result<Outcome> {
    let networks = networks(options)?;
    let svg = match &options.svg {
        Some(path) => Some(Output::create(path, Kind::Svg, options.force.force, [])?),
        None => None,
    };
    let threads = options.threads.get();
    let pool = pool(threads)?;
    let isa = isa(options.isa).unwrap_or_else(Isa::detect);
    let bar = bar(networks.len());
    let mut rows = Vec::new();
    for (spec, width) in &networks {
        bar.set_message(spec.name.value.clone());
        rows.push(time(spec, *width, isa, pool.as_ref(), options.seconds)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let results = Results { isa: isa.to_string(), threads: threads.get(), networks: rows };
    if let Some(mut file) = svg {
        file.write_all(results.plot().svg().as_bytes())?;
        let alone = file.is_stdout();
        file.finish()?;
        if alone {
            return Ok(Outcome::Done);
        }
    }
    match options.format.format {
        Format::Text => results.text(out)?,
        Format::Json => output::json(out, &results)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Every network with its width: a mistake is found before anything is timed.
fn networks(options: &Sweep) -> Result<Vec<(Spec, f64)>> {
    let depths = options.depth.iter().flat_map(|numbers| &numbers.0);
    let ns = options.n.iter().flat_map(|numbers| &numbers.0);
    let mut networks = Vec::new();
    for &width in &options.width {
        let depths = depths.clone().map(|depth| Size::Depth(*depth));
        for size in depths.chain(ns.clone().map(|n| Size::N(*n))) {
            let member: Member = options.family.member(size, width)?;
            networks.push((Spec::from_yaml_named(&member.table()?, &member.name())?, width));
        }
    }
    Ok(networks)
}

/// Compiles a network, loads random weights, on which times do not depend, and times it.
fn time(spec: &Spec, width: f64, isa: Isa, pool: Option<&Pool>, duration: Duration) -> Result<Row> {
    let compiled = Compiler::new(spec).backend(Backend::Jit).isa(isa).compile()?;
    let weights = Weights::random(&compiled.graph().tensors, 0);
    let network = compiled.load(&weights)?;
    let no_memory = || format!("no memory for the activations of `{}`", spec.name.value);
    let mut session = network.session_in(pool).with_context(no_memory)?;
    let info = compiled.info();
    let (mut picture, mut answer) = (zeros(1, info.input_len())?, zeros(1, info.outputs)?);
    fill(&mut picture);
    let times = measure(&mut *session, &picture, &mut answer, duration)?;
    let median = times[times.len() / 2].as_secs_f64();
    Ok(Row {
        name: info.name.to_string(),
        depth: info.depth,
        width,
        params: info.params,
        macs: info.macs,
        arena_bytes: info.arena_bytes,
        min_ms: 1e3 * times[0].as_secs_f64(),
        median_ms: 1e3 * median,
        gflops: 2e-9 * info.macs as f64 / median,
    })
}

impl Results {
    fn heading(&self) -> String {
        format!("{}, {}, one picture at a time", self.isa, threads_text(self.threads))
    }

    fn text(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "{}\n", self.heading())?;
        let name = self.networks.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let name = name.max("network".len());
        writeln!(
            out,
            "{:name$}  depth  {:>13}  {:>7}  {:>9}  {:>9}  {:>9}  GFLOP/s",
            "network", "params", "MACs", "arena KiB", "min ms", "median ms"
        )?;
        for row in &self.networks {
            writeln!(
                out,
                "{:name$}  {:>5}  {:>13}  {:>7}  {:>9}  {:>9.3}  {:>9.3}  {:>7.1}",
                row.name,
                row.depth,
                grouped(row.params),
                scaled(row.macs),
                row.arena_bytes.div_ceil(1024),
                row.min_ms,
                row.median_ms,
                row.gflops
            )?;
        }
        Ok(())
    }

    fn plot(&self) -> Scatter {
        Scatter {
            title: format!("Time of a network: {}", self.heading()),
            axes: ["multiply-adds", "ms (median)"],
            dots: self
                .networks
                .iter()
                .map(|row| Dot {
                    label: row.name.clone(),
                    series: format!("width {}", row.width),
                    at: [row.macs as f64, row.median_ms],
                })
                .collect(),
        }
    }
}

/// A progress bar on stderr, if that is a terminal.
fn bar(len: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} networks, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}
