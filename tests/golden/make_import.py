#!/usr/bin/env python3
"""Make small checkpoints and ONNX files for `resnet import`, and the outputs that PyTorch and ONNX Runtime
compute with them.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6 safetensors==0.8.0 \\
        onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
    python make_import.py                    # rewrites every file in `import/`
    python make_import.py --only NAME...     # those of checkpoints with these names
    python make_import.py --large FOLDER     # full-size networks of torchvision and timm, random

Each network NAME becomes a checkpoint, `NAME.input.npy` (f32, N x C x H x W) and `NAME.output.npy`
(f32, computed in f64 from the stored weights; of an ONNX file by ONNX Runtime). Weights and running means and variances are random
from a seed that is the CRC-32 of the name.
"""
import argparse
import collections
import pathlib
import zlib

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import GELU, EfficientChannelAttn
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from timm.models.regnet import RegNet, RegNetCfg
from timm.models.res2net import Bottle2neck
from timm.models.resnet import BasicBlock as TimmBasic, Bottleneck as TimmBottleneck, ResNet as TimmResNet
from timm.models.resnetv2 import ResNetV2
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import onnx_networks

HERE = pathlib.Path(__file__).resolve().parent / "import"


def narrow(block, layers, widths, classes=5, kind=ResNet, **keys):
    """torchvision's ResNet with other widths."""
    model = kind(block, layers, num_classes=classes, **keys)
    model.inplanes = widths[0]
    model.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
    model.bn1 = nn.BatchNorm2d(widths[0])
    for number, (width, count) in enumerate(zip(widths, layers), 1):
        stage = model._make_layer(block, width, count, 1 if number == 1 else 2)
        setattr(model, f"layer{number}", stage)
    model.fc = nn.Linear(widths[3] * block.expansion, classes)
    return model


class Cifar(nn.Module):
    """A network of 3x3 convolutions without a pool, with the names that are usual for CIFAR."""

    class Block(nn.Module):
        def __init__(self, inputs, channels, stride, option):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.stride, self.new = stride, channels - inputs
            self.shortcut = nn.Sequential()
            if option == "B" and (stride != 1 or inputs != channels):
                conv = nn.Conv2d(inputs, channels, 1, stride, bias=False)
                self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))

        def forward(self, x):
            main = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            if len(self.shortcut):
                return (main + self.shortcut(x)).relu()
            before = self.new // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = nn.functional.pad(x, (0, 0, 0, 0, before, self.new - before))
            return (main + x).relu()

    def __init__(self, option, widths=(4, 6, 9)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for number, width in enumerate(widths, 1):
            first = self.Block(inputs, width, 1 if number == 1 else 2, option)
            stage = nn.Sequential(first, self.Block(width, width, 1, option))
            setattr(self, f"layer{number}", stage)
            inputs = width
        self.linear = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def with_some_biases(model):
    """Biases of a projection, of a second block's first convolution, and none of the classifier."""
    def biased(conv):
        keys = dict(stride=conv.stride, padding=conv.padding)
        return nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **keys)

    model.layer2[0].shortcut[0] = biased(model.layer2[0].shortcut[0])
    model.layer3[1].conv1 = biased(model.layer3[1].conv1)
    model.linear = nn.Linear(model.linear.in_features, 10, bias=False)
    return model


class WideCifar(nn.Module):
    """A wide residual network for CIFAR under the names that are usual for it."""

    class Block(nn.Module):
        def __init__(self, inputs, channels, stride):
            super().__init__()
            self.bn1 = nn.BatchNorm2d(inputs)
            self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.convShortcut = None
            if inputs != channels:
                self.convShortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False)

        def forward(self, x):
            first = self.bn1(x).relu()
            main = self.conv2(self.bn2(self.conv1(first)).relu())
            return main + (x if self.convShortcut is None else self.convShortcut(first))

    class Stage(nn.Module):
        def __init__(self, *blocks):
            super().__init__()
            self.layer = nn.Sequential(*blocks)

        def forward(self, x):
            return self.layer(x)

    def __init__(self, widths=(4, 6, 8)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        inputs = 4
        for number, width in enumerate(widths, 1):
            first = self.Block(inputs, width, 1 if number == 1 else 2)
            setattr(self, f"block{number}", self.Stage(first, self.Block(width, width, 1)))
            inputs = width
        self.bn1 = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.bn1(x).relu().mean((2, 3)))


class HuggingFace(nn.Module):
    """A torchvision network under the names of Hugging Face's `ResNetForImageClassification`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)

    def state_dict(self):
        renamed = collections.OrderedDict()
        for name, tensor in self.model.state_dict().items():
            parts = name.split(".")
            if parts[0].startswith("layer"):
                prefix = f"resnet.encoder.stages.{int(parts[0][5:]) - 1}.layers.{parts[1]}."
                if parts[2] == "downsample":
                    inner = "shortcut." + ("convolution" if parts[3] == "0" else "normalization")
                else:
                    kind = "convolution" if parts[2].startswith("conv") else "normalization"
                    inner = f"layer.{int(parts[2][-1]) - 1}.{kind}"
            else:
                prefix, inner = {
                    "conv1": ("resnet.embedder.embedder.", "convolution"),
                    "bn1": ("resnet.embedder.embedder.", "normalization"),
                    "fc": ("classifier.", "1"),
                }[parts[0]]
            renamed[f"{prefix}{inner}.{parts[-1]}"] = tensor
        return renamed


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def wrapped(state):
    """As training scripts save: the state dict beside other things, of a parallel wrapper."""
    state = collections.OrderedDict(prefixed("module.", state))
    momentum = {0: {"momentum_buffer": torch.ones(3)}}
    optimizer = {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0], "nesterov": False}]}
    return {"epoch": 90, "arch": "resnet", "best": 0.5, "state_dict": state, "optimizer": optimizer}


def channels_last(state):
    """Convolutions with the strides that `memory_format=torch.channels_last` gives them."""
    last = torch.channels_last
    return {n: t.contiguous(memory_format=last) if t.dim() == 4 else t for n, t in state.items()}


def parameters(state):
    return {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in state.items()}


SMALL = dict(num_classes=5)


def pruned(model):
    """Bottlenecks whose 3x3 convolutions make fewer channels than they read, each block its own."""
    for number, stage in enumerate([model.layer1, model.layer2, model.layer3, model.layer4]):
        for block in stage:
            number += 1
            width = max(block.conv2.in_channels - number % 3, 1)
            block.conv2 = nn.Conv2d(block.conv2.in_channels, width, 3, block.conv2.stride, 1, bias=False)
            block.bn2 = nn.BatchNorm2d(width)
            block.conv3 = nn.Conv2d(width, block.conv3.out_channels, 1, bias=False)
    return model


def networks():
    """Name: model, input size, how to save its state dict."""
    tv, timm_net = narrow, TimmResNet
    yield "basic.pth", tv(BasicBlock, [2, 1, 1, 1], [4, 6, 8, 9]), (2, 3, 224, 224), torch.save
    yield (
        "groups.pth",
        tv(Bottleneck, [1, 2, 1, 1], [4, 4, 8, 8], groups=2, width_per_group=48),
        (1, 3, 224, 224),
        lambda state, path: torch.save(wrapped(state), path),
    )
    yield (
        "legacy.pth",
        tv(BasicBlock, [1, 1, 1, 1], [4, 4, 6, 8]),
        (1, 3, 224, 224),
        lambda state, path: torch.save(
            parameters(state), path, _use_new_zipfile_serialization=False
        ),
    )
    yield (
        "channels-last.pt",
        tv(BasicBlock, [1, 1, 1, 1], [3, 5, 7, 9]),
        (1, 3, 224, 224),
        lambda state, path: torch.save(channels_last(state), path),
    )
    deep = dict(stem_type="deep", stem_width=2, avg_down=True)
    small = timm_net(TimmBottleneck, [1, 2, 1, 1], channels=(2, 2, 3, 3), num_classes=5, **deep)
    yield "deep-stem.safetensors", small, (1, 3, 224, 224), save_file
    squeeze = timm_net(
        TimmBottleneck,
        [1, 1, 1, 2],
        channels=(4, 4, 4, 8),
        num_classes=5,
        block_args=dict(attn_layer="se"),
        stem_width=4,
    )
    yield "squeeze.safetensors", squeeze, (1, 3, 224, 224), save_file
    eca = timm_net(
        TimmBasic, [1, 1, 1, 1], channels=(4, 6, 8, 8), num_classes=5, stem_width=4,
        block_args=dict(attn_layer=EfficientChannelAttn),
    )
    yield "eca.pth", eca, (1, 3, 224, 224), lambda state, path: torch.save({"model": state}, path)
    v2 = ResNetV2(
        [1, 2, 1, 1], channels=(16, 16, 24, 32), num_classes=5, stem_chs=8,
        conv_layer=timm.layers.create_conv2d, norm_layer=timm.layers.BatchNormAct2d,
    )
    yield "pre-activation.pth", v2, (1, 3, 224, 224), torch.save
    yield "cifar-a.pth", Cifar("A"), (2, 3, 32, 32), torch.save
    yield "cifar-b.safetensors", Cifar("B"), (2, 3, 32, 32), save_file
    yield "cifar-some-biases.pth", with_some_biases(Cifar("B")), (2, 3, 32, 32), torch.save
    yield "cifar-wide.pth", WideCifar(), (2, 3, 32, 32), lambda state, path: torch.save(wrapped(state), path)
    hugging_face = HuggingFace(tv(Bottleneck, [1, 1, 1, 1], [2, 3, 4, 5]))
    yield "hugging-face.safetensors", hugging_face, (1, 3, 224, 224), save_file
    regnet = dict(depth=6, w0=8, wa=8.0, wm=1.5, group_size=4, se_ratio=0.25, stem_width=8)
    yield "regnet-y.safetensors", RegNet(RegNetCfg(**regnet), **SMALL), (1, 3, 224, 224), save_file
    linear = dict(bottle_ratio=2.0, downsample=None, linear_out=True, act_layer="silu")
    yield "regnet-z.safetensors", RegNet(RegNetCfg(**regnet, **linear), **SMALL), (1, 3, 224, 224), save_file
    before = RegNetCfg(**regnet, preact=True, act_layer="silu")
    yield "regnet-v.safetensors", RegNet(before, **SMALL), (1, 3, 224, 224), save_file
    bottle = [ByoBlockCfg("bottle", d=2, c=c, s=s, gs=4, br=2) for c, s in [(8, 1), (12, 2)]]
    cfg = ByoModelCfg(
        tuple(bottle), stem_chs=16, stem_type="tiered", stem_pool="", downsample="", num_features=20, act_layer="silu",
        attn_layer="se", attn_kwargs=dict(rd_ratio=0.25), block_kwargs=dict(bottle_in=True, linear_out=True))
    yield "byobnet-z.safetensors", ByobNet(cfg, **SMALL), (1, 3, 224, 224), save_file
    bottle = [ByoBlockCfg("bottle", d=1, c=c, s=s, br=0.25) for c, s in [(16, 1), (24, 2)]]
    cfg = ByoModelCfg(
        tuple(bottle), stem_chs=8, stem_type="quad2", stem_pool=None, num_features=20, act_layer="silu",
        head_type="mlp", head_hidden_size=12)
    yield "byobnet-mlp.safetensors", ByobNet(cfg, **SMALL), (1, 3, 224, 224), save_file
    yield "pruned.pth", pruned(timm_net(TimmBottleneck, [2, 1, 1, 1], channels=(4, 4, 6, 8), **SMALL)), (
        1, 3, 224, 224), torch.save
    half = tv(BasicBlock, [1, 1, 1, 1], [4, 4, 6, 6]).half()
    yield "half.pth", half, (1, 3, 224, 224), torch.save


def export(model, path, shape, **keys):
    """An ONNX file as PyTorch writes it."""
    dynamo = keys.pop("dynamo", False)
    torch.onnx.export(model, (torch.zeros(shape),), path, dynamo=dynamo, verbose=False, **keys)
    # Without where in which file each node comes from.
    written = onnx.load(path, load_external_data=False)
    for node in written.graph.node:
        del node.metadata_props[:]
    path.write_bytes(written.SerializeToString())


def onnx_files():
    """Name: shape of the pictures, how to write the file."""
    small, tv, any_batch = (1, 3, 37, 33), narrow, {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    yield "folded.onnx", tv(BasicBlock, [2, 1, 1, 1], [4, 6, 8, 9]), small, {}
    groups = tv(Bottleneck, [1, 2, 1, 1], [4, 4, 8, 8], groups=2, width_per_group=48)
    yield "dynamo.onnx", groups, small, {"dynamo": True}
    squeeze = TimmResNet(
        TimmBottleneck, [1, 1, 1, 2], channels=(4, 4, 4, 8), num_classes=5, stem_width=4,
        block_args=dict(attn_layer="se"),
    )
    kept = torch.onnx.TrainingMode.PRESERVE
    yield "kept.onnx", squeeze, small, {"training": kept, "do_constant_folding": False, "opset_version": 9}
    yield "option-a.onnx", Cifar("A"), (2, 3, 32, 32), any_batch
    eca = TimmResNet(
        TimmBasic, [1, 1, 1, 1], channels=(4, 6, 8, 8), num_classes=5, stem_width=4, stem_type="deep",
        avg_down=True, block_args=dict(attn_layer=EfficientChannelAttn),
    )
    yield "any-batch.onnx", eca, small, any_batch
    v2 = ResNetV2(
        [1, 2, 1, 1], channels=(16, 16, 24, 32), num_classes=5, stem_chs=8,
        conv_layer=timm.layers.create_conv2d, norm_layer=timm.layers.BatchNormAct2d,
    )
    yield "pre-activated.onnx", v2, small, {}
    grouped = TimmResNet(
        TimmBottleneck, [1, 1, 1, 1], channels=(4, 4, 8, 8), num_classes=5, stem_width=4, stem_type="deep",
        norm_layer=lambda channels, **_: nn.GroupNorm(4, channels),
    )
    yield "grouped.onnx", grouped, small, any_batch
    modern = {"dynamo": True, "external_data": False}
    averaged = TimmResNet(
        TimmBottleneck, [1, 1, 1, 2], channels=(4, 4, 4, 8), num_classes=5, stem_width=4, stem_type="deep",
        aa_layer=nn.AvgPool2d,
        block_args=dict(attn_layer="se"),
    )
    wide = dict(channels=(4, 4, 6, 8), stem_width=4, **SMALL)
    acts = [
        ("silu.onnx", nn.SiLU, {}), ("gelu.onnx", GELU, modern), ("gelu-old.onnx", GELU, {"opset_version": 17}),
        ("hard-swish.onnx", nn.Hardswish, modern), ("hard-swish-old.onnx", nn.Hardswish, {"opset_version": 11}),
        ("relu6.onnx", nn.ReLU6, {}), ("leaky.onnx", nn.LeakyReLU, modern),
    ]
    for name, act, keys in acts:
        yield name, TimmResNet(TimmBasic, [1, 1, 1, 1], act_layer=act, **wide), small, dict(keys)
    regnet = RegNetCfg(
        depth=6, w0=8, wa=8.0, wm=1.5, group_size=4, se_ratio=0.25, stem_width=8, bottle_ratio=2.0, downsample=None,
        linear_out=True, act_layer="silu")
    yield "regnet-linear.onnx", RegNet(regnet, **SMALL), (1, 3, 64, 64), dict(modern)
    yield "averaged.onnx", averaged, (1, 3, 64, 64), {"dynamo": True, "external_data": False}
    # Chunks of channels by one node and by two, and a maximum over all pixels.
    chunks = dict(base_width=20, block_args=dict(scale=4), channels=(4, 4, 8, 8), stem_width=4, global_pool="max", **SMALL)
    yield "chunks.onnx", TimmResNet(Bottle2neck, [2, 1, 1, 1], **chunks), small, {}
    yield "chunks-old.onnx", TimmResNet(Bottle2neck, [1, 2, 1, 1], **chunks), small, {"opset_version": 11}


def make_onnx(only=None):
    for name, model, shape, keys in onnx_files():
        if only and name not in only:
            continue
        fill(model, zlib.crc32(name.encode()))
        export(model.eval(), HERE / name, shape, **keys)
        save_onnx_outputs(HERE / name, shape)
    for name, write, shape in onnx_networks.NETWORKS:
        if only and name not in only:
            continue
        write(HERE / name, np.random.default_rng(zlib.crc32(name.encode())))
        save_onnx_outputs(HERE / name, shape)


def save_onnx_outputs(path, shape):
    seed = zlib.crc32(path.name.encode())
    x = np.random.default_rng(seed).standard_normal(shape, dtype="f4")
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    planar = session.get_inputs()[0].shape[1] == shape[1]
    fed = x if planar else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    [y] = session.run(None, {session.get_inputs()[0].name: fed})
    assert np.abs(y).max() > 0.01 and y.std() > 0, path
    np.save(path.with_suffix(".input.npy"), x)
    np.save(path.with_suffix(".output.npy"), y)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def large():
    for name in ["resnet18", "resnet50", "resnet152", "wide_resnet50_2", "resnext50_32x4d"]:
        yield f"{name}.pth", torchvision.models.get_model(name), (1, 3, 224, 224), torch.save
    for name in ["resnet50d", "seresnet50", "resnetv2_50"]:
        yield f"timm-{name}.pth", timm.create_model(name), (1, 3, 224, 224), torch.save


def fill(model, seed):
    """Random weights of a size that keeps activations alive, and statistics unlike the initial ones."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, low, high):
        with torch.no_grad():
            uniform = torch.rand(tensor.shape, generator=generator) * (high - low) + low
            tensor.copy_(uniform)

    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            bound = (6 / module.weight[0].numel()) ** 0.5
            draw(module.weight, -bound, bound)
            if module.bias is not None:
                draw(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.GroupNorm):
            draw(module.weight, 0.5, 1.0)
            draw(module.bias, -0.3, 0.3)
        elif isinstance(module, nn.BatchNorm2d):
            draw(module.weight, 0.5, 1.0)
            draw(module.bias, -0.3, 0.3)
            draw(module.running_mean, -0.3, 0.3)
            draw(module.running_var, 0.5, 2.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    options = parser.parse_args()
    folder = options.large
    chosen = networks() if folder is None else large()
    if options.only:
        chosen = (network for network in chosen if network[0] in options.only)
    folder = folder or HERE
    folder.mkdir(parents=True, exist_ok=True)
    for name, model, shape, save in chosen:
        seed = zlib.crc32(name.encode())
        fill(model, seed)
        model.eval()
        state = {n: t.clone() for n, t in model.state_dict().items()}
        path = folder / name
        save(collections.OrderedDict(state), path)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
        if shape[-1] > 64 and folder == HERE:
            # Small files; the table is told the size.
            x = x[:, :, :37, :33].contiguous()
        with torch.no_grad():
            y = model.double()(x.double()).float()
        assert y.abs().max() > 0.01 and y.std() > 0, name
        np.save(path.with_suffix(".input.npy"), x.numpy())
        np.save(path.with_suffix(".output.npy"), y.numpy())
        print(f"{name}: {path.stat().st_size:,} bytes, {sum(t.numel() for t in state.values()):,} numbers")
    if folder == HERE:
        make_onnx(options.only)
    if options.only or folder == HERE:
        return
    for dynamo in (False, True):
        path = folder / ("onnx-dynamo-resnet50.onnx" if dynamo else "onnx-resnet50.onnx")
        model = torchvision.models.resnet50()
        fill(model, 50)
        export(model.eval(), path, (1, 3, 224, 224), dynamo=dynamo)
        save_onnx_outputs(path, (1, 3, 224, 224))


if __name__ == "__main__":
    main()
