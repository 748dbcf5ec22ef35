//! What measures: `resnet bench`, `tune` and `sweep`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{
    Engine, Force, FormatOption, IsaOption, Model, OptionalWeights, PrecisionOption, SweepFormat,
    Threads,
};
use crate::family::{FamilyOptions, Numbers};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) weights: OptionalWeights,
    /// Run this many pictures at a time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    /// Repeat runs for about this long, and at least five times.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Also compute the answers by definition in f64 (slow), and print the largest difference.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Instead, time each layer, beside what the machine can do at best, which is measured too.
    ///
    /// GFLOP/s are those of the layer as it is defined. `MMAC done` are the millions of multiply-adds
    /// that are really done: fewer with Winograd, whose transforms are not counted; more where channels
    /// fill up a block of 16. `of peak` is their rate, in the steps that do them, beside the peak of
    /// the threads' multiply-add units: a Winograd layer's transforms take time there, except that of
    /// the input where it is a step of its own (`points`). `MB` are the layer's weights, inputs and
    /// output, each once, and `of bandwidth` is their rate beside that of reading memory from front to
    /// end: more than 100% come from caches. `bound` is the limit that is nearer. Times are the
    /// shortest of all runs.
    #[arg(long, conflicts_with_all = ["verify", "backend"])]
    pub(crate) profile: bool,
    /// Draw the profile as a roofline plot, a dot for each layer that multiplies.
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
    #[command(flatten)]
    pub(crate) engine: Engine,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct Tune {
    #[command(flatten)]
    pub(crate) model: Model,
    /// The file to write: a text that `--schedule` takes. An old schedule is replaced.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: Force,
    /// A safetensors file. It matters which layers are in 8 bits, not what the weights are; without one, none is.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Measure with this many pictures at a time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
    #[command(flatten)]
    pub(crate) precision: PrecisionOption,
}

#[derive(Debug, Args)]
#[group(id = "sizes", required = true, multiple = false, args = ["depth", "n"])]
pub(crate) struct Sweep {
    /// The depths, such as `18,34,50`.
    #[arg(long, value_name = "D,D,...")]
    pub(crate) depth: Option<Numbers>,
    /// With `--cifar`: three stages of N blocks, such as `3..=18` or `3,5,7,9`.
    #[arg(long, value_name = "N..=N", requires = "cifar", conflicts_with = "depth")]
    pub(crate) n: Option<Numbers>,
    /// Multiply the channels of every convolution; each of these with each depth.
    #[arg(long, value_name = "K,K,...", value_delimiter = ',', default_value = "1")]
    pub(crate) width: Vec<f64>,
    #[command(flatten)]
    pub(crate) family: FamilyOptions,
    /// Run each network for about this long, in five rounds between which the others run.
    #[arg(long, value_name = "S", default_value = "0.5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
    /// How to print the times.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: SweepFormat,
    /// Also plot multiply-adds against time. An old plot is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
}

/// Seconds, such as `0.5`.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a length of time".to_owned())
}
