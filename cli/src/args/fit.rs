//! `resnet fit`.

use std::path::PathBuf;

use clap::Args;

use super::{Force, FormatOption, IsaOption, Model, Threads};

#[derive(Debug, Args)]
pub(crate) struct Fit {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Trained weights: a safetensors file. Its classifier, of whatever classes, is replaced.
    #[arg(long, value_name = "W.safetensors")]
    pub(crate) weights: PathBuf,
    /// What to fit to: a folder with one folder a class, or a `.npz` file with an array of bytes, `N x H x W x 3`
    /// (or 1), and one of their classes.
    #[arg(long, value_name = "DIR|X.npz")]
    pub(crate) images: PathBuf,
    /// What to measure the accuracy on, in the same form.
    #[arg(long, value_name = "DIR|X.npz")]
    pub(crate) validate: Option<PathBuf>,
    /// Names of the classes, in their order: a file with a name a line, or `imagenet` [default: the folders' names, sorted].
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// How much the images weigh against small weights: scikit-learn's `C`. Of several, with commas between, the one
    /// that is best on `--validate` is taken.
    #[arg(
        short = 'C',
        long = "cost",
        value_name = "C",
        default_value = "1",
        value_delimiter = ','
    )]
    pub(crate) costs: Vec<f64>,
    /// The folder for the table and the weights, called as the table; it is made if there is none.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: Force,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}
