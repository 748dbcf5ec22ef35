//! `resnet bench`: how long compiling, loading and running take.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use resnet::Model;
use resnet_compiler::network::{Backend, Compiler};
use resnet_report::profile::threads_text;
use resnet_runtime::weights::Weights;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Bench, Format};
use crate::model;
use crate::output;
use crate::profile;
use crate::timing::{FEWEST_RUNS, Times, measure, pool};

/// Results; the JSON has these names.
#[derive(Serialize)]
struct Results {
    name: String,
    backend: String,
    isa: String,
    threads: usize,
    batch: usize,
    compile_ms: f64,
    load_ms: f64,
    min_ms: f64,
    median_ms: f64,
    gflops: f64,
    peak_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    largest_error: Option<f64>,
    #[serde(skip)]
    runs: usize,
    #[serde(skip)]
    random: bool,
}

pub(crate) fn bench(options: &Bench, out: &mut dyn Write) -> Result<Outcome> {
    if options.profile {
        return profile::print(options, out);
    }
    let batch = options.batch.get();
    let threads = options.engine.threads.get();
    let path = options.weights.weights.as_deref();
    let opened = model::open_weights(path, options.engine.no_map)?;
    let start = Instant::now();
    let model = model::open_model(&options.model.model)?;
    let backend = model::backend(options.engine.backend);
    let compiled = model::compile(&model, &options.engine, backend, batch, opened.as_ref())?;
    let compile = start.elapsed();
    let weights = model::weights(opened, options.weights.random_weights, compiled.tensors())?;
    let start = Instant::now();
    let network = compiled.load_on(&weights, options.engine.threads.get())?;
    let load = start.elapsed();

    let pool = pool(threads)?;
    let no_memory = "no memory for the network's activations";
    let mut session = network.session_in(pool.as_ref()).context(no_memory)?;
    let info = compiled.info();
    let mut pictures = zeros(batch, info.input_len())?;
    fill(&mut pictures);
    let mut answers = zeros(batch, info.outputs)?;
    let times = measure(&mut *session, &pictures, &mut answers, FEWEST_RUNS, options.seconds)?;
    // Before the reference runs, which needs memory of its own.
    let peak_rss_bytes = peak_rss_bytes();

    let largest_error = match options.verify {
        true => Some(largest_error(&model, &weights, &pictures, &answers)?),
        false => None,
    };
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let runs = times.len();
    let times = Times::of(times);
    let results = Results {
        name: info.name.to_string(),
        backend: backend.to_string(),
        isa: match backend {
            Backend::Reference => "none".into(),
            _ => compiled.isa().to_string(),
        },
        threads: threads.get(),
        batch,
        compile_ms: milliseconds(compile),
        load_ms: milliseconds(load),
        min_ms: times.min_ms,
        median_ms: times.median_ms,
        gflops: 2e-6 * info.macs as f64 * batch as f64 / times.median_ms,
        peak_rss_bytes,
        largest_error,
        runs,
        random: path.is_none(),
    };
    match options.format.format {
        Format::Text => results.text(out)?,
        Format::Json => output::json(out, &results)?,
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// The largest difference from the network's answers by definition, in units of the largest
/// answer.
fn largest_error(
    model: &Model,
    weights: &Weights,
    pictures: &[f32],
    answers: &[f32],
) -> Result<f64> {
    let compiler = Compiler::new(&model.spec).weights(weights).backend(Backend::Reference);
    let reference = compiler.compile()?.load(weights)?;
    let mut expected = vec![0.0; answers.len()];
    reference.session_in(None)?.run_batch(pictures, &mut expected)?;
    let largest = expected.iter().fold(0.0_f64, |largest, v| largest.max(f64::from(v.abs())));
    let errors = answers.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // Not `f64::max`, which loses what is not a number.
    let error = errors.fold(0.0, |worst, error| if error <= worst { worst } else { error });
    Ok(if largest > 0.0 { error / largest } else { error })
}

/// Numbers like those of normalised pictures, the same on every run: between -2 and 2, each next
/// one far from the last.
pub(crate) fn fill(pictures: &mut [f32]) {
    // A multiplicative sequence with the golden ratio spreads evenly and needs no state.
    let step = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    for (i, value) in pictures.iter_mut().enumerate() {
        *value = step(i) as f32 / (1 << 22) as f32 - 2.0;
    }
}

/// `batch` times `len` zeros, if there is memory for them.
pub(crate) fn zeros(batch: usize, len: usize) -> Result<Vec<f32>> {
    let mut zeros = Vec::new();
    let too_large = || format!("no memory for a batch of {batch}");
    let len = batch.checked_mul(len).with_context(too_large)?;
    zeros.try_reserve_exact(len).with_context(too_large)?;
    zeros.resize(len, 0.0);
    Ok(zeros)
}

impl Results {
    fn text(&self, out: &mut dyn Write) -> Result<()> {
        let Self { name, backend, isa, threads, batch, .. } = self;
        let threads = threads_text(*threads);
        writeln!(out, "{name}: {backend}, {isa}, {threads}, batch {batch}")?;
        writeln!(out, "compile   {:9.2} ms", self.compile_ms)?;
        let drawing = if self.random { "  (drawing random weights included)" } else { "" };
        writeln!(out, "load      {:9.2} ms{drawing}", self.load_ms)?;
        writeln!(out, "run min   {:9.2} ms  (of {} runs)", self.min_ms, self.runs)?;
        writeln!(out, "median    {:9.2} ms", self.median_ms)?;
        if *batch > 1 {
            writeln!(out, "a picture {:9.2} ms", self.median_ms / *batch as f64)?;
        }
        writeln!(out, "speed     {:9.2} GFLOP/s  (two FLOPs for each multiply-add)", self.gflops)?;
        if let Some(bytes) = self.peak_rss_bytes {
            writeln!(
                out,
                "memory    {:9.1} MiB  (peak, resident)",
                bytes as f64 / f64::from(1 << 20)
            )?;
        }
        if let Some(error) = self.largest_error {
            writeln!(out, "error     {error:9.1e}  (largest, relative to the largest answer)")?;
        }
        Ok(())
    }
}

/// The most memory that this process ever had resident; `None` where nobody knows.
#[cfg(target_os = "linux")]
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The most memory that this process ever had resident; `None` where nobody knows.
#[cfg(all(unix, not(target_os = "linux")))]
fn peak_rss_bytes() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has room for the one struct that the call writes.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if status != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it wrote the struct.
    let peak = unsafe { usage.assume_init() }.ru_maxrss;
    // Bytes on Apple's systems, kibibytes on the others.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    Some(u64::try_from(peak).ok()? * unit)
}

/// The most memory that this process ever had resident; `None` where nobody knows.
#[cfg(not(unix))]
fn peak_rss_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_spread_evenly() {
        let mut pictures = vec![0.0; 10_000];
        fill(&mut pictures);
        let mean = pictures.iter().sum::<f32>() / 10_000.0;
        let above = pictures.iter().filter(|&&value| value > 1.0).count();
        assert!(pictures.iter().all(|value| (-2.0..2.0).contains(value)));
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((2_450..2_550).contains(&above), "{above}");
    }

    #[cfg(unix)]
    #[test]
    fn peak_memory_is_known_and_plausible() {
        let peak = peak_rss_bytes().unwrap();
        assert!((1 << 18..1 << 40).contains(&peak), "{peak}");
    }
}
