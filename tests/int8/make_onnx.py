#!/usr/bin/env python3
"""Make small quantised ONNX files in every form that `resnet import` reads, and what ONNX Runtime answers with them.

    pip install torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
    python tests/int8/make_onnx.py

NAME.onnx comes with `NAME.input.npy` (f32, N x C x H x W) and `NAME.output.npy`, computed without any of the
runtime's own optimisations.
"""
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))
from make_import import narrow

warnings.filterwarnings("ignore")
SIZE = (33, 29)


def pictures(count, seed):
    """Smooth ones, with noise."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(count, 3, *shape, generator=generator)
    return nn.functional.interpolate(draw(5, 5), size=SIZE, mode="bilinear") + 0.3 * draw(*SIZE)


class Calibration(CalibrationDataReader):
    def __init__(self):
        self.rest = iter(pictures(64, 1).split(1))

    def get_next(self):
        picture = next(self.rest, None)
        return None if picture is None else {"input": picture.numpy()}


def network(block, seed, kind=ResNet):
    """With statistics of these pictures."""
    torch.manual_seed(seed)
    model = narrow(block, [2, 1, 1, 1], [8, 8, 16, 16], kind=kind).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
                module.momentum = 1.0
        model(pictures(64, 1))
    return model.eval()


def round_in_the_graph(model):
    """Weights as numbers that the graph itself rounds, as NNCF and PyTorch's fake quantisation write them."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        weight = numpy_helper.to_array(constants[node.input[0]])
        if weight.dtype != np.int8 or weight.ndim < 2:
            continue
        scale = numpy_helper.to_array(constants[node.input[1]]).reshape(-1, *[1] * (weight.ndim - 1))
        numbers = numpy_helper.from_array((weight * scale).astype(np.float32), node.input[0])
        model.graph.initializer.remove(constants[node.input[0]])
        model.graph.initializer.append(numbers)
        rounded = node.input[0] + "_rounded"
        make = helper.make_node("QuantizeLinear", list(node.input), [rounded], axis=0)
        model.graph.node.insert(0, make)
        node.input[0] = rounded


def main():
    unsigned = dict(activation_type=QuantType.QUInt8)
    forms = {
        "qdq": (BasicBlock, dict(quant_format=QuantFormat.QDQ, per_channel=True, **unsigned)),
        "signed": (Bottleneck, dict(quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QInt8)),
        "one-scale": (Bottleneck, dict(quant_format=QuantFormat.QDQ, per_channel=False, weight_type=QuantType.QUInt8, **unsigned)),
        "operators": (BasicBlock, dict(quant_format=QuantFormat.QOperator, per_channel=True, **unsigned)),
        "rounded": (BasicBlock, dict(quant_format=QuantFormat.QDQ, per_channel=True, **unsigned)),
    }
    for name, (block, options) in forms.items():
        with tempfile.TemporaryDirectory() as folder:
            real, prepared = f"{folder}/real.onnx", f"{folder}/prepared.onnx"
            torch.onnx.export(
                network(block, 5), pictures(1, 0), real, opset_version=13, dynamo=False,
                input_names=["input"], output_names=["output"],
                dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
            )
            quant_pre_process(real, prepared)
            quantize_static(prepared, HERE / f"{name}.onnx", Calibration(), **options)
        if name == "rounded":
            model = onnx.load(HERE / f"{name}.onnx")
            round_in_the_graph(model)
            onnx.save(model, HERE / f"{name}.onnx")
        answer(name)


def answer(name):
    """Saves pictures and what ONNX Runtime answers, to one picture at a time."""
    plain = ort.SessionOptions()
    plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(HERE / f"{name}.onnx"), plain, providers=["CPUExecutionProvider"])
    [input] = session.get_inputs()
    shown = pictures(4, 2)
    answers = [session.run(None, {input.name: picture.numpy()})[0] for picture in shown.split(1)]
    np.save(HERE / f"{name}.input.npy", shown.numpy())
    np.save(HERE / f"{name}.output.npy", np.concatenate(answers))


if __name__ == "__main__":
    main()
