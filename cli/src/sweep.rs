//! `resnet sweep`: sizes and times of a family of networks.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use resnet_compiler::family::{Block, Member};
use resnet_compiler::network::{Backend, Compiler};
use resnet_compiler::report::{grouped, scaled};
use resnet_compiler::spec::Spec;
use resnet_report::profile::threads_text;
use resnet_runtime::kernels::Isa;
use resnet_runtime::session::Info;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Sweep, SweepFormat};
use crate::bench::{fill, zeros};
use crate::family::Size;
use crate::output::{self, Kind, Output};
use crate::timing::{ROUNDS, Rounds, Times, measure, pool};
use crate::voice::is_quiet;
use resnet_report::scatter::{Dot, Scatter};

/// Results; the JSON has these names.
#[derive(Serialize)]
struct Results {
    isa: String,
    threads: usize,
    networks: Vec<Row>,
}

/// A network; the CSV has these names too.
#[derive(Serialize)]
struct Row {
    name: String,
    /// `basic` or `bottleneck`.
    block: &'static str,
    depth: usize,
    /// The multiplier of all channels.
    width: f64,
    params: u64,
    macs: u64,
    arena_bytes: usize,
    #[serde(flatten)]
    times: Times,
    gflops: f64,
}

/// A network that is to be timed.
struct Entry {
    spec: Spec,
    block: Block,
    width: f64,
}

pub(crate) fn sweep(options: &Sweep, out: &mut dyn Write) -> Result<Outcome> {
    let entries = entries(options)?;
    let svg = match &options.svg {
        Some(path) => Some(Output::create(path, Kind::Svg, options.force.force, [])?),
        None => None,
    };
    let threads = options.threads.get();
    let pool = pool(threads)?;
    let isa = options.isa.get().unwrap_or_else(Isa::detect);
    let rows = time(&entries, isa, pool.as_ref(), options.seconds)?;
    let results = Results { isa: isa.to_string(), threads: threads.get(), networks: rows };
    if let Some(mut file) = svg {
        file.write_all(results.plot().svg().as_bytes())?;
        let alone = file.is_stdout();
        file.finish()?;
        if alone {
            return Ok(Outcome::Done);
        }
    }
    match options.format {
        SweepFormat::Text => results.text(out)?,
        SweepFormat::Json => output::json(out, &results)?,
        SweepFormat::Csv => results.csv(out)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Every network: a mistake is found before anything is timed.
fn entries(options: &Sweep) -> Result<Vec<Entry>> {
    let depths = options.depth.iter().flat_map(|numbers| &numbers.0);
    let ns = options.n.iter().flat_map(|numbers| &numbers.0);
    let mut entries = Vec::new();
    for &width in &options.width {
        let depths = depths.clone().map(|depth| Size::Depth(*depth));
        for size in depths.chain(ns.clone().map(|n| Size::N(*n))) {
            let member: Member = options.family.member(size, width)?;
            let spec = Spec::from_yaml_named(&member.table()?, &member.name())?;
            entries.push(Entry { spec, block: member.block, width });
        }
    }
    Ok(entries)
}

/// Compiles all networks, loads random weights, on which times do not depend, and times them in rounds: each
/// has a turn in every one, so that what else the machine does at a time falls on all of them.
fn time(entries: &[Entry], isa: Isa, pool: Option<&Pool>, duration: Duration) -> Result<Vec<Row>> {
    let bar = bar(entries.len() * (1 + ROUNDS));
    let mut networks = Vec::new();
    for Entry { spec, .. } in entries {
        bar.set_message(format!("loading {}", spec.name.value));
        let compiled = Compiler::new(spec).backend(Backend::Jit).isa(isa).compile()?;
        let weights = Weights::random(compiled.tensors(), 0);
        networks.push((compiled.load(&weights)?, compiled));
        bar.inc(1);
    }
    let mut rounds: Vec<Rounds> = entries.iter().map(|_| Rounds::default()).collect();
    for round in 1..=ROUNDS {
        for ((network, compiled), rounds) in networks.iter().zip(&mut rounds) {
            let info = compiled.info();
            bar.set_message(format!("round {round} of {ROUNDS}: {}", info.name));
            let no_memory = || format!("no memory for the activations of `{}`", info.name);
            let mut session = network.session_in(pool).with_context(no_memory)?;
            let (mut image, mut outputs) = (zeros(1, info.input_len())?, zeros(1, info.outputs)?);
            fill(&mut image);
            let duration = duration / ROUNDS as u32;
            rounds.push(measure(&mut *session, &image, &mut outputs, 1, duration)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    warn_of_unrest(entries, &rounds);
    let compiled = networks.iter().map(|(_, compiled)| compiled);
    let all = entries.iter().zip(compiled).zip(rounds);
    Ok(all
        .map(|((entry, compiled), rounds)| Row::new(entry, compiled.info(), rounds.times()))
        .collect())
}

/// Says which network's rounds differ the most, if they do.
fn warn_of_unrest(entries: &[Entry], rounds: &[Rounds]) {
    let unrest =
        entries.iter().zip(rounds).filter_map(|(entry, rounds)| Some((entry, rounds.unrest()?)));
    if let Some((entry, ratio)) = unrest.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
        eprintln!(
            "warning: the machine was busy: the {ROUNDS} rounds of `{}` differ by {:.0} %; compare the shortest \
             times, or measure again with a longer `--seconds`",
            entry.spec.name.value,
            100.0 * (ratio - 1.0)
        );
    }
}

impl Row {
    fn new(entry: &Entry, info: &Info, times: Times) -> Self {
        Self {
            name: info.name.to_string(),
            block: match entry.block {
                Block::Basic => "basic",
                Block::Bottleneck => "bottleneck",
            },
            depth: info.depth,
            width: entry.width,
            params: info.params,
            macs: info.macs,
            arena_bytes: info.arena_bytes,
            times,
            gflops: 2e-6 * info.macs as f64 / times.median_ms,
        }
    }

    /// The middle half of all runs, about the median: `+-3%`.
    fn spread(&self) -> String {
        let Times { lower_quartile_ms, median_ms, upper_quartile_ms, .. } = self.times;
        let half = (upper_quartile_ms - lower_quartile_ms) / 2.0 / median_ms;
        format!("±{:.0}%", 100.0 * half)
    }
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
            "{:name$}  depth  {:>13}  {:>7}  {:>9}  {:>9}  {:>9}  {:>6}  GFLOP/s",
            "network", "params", "MACs", "arena KiB", "min ms", "median ms", "spread"
        )?;
        for row in &self.networks {
            writeln!(
                out,
                "{:name$}  {:>5}  {:>13}  {:>7}  {:>9}  {:>9.3}  {:>9.3}  {:>6}  {:>7.1}",
                row.name,
                row.depth,
                grouped(row.params),
                scaled(row.macs),
                row.arena_bytes.div_ceil(1024),
                row.times.min_ms,
                row.times.median_ms,
                row.spread(),
                row.gflops
            )?;
        }
        Ok(())
    }

    /// The names of the JSON's columns, and a line for each network. Nothing in them needs quotes.
    fn csv(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(
            out,
            "name,block,depth,width,params,macs,arena_bytes,min_ms,lower_quartile_ms,median_ms,upper_quartile_ms,gflops"
        )?;
        for row in &self.networks {
            let Row { name, block, depth, width, params, macs, arena_bytes, times, gflops } = row;
            let Times { min_ms, lower_quartile_ms, median_ms, upper_quartile_ms } = times;
            writeln!(
                out,
                "{name},{block},{depth},{width},{params},{macs},{arena_bytes},{min_ms},{lower_quartile_ms},\
                 {median_ms},{upper_quartile_ms},{gflops}"
            )?;
        }
        Ok(())
    }

    fn plot(&self) -> Scatter {
        let blocks = self.networks.iter().any(|row| row.block != self.networks[0].block);
        let widths = self.networks.iter().any(|row| row.width != self.networks[0].width);
        let series = |row: &Row| {
            let block = blocks.then(|| row.block.to_owned());
            let width = widths.then(|| format!("width {}", row.width));
            block.into_iter().chain(width).collect::<Vec<_>>().join(", ")
        };
        let dots = self.networks.iter().map(|row| Dot {
            label: row.name.clone(),
            series: series(row),
            at: [row.macs as f64, row.times.median_ms],
            spread: [row.times.lower_quartile_ms, row.times.upper_quartile_ms],
        });
        Scatter {
            title: format!("Time of a network: {}", self.heading()),
            axes: ["multiply-adds", "ms (median, and the middle half of all runs)"],
            dots: dots.collect(),
        }
    }
}

/// A progress bar on stderr, if that is a terminal.
fn bar(len: usize) -> ProgressBar {
    if !io::stderr().is_terminal() || is_quiet() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}, {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}
