//! `resnet quantize`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use resnet::quantize::Method;

use super::engine::isa_names;
use super::{Force, FormatOption, IsaName, Model, Reading, RequiredWeights, Threads};

#[derive(Debug, Args)]
pub(crate) struct Quantize {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) weights: RequiredWeights,
    /// A folder of pictures to calibrate on, best of those that the network was trained with; folders inside
    /// are looked through too.
    #[arg(long, value_name = "DIR", required_unless_present = "input", conflicts_with = "input")]
    pub(crate) images: Option<PathBuf>,
    /// Calibrate on preprocessed pictures in an array of floats, `N x C x H x W` or `C x H x W`.
    #[arg(long, value_name = "X.npy")]
    pub(crate) input: Option<PathBuf>,
    /// How many of the pictures to take, evenly spread over all of them in sorted order.
    #[arg(long, value_name = "N", default_value = "300")]
    pub(crate) pictures: NonZeroUsize,
    /// How the ranges of activations are chosen: `min-max` clips nothing; `percentile` or `percentile=P` leaves
    /// out what is larger than P percent of the values [99.99]; `least-squares` takes the range whose rounding and
    /// clipping make the least error.
    #[arg(long, value_name = "METHOD", default_value_t)]
    pub(crate) method: Method,
    /// Leave a layer in f32, or all layers of a row or block, such as `conv1`, `conv2_x.0` or `fc`; may be given
    /// several times.
    #[arg(long, value_name = "LAYER")]
    pub(crate) keep: Vec<String>,
    /// Leave the N layers with the worst signal to noise in f32 too.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) keep_worst: usize,
    /// The file to write: safetensors. An old one is replaced when the new one is complete.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Also plot each layer's multiply-adds against its noise.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: Force,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// The instruction set of the kernels that run the f32 network.
    #[arg(long, value_parser = isa_names(), default_value = "auto")]
    pub(crate) isa: IsaName,
    #[command(flatten)]
    pub(crate) format: FormatOption,
}
