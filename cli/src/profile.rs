//! `resnet bench --profile`: where the time goes, beside what the machine can do at best.

use std::io::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;
use resnet::{Compiled, Weights};
use resnet_compiler::profile::profile;
use resnet_report::profile::{Figures, Profile, Run};
use resnet_runtime::machine::Limits;

use crate::Outcome;
use crate::args::{Bench, Format};
use crate::model;
use crate::output::{self, Kind, Output};
use crate::timing::{FEWEST_RUNS, pool};

pub(crate) fn print(options: &Bench, out: &mut dyn Write) -> Result<Outcome> {
    let (batch, threads) = (options.batch.get(), options.engine.threads.get());
    let model = model::open_model(&options.model.model)?;
    let svg = match &options.svg {
        Some(svg) => {
            let files = model.files();
            let schedule = &options.engine.algorithms.schedule;
            let inputs = files.iter().chain(&options.weights.weights).chain(schedule);
            Some(Output::create(svg, Kind::Svg, options.force.force, inputs)?)
        }
        None => None,
    };
    let opened = model::open_weights(options.weights.weights.as_deref(), options.engine.no_map)?;
    let backend = model::backend(options.engine.backend);
    let compiled = model::compile(&model, &options.engine, backend, batch, opened.as_ref())?;
    let weights = model::weights(opened, options.weights.random_weights, compiled.tensors())?;
    let profile = measure(&compiled, &weights, threads, options.seconds)?;
    if let Some(mut file) = svg {
        file.write_all(profile.plot().svg().as_bytes())?;
        let alone = file.is_stdout();
        file.finish()?;
        if alone {
            return Ok(Outcome::Done);
        }
    }
    match options.format.format {
        Format::Text => {
            text(&profile, out)?;
            if let Some(note) = profile.plot().above() {
                writeln!(out, "\n{note}")?;
            }
        }
        Format::Json => output::json(out, &profile)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Times every layer for about `duration`, and what the machine can do at best before and after it.
pub(crate) fn measure(
    compiled: &Compiled,
    weights: &Weights,
    threads: NonZeroUsize,
    duration: Duration,
) -> Result<Profile> {
    let (graph, isa, wishes) = (compiled.graph(), compiled.isa(), compiled.wishes());
    let pool = pool(threads)?;
    let before = Limits::measure(isa, threads)?;
    let layers = profile(graph, isa, wishes, weights, pool.as_ref(), FEWEST_RUNS, duration)?;
    let limits = before.max(Limits::measure(isa, threads)?);
    let run = Run { isa, threads, batch: wishes.batch, exact: wishes.exact };
    Ok(Profile::new(&graph.name, run, &layers, limits))
}

fn text(profile: &Profile, out: &mut dyn Write) -> Result<()> {
    let Profile { peak_gflops, peak_byte_gops, peak_bf16_gflops, bandwidth_gb_s, .. } = profile;
    let Profile { total, layers, .. } = profile;
    writeln!(out, "{}", profile.title())?;
    writeln!(out, "peak      {peak_gflops:9.2} GFLOP/s  (multiply-adds in registers)")?;
    if let Some(peak) = peak_byte_gops {
        writeln!(out, "of bytes  {peak:9.2} GOP/s    (the same, of quantised layers)")?;
    }
    if let Some(peak) = peak_bf16_gflops {
        writeln!(out, "of bf16   {peak:9.2} GFLOP/s  (the same, of layers in bf16)")?;
    }
    writeln!(out, "bandwidth {bandwidth_gb_s:9.2} GB/s  (memory, read from front to end)")?;
    writeln!(out)?;
    let width = layers.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:<width$}        ms   share  GFLOP/s  MMAC done  of peak        MB  of bandwidth  \
             bound    what",
        "layer"
    )?;
    for row in layers {
        let figures = columns(&row.figures);
        writeln!(out, "{:<width$}  {figures}  {:<7}  {}", row.name, row.bound, row.what())?;
    }
    writeln!(out, "{:<width$}  {}", "total", columns(total))?;
    Ok(())
}

fn columns(figures: &Figures) -> String {
    let share = |share: f64| format!("{:.1}%", 100.0 * share);
    let if_any = |text: String| if figures.macs_done == 0 { String::new() } else { text };
    format!(
        "{:>8.3}  {:>6}  {:>7}  {:>9}  {:>7}  {:>8.3}  {:>12}",
        figures.ms,
        share(figures.share_of_time),
        if_any(format!("{:.0}", figures.gflops)),
        if_any(format!("{:.2}", 1e-6 * figures.macs_done as f64)),
        if_any(share(figures.share_of_peak)),
        1e-6 * figures.bytes as f64,
        share(figures.share_of_bandwidth),
    )
}
