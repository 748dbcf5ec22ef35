"""Networks in 8 bits for `compare.py`: torchvision's, quantised by ONNX Runtime, and imported from that very file."""
import statistics
import sys
import time

import numpy as np
import onnxruntime.quantization as quantization
import torch
import torchvision
from onnxruntime.quantization.shape_inference import quant_pre_process

import engines

# Random networks of random pictures: what matters are ranges that no layer leaves.
CALIBRATION = 16


def pictures(count, size, seed):
    """Smooth ones, with noise, as normalised."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(count, 3, *shape, generator=generator)
    smooth = torch.nn.functional.interpolate(draw(7, 7), size=(size, size), mode="bicubic")
    return smooth + 0.3 * draw(size, size)


def network(name, size):
    """torchvision's, with random weights, and statistics of such pictures, so that no activation grows from block to block."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(pictures(8, size, 1))
    return model.eval()


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, size):
        self.rest = iter(pictures(CALIBRATION, size, 2).split(1))

    def get_next(self):
        picture = next(self.rest, None)
        return None if picture is None else {"input": picture.numpy()}


class Case:
    """What `engines.Case` is, of a network in 8 bits; `f32` is the same one before, a table and its weights."""

    def __init__(self, name, batch, resnet, folder, size):
        stem = folder / f"{name}-int8"
        self.title, self.batch, self.onnx = name, batch, stem.with_suffix(".onnx")
        real, prepared = folder / f"{name}-f32.onnx", folder / f"{name}-prepared.onnx"
        torch.onnx.export(
            network(name, size), pictures(1, size, 0), real, opset_version=13, dynamo=False,
            input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "N"}, "output": {0: "N"}})
        quant_pre_process(real, prepared)
        quantization.quantize_static(
            prepared, self.onnx, Calibration(size), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8)
        for file in self.onnx, real:
            engines.run([resnet, "import", file, "-o", folder, "--force"])
        tables = [stem, folder / f"{name}-f32"]
        self.f32 = tables[1].with_suffix(".yaml"), tables[1].with_suffix(".safetensors")
        self.name, self.weights = (tables[0].with_suffix(end) for end in (".yaml", ".safetensors"))
        self.npy, self.raw = stem.with_suffix(".npy"), stem.with_suffix(".f32")
        shown = pictures(batch, size, 3).numpy()
        self.shape = shown.shape
        np.save(self.npy, shown)
        shown.tofile(self.raw)


def packed(resnet, case, folder):
    """Files of packed weights of the network in 8 bits and in f32, each with its table."""
    both = {"int8": (case.name, case.weights), "f32": case.f32}
    for precision, (table, weights) in both.items():
        file = folder / f"{case.title}-{precision}.packed"
        engines.run([resnet, "pack", table, "--weights", weights, "-o", file, "--force"])
        yield precision, table, file


# Runs a command in a process that has hardly any memory: a child's peak is at least its parent's at the fork. In kilobytes.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def start_up(args, resnet, case, folder):
    """Seconds from the start of `resnet run` to its end, one answer of weights that were packed in between, and its peak of
    memory: of the network in 8 bits and in f32, in turn, on one thread."""
    both = list(packed(resnet.binary, case, folder))
    npy = folder / "one.npy"
    np.save(npy, np.load(case.npy)[:1])
    commands = {
        precision: [resnet.binary, "run", table, "--weights", file, "--input", npy, "--output", folder / "answer.npy",
                    "--force", "--threads", 1, *resnet.options]
        for precision, table, file in both
    }
    seconds = {precision: [] for precision in commands}
    # The first round fetches the files into the page cache.
    for round in range(10 * args.rounds + 1):
        for precision, command in commands.items():
            start = time.perf_counter()
            engines.run(command)
            seconds[precision] += [time.perf_counter() - start] if round else []
    peak = lambda command: 1024 * int(engines.run([sys.executable, "-c", PEAK, *command]).split()[-1])
    return {
        precision: {"seconds": statistics.median(seconds[precision]), "bytes": peak(command)}
        for precision, command in commands.items()
    }
