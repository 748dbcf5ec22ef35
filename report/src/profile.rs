//! Where the time of a run went, layer by layer, beside what the machine can do at best.

use std::num::NonZeroUsize;
use std::time::Duration;

use resnet_compiler::graph::NodeId;
use resnet_compiler::profile::Layer;
use resnet_compiler::schedule::Algorithm;
use resnet_runtime::kernels::{Element, Isa};
use resnet_runtime::machine::Limits;
use serde::Serialize;

use crate::roofline::{Dot, Plot};

/// What was measured; the JSON has these names.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// The network's name.
    pub name: String,
    /// The instruction set of its kernels.
    pub isa: String,
    /// Threads, that of the caller counted.
    pub threads: usize,
    /// Pictures at a time.
    pub batch: usize,
    /// Whether every convolution is computed as it is defined.
    pub exact: bool,
    /// What the threads' multiply-add units did at best.
    pub peak_gflops: f64,
    /// The same of products of bytes, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_byte_gops: Option<f64>,
    /// The same of products of `bf16`, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bf16_gflops: Option<f64>,
    /// What memory did at best, read from front to end.
    pub bandwidth_gb_s: f64,
    /// Of all layers.
    pub total: Figures,
    /// The layers, in the order in which they run.
    pub layers: Vec<Row>,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The node of the graph whose operator it computes.
    #[serde(skip)]
    pub node: Option<NodeId>,
    /// What computes a convolution's sums, or `other`.
    pub algorithm: &'static str,
    /// What its main step does.
    pub doc: String,
    /// The roof that is nearer: the lower one at the layer's operations a byte.
    pub bound: &'static str,
    /// What it did.
    #[serde(flatten)]
    pub figures: Figures,
    /// What it does, one after the other.
    pub steps: Vec<Step>,
}

/// A part of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name: the layer's, or that with a part.
    pub name: String,
    /// What its function does.
    pub doc: String,
    /// Milliseconds.
    pub ms: f64,
    /// Multiply-adds that were really done.
    pub macs_done: u64,
}

/// What was done in which time. Shares are of 1.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Milliseconds, the shortest of all runs.
    pub ms: f64,
    /// Of the network's.
    pub share_of_time: f64,
    /// Multiply-adds, as defined.
    pub macs: u64,
    /// As defined, two operations a multiply-add.
    pub gflops: f64,
    /// Multiply-adds that were really done.
    pub macs_done: u64,
    /// Those really done, in the time of the steps that do them.
    pub gflops_done: f64,
    /// Of what the multiply-add units did at best.
    pub share_of_peak: f64,
    /// Bytes of weights, inputs and output, each once.
    pub bytes: u64,
    /// Of what memory did at best.
    pub share_of_bandwidth: f64,
}

/// What computes no convolution.
const OTHER: &str = "other";

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
            node: layer.node,
            algorithm: layer.algorithm.map_or(OTHER, Algorithm::word),
            doc: layer.doc().to_owned(),
            bound: if computes { "compute" } else { "memory" },
            figures,
            steps: steps.collect(),
        }
    }

    /// What it does, and where it does several things, how long each takes.
    pub fn what(&self) -> String {
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

/// How a network ran.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The instruction set of its kernels.
    pub isa: Isa,
    /// Threads, that of the caller counted.
    pub threads: NonZeroUsize,
    /// Pictures at a time.
    pub batch: usize,
    /// Whether every convolution was computed as it is defined.
    pub exact: bool,
}

/// `1 thread`, `2 threads`.
pub fn threads_text(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

impl Profile {
    /// What these layers of a network took, where so much was possible.
    pub fn new(name: &str, run: Run, layers: &[Layer], limits: Limits) -> Self {
        let time = layers.iter().map(Layer::time).sum();
        let bytes = layers.iter().any(|layer| layer.element.is_quantised());
        let halves = layers.iter().any(|layer| layer.element == Element::Bf16);
        Self {
            name: name.to_owned(),
            isa: run.isa.to_string(),
            threads: run.threads.get(),
            batch: run.batch,
            exact: run.exact,
            peak_gflops: limits.flops * 1e-9,
            peak_byte_gops: bytes.then_some(limits.byte_ops * 1e-9),
            peak_bf16_gflops: halves.then_some(limits.half_flops * 1e-9),
            bandwidth_gb_s: limits.bandwidth * 1e-9,
            total: Figures::total(layers, time, limits),
            layers: layers.iter().map(|layer| Row::new(layer, time, limits)).collect(),
        }
    }

    /// Milliseconds of the layers whose operators are such nodes of the graph.
    pub fn ms(&self, of: impl Fn(NodeId) -> bool) -> f64 {
        let rows = self.layers.iter().filter(|row| row.node.is_some_and(&of));
        rows.map(|row| row.figures.ms).sum()
    }

    /// What ran, and how.
    pub fn title(&self) -> String {
        let Self { name, isa, threads, batch, exact, .. } = self;
        let exact = if *exact { ", exact" } else { "" };
        format!("{name}: {isa}, {}, batch {batch}{exact}", threads_text(*threads))
    }

    /// A dot for each layer that multiplies.
    pub fn plot(&self) -> Plot {
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

/// The operations a second that a layer's sums could be made with.
fn peak(layer: &Layer, limits: Limits) -> f64 {
    match layer.element {
        Element::Bf16 => limits.half_flops,
        element if element.is_quantised() => limits.byte_ops,
        _ => limits.flops,
    }
}

/// At least what a clock can tell apart, so that it can be divided by.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64().max(1e-9)
}
