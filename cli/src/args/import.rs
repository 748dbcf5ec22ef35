//! The arguments of `resnet import`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use resnet_import::Activation;

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A checkpoint of PyTorch's or in safetensors, an ONNX file, a folder with weights and a
    /// `config.json` of timm or transformers, or `-` for standard input. All is read as data; nothing in it is run.
    #[arg(value_name = "FILE")]
    pub(crate) checkpoint: PathBuf,
    /// The folder for NAME.yaml and NAME.safetensors. Old weights are replaced; a table that differs only
    /// with `--force`.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) force: super::Force,
    /// The network's name [default: the file's, without its extension, or the folder's].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The name of timm's architecture, such as `resnetblur50`: it says what tensors do not show [default:
    /// that of the `config.json` beside the weights].
    #[arg(long, value_name = "NAME")]
    pub(crate) architecture: Option<String>,
    /// Where the state dict is in a PyTorch file or a pickle, such as `state_dict` or `model.ema`
    /// [default: where a network is].
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Take the tensors whose names begin so, `module.encoder_q`, and leave out the others.
    #[arg(long, value_name = "NAME")]
    pub(crate) prefix: Option<String>,
    /// Leave out modules, such as the head that a backbone was trained with.
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub(crate) without: Vec<String>,
    /// The size of pictures, `224` or `height x width` [default: an ONNX file's, else 224; 32 if the
    /// stem is a 3x3].
    #[arg(long, value_name = "HxW", value_parser = picture_size)]
    pub(crate) input: Option<(usize, usize)>,
    /// The stride of the first convolution [default: 2; 1 for a single 3x3; that of patches for an even
    /// kernel].
    #[arg(long, value_name = "S")]
    pub(crate) stem_stride: Option<NonZeroUsize>,
    /// The stride of each stage [default: 1 and then 2, where shortcuts do not say otherwise].
    #[arg(long, value_name = "S,S,...", value_delimiter = ',')]
    pub(crate) strides: Vec<NonZeroUsize>,
    /// The dilation of each stage, such as 1,1,2,4 [default: 1].
    #[arg(long, value_name = "D,D,...", value_delimiter = ',')]
    pub(crate) dilations: Vec<NonZeroUsize>,
    /// Which convolution of a block has the stride: `1x1` or `3x3` of a bottleneck, the `first` or the `second`
    /// of a basic block [default: 3x3, first].
    #[arg(long, value_enum)]
    pub(crate) stride_on: Option<StrideOnName>,
    /// What has the strides of blocks and of the stem's pool [default: their convolutions and a max
    /// pool].
    #[arg(long, value_enum)]
    pub(crate) anti_alias: Option<AntiAliasName>,
    /// What stands beside every block [default: what names and shapes say].
    #[arg(long, value_enum)]
    pub(crate) shortcut: Option<ShortcutName>,
    /// What projections read in networks whose norms stand before convolutions [default: norm].
    #[arg(long, value_enum)]
    pub(crate) shortcut_from: Option<ShortcutFromName>,
    /// Where the zeros for new channels are in shortcuts without weights [default: around].
    #[arg(long, value_enum)]
    pub(crate) zero_channels: Option<ZeroChannelsName>,
    /// Whether a 3x3 max pool of stride 2 follows the stem [default: not if the stem is a 3x3].
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "true|false|ceil|zeros|stride"
    )]
    pub(crate) pool: Option<PoolName>,
    /// What becomes of the last activation's pixels [default: average].
    #[arg(long, value_enum)]
    pub(crate) global_pool: Option<GlobalPoolName>,
    /// The activation of the stem and of blocks [default: relu].
    #[arg(long, value_name = "NAME", value_parser = activation)]
    pub(crate) activation: Option<Activation>,
    /// The epsilon with which convolutions standardize their weights, such as timm's 1e-8 of BiT [default: they do
    /// not].
    #[arg(long, value_name = "E", value_parser = positive)]
    pub(crate) weight_standardization: Option<f64>,
    /// Groups of group norm [default: 32].
    #[arg(long, value_name = "N")]
    pub(crate) norm_groups: Option<NonZeroUsize>,
    /// Channels of a group of group norm, in the place of their number.
    #[arg(long, value_name = "N", conflicts_with = "norm_groups")]
    pub(crate) norm_group_size: Option<NonZeroUsize>,
    /// Batch norm's epsilon [default: 1e-5].
    #[arg(long, value_name = "E", value_parser = positive)]
    pub(crate) norm_epsilon: Option<f64>,
    /// The mean of each channel, of values from 0 to 1 [default: ImageNet's for 1000 classes].
    #[arg(long, value_name = "M,M,M", value_delimiter = ',', value_parser = finite)]
    pub(crate) mean: Vec<f64>,
    /// The standard deviation of each channel [default: ImageNet's for 1000 classes].
    #[arg(long, value_name = "S,S,S", value_delimiter = ',', value_parser = positive)]
    pub(crate) std: Vec<f64>,
    /// Scale the shorter side of a picture to this before it is cut [default: the input's, or 8/7 of
    /// it for 1000 classes].
    #[arg(long, value_name = "N")]
    pub(crate) resize: Option<NonZeroUsize>,
    /// A line for each thing that was assumed, the usual ones too.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolName {
    /// There is one, padded by 1.
    True,
    /// There is none.
    False,
    /// There is one without padding that rounds sizes up, as Caffe's does.
    Ceil,
    /// There is one, whose padding counts as zeros, as BiT's does.
    Zeros,
    /// There is none, and the last of the stem's convolutions has a stride too, as in timm's `resnet33ts`.
    Stride,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GlobalPoolName {
    /// Their mean.
    Average,
    /// Their maximum.
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrideOnName {
    /// As in published weights.
    #[value(name = "3x3", alias = "second")]
    Second,
    /// As in the 2015 paper.
    #[value(name = "1x1", alias = "first")]
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShortcutFromName {
    /// What the block reads.
    Input,
    /// What the block's first norm and activation made of it, where the shape changes.
    Norm,
    /// The same in every block, as in timm's RegNet V.
    NormAlways,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ZeroChannelsName {
    /// Half before the others and half behind.
    Around,
    /// All behind.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AntiAliasName {
    /// A binomial filter, as in timm's `resnetblur*`.
    Blur,
    /// The mean over the stride, as in timm's `resnetaa*`.
    Average,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ShortcutName {
    /// A 1x1 convolution where the shape changes.
    Projection,
    /// A mean over the stride, then a 1x1 convolution (ResNet-D).
    PoolProjection,
    /// A 1x1 convolution in every block.
    ProjectAll,
    /// Every stride-th pixel, zeros for new channels.
    ZeroPad,
    /// The mean over the stride, zeros for new channels.
    PoolZeroPad,
    /// Nothing where the shape changes, the identity elsewhere.
    Identity,
    /// Nothing: a plain network.
    None,
}

/// The size of a picture: `224`, or `height x width` as in `224x192`.
fn picture_size(text: &str) -> Result<(usize, usize), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let size = |text: &str| text.parse().ok().filter(|&size| size > 0);
    size(height)
        .zip(size(width))
        .ok_or_else(|| "expected a size, such as 224 or 224x192".to_owned())
}

fn activation(text: &str) -> Result<Activation, String> {
    Activation::ALL.iter().copied().find(|known| known.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Activation::ALL.iter().map(|known| known.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "not a number".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = finite(text)?;
    if number > 0.0 { Ok(number) } else { Err("not a number above zero".to_owned()) }
}
