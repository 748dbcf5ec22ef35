//! torchvision's ResNets for engines that are libraries of tensors, not loaders of models.
//!
//! What a network looks like is read off the names of its tensors. Batch norms are folded into the
//! convolutions here, once, so that an engine has convolutions with a bias to compute and no more.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;

/// What an engine has to offer; every method is one layer.
pub(crate) trait Tensors {
    type Tensor: Clone;
    /// A convolution as the engine keeps it.
    type Conv;

    fn conv(&self, conv: &Conv) -> Result<Self::Conv>;
    fn convolve(&self, conv: &Self::Conv, x: &Self::Tensor) -> Result<Self::Tensor>;
    fn relu(&self, x: Self::Tensor) -> Result<Self::Tensor>;
    fn add(&self, x: Self::Tensor, y: Self::Tensor) -> Result<Self::Tensor>;
    /// 3x3, stride 2, padding 1, of values that are not negative.
    fn max_pool(&self, x: Self::Tensor) -> Result<Self::Tensor>;
    /// The mean over all pixels, `N x C x 1 x 1`.
    fn mean(&self, x: Self::Tensor) -> Result<Self::Tensor>;
}

/// A convolution whose padding is half its kernel.
pub(crate) struct Conv {
    /// `[out, in, rows, columns]`
    pub(crate) shape: [usize; 4],
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) stride: usize,
}

impl Conv {
    pub(crate) fn padding(&self) -> usize {
        self.shape[2] / 2
    }
}

pub(crate) struct ResNet<T: Tensors> {
    tensors: T,
    stem: T::Conv,
    blocks: Vec<Block<T::Conv>>,
    /// The linear layer, as a 1x1 convolution.
    head: T::Conv,
}

struct Block<C> {
    main: Vec<C>,
    projection: Option<C>,
}

const FOREIGN: &str = "the weights are not those of a ResNet of torchvision";

/// torchvision's epsilon.
const EPSILON: f32 = 1e-5;

impl<T: Tensors> ResNet<T> {
    pub(crate) fn load(path: &str, tensors: T) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
        let weights = Weights::parse(&bytes)?;
        let stem = &weights.tensor("conv1.weight")?.0;
        ensure!(stem[2..] == [7, 7] && weights.has("layer4.0.conv1"), FOREIGN);
        let conv =
            |conv: &str, norm: &str, stride| tensors.conv(&weights.folded(conv, norm, stride)?);
        let stem = conv("conv1", "bn1", 2)?;
        let mut blocks = Vec::new();
        for stage in 1..=4 {
            for block in
                (0..).take_while(|block| weights.has(&format!("layer{stage}.{block}.conv1")))
            {
                let prefix = format!("layer{stage}.{block}");
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                let convs = if weights.has(&format!("{prefix}.conv3")) { 3 } else { 2 };
                // The stride is on the first 3x3.
                let strided = convs - 1;
                let main = (1..=convs).map(|n| {
                    let stride = if n == strided { stride } else { 1 };
                    conv(&format!("{prefix}.conv{n}"), &format!("{prefix}.bn{n}"), stride)
                });
                let main = main.collect::<Result<_>>()?;
                let names = [0, 1].map(|n| format!("{prefix}.downsample.{n}"));
                let projection = match weights.has(&names[0]) {
                    true => Some(conv(&names[0], &names[1], stride)?),
                    false => None,
                };
                blocks.push(Block { main, projection });
            }
        }
        let used = blocks.iter().map(|block| block.main.len() + block.projection.iter().len());
        ensure!(used.sum::<usize>() + 1 == weights.convolutions(), FOREIGN);
        let head = tensors.conv(&weights.linear("fc")?)?;
        Ok(Self { stem, blocks, head, tensors })
    }

    pub(crate) fn run(&self, picture: &T::Tensor) -> Result<T::Tensor> {
        let tensors = &self.tensors;
        let x = tensors.convolve(&self.stem, picture)?;
        let mut x = tensors.max_pool(tensors.relu(x)?)?;
        for block in &self.blocks {
            let mut main = x.clone();
            for (number, conv) in block.main.iter().enumerate() {
                if number > 0 {
                    main = tensors.relu(main)?;
                }
                main = tensors.convolve(conv, &main)?;
            }
            let shortcut = match &block.projection {
                Some(conv) => tensors.convolve(conv, &x)?,
                None => x,
            };
            x = tensors.relu(tensors.add(main, shortcut)?)?;
        }
        tensors.convolve(&self.head, &tensors.mean(x)?)
    }
}

/// Tensors by name: shape and values.
struct Weights(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Weights {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)?;
        let tensors = file.iter().map(|(name, view)| {
            ensure!(view.dtype() == safetensors::Dtype::F32, "{name} is not f32");
            let values = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            Ok((name.to_owned(), (view.shape().to_vec(), values.collect())))
        });
        Ok(Self(tensors.collect::<Result<_>>()?))
    }

    fn has(&self, layer: &str) -> bool {
        self.0.contains_key(&format!("{layer}.weight"))
    }

    fn convolutions(&self) -> usize {
        self.0.values().filter(|(shape, _)| shape.len() == 4).count()
    }

    fn tensor(&self, name: &str) -> Result<&(Vec<usize>, Vec<f32>)> {
        self.0.get(name).with_context(|| format!("no tensor {name}: {FOREIGN}"))
    }

    /// A convolution with its batch norm in weights and bias.
    fn folded(&self, conv: &str, norm: &str, stride: usize) -> Result<Conv> {
        let (shape, weights) = self.tensor(&format!("{conv}.weight"))?;
        let shape: [usize; 4] = shape[..].try_into().context("a convolution has four sizes")?;
        let of = |what: &str| Ok::<_, anyhow::Error>(&self.tensor(&format!("{norm}.{what}"))?.1);
        let (scale, shift) = (of("weight")?, of("bias")?);
        let (mean, variance) = (of("running_mean")?, of("running_var")?);
        let factor = |channel: usize| scale[channel] / (variance[channel] + EPSILON).sqrt();
        let fan_in = weights.len() / shape[0];
        Ok(Conv {
            shape,
            weights: weights.iter().enumerate().map(|(i, w)| w * factor(i / fan_in)).collect(),
            bias: (0..shape[0]).map(|c| shift[c] - mean[c] * factor(c)).collect(),
            stride,
        })
    }

    fn linear(&self, layer: &str) -> Result<Conv> {
        let (shape, weights) = self.tensor(&format!("{layer}.weight"))?;
        let bias = self.tensor(&format!("{layer}.bias"))?.1.clone();
        let shape = [shape[0], shape[1], 1, 1];
        Ok(Conv { shape, weights: weights.clone(), bias, stride: 1 })
    }
}
