#!/usr/bin/env python3
"""Make a small network of keras.applications for `resnet import`, and the output that Keras computes with it.

    pip install keras==3.15.1 torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    python make_keras.py

`import/keras-names.safetensors` has the tensors as Keras has them, by their paths (`conv2_block1_1_conv/kernel`,
rows x columns x inputs x outputs). Input and output (f32, computed in f64) are N x C x H x W and N x classes.
"""
import os
import pathlib

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras.src.applications import resnet
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent / "import"


def main():
    keras.config.set_floatx("float64")
    stack = resnet.stack_residual_blocks_v1

    def stacks(x):
        x = stack(x, 4, 2, stride1=1, name="conv2")
        x = stack(x, 6, 1, name="conv3")
        return stack(x, 5, 2, name="conv4")

    model = resnet.ResNet(
        stacks, preact=False, use_bias=True, weights=None, input_shape=(37, 33, 3), classes=20,
        classifier_activation=None,
    )
    random = np.random.default_rng(7)
    tensors = {}
    for weight in model.weights:
        shape = tuple(weight.shape)
        value = random.normal(0, 0.3, shape)
        if len(shape) > 1:
            value = random.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
        elif weight.path.endswith(("gamma", "moving_variance")):
            value = random.uniform(0.5, 1.5, shape)
        tensors[weight.path] = value.astype(np.float32)
        weight.assign(tensors[weight.path].astype(np.float64))
    x = random.normal(0, 1, (2, 3, 37, 33)).astype(np.float32)
    y = model.predict(x.transpose(0, 2, 3, 1).astype(np.float64), verbose=0)
    assert np.abs(y).max() > 0.01 and y.std() > 0
    save_file(tensors, HERE / "keras-names.safetensors")
    np.save(HERE / "keras-names.input.npy", x)
    np.save(HERE / "keras-names.output.npy", y.astype(np.float32))


if __name__ == "__main__":
    main()
