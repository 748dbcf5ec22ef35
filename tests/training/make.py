#!/usr/bin/env python3
"""Make what PyTorch says of training steps: losses, gradients, running statistics.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6 safetensors==0.8.0
    python make.py                  # rewrites every file beside this script
    python make.py --only eca       # one network
    python make.py --verify         # writes nothing; fails where a number differs

The networks are tables of `../golden`, with the weights and images of its files; `../golden/make.py` runs them, here with
the statistics of the batch. Each network NAME becomes `NAME.safetensors`, f32: the gradient of every parameter of the mean
loss of a batch, by the parameter's name, and the running statistics after the step. `losses.json` has for each network how
it descends, the mean losses of twenty steps of `torch.optim.SGD` on that one batch, and, as `reached`, how large the gradients
are that hooks on the outputs of all convolutions and linear layers see in the first step, by the tensors of their weights: the
root of the mean over the images of the square of the L2 norm of the gradient of the losses' sum. All is computed in f64.

A batch has 4 to 8 images, more than the goldens' files: element `j` of image `i` is element `(101 * i + j) % length` of the
file. Image `i` is of class `(3 * i + 1) % classes`.
"""
import argparse
import importlib.util
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
spec = importlib.util.spec_from_file_location("golden", GOLDEN / "make.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)

STEPS = 20
# By how much of itself each weight is moved, to see how far losses move: by as much as f32 rounds in a Winograd form.
MOVED = 1e-6
MAGNIFIED = 2e-4
# What the last loss is less than the first one at least.
LEARNED = 0.1
# Nearer to zero than this, rounding would decide on which side of a ReLU a pixel is, and so whether it has a gradient.
EDGE = 1e-7
# Bytes of all files.
LARGEST = 1_500_000


def steps(batch=4, rate=2**-7, momentum=0.9, nesterov=False, decay=0.0, smoothing=0.0):
    return dict(batch=batch, rate=rate, momentum=momentum, nesterov=nesterov, decay=decay, smoothing=smoothing)


# How each network descends: so slowly that twenty steps do not magnify rounding.
NETWORKS = {
    "activation": steps(decay=0.0005),
    "activation-pre-activation": steps(smoothing=0.1),
    "anti-alias-average": steps(rate=2**-17, nesterov=True),
    "blur": steps(batch=5, rate=2**-15, decay=0.0005, nesterov=True),
    "bottleneck": steps(batch=8, rate=2**-16, decay=0.0005, smoothing=0.1),
    "conv-groups": steps(decay=0.001),
    "dilation-pool-projection": steps(rate=2**-9),
    "eca": steps(nesterov=True),
    "flatten": steps(batch=5, decay=0.01),
    "group-norm": steps(rate=2**-10, decay=0.0005),
    "linear-only": steps(batch=8, smoothing=0.2),
    "padding": steps(decay=0.0005),
    "plain": steps(batch=6, rate=2**-13),
    "pool-projection": steps(batch=7, rate=2**-15),
    "pools": steps(),
    "project-all": steps(decay=0.0005),
    "res2net": steps(rate=2**-19, smoothing=0.1),
    "squeeze-excitation": steps(batch=6, rate=2**-12, nesterov=True, decay=0.0005),
    "weight-standardization": steps(rate=2**-12, decay=0.0005, nesterov=True),
    "zero-pad-variants": steps(batch=5),
}


class Parameters(golden.Tensors):
    """The tensors of a file: parameters that learn, and running statistics."""

    def __init__(self, path, seed=None):
        self.stored = {name: t.double() for name, t in load_file(path).items() if "num_batches" not in name}
        if seed is not None:
            random = torch.Generator().manual_seed(seed)
            for tensor in self.stored.values():
                tensor *= 1 + MOVED * torch.randn(tensor.shape, generator=random, dtype=tensor.dtype)
        for name, tensor in self.stored.items():
            tensor.requires_grad_("running_" not in name)

    def get(self, name, shape, draw):
        return self.stored[name].reshape(shape)

    def learned(self):
        return {name: t for name, t in self.stored.items() if t.requires_grad}


class Trained(golden.Interpreter):
    """Runs a table in training mode."""

    # How near to zero the input of an activation has come.
    nearest = float("inf")

    def __init__(self, *args):
        super().__init__(*args)
        self.reached = {}

    def hooked(self, y, name):
        """Notes the gradient of an output: that of a mean, which is a batch's part of the sum's."""
        y.register_hook(lambda g: self.reached.update({f"{name}.weight": (len(g) * g.square().sum()).sqrt().item()}))
        return y

    def conv(self, x, name, *args, **keys):
        return self.hooked(super().conv(x, name, *args, **keys), name)

    def linear(self, x, name, channels):
        return self.hooked(super().linear(x, name, channels), name)

    def activation(self, x, row, default=None):
        self.nearest = min(self.nearest, x.abs().min().item())
        return super().activation(x, row, default)

    def norm(self, x, name, kind="batch"):
        if kind != "batch":
            return super().norm(x, name, kind)
        weight, bias, mean, variance = (
            self.tensors.stored[f"{name}.{what}"] for what in ("weight", "bias", "running_mean", "running_var"))
        return F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=0.1, eps=self.epsilon)


def images(of, batch):
    ring = np.load(GOLDEN / f"{of.name}.input.npy")
    shape, ring = ring.shape[1:], ring.reshape(-1)
    at = 101 * np.arange(batch)[:, None] + np.arange(np.prod(shape))
    return torch.from_numpy(ring[at % ring.size].reshape(batch, *shape)).double()


def train(of, options, seed=None):
    """The gradients and running statistics of the first step, the losses of all, and what reaches the layers."""
    tensors = Parameters(GOLDEN / f"{of.name}.safetensors", seed)
    # The loss has its own softmax.
    table = [row for row in of.table if row["op"] != "softmax"]
    net = Trained(table, tensors, of.epsilon or 1e-5, of.pre_activation, of.activation or "relu", of.standardise)
    x = images(of, options["batch"])
    learned = tensors.learned()
    # As timm does: neither biases nor norms decay.
    groups = [dict(params=[t for t in learned.values() if t.dim() > 1], weight_decay=options["decay"]),
              dict(params=[t for t in learned.values() if t.dim() <= 1], weight_decay=0.0)]
    descent = torch.optim.SGD(groups, options["rate"], options["momentum"], nesterov=options["nesterov"])
    losses, found, reached = [], {}, {}
    for step in range(STEPS):
        logits = net.run(x)
        target = torch.tensor([(3 * i + 1) % logits.shape[1] for i in range(len(x))])
        loss = F.cross_entropy(logits, target, label_smoothing=options["smoothing"])
        descent.zero_grad()
        loss.backward()
        if step == 0:
            found = {n: t.grad.float().contiguous() for n, t in learned.items()}
            found |= {n: t.float().clone() for n, t in tensors.stored.items() if "running_" in n}
            reached = {name: float(f"{norm:.7g}") for name, norm in net.reached.items()}
            assert net.nearest > EDGE, f"{of.name}: {net.nearest:.1e} before an activation"
        descent.step()
        losses.append(round(loss.item(), 7))
    return found, losses, reached


def make(name, options):
    of = next(g for g in golden.GOLDENS if g.name == name)
    assert not of.features, f"{name} answers with features"
    found, losses, reached = train(of, options)
    assert losses[-1] < losses[0] - LEARNED, f"{name} learns nothing: {losses}"
    for seed in range(3):
        moved = max(abs(a - b) for a, b in zip(losses, train(of, options, seed)[1]))
        assert moved < MAGNIFIED, f"{name}: losses move by {moved:.1e}"
    return found, options | dict(losses=losses, reached=reached)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="NAME", choices=NETWORKS, help="make this network alone")
    parser.add_argument("--verify", action="store_true", help="compare with the files instead of writing them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = HERE / "losses.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    facts = {name: stored[name] for name in NETWORKS if name in stored}
    differing = []
    for name, options in NETWORKS.items():
        if args.only not in (None, name):
            continue
        tensors, facts[name] = make(name, options)
        file = HERE / f"{name}.safetensors"
        if not args.verify:
            file.write_bytes(save(tensors))
            continue
        theirs = load_file(file)
        same = facts[name] == stored.get(name) and tensors.keys() == theirs.keys()
        if not same or any(not torch.equal(t, theirs[n]) for n, t in tensors.items()):
            differing.append(name)
    if differing:
        sys.exit(f"differ from what this script makes: {', '.join(differing)}")
    if not args.verify:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(facts[name])}" for name in NETWORKS if name in facts)
        path.write_text("{\n" + lines + "\n}\n")
    size = sum(file.stat().st_size for file in HERE.iterdir() if file.suffix in (".json", ".safetensors"))
    assert size < LARGEST, f"{size:,} bytes"
    print(f"{len(facts)} networks, {size:,} bytes{': all as stored' if args.verify else ''}")


if __name__ == "__main__":
    main()
