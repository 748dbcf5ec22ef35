#!/usr/bin/env python3
"""Writes the seeds of `corpus/` that are no text: checkpoints, ONNX files, weights and images.

    python3 fuzz/seeds.py      (wants torch, onnx, safetensors, pillow)
"""

import io
import pathlib
import pickle

import numpy as np
import onnx
import torch
from PIL import Image
from safetensors.torch import save_file

CORPUS = pathlib.Path(__file__).parent / "corpus"


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outputs)
        self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outputs)
        self.downsample = torch.nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = torch.nn.Sequential(
                torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False), torch.nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Small(torch.nn.Module):
    """A residual network of some hundred parameters."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.layer1 = torch.nn.Sequential(Block(4, 4, 1))
        self.layer2 = torch.nn.Sequential(Block(4, 4, 2))
        self.fc = torch.nn.Linear(4, 2)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def main():
    torch.manual_seed(1)
    model = Small().eval()
    state = model.state_dict()
    folder = CORPUS / "checkpoint"
    torch.save(state, folder / "zip.pth")
    torch.save({"state_dict": state, "best": torch.tensor(1.0), "epoch": 3}, folder / "training.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "small.safetensors")
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    (folder / "numpy.pkl").write_bytes(pickle.dumps({"model": arrays}, protocol=4))
    written = io.BytesIO()
    torch.onnx.export(model, torch.zeros(1, 3, 8, 8), written, dynamo=False)
    graph = onnx.load_from_string(written.getvalue())
    graph.ClearField("producer_name")
    onnx.save(graph, folder / "small.onnx")

    # In the names of the table that the target has.
    shapes = {"conv1.weight": [16, 3, 3, 3], "fc.weight": [4, 16], "fc.bias": [4]}
    for index in (1, 2):
        shapes[f"layer1.0.conv{index}.weight"] = [16, 16, 3, 3]
    for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2"):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = [16]
    tensors = {name: torch.ones(shape, dtype=torch.float16) for name, shape in shapes.items()}
    save_file(tensors, CORPUS / "weights" / "small.safetensors")

    pixels = np.random.default_rng(1).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    folder = CORPUS / "image"
    for ending in ("png", "jpg", "webp", "bmp", "gif", "tiff"):
        image.save(folder / f"small.{ending}")
    image.save(folder / "progressive.jpg", progressive=True)
    image.convert("P").save(folder / "palette.png")


if __name__ == "__main__":
    main()
