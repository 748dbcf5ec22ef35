//! `resnet train`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use resnet::train::{Crop, Schedule};

use super::bytes::bytes;
use super::{Force, IsaOption, LabelsOption, Model, Seed, Threads};

#[derive(Debug, Args)]
pub(crate) struct Train {
    #[command(flatten)]
    pub(crate) model: Model,
    /// What to train on: a folder with one folder a class, or a `.npz` file with an array of bytes, `N x H x W x 3`
    /// (or 1), and one of their classes.
    #[arg(long, value_name = "DIR|X.npz")]
    pub(crate) images: PathBuf,
    /// What to measure the accuracy on after each epoch, in the same form.
    #[arg(long, value_name = "DIR|X.npz")]
    pub(crate) validate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) labels: LabelsOption,
    /// Times that all images are seen.
    #[arg(long, value_name = "N", default_value = "60")]
    pub(crate) epochs: NonZeroUsize,
    /// Images of a step.
    #[arg(long, value_name = "N", default_value = "128")]
    pub(crate) batch: NonZeroUsize,
    /// The highest learning rate.
    #[arg(long, value_name = "X", default_value = "0.1")]
    pub(crate) rate: f64,
    /// How the rate goes after it has warmed up: down to nearly nothing either way.
    #[arg(long, value_enum, default_value = "one-cycle")]
    pub(crate) schedule: ScheduleName,
    /// Epochs, or parts of one, in which the rate rises [default: a fifth of all].
    #[arg(long, value_name = "N")]
    pub(crate) warm_up: Option<f64>,
    /// What is kept of the steps before.
    #[arg(long, value_name = "X", default_value = "0.9")]
    pub(crate) momentum: f64,
    /// Plain momentum, where Nesterov's is the default.
    #[arg(long)]
    pub(crate) no_nesterov: bool,
    /// What weights are drawn to zero by; norms and biases are not.
    #[arg(long, value_name = "X", default_value = "5e-4")]
    pub(crate) decay: f64,
    /// Let weights decay apart from the gradient.
    #[arg(long)]
    pub(crate) decoupled: bool,
    /// The probability that is spread over all classes.
    #[arg(long, value_name = "P", default_value = "0")]
    pub(crate) smoothing: f32,
    /// What is cut out of each image: `none`, `pad=N` (any part of the image with N black pixels around it), `reflect=N` (with
    /// its mirror image around it), or `resized` (a part of 8 to 100 %, resized) [default: `pad` by an eighth of the network's size if the images have that size, else
    /// `resized`].
    #[arg(long, value_name = "HOW")]
    pub(crate) crop: Option<Crop>,
    /// Do not mirror every second image.
    #[arg(long)]
    pub(crate) no_flip: bool,
    /// Blank a square of N pixels a side.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) cutout: usize,
    /// Mix pairs of images, by a Beta distribution of this parameter, such as 0.2; 0: none.
    #[arg(long, value_name = "A", default_value = "0")]
    pub(crate) mixup: f32,
    /// Write, and measure, an average of the weights, which keeps so much in each step, such as 0.999.
    #[arg(long, value_name = "X")]
    pub(crate) average: Option<f64>,
    /// Bytes that a step may need, such as 600MB or 1.5G, as `resnet check --train` counts them. Where it needs more, what lies inside
    /// of as many blocks as it takes is computed again on the way back: slower, and the same bits.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<usize>,
    #[command(flatten)]
    pub(crate) seed: Seed,
    /// Begin with these weights; a classifier of other classes is drawn anew.
    #[arg(long, value_name = "W.safetensors", conflicts_with = "resume")]
    pub(crate) initialise: Option<PathBuf>,
    /// Leave a layer as it is, or all layers of a row or block, by the table's names (`conv2_x`, `conv2_x.0`) or the weights'
    /// (`layer1`, `layer1.0.bn1`); may be given several times. Batch norms in it normalise by their running statistics.
    #[arg(long, value_name = "LAYER")]
    pub(crate) freeze: Vec<String>,
    /// Go on from a checkpoint, with the same options.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// A line of JSON for each epoch.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Draw what the log says: loss, accuracy and rate over the epochs, anew after each.
    #[arg(long, value_name = "FILE", requires = "log")]
    pub(crate) svg: Option<PathBuf>,
    /// The weights to write: safetensors. After each epoch there is a checkpoint beside it, `FILE.checkpoint`, from
    /// which `--resume` goes on.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: Force,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
}

/// How the rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleName {
    /// Up and down along a cosine.
    OneCycle,
    /// Up along a line, down along a cosine.
    Cosine,
}

impl From<ScheduleName> for Schedule {
    fn from(name: ScheduleName) -> Self {
        match name {
            ScheduleName::OneCycle => Self::OneCycle,
            ScheduleName::Cosine => Self::Cosine,
        }
    }
}
