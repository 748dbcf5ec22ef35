//! candle: torchvision's ResNets with its tensors. Threads come from `RAYON_NUM_THREADS`.

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use crate::resnet::{Conv, ResNet, Tensors};
use crate::{Engine, Job};

struct Candle {
    network: ResNet<Cpu>,
    input: Tensor,
}

pub(crate) fn load(job: Job) -> Result<impl Engine> {
    let input = Tensor::from_vec(job.input, &job.shape[..], &Device::Cpu)?;
    Ok(Candle { network: ResNet::load(&job.weights, Cpu)?, input })
}

impl Engine for Candle {
    fn run(&mut self) -> Result<Vec<f32>> {
        Ok(self.network.run(&self.input)?.flatten_all()?.to_vec1()?)
    }
}

struct Cpu;

struct Kernel {
    weights: Tensor,
    /// `1 x C x 1 x 1`
    bias: Tensor,
    stride: usize,
    padding: usize,
}

impl Tensors for Cpu {
    type Tensor = Tensor;
    type Conv = Kernel;

    fn conv(&self, conv: &Conv) -> Result<Kernel> {
        let bias = Tensor::from_slice(&conv.bias, (1, conv.bias.len(), 1, 1), &Device::Cpu)?;
        let weights = Tensor::from_slice(&conv.weights, &conv.shape[..], &Device::Cpu)?;
        Ok(Kernel { weights, bias, stride: conv.stride, padding: conv.padding() })
    }

    fn convolve(&self, conv: &Kernel, x: &Tensor) -> Result<Tensor> {
        let y = x.conv2d(&conv.weights, conv.padding, conv.stride, 1, 1)?;
        Ok(y.broadcast_add(&conv.bias)?)
    }

    fn relu(&self, x: Tensor) -> Result<Tensor> {
        Ok(x.relu()?)
    }

    fn add(&self, x: Tensor, y: Tensor) -> Result<Tensor> {
        Ok((x + y)?)
    }

    /// candle's pool has no padding; zeros do, where no value is negative.
    fn max_pool(&self, x: Tensor) -> Result<Tensor> {
        let x = x.pad_with_zeros(D::Minus1, 1, 1)?.pad_with_zeros(D::Minus2, 1, 1)?;
        Ok(x.max_pool2d_with_stride(3, 2)?)
    }

    fn mean(&self, x: Tensor) -> Result<Tensor> {
        Ok(x.mean_keepdim((D::Minus2, D::Minus1))?)
    }
}
