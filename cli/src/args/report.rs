//! What draws: `resnet report`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::engine::isa_names;
use super::measure::seconds;
use super::{Algorithms, Force, IsaName, Threads};

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A layer table, or the name of a network that the command carries inside (`resnet models`). A second one is
    /// set beside the first, with what differs.
    #[arg(value_name = "MODEL", required = true, num_args = 1..=2)]
    pub(crate) models: Vec<PathBuf>,
    /// The page to write, one file of HTML that needs no other; `-` is standard output. With `--json` it may be left
    /// out.
    #[arg(short, long, value_name = "FILE", required_unless_present = "json")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
    /// Write what the page shows as JSON instead.
    #[arg(long)]
    pub(crate) json: bool,
    /// Weights: a safetensors file, or what `resnet pack` made of one. Bytes and algorithms are theirs, as where layers
    /// are in 8 bits. Of two models, given twice, in their order.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights: Vec<PathBuf>,
    /// Plan for this many pictures at a time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    #[command(flatten)]
    pub(crate) algorithms: Algorithms,
    /// Also time each layer, and what the machine can do at best, as `bench --profile` does: the page then has a
    /// roofline. Without this it has the same bytes on every machine.
    #[arg(long)]
    pub(crate) bench: bool,
    /// With `--bench`: repeat runs for about this long, and at least five times.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds, requires = "bench")]
    pub(crate) seconds: Duration,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// With `--bench`: the instruction set of the kernels.
    #[arg(long, value_parser = isa_names(), default_value = "auto", requires = "bench")]
    pub(crate) isa: IsaName,
}
