#!/usr/bin/env python3
"""Make small networks that other quantisers made: NNCF's and PyTorch's PT2E ones as ONNX files, and state dicts of
torchvision's quantised networks.

    pip install torch==2.15.0 torchvision==0.29.2 torchao==0.18.0 nncf==3.4.0 onnx==1.23.2 onnxruntime==1.32.0
    python tests/int8/make_quantisers.py

NAME.onnx and NAME.pth come with `NAME.input.npy` (f32, N x C x H x W) and `NAME.output.npy`, from ONNX Runtime without
its optimisations or from PyTorch.
"""
import tempfile
import types
import warnings

import nncf
import numpy as np
import onnx
import torch
from make_onnx import HERE, answer, network, pictures
from torch.ao import quantization
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer
from torchao.testing.pt2e import _xnnpack_quantizer as xnnpack
from torchvision.models.quantization.resnet import QuantizableBasicBlock, QuantizableBottleneck, QuantizableResNet
from torchvision.models.quantization.utils import _replace_relu
from torchvision.models.resnet import BasicBlock

warnings.filterwarnings("ignore")


def forward(block, x):
    """A basic block's, with a module for each ReLU: the quantiser for x86 takes none that is there twice."""
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    return block.last(y + (x if block.downsample is None else block.downsample(x)))


def pt2e(name, quantiser):
    model = network(BasicBlock, 5)
    for block in model.modules():
        if isinstance(block, BasicBlock):
            block.last = torch.nn.ReLU()
            block.forward = types.MethodType(forward, block)
    example = (pictures(1, 0),)
    prepared = prepare_pt2e(torch.export.export(model, example).module(), quantiser)
    with torch.no_grad():
        for picture in pictures(64, 1).split(1):
            prepared(picture)
    exported = torch.export.export(convert_pt2e(prepared), example)
    model = torch.onnx.export(exported, (), dynamo=True).model_proto
    # Where in which Python file each node comes from.
    for part in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, HERE / f"{name}.onnx")
    answer(name)


def nncf_file():
    with tempfile.TemporaryDirectory() as folder:
        real = f"{folder}/real.onnx"
        axes = {"input": {0: "N"}, "output": {0: "N"}}
        torch.onnx.export(
            network(BasicBlock, 5), pictures(1, 0), real, opset_version=13, dynamo=False,
            input_names=["input"], output_names=["output"], dynamic_axes=axes,
        )
        shown = nncf.Dataset([{"input": picture.numpy()} for picture in pictures(64, 1).split(1)])
        onnx.save(nncf.quantize(onnx.load(real), shown), HERE / "nncf.onnx")
    answer("nncf")


def state_dict(name, block, config):
    """As torchvision makes its own: `torchvision.models.quantization`."""
    torch.backends.quantized.engine = "x86"
    model = network(block, 5, QuantizableResNet)
    _replace_relu(model.eval())
    model.eval().qconfig = config
    model.fuse_model()
    quantization.prepare(model, inplace=True)
    with torch.no_grad():
        model(pictures(64, 1))
        quantization.convert(model, inplace=True)
        shown = pictures(4, 2)
        np.save(HERE / f"{name}.output.npy", model(shown).numpy())
    np.save(HERE / f"{name}.input.npy", shown.numpy())
    torch.save(model.state_dict(), HERE / f"{name}.pth")
    return model


def main():
    config = x86_inductor_quantizer.get_default_x86_inductor_quantization_config()
    pt2e("pt2e-x86", x86_inductor_quantizer.X86InductorQuantizer().set_global(config))
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
    pt2e("pt2e-xnnpack", xnnpack.XNNPACKQuantizer().set_global(config))
    nncf_file()
    # Activations of 7 bits and a scale for each output channel; of 8 bits, and one scale for all.
    channels = quantization.default_per_channel_weight_observer
    model = state_dict("torch-channels", QuantizableBasicBlock, quantization.QConfig(quantization.default_observer, channels))
    torch.save(model.layer1[0], HERE / "torch-module.pth")
    observer = quantization.HistogramObserver
    state_dict("torch-tensor", QuantizableBottleneck, quantization.QConfig(observer, quantization.default_weight_observer))


if __name__ == "__main__":
    main()
