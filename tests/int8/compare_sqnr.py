#!/usr/bin/env python3
"""Compare `resnet quantize` with ONNX Runtime's `quantize_static`: signal to noise of each layer, in decibels.

    pip install numpy onnx onnxruntime torch
    cargo build --release
    python tests/int8/compare_sqnr.py MODEL --weights W.safetensors --calibrate X.npy --test Y.npy

Both get the same weights and calibrate on the same pictures (f32, N x C x H x W, preprocessed). ONNX Runtime's way is
the one that its documentation recommends for x86: `quant_pre_process`, then QDQ, weights with a scale for each output
channel, activations of u8. A layer's results are what a convolution or linear layer makes, norm and bias included,
before activation and addition. Of each there are two numbers, over the pictures of `--test`:

    alone    this layer alone in 8 bits: the exact values that it reads are rounded, and its weights
    all      the whole network in 8 bits, as ONNX Runtime computes it without optimisations

A line is marked where ours is lower by more than `--margin`.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAYERS = "Conv", "Gemm", "MatMul"


class Pictures(CalibrationDataReader):
    def __init__(self, pictures):
        self.rest = iter(np.split(pictures, len(pictures)))

    def get_next(self):
        picture = next(self.rest, None)
        return None if picture is None else {"input": picture}


class Network:
    """An ONNX file, with what each layer reads and makes."""

    def __init__(self, path):
        self.model = onnx.load(path)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.makers = {node.output[0]: node for node in self.model.graph.node}
        self.layers = [node for node in self.model.graph.node if node.op_type in LAYERS]

    def sort(self, other):
        """Puts layers in the order of another file's, by their names. The last one may have another name."""
        places = {node.name: place for place, node in enumerate(other.layers)}
        self.layers.sort(key=lambda node: places.get(node.name, len(places)))
        same = sum(a.name == b.name for a, b in zip(self.layers, other.layers))
        assert len(self.layers) == len(other.layers) and same >= len(places) - 1, "other layers than the exact network's"

    def outputs(self, names, pictures):
        """What the tensors of these names are, over all pictures."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        plain = ort.SessionOptions()
        plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(model.SerializeToString(), plain, providers=["CPUExecutionProvider"])
        return session.run(names, {"input": pictures})

    def number(self, name):
        """A constant, or the bytes behind one and what they stand for."""
        if name in self.constants:
            return self.constants[name].astype(np.float32)
        node = self.makers[name]
        assert node.op_type == "DequantizeLinear", node.op_type
        bytes, scale, zero = (self.constants.get(name) for name in [*node.input, ""][:3])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if place == axis else 1 for place in range(bytes.ndim)] if scale.size > 1 else []
        zero = np.zeros_like(scale) if zero is None else zero
        return ((bytes.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)).astype(np.float32)

    def alone(self, node, values):
        """What a layer makes of these, if it is the only one in 8 bits."""
        reader = self.makers[node.input[0]]
        while reader.op_type in ("Flatten", "Reshape"):
            reader = self.makers[reader.input[0]]
        if reader.op_type == "DequantizeLinear":
            scale, zero = (self.constants[name] for name in reader.input[1:3])
            least, most = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
            values = (np.clip(np.rint(values / scale) + zero, least, most) - zero).astype(np.float32) * scale
        weight = torch.from_numpy(self.number(node.input[1]))
        bias = torch.from_numpy(self.number(node.input[2])) if len(node.input) > 2 else None
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values = torch.from_numpy(values)
        if node.op_type == "Conv":
            pads = given.get("pads", [0, 0, 0, 0])
            values = torch.nn.functional.pad(values, (pads[1], pads[3], pads[0], pads[2]))
            made = torch.nn.functional.conv2d(
                values, weight, bias, given.get("strides", [1, 1]), 0, given.get("dilations", [1, 1]), given.get("group", 1))
        else:
            turned = node.op_type == "Gemm" and given.get("transB")
            made = values.flatten(1) @ (weight.T if turned else weight)
            made = made if bias is None else made + bias
        return made.numpy()


def decibels(exact, found):
    noise = float(((found.reshape(exact.shape) - exact).astype(np.float64) ** 2).sum())
    signal = float((exact.astype(np.float64) ** 2).sum())
    return 10 * np.log10(signal / noise) if noise else np.inf


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def quantised(args, folder):
    """The network folded and in f32, and in 8 bits by both."""
    network = [args.model, "--weights", args.weights]
    real, prepared, theirs, ours = (folder / f"{name}.onnx" for name in ("real", "prepared", "theirs", "ours"))
    run(args.resnet, "emit", *network, "--as", "onnx", "-o", real)
    quant_pre_process(real, prepared)
    how = dict(
        quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, args.theirs))
    quantize_static(prepared, theirs, Pictures(np.load(args.calibrate)), **how)
    int8 = folder / "int8.safetensors"
    count = len(np.load(args.calibrate, mmap_mode="r"))
    run(args.resnet, "quantize", *network, "--input", args.calibrate, "--pictures", count, "--method", args.ours, "-o", int8)
    run(args.resnet, "emit", args.model, "--weights", int8, "--as", "onnx", "-o", ours)
    return [Network(path) for path in (prepared, ours, theirs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model")
    add("--weights", required=True)
    add("--calibrate", type=pathlib.Path, required=True)
    add("--test", type=pathlib.Path, required=True)
    add("--ours", default="least-squares", help="the method of `resnet quantize`")
    add("--theirs", default="MinMax", choices=["MinMax", "Entropy", "Percentile"])
    add("--margin", type=float, default=0.05)
    add("--resnet", type=pathlib.Path, default=ROOT / "target/release/resnet")
    add("--json", type=pathlib.Path)
    args = parser.parse_args()
    pictures = np.load(args.test)
    with tempfile.TemporaryDirectory() as folder:
        exact, *both = quantised(args, pathlib.Path(folder))
    for network in both:
        network.sort(exact)
    whole = [network.outputs([node.output[0] for node in network.layers], pictures) for network in both]
    lines, lower = [], [0, 0]
    print(f"{'':24}  {'alone':>6} {'theirs':>6}   {'all':>6} {'theirs':>6}")
    for index, node in enumerate(exact.layers):
        read, made = exact.outputs([node.input[0], node.output[0]], pictures)
        alone = [decibels(made, network.alone(network.layers[index], read)) for network in both]
        all = [decibels(made, outputs[index]) for outputs in whole]
        marks = ["<" if ours < theirs - args.margin else " " for ours, theirs in (alone, all)]
        lower = [count + (mark == "<") for count, mark in zip(lower, marks)]
        name = both[0].layers[index].name
        print(f"{name:24}  {alone[0]:6.1f} {alone[1]:6.1f} {marks[0]} {all[0]:6.1f} {all[1]:6.1f} {marks[1]}")
        lines.append({"layer": name, "alone": alone, "all": all})
    mean = [np.mean([line[kind][which] for line in lines]) for kind in ("alone", "all") for which in (0, 1)]
    print(f"{'mean':24}  {mean[0]:6.1f} {mean[1]:6.1f}   {mean[2]:6.1f} {mean[3]:6.1f}")
    print(f"lower than theirs: {lower[0]} of {len(lines)} alone, {lower[1]} in the whole network")
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
