//! `resnet gradients`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::{Force, FormatOption, IsaOption, LabelsOption, Seed, Threads};

/// Measure the gradient that reaches each layer, at the start and after some steps of descent.
///
/// Weights are drawn as `resnet train` draws them, and norms have the batch's statistics. Of each convolution and linear layer
/// the gradient of the loss with respect to its output is taken, before a norm or an activation follows. What is
/// printed is the root of the mean, over the batch's images, of the square of its L2 norm, where the loss is the sum of the
/// images' cross-entropies: a norm for one image that does not shrink with the batch. `rms` in the JSON is the root mean
/// square of its elements; `weight_gradient` and `weight` are the L2 norms of the gradient of the mean loss with respect to the
/// layer's weights, and of these; `null` is what is larger than an `f32` can be.
#[derive(Debug, Args)]
pub(crate) struct Gradients {
    /// Layer tables, or names of networks that the command carries inside (`resnet models`).
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// Images, as `resnet train` takes them; they are read as for inference [default: pixels from a standard normal
    /// distribution, and classes at random].
    #[arg(long, value_name = "DIR|X.npz")]
    pub(crate) images: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) labels: LabelsOption,
    /// Images of a step, and of those whose gradients are measured.
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) batch: NonZeroUsize,
    /// Steps of descent before the gradients of the same images are measured again; 0: they are not.
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) steps: usize,
    /// The learning rate of these steps, which have a momentum of 0.9 and no decay.
    #[arg(long, value_name = "X", default_value = "0.01")]
    pub(crate) rate: f64,
    /// Also move each image by so much of its norm, such as 0.01, in a direction that is drawn, and say how far the gradient of each
    /// layer's weights agrees with the one before, as the cosine between them: near 0 where gradients shatter (Balduzzi et
    /// al., 2017).
    #[arg(long, value_name = "PART")]
    pub(crate) moved: Option<f64>,
    #[command(flatten)]
    pub(crate) seed: Seed,
    /// A line for each layer, where a row of the table has the median of its layers and, beside it, a bar for each (of more than
    /// eight, for each eighth).
    #[arg(long)]
    pub(crate) layers: bool,
    /// Draw the gradients over the depth.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
    #[command(flatten)]
    pub(crate) threads: Threads,
    #[command(flatten)]
    pub(crate) isa: IsaOption,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}
