#!/usr/bin/env python3
"""Save one small network in the ways of training scripts, for `resnet import`.

    pip install torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
    python make_saved.py            # rewrites every file in `import/saved/`

All of them hold the tensors of `plain.pth`, but for those that are to be refused, and `imagenet.*`, which is a
whole network of torchvision's.
"""
import argparse
import collections
import copy
import datetime
import decimal
import pathlib
import pickle
import random
import types
import zlib

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

HERE = pathlib.Path(__file__).resolve().parent / "import" / "saved"


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)


class Net(nn.Module):
    def __init__(self, channels=3, classes=4):
        super().__init__()
        self.register_buffer("mask", torch.ones(2), persistent=False)
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(Block(channels))
        self.fc = nn.Linear(channels, classes)


class Trainer:
    """What libraries save whole: settings, histories, and the model somewhere inside."""

    def __init__(self, model):
        self.epoch, self.history, self.model = 3, [{"loss": np.float32(0.5)}], model


class Config(dict):
    """A dict with attributes, as configuration libraries have them."""

    __setattr__ = dict.__setitem__


def prefixed(prefix, state):
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def settings():
    """What is beside a state dict, of every kind that has been seen there."""
    args = argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data"), device=torch.device("cuda:0"), gpu=None)
    args.when, args.amount, args.dtype = datetime.datetime(2024, 2, 29), decimal.Decimal("1.5"), torch.bfloat16
    args.names, args.frozen, args.raw, args.slice = {"a", "b"}, frozenset([1]), b"\xff\x00", slice(1, 2)
    args.big, args.complex, args.odd, args.range = 1 << 80, 1j, "\udcff", range(3)
    args.config, args.simple = Config(depth=18, nested=Config(a=[1, "b"])), types.SimpleNamespace(a=1)
    cycle = []
    cycle.append((cycle, {"itself": cycle}))
    return {
        "args": args,
        "metric": np.float64(76.5),
        "confusion": np.eye(3),
        "names": np.array(["cat", "dog"]),
        "objects": np.array([None, {"a": 1}], dtype=object),
        "shape": torch.Size([3, 224, 224]),
        "numpy_random": np.random.RandomState(1).get_state(),
        "generator": np.random.default_rng(1),
        "python_random": random.Random(1).getstate(),
        "torch_random": torch.get_rng_state(),
        "sparse": torch.eye(3).to_sparse(),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "cycle": cycle,
        "losses": [0.5] * 3000 + list(range(3000)),
        "sampler": collections.defaultdict(list, {1: [2]}),
    }


def trained(model):
    """A model with the state of its optimizer and scheduler."""
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    kept = copy.deepcopy(model.state_dict())
    optimizer.step()
    model.load_state_dict(kept)
    return optimizer, scheduler


def quantised(state):
    names = ["conv1.weight", "fc.weight"]
    return state | {n: torch.quantize_per_tensor(state[n], 0.1, 128, torch.quint8) for n in names}


def ways(model, state, path):
    """Name: what writes it."""
    optimizer, scheduler = trained(model)
    other = collections.OrderedDict((name, tensor + 1) for name, tensor in state.items())
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    save = lambda what, **keys: lambda path: torch.save(what, path, **keys)
    dump = lambda what, protocol: lambda path: path.write_bytes(pickle.dumps(what, protocol))
    old = {"_use_new_zipfile_serialization": False}
    yield "plain.pth", save(state)
    # The directory of this archive begins with an entry of 76 bytes.
    yield "a-name-of-21-letters-.pth", save(state)
    yield "training.pth", save(
        {"epoch": 1, "best_acc1": torch.tensor(0.5), "state_dict": prefixed("module.", state)}
        | {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()} | settings()
    )
    yield "training-5.pth", save({"model": state, "optimizer": optimizer} | settings(), pickle_protocol=5)
    yield "training-old.pth", save({"model": state, "scheduler": scheduler} | settings(), **old)
    yield "training-old-4.pth", save({"net": state} | settings(), pickle_protocol=4, **old)
    yield "nested.pth", save({"model": {"config": Config(a=1), "state_dict": state}, "queue": torch.ones(2)})
    yield "tuple.pth", save((3, [Config(weights=Config(state)), optimizer.state_dict()]))
    yield "averaged.pth", save({"state_dict": state, "state_dict_ema": other, "model": {"note": "none"}})
    yield "two.pth", save({"student": other, "teacher": state, "center": torch.ones(3)})
    yield "moco.pth", save({"state_dict": prefixed("module.encoder_q.", state)
        | prefixed("module.encoder_k.", other) | {"module.queue": torch.ones(4, 2)}})
    head = {"predictor.0.weight": torch.ones(5, 3), "predictor.2.weight": torch.ones(3, 5)}
    yield "detector.pth", save(prefixed("backbone.body.", state) | head | {"neck.0.weight": torch.ones(2, 9, 1, 1)})
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    yield "head.pth", save(backbone | {f"fc.{n}": t for n, t in nn.Sequential(
        nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict().items()})
    attributes = collections.OrderedDict((n, nn.Parameter(t, False) if t.dtype.is_floating_point else t)
        for n, t in state.items())
    attributes["conv1.weight"].note = "of a user"
    yield "attributes.pth", save(attributes)
    yield "module.pth", save(model)
    yield "module-old.pth", save({"model": nn.DataParallel(model)}, **old)
    yield "trainer.pth", save(Trainer(model))
    yield "arrays.pth", save({"model": arrays})
    yield "arrays-2.pkl", dump(arrays, 2)
    fortran = {name: np.asfortranarray(array) for name, array in arrays.items()}
    yield "arrays-fortran-2.pkl", dump(fortran, 2)
    yield "arrays-fortran-4.pkl", dump(fortran, 4)
    yield "arrays-4.pkl", dump({"model": arrays, "__author__": "somebody", "matching_heuristics": True}, 4)
    yield "arrays-5.pkl", dump({"model": arrays} | settings() | {"sparse": None}, 5)
    yield "tensors-4.pkl", dump(state, 4)
    yield "dict.npy", lambda path: np.save(path, arrays)
    yield "arrays.npz", lambda path: np.savez(path, **fortran)
    yield "packed.npz", lambda path: np.savez_compressed(path, **arrays)
    yield "arrays-big.pkl", dump({n: a.astype(">f4") if n == "conv1.weight" else a for n, a in arrays.items()}, 4)
    yield "expanded.pth", save(state | {"fc.bias": torch.ones(1).expand(4)})
    yield "quantised.pth", save(quantised(state))
    yield "imagenet.pth", save(imagenet())
    yield "imagenet-parallel.pth", save(nn.DataParallel(imagenet()))
    yield "imagenet.state.pth", save(imagenet().state_dict())


def imagenet():
    """torchvision's class with few channels."""
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4)
    model.inplanes = 2
    model.conv1, model.bn1 = nn.Conv2d(3, 2, 7, 2, 3, bias=False), nn.BatchNorm2d(2)
    for number in range(1, 5):
        setattr(model, f"layer{number}", model._make_layer(BasicBlock, 2 + number // 3, 1, 1 + (number > 1)))
    model.fc = nn.Linear(3, 4)
    fill(model)
    return model


def fill(model):
    generator = torch.Generator().manual_seed(zlib.crc32(type(model).__name__.encode()))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def main():
    # Else the old form holds the source of every module's class, and where that is.
    torch.serialization.get_source_lines_and_file = lambda _: (["class Net: ...\n"], 1, "net.py")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="these files alone")
    names = parser.parse_args().names
    HERE.mkdir(parents=True, exist_ok=True)
    model = Net()
    fill(model)
    state = copy.deepcopy(model.state_dict())
    for name, write in ways(model, state, HERE):
        if names and name not in names:
            continue
        write(HERE / name)
        print(f"{name}: {(HERE / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
