//! One engine in one process, which times itself when it is told to.
//!
//!     peers ENGINE MODEL.onnx WEIGHTS.safetensors INPUT SHAPE THREADS
//!
//! `INPUT` is raw little-endian `f32`, `SHAPE` its dimensions (`1x3x224x224`). Once the network is
//! loaded, each line on stdin is a command, answered by one line on stdout:
//!
//! - `answer FILE`: runs once and writes the answer, raw little-endian `f32`; says `done`;
//! - `time SECONDS`: runs for about so long, at least three times; says the times in milliseconds.
//!
//! `bench/peer.py` speaks the same protocol.

#[cfg(feature = "burn")]
mod burn;
#[cfg(feature = "candle")]
mod candle;
#[cfg(any(feature = "burn", feature = "candle"))]
mod resnet;
#[cfg(feature = "rten")]
mod rten;
#[cfg(feature = "tract")]
mod tract;

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A loaded network and its input.
trait Engine {
    /// Computes the answer to the input once.
    fn run(&mut self) -> Result<Vec<f32>>;
}

/// What an engine is made from.
struct Job {
    onnx: String,
    weights: String,
    input: Vec<f32>,
    /// Pictures, channels, height, width.
    shape: [usize; 4],
    threads: usize,
}

const FEWEST_RUNS: usize = 3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, onnx, weights, input, shape, threads] = &arguments[..] else {
        bail!("usage: peers ENGINE MODEL.onnx WEIGHTS.safetensors INPUT SHAPE THREADS");
    };
    let bytes = std::fs::read(input).with_context(|| format!("cannot read {input}"))?;
    let shape: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let job = Job {
        onnx: onnx.clone(),
        weights: weights.clone(),
        input: bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        shape: shape.try_into().ok().context("the shape needs four sizes, as 1x3x224x224")?,
        threads: threads.parse()?,
    };
    let mut engine = load(engine, job)?;
    for line in std::io::stdin().lock().lines() {
        let reply = obey(&mut *engine, &line?)?;
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn load(engine: &str, job: Job) -> Result<Box<dyn Engine>> {
    Ok(match engine {
        #[cfg(feature = "burn")]
        "burn" => Box::new(burn::load(job)?),
        #[cfg(feature = "candle")]
        "candle" => Box::new(candle::load(job)?),
        #[cfg(feature = "rten")]
        "rten" => Box::new(rten::load(job)?),
        #[cfg(feature = "tract")]
        "tract" => Box::new(tract::load(job)?),
        _ => bail!("this build has no engine `{engine}`"),
    })
}

fn obey(engine: &mut dyn Engine, command: &str) -> Result<String> {
    match command.split_once(' ') {
        Some(("answer", path)) => {
            let answer: Vec<u8> = engine.run()?.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(path, answer).with_context(|| format!("cannot write {path}"))?;
            Ok("done".into())
        }
        Some(("time", seconds)) => {
            let end = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
            let mut times = Vec::new();
            while times.len() < FEWEST_RUNS || Instant::now() < end {
                let start = Instant::now();
                engine.run()?;
                times.push(format!("{:.4}", 1e3 * start.elapsed().as_secs_f64()));
            }
            Ok(times.join(" "))
        }
        _ => bail!("unknown command `{command}`"),
    }
}
