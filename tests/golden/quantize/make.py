"""A small network, pictures, and by definition what quantising it starts from: of every layer its folded weights
and biases, and the smallest and the largest value (or 0) of what it reads.

    python tests/golden/quantize/make.py

Made with torch 2.15 and safetensors; the arithmetic is in f64.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
PICTURES = 6

torch.manual_seed(20)
tensors = {}


def conv(name, norm, shape):
    fan_in = shape[1] * shape[2] * shape[3]
    tensors[f"{name}.weight"] = torch.randn(shape) * (2 / fan_in) ** 0.5
    tensors[f"{norm}.weight"] = torch.rand(shape[0]) + 0.5
    tensors[f"{norm}.bias"] = torch.randn(shape[0]) * 0.3
    tensors[f"{norm}.running_mean"] = torch.randn(shape[0]) * 0.3
    tensors[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.5


conv("conv1", "bn1", (8, 3, 3, 3))
conv("conv2", "bn2", (16, 8, 1, 1))
conv("layer1.0.conv1", "layer1.0.bn1", (16, 16, 3, 3))
conv("layer1.0.conv2", "layer1.0.bn2", (16, 16, 3, 3))
conv("layer1.0.downsample.0", "layer1.0.downsample.1", (16, 16, 1, 1))
tensors["fc.weight"] = torch.randn(5, 16)
tensors["fc.bias"] = torch.randn(5)
pictures = torch.randn(PICTURES, 3, 12, 12)

expected = {}


def layer(name, norm, x, **window):
    weight = tensors[f"{name}.weight"].double()
    bias = tensors.get(f"{name}.bias", torch.zeros(weight.shape[0])).double()
    if norm:
        get = lambda what: tensors[f"{norm}.{what}"].double()
        scale = get("weight") / (get("running_var") + 1e-5).sqrt()
        weight = weight * scale[:, None, None, None]
        bias = get("bias") - get("running_mean") * scale
    expected[f"{name}.weight"] = weight.float()
    expected[f"{name}.bias"] = bias.float()
    low, high = min(x.min().item(), 0), max(x.max().item(), 0)
    expected[f"{name}.range"] = torch.tensor([low, high])
    return F.conv2d(x, weight, bias, **window) if norm else F.linear(x, weight, bias)


x = pictures.double()
# What a max pool reads has the range, and the pool's reader the scale.
before = F.relu(layer("conv1", "bn1", x, padding=1))
x = layer("conv2", "bn2", F.max_pool2d(before, 3, 2, 1))
expected["conv2.range"] = torch.tensor([0, before.max().item()])
y = F.relu(layer("layer1.0.conv1", "layer1.0.bn1", x, stride=2, padding=1))
y = layer("layer1.0.conv2", "layer1.0.bn2", y, padding=1)
x = F.relu(y + layer("layer1.0.downsample.0", "layer1.0.downsample.1", x, stride=2))
logits = layer("fc", None, x.mean((2, 3)))

save_file(tensors, HERE / "net.safetensors")
save_file({name: tensor.contiguous() for name, tensor in expected.items()}, HERE / "expected.safetensors")
np.save(HERE / "pictures.npy", pictures.numpy())
np.save(HERE / "logits.npy", logits.float().numpy())
