#!/usr/bin/env python3
"""Import networks of transformers with every option of `ResNetConfig`, and compare the answers with PyTorch's.

    pip install numpy pillow safetensors torch transformers
    cargo build --workspace
    python tests/hub/check_transformers.py

Networks are small and have random weights. Each is saved by `save_pretrained`, its image processor beside it,
imported as a folder, and run on a random array and on a picture. An answer has to be right within 1e-4 of the
largest; those of every option of `BitConfig` too, or refused if its padding is one that no table has. Fails if
one is wrong, or is refused or taken where that is not expected.
"""
import argparse
import itertools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import torch
import transformers
from PIL import Image

from make import shake

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOLERANCE = 1e-4
# Of pictures: filters of images differ in rounding.
PICTURE_TOLERANCE = 2e-2
SMALL = dict(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[2, 1, 2], id2label={0: "a", 1: "b", 2: "c"})


BIT = dict(embedding_size=32, hidden_sizes=[128, 256, 128], depths=[1, 2, 1], id2label={0: "a", 1: "b", 2: "c"})

# Of BiT: paddings that no table has.
REFUSED = ["VALID", "None dynamic", "bottleneck None"]


def cases():
    """Names, networks and image processors."""
    flags = ["downsample_in_first_stage", "downsample_in_bottleneck"]
    for kind, *values in itertools.product(["basic", "bottleneck"], [False, True], [False, True]):
        options = dict(zip(flags, values))
        name = " ".join([kind, *(flag for flag in flags if options[flag])])
        yield name, classifier(layer_type=kind, **options), processor(96, 0.875)
    for activation in ["gelu", "silu", "leaky_relu"]:
        yield f"hidden_act {activation}", classifier(hidden_act=activation), processor(96, 0.875)
    yield "one channel", classifier(num_channels=1, depths=[1, 1, 1]), None
    yield "two stages, one alike", classifier(hidden_sizes=[8, 8], depths=[1, 3]), processor(96, 1.0)
    yield "no classifier", transformers.ResNetModel(transformers.ResNetConfig(**SMALL)), None
    for features in [["stage3"], ["stem", "stage2"], ["stage1", "stage2", "stage3"]]:
        config = transformers.ResNetConfig(**SMALL, out_features=features)
        yield f"backbone {' '.join(features)}", transformers.ResNetBackbone(config), None
    yield "squeezed", classifier(), processor(384, 1.0)
    for layer_type, padding, dynamic in itertools.product(
        ["preactivation", "bottleneck"], [None, "SAME", "VALID"], [False, True]
    ):
        options = dict(layer_type=layer_type, global_padding=padding, embedding_dynamic_padding=dynamic)
        name = f"BiT {layer_type} {padding} {'dynamic' if dynamic else 'static'}"
        yield name, bit(**options), None
    yield "BiT hidden_act silu", bit(hidden_act="silu"), None
    yield "BiT num_groups", bit(num_groups=8), None
    for layer_type in ["preactivation", "bottleneck"]:
        yield f"BiT output_stride {layer_type}", bit(layer_type=layer_type, output_stride=8, global_padding="SAME"), None
    config = transformers.BitConfig(**BIT)
    yield "BiT no classifier", transformers.BitModel(config), None
    config = transformers.BitConfig(**BIT, out_features=["stem", "stage2", "stage3"])
    yield "BiT backbone", transformers.BitBackbone(config), None


def bit(**options):
    return transformers.BitForImageClassification(transformers.BitConfig(**{**BIT, **options}))


def classifier(**options):
    config = transformers.ResNetConfig(**{**SMALL, **options})
    return transformers.ResNetForImageClassification(config)


def processor(size, share):
    return transformers.ConvNextImageProcessor(
        size={"shortest_edge": size}, crop_pct=share, resample=2, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    )


def answers(model, values):
    answer = model(values)
    if getattr(answer, "feature_maps", None):
        return [part.numpy() for part in answer.feature_maps]
    found = answer.logits if "logits" in answer else answer.pooler_output
    return [found.numpy().reshape(1, -1)]


def difference(found, expected):
    return max(float(np.abs(f.ravel() - e.ravel()).max() / np.abs(e).max()) for f, e in zip(found, expected))


def invoke(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode < 0 or "panicked" in done.stderr:
        sys.exit(f"the command failed: {arguments}\n{done.stderr}")
    return done


def run(binary, out, *source):
    """What the network answers: a part for each feature."""
    weights = ["--weights", out / "net.safetensors", "--threads", 1]
    done = invoke(binary, "run", out / "net.yaml", *weights, *source, "--output", out / "y.npy")
    if done.returncode:
        sys.exit(done.stderr)
    features = re.search(r"^features: \[(.*)\]$", (out / "net.yaml").read_text(), re.MULTILINE)
    if not features:
        return [np.load(out / "y.npy")]
    return [np.load(out / f"y.{name}.npy") for name in features[1].split(", ")]


def check(binary, folder, model, images, picture):
    """One word, and what goes with it."""
    shake(model).save_pretrained(folder)
    out = folder / "out"
    options = []
    if images:
        images.save_pretrained(folder)
    else:
        options = ["--input", "96x64"]
    done = invoke(binary, "import", "--force", folder, "-o", out, "--name", "net", *options)
    if done.returncode:
        return "refused", done.stderr.strip().splitlines()[0]
    channels = model.config.num_channels
    size = tuple(map(int, re.search(r"^input: \d+x(\d+)x(\d+)$", (out / "net.yaml").read_text(), re.M).groups()))
    values = torch.randn(1, channels, *size)
    np.save(folder / "x.npy", values.numpy())
    wrong_by = difference(run(binary, out, "--input", folder / "x.npy"), answers(model, values))
    if wrong_by > TOLERANCE:
        return "WRONG", f"{wrong_by:.1e}\n{done.stderr}"
    if images:
        values = images(Image.open(picture), return_tensors="pt")["pixel_values"]
        of_picture = difference(run(binary, out, picture), answers(model, values))
        if of_picture > PICTURE_TOLERANCE:
            return "WRONG", f"picture {of_picture:.1e}"
        return "right", f"{wrong_by:.1e}, picture {of_picture:.1e}"
    return "right", f"{wrong_by:.1e}"


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", type=pathlib.Path, default=ROOT / "target/debug/resnet")
    parser.add_argument("--scratch", type=pathlib.Path, default=None)
    options = parser.parse_args()
    wrong = []
    scratch = pathlib.Path(tempfile.mkdtemp(dir=options.scratch))
    picture = scratch / "picture.png"
    grid = np.mgrid[0:150, 0:200]
    waves = [127 * (1 + np.sin(grid[0] / (5 + c) + grid[1] / (9 - c))) for c in range(3)]
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(picture)
    try:
        for number, (name, model, images) in enumerate(cases()):
            folder = scratch / str(number)
            kind, text = check(options.resnet, folder, model, images, picture)
            print(f"{name}: {kind}: {text}", flush=True)
            if kind == "WRONG" or (kind == "refused") != any(part in name for part in REFUSED):
                wrong.append(name)
    finally:
        shutil.rmtree(scratch)
    sys.exit(f"wrong: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
