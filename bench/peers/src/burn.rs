//! burn, on its CPU back end `flex`: torchvision's ResNets with its tensors. Threads come from
//! `RAYON_NUM_THREADS`.

use anyhow::{Result, anyhow};
use burn::tensor::module::{avg_pool2d, conv2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation};

use crate::resnet::{Conv, ResNet, Tensors};
use crate::{Engine, Job};

struct Burn {
    network: ResNet<Flex>,
    input: Tensor<4>,
}

pub(crate) fn load(job: Job) -> Result<impl Engine> {
    let device = Device::flex();
    let input = Tensor::from_data(TensorData::new(job.input, job.shape), &device);
    Ok(Burn { network: ResNet::load(&job.weights, Flex(device))?, input })
}

impl Engine for Burn {
    fn run(&mut self) -> Result<Vec<f32>> {
        let data = self.network.run(&self.input)?.into_data();
        data.try_to_vec::<f32>().map_err(|error| anyhow!("{error:?}"))
    }
}

struct Flex(Device);

struct Kernel {
    weights: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
}

impl Tensors for Flex {
    type Tensor = Tensor<4>;
    type Conv = Kernel;

    fn conv(&self, conv: &Conv) -> Result<Kernel> {
        let weights = TensorData::new(conv.weights.clone(), conv.shape);
        let bias = TensorData::new(conv.bias.clone(), [conv.bias.len()]);
        Ok(Kernel {
            weights: Tensor::from_data(weights, &self.0),
            bias: Tensor::from_data(bias, &self.0),
            options: ConvOptions::new([conv.stride; 2], [conv.padding(); 2], [1; 2], 1),
        })
    }

    fn convolve(&self, conv: &Kernel, x: &Tensor<4>) -> Result<Tensor<4>> {
        let (weights, bias) = (conv.weights.clone(), Some(conv.bias.clone()));
        Ok(conv2d(x.clone(), weights, bias, conv.options.clone()))
    }

    fn relu(&self, x: Tensor<4>) -> Result<Tensor<4>> {
        Ok(activation::relu(x))
    }

    fn add(&self, x: Tensor<4>, y: Tensor<4>) -> Result<Tensor<4>> {
        Ok(x + y)
    }

    fn max_pool(&self, x: Tensor<4>) -> Result<Tensor<4>> {
        let mut options = MaxPoolOptions::new([3; 2]);
        options.stride = [2; 2];
        options.padding = [(1, 1); 2];
        Ok(max_pool2d(x, options))
    }

    fn mean(&self, x: Tensor<4>) -> Result<Tensor<4>> {
        let [_, _, height, width] = x.dims();
        Ok(avg_pool2d(x, AvgPoolOptions::new([height, width])))
    }
}
