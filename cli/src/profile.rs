//! `resnet bench --profile`: where the time goes, beside what the machine can do at best.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use resnet_compiler::profile::{Layer, profile};
use resnet_compiler::schedule::Algorithm;
use resnet_runtime::machine::Limits;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Bench, Format};
use crate::model;
use crate::output::{self, Kind, Output};
use crate::timing::{FEWEST_RUNS, pool, threads_text};
use resnet_report::roofline::{Dot, Plot};

/// What was measured; the JSON has these names.
#[derive(Serialize)]
struct Profile {
    name: String,
    isa: String,
    threads: usize,
    batch: usize,
    exact: bool,
    peak_gflops: f64,
    /// Of products of bytes, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_byte_gops: Option<f64>,
    bandwidth_gb_s: f64,
    total: Figures,
    layers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    algorithm: &'static str,
    doc: String,
    /// The roof that is nearer: the lower one at the layer's operations a byte.
    bound: &'static str,
    #[serde(flatten)]
    figures: Figures,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    name: String,
    doc: String,
    ms: f64,
    macs_done: u64,
}

/// Shares are of 1.
#[derive(Serialize)]
struct Figures {
    ms: f64,
    share_of_time: f64,
    /// As defined.
    macs: u64,
    /// As defined, two operations a multiply-add.
    gflops: f64,
    macs_done: u64,
    /// Those really done, in the time of the steps that do them.
    gflops_done: f64,
    share_of_peak: f64,
    bytes: u64,
    share_of_bandwidth: f64,
}

/// What computes no convolution.
const OTHER: &str = "other";

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
    let compiled = model::compile(&model, &options.engine, batch, opened.as_ref())?;
    let (graph, isa, wishes) = (compiled.graph(), compiled.isa(), compiled.wishes());
    let weights = model::weights(opened, options.weights.random_weights, compiled.tensors())?;
    let pool = pool(threads)?;

    let before = Limits::measure(isa, threads)?;
    let duration = options.seconds;
    let layers = profile(graph, isa, wishes, &weights, pool.as_ref(), FEWEST_RUNS, duration)?;
    let limits = before.max(Limits::measure(isa, threads)?);

    let time = layers.iter().map(Layer::time).sum();
    let profile = Profile {
        name: graph.name.clone(),
        isa: isa.to_string(),
        threads: threads.get(),
        batch,
        exact: wishes.exact,
        peak_gflops: limits.flops * 1e-9,
        peak_byte_gops: layers
            .iter()
            .any(|layer| layer.quantised)
            .then_some(limits.byte_ops * 1e-9),
        bandwidth_gb_s: limits.bandwidth * 1e-9,
        total: Figures::total(&layers, time, limits),
        layers: layers.iter().map(|layer| Row::new(layer, time, limits)).collect(),
    };
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
            profile.text(out)?;
            if let Some(note) = profile.plot().above() {
                writeln!(out, "\n{note}")?;
            }
        }
        Format::Json => output::json(out, &profile)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

impl Figures {
    /// `multiplying` is the part of `time` in which multiply-adds are done, `total` that of the
    /// whole network.
    fn new(
        [macs, macs_done, bytes]: [u64; 3],
        [time, multiplying, total]: [Duration; 3],
        limits: Limits,
        peak: f64,
    ) -> Self {
        let flops = |macs: u64, time: Duration| 2.0 * macs as f64 / seconds(time);
        let done = if macs_done == 0 { 0.0 } else { flops(macs_done, multiplying) };
        Self {
            ms: 1e3 * time.as_secs_f64(),
            share_of_time: time.as_secs_f64() / seconds(total),
            macs,
            gflops: 1e-9 * flops(macs, time),
            macs_done,
            gflops_done: 1e-9 * done,
            share_of_peak: done / peak,
            bytes,
            share_of_bandwidth: bytes as f64 / seconds(time) / limits.bandwidth,
        }
    }

    fn total(layers: &[Layer], time: Duration, limits: Limits) -> Self {
        let sum = |of: fn(&Layer) -> u64| layers.iter().map(of).sum();
        let work = [sum(|layer| layer.macs), sum(Layer::macs_done), sum(|layer| layer.bytes)];
        // What it would take if every layer ran at its own peak.
        let best: f64 = layers.iter().map(|l| l.macs_done() as f64 / peak(l, limits)).sum();
        let peak = if best > 0.0 { work[1] as f64 / best } else { limits.flops };
        Self::new(work, [time; 3], limits, peak)
    }

    /// Operations really done for each byte that has to be moved.
    fn intensity(&self) -> f64 {
        2.0 * self.macs_done as f64 / self.bytes.max(1) as f64
    }
}

impl Row {
    fn new(layer: &Layer, total: Duration, limits: Limits) -> Self {
        let work = [layer.macs, layer.macs_done(), layer.bytes];
        let times = [layer.time(), layer.multiplying_time(), total];
        let peak = peak(layer, limits);
        let figures = Figures::new(work, times, limits, peak);
        let computes = figures.intensity() * limits.bandwidth >= peak;
        let steps = layer.steps.iter().map(|step| Step {
            name: step.name.clone(),
            doc: step.doc.clone(),
            ms: 1e3 * step.time.as_secs_f64(),
            macs_done: step.macs_done,
        });
        Self {
            name: layer.name.clone(),
            algorithm: layer.algorithm.map_or(OTHER, Algorithm::word),
            doc: layer.doc().to_owned(),
            bound: if computes { "compute" } else { "memory" },
            figures,
            steps: steps.collect(),
        }
    }

    /// What it does, and where it does several things, how long each takes.
    fn what(&self) -> String {
        if self.steps.len() < 2 {
            return self.doc.clone();
        }
        let part = |step: &Step| {
            // A step of the same name does the rest of the layer, as its description says.
            let part = step.name.strip_prefix(&*self.name).filter(|part| !part.is_empty());
            let part = part.or(step.doc.strip_prefix(&*self.doc)).unwrap_or_default();
            format!("{} {:.3}", part.trim_start_matches(['.', ',', ' ']), step.ms)
        };
        let parts: Vec<String> = self.steps.iter().map(part).collect();
        format!("{} ({} ms)", self.doc, parts.join(" +").trim_start())
    }
}

impl Profile {
    fn title(&self) -> String {
        let Self { name, isa, threads, batch, exact, .. } = self;
        let exact = if *exact { ", exact" } else { "" };
        format!("{name}: {isa}, {}, batch {batch}{exact}", threads_text(*threads))
    }

    fn text(&self, out: &mut dyn Write) -> Result<()> {
        let Self { peak_gflops, peak_byte_gops, bandwidth_gb_s, total, layers, .. } = self;
        writeln!(out, "{}", self.title())?;
        writeln!(out, "peak      {peak_gflops:9.2} GFLOP/s  (multiply-adds in registers)")?;
        if let Some(peak) = peak_byte_gops {
            writeln!(out, "of bytes  {peak:9.2} GOP/s    (the same, of quantised layers)")?;
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
            let figures = row.figures.columns();
            writeln!(out, "{:<width$}  {figures}  {:<7}  {}", row.name, row.bound, row.what())?;
        }
        writeln!(out, "{:<width$}  {}", "total", total.columns())?;
        Ok(())
    }

    /// A dot for each layer that multiplies.
    fn plot(&self) -> Plot {
        let multiplying = self.layers.iter().filter(|row| row.figures.macs_done > 0);
        let dots = multiplying.map(|row| Dot {
            name: row.name.clone(),
            algorithm: row.algorithm,
            intensity: row.figures.intensity(),
            gflops: row.figures.gflops_done,
            share: row.figures.share_of_time,
        });
        Plot {
            title: self.title(),
            peak_gflops: self.peak_gflops,
            bandwidth_gb_s: self.bandwidth_gb_s,
            dots: dots.collect(),
        }
    }
}

impl Figures {
    fn columns(&self) -> String {
        let share = |share: f64| format!("{:.1}%", 100.0 * share);
        let if_any = |text: String| if self.macs_done == 0 { String::new() } else { text };
        format!(
            "{:>8.3}  {:>6}  {:>7}  {:>9}  {:>7}  {:>8.3}  {:>12}",
            self.ms,
            share(self.share_of_time),
            if_any(format!("{:.0}", self.gflops)),
            if_any(format!("{:.2}", 1e-6 * self.macs_done as f64)),
            if_any(share(self.share_of_peak)),
            1e-6 * self.bytes as f64,
            share(self.share_of_bandwidth),
        )
    }
}

/// The operations a second that a layer's sums could be made with.
fn peak(layer: &Layer, limits: Limits) -> f64 {
    if layer.quantised { limits.byte_ops } else { limits.flops }
}

/// At least what a clock can tell apart, so that it can be divided by.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-9)
}
