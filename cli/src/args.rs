//! The command line.

mod bytes;
mod engine;
mod fit;
mod gradients;
mod import;
mod measure;
mod quantize;
mod report;
mod train;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use self::bytes::bytes;
use self::engine::isa_names;
pub(crate) use self::engine::{
    Algorithms, BackendName, Engine, IsaName, IsaOption, OptionalWeights, PrecisionOption,
    RequiredWeights, Seed, Threads,
};
pub(crate) use self::fit::Fit;
pub(crate) use self::gradients::Gradients;
pub(crate) use self::import::{
    AntiAliasName, GlobalPoolName, Import, PoolName, ShortcutFromName, ShortcutName, StrideOnName,
    ZeroChannelsName,
};
pub(crate) use self::measure::{Bench, Sweep, Tune};
pub(crate) use self::quantize::Quantize;
pub(crate) use self::report::Report;
pub(crate) use self::train::Train;
use crate::family::FamilyOptions;

const EXAMPLES: &str = "\
Examples:
  resnet import resnet50.pth -o models/
  resnet models
  resnet check resnet50
  resnet report resnet50 -o resnet50.html
  resnet run resnet50 --weights resnet50.safetensors cat.jpg
  resnet eval my-resnet.yaml --weights my-resnet.safetensors --images validation/
  resnet bench my-resnet.yaml --batch 8
  resnet tune resnet50 -o resnet50.schedule
  resnet pack resnet50 --weights resnet50.safetensors -o resnet50.packed
  resnet quantize resnet50 --weights resnet50.safetensors --images train/ -o resnet50.int8.safetensors
  resnet train my-resnet.yaml --images train/ --validate test/ -o my-resnet.safetensors
  resnet fit resnet50 --weights resnet50.safetensors --images train/ --validate test/ -o mine/
  resnet gradients plain34 resnet34 --batch 8 --svg gradients.svg
  resnet emit my-resnet.yaml --as nest
  resnet emit resnet50 --as onnx --weights resnet50.safetensors -o resnet50.onnx
  resnet emit resnet50 --as object --weights resnet50.safetensors -o resnet50.o
  resnet new --depth 26 --block bottleneck --classes 10 -o my-resnet.yaml
  resnet sweep --cifar --n 3..=18 --svg cifar.svg

Exit status: 0 done, 1 something is wrong (said on stderr), 2 wrong usage.";

/// Checks, runs, evaluates, times and prints ResNets written as layer tables.
#[derive(Debug, Parser)]
#[command(name = "resnet", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say errors only: no notes, no warnings, no progress.
    #[arg(short, long, global = true, display_order = 900)]
    pub(crate) quiet: bool,
    /// When errors and warnings have colours; `NO_COLOR` and `TERM=dumb` are heard.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        global = true,
        default_value = "auto",
        display_order = 901
    )]
    pub(crate) color: ColorName,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorName {
    /// On a terminal.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Infer and check every shape; print shapes, parameters, multiply-adds and memory.
    Check(Check),
    /// Draw a network on a page: its blocks, shapes, costs, memory and time; or two of them side by side.
    Report(Report),
    /// Classify pictures, or run an array through the network.
    Run(Run),
    /// Measure the accuracy on a folder of pictures, one folder inside a class.
    Eval(Eval),
    /// Measure the time of compiling, loading and running.
    Bench(Bench),
    /// Measure the algorithms of every convolution on this machine, and save the fastest.
    Tune(Tune),
    /// Fold and pack weights into a file that the other commands take as weights, and only map.
    Pack(Pack),
    /// Round weights to 8-bit integers, and calibrate the scales of activations on pictures.
    Quantize(Quantize),
    /// Train the table on images with classes, from nothing or from other weights.
    Train(Box<Train>),
    /// Fit the classifier alone, to few images, by the features that trained weights make of them.
    Fit(Fit),
    Gradients(Gradients),
    /// Print the network in another form.
    Emit(Emit),
    /// Write the table of a depth, a width, a number of classes.
    New(New),
    /// Compare the sizes and times of a family of depths and widths.
    Sweep(Sweep),
    /// Derive a table and weights from a checkpoint: safetensors, or a PyTorch file (`.pth`, `.pt`).
    Import(Import),
    /// List the networks that the command carries inside, or print the table of one.
    Models(Models),
    /// Print the completions of a shell.
    Completions(Completions),
    /// Write the manual's pages.
    Man(Man),
}

impl Command {
    /// Whether programs read what is said.
    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::Check(Check { format, .. })
            | Self::Eval(Eval { format, .. })
            | Self::Bench(Bench { format, .. })
            | Self::Quantize(Quantize { format, .. })
            | Self::Fit(Fit { format, .. })
            | Self::Gradients(Gradients { format, .. })
            | Self::Models(Models { format, .. }) => format.format == Format::Json,
            Self::Report(report) => report.json,
            Self::Run(run) => run.format != RunFormat::Text,
            Self::Sweep(sweep) => sweep.format == SweepFormat::Json,
            Self::Tune(_)
            | Self::Pack(_)
            | Self::Emit(_)
            | Self::New(_)
            | Self::Import(_)
            | Self::Train(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Models {
    /// A network, whose table is printed: the beginning of one of your own.
    #[arg(value_name = "NAME", conflicts_with = "format")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, such as `~/.local/share/man/man1`; it is made if there is none.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) force: Force,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Layer tables, or names of networks that the command carries inside (`resnet models`).
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// Plan the memory for this many pictures at a time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    /// Also the bytes that these weights take, of activations too where some are in 8 bits: a safetensors file, or one of
    /// packed weights.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Also the bytes that `resnet train` needs with `--batch N`: weights, momentum, activations.
    #[arg(long, conflicts_with_all = ["exact", "precision"])]
    pub(crate) train: bool,
    /// Fail if the table is warned of something.
    #[arg(long, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    #[command(flatten)]
    pub(crate) format: FormatOption,
    /// Compute every convolution as it is defined (no Winograd): slower, a little more exact.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Bytes for the whole process, such as 80MB, 64MiB or 1.5G (K, M and G are powers of 1024). Where the fastest algorithms need more,
    /// leaner ones are taken. With `--train`, bytes for a step on one thread, as `resnet train --memory` takes them.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<usize>,
    #[command(flatten)]
    pub(crate) precision: PrecisionOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Whatever is legal and nearly always a mistake.
    Warnings,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM), and folders of them.
    #[arg(value_name = "IMAGE", required_unless_present = "input", conflicts_with = "input")]
    pub(crate) images: Vec<PathBuf>,
    /// Read preprocessed pictures from an array of floats, `N x C x H x W` or `C x H x W`.
    #[arg(long, value_name = "X.npy")]
    pub(crate) input: Option<PathBuf>,
    /// Write the network's answers to an array, `N x classes`, in the order of the pictures; the
    /// row of a picture that cannot be read is NaN. A table's `features` go to a file each,
    /// `Y.LAYER.npy`, `N x C x H x W`.
    #[arg(long, value_name = "Y.npy")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) force: Force,
    /// How many classes to show of each answer.
    #[arg(long, value_name = "K", default_value = "5")]
    pub(crate) top: NonZeroUsize,
    /// With `--format json`: the whole answer too, not the likeliest classes alone.
    #[arg(long)]
    pub(crate) logits: bool,
    #[command(flatten)]
    pub(crate) labels: LabelsOption,
    #[command(flatten)]
    pub(crate) weights: RequiredWeights,
    #[command(flatten)]
    pub(crate) engine: Engine,
    /// How answers are printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: RunFormat,
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Trained weights: a safetensors file, or what `resnet pack` made of one, with the algorithms it
    /// was packed for.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights: PathBuf,
    /// Other weights of the table, such as those that quantised ones were made of: their accuracy over the
    /// same pictures, and how often both answer alike.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) against: Option<PathBuf>,
    /// A folder with one folder a class: named as the labels, or without labels in sorted order.
    #[arg(long, value_name = "DIR")]
    pub(crate) images: PathBuf,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) labels: LabelsOption,
    #[command(flatten)]
    pub(crate) engine: Engine,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) weights: RequiredWeights,
    /// The file to write. Old packed weights are replaced when the new ones are complete.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: Force,
    /// Pack for this many pictures at a time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) algorithms: Algorithms,
}

#[derive(Debug, Args)]
pub(crate) struct Emit {
    #[command(flatten)]
    pub(crate) model: Model,
    /// The form.
    #[arg(long = "as", value_name = "FORM", value_enum)]
    pub(crate) form: Form,
    /// Trained weights, a safetensors file; for `onnx` and `object`, which hold them.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "random_weights")]
    pub(crate) weights: Option<PathBuf>,
    /// Random weights for `onnx` and `object`, the same for a seed on every machine.
    #[arg(long, value_name = "SEED")]
    pub(crate) random_weights: Option<u64>,
    /// Fix how many pictures the `onnx` model takes at a time [default: any number], or the `object`
    /// [default: 1].
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<NonZeroU32>,
    /// Write to a file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
    /// The instruction set that machine code is made for; an `object` chooses where it runs.
    #[arg(long, value_parser = isa_names(), default_value = "auto")]
    pub(crate) isa: IsaName,
    /// The machine that an `object` is for, such as `x86_64-unknown-linux-gnu` [default: any CPU of this
    /// machine's kind].
    #[arg(long, value_name = "TRIPLE")]
    pub(crate) target: Option<String>,
    /// Compute every convolution as it is defined (no Winograd): slower, a little more exact.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Take the algorithms that `resnet tune` saved.
    #[arg(long, value_name = "FILE", conflicts_with = "exact")]
    pub(crate) schedule: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) precision: PrecisionOption,
}

#[derive(Debug, Args)]
#[group(id = "size", required = true, multiple = false, args = ["depth", "n", "repeats"])]
pub(crate) struct New {
    /// The depth: 10, 14, 18, 26, 34, 50, 101, 152 or 200; with `--cifar` 6n + 2, or of bottlenecks
    /// 9n + 2.
    #[arg(long, value_name = "D")]
    pub(crate) depth: Option<usize>,
    /// With `--cifar`: three stages of N blocks.
    #[arg(long, value_name = "N", requires = "cifar", conflicts_with_all = ["depth", "repeats"])]
    pub(crate) n: Option<NonZeroUsize>,
    /// The blocks of each stage, such as `3,4,6,3`; needs `--block`.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', requires = "block")]
    pub(crate) repeats: Vec<NonZeroUsize>,
    /// Multiply the channels of every convolution.
    #[arg(long, value_name = "K", default_value = "1")]
    pub(crate) width: f64,
    /// The network's name [default: one such as `resnet26`].
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) family: FamilyOptions,
    /// Write to a file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if there is one already.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Model {
    /// A layer table, or the name of a network that the command carries inside (`resnet models`).
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
}

/// What may be replaced.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Force {
    /// Replace a file that is there already, whatever it holds; else only one of the kind that is written.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The names of the classes.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabelsOption {
    /// Names of the classes: a file with a name a line, or `imagenet` [default: the table's `labels`].
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
}

/// How pictures are read.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Reading {
    /// Take damaged and truncated JPEG files with a warning, and grey where they have no data; else they
    /// are errors.
    #[arg(long)]
    pub(crate) allow_damaged: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FormatOption {
    /// How results are printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFormat {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
    /// A JSON object a line for each answer, as it comes.
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SweepFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets and data frames: a line of names, and one for each network.
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Rust source, as the macro makes it.
    Rust,
    /// The operators with their shapes, a line each.
    Graph,
    /// The same, fused.
    Fused,
    /// Where each activation lies, and how each layer is computed.
    Schedule,
    /// The loop nests that every back end prints.
    Nest,
    /// Cranelift's intermediate representation.
    Clif,
    /// Assembly of this machine.
    Asm,
    /// An object file with the weights, to be linked with `libresnet_kernels`; its header is written beside it.
    Object,
    /// An ONNX model with the weights, batch norms unfolded, tensors under their own names.
    Onnx,
    /// A Graphviz graph of the operators.
    Dot,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
