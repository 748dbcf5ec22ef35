//! What runs a network, with which weights.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use resnet_runtime::kernels::{Isa, Precision};
use resnet_runtime::weights::all_threads;

use super::bytes::bytes;

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RequiredWeights {
    /// Trained weights: a safetensors file, or what `resnet pack` made of one, with the algorithms it
    /// was packed for.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights: Option<PathBuf>,
    /// Random weights, the same for a seed on every machine.
    #[arg(long, value_name = "SEED")]
    pub(crate) random_weights: Option<u64>,
}

#[derive(Debug, Args)]
#[group(required = false, multiple = false)]
pub(crate) struct OptionalWeights {
    /// Trained weights: a safetensors file, or what `resnet pack` made of one, with the algorithms it
    /// was packed for.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights: Option<PathBuf>,
    /// Random weights, the same for a seed on every machine [if no weights are given: seed 0].
    #[arg(long, value_name = "SEED")]
    pub(crate) random_weights: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// What runs the network [default: jit; in `run` of so few pictures that making machine code would take
    /// longer than it saves, interpret].
    #[arg(long, value_enum)]
    pub(crate) backend: Option<BackendName>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
    #[command(flatten)]
    pub(crate) algorithms: Algorithms,
    /// Read packed weights into memory instead of mapping their file: for one that others may change or
    /// cut short meanwhile, which would end the process.
    #[arg(long)]
    pub(crate) no_map: bool,
}

/// Which algorithms may compute the convolutions.
#[derive(Debug, Args)]
pub(crate) struct Algorithms {
    /// Compute every convolution as it is defined (no Winograd): slower, a little more exact.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Bytes for the whole process, such as 80MB, 64MiB or 1.5G (K, M and G are powers of 1024). Where the fastest algorithms need more,
    /// leaner ones are taken.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<usize>,
    /// Take the algorithms that `resnet tune` saved.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exact", "memory"])]
    pub(crate) schedule: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) precision: PrecisionOption,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PrecisionOption {
    /// What activations are stored as and convolutions multiply, of weights that are not quantised [default: f32, or what
    /// packed weights or a saved schedule are for].
    #[arg(long, value_parser = precision_words())]
    precision: Option<Precision>,
}

impl PrecisionOption {
    /// The one asked for.
    pub(crate) fn get(self) -> Option<Precision> {
        self.precision
    }
}

fn precision_words() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new([
        PossibleValue::new("f32").help("Single precision"),
        PossibleValue::new("bf16").help("Half the bytes, with 8 bits of significand"),
    ])
    .try_map(|word| word.parse::<Precision>())
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Threads {
    /// Threads to use [default: as many as this process may run on].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl Threads {
    /// The threads asked for; else what affinity and quota allow, and one where nobody knows.
    pub(crate) fn get(self) -> NonZeroUsize {
        self.threads.unwrap_or_else(all_threads)
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Seed {
    /// For all that is left to chance: the same seed gives the same bits, on any number of threads.
    #[arg(long, value_name = "SEED", default_value = "1")]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct IsaOption {
    /// The instruction set of the kernels.
    #[arg(long, value_parser = isa_names(), default_value = "auto")]
    isa: IsaName,
}

impl IsaOption {
    /// The one asked for; none for the best one of this CPU.
    pub(crate) fn get(self) -> Option<Isa> {
        self.isa.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// Machine code, made when the network is compiled.
    Jit,
    /// The same loops, interpreted, to the same bits.
    Interpret,
    /// The network by definition, in f64; slow.
    Reference,
}

/// An instruction set, or for `auto` none: the best one of this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsaName(pub(crate) Option<Isa>);

pub(super) fn isa_names() -> impl TypedValueParser<Value = IsaName> {
    let auto = PossibleValue::new("auto").help("The best one of this CPU");
    let named = |isa: &Isa| PossibleValue::new(isa.name()).help(isa.summary());
    PossibleValuesParser::new(std::iter::once(auto).chain(Isa::ALL.iter().map(named)))
        .map(|name| IsaName(name.parse().ok()))
}
