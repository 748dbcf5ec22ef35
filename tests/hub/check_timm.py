#!/usr/bin/env python3
"""Import networks of timm as people download them, and compare the answers with PyTorch's.

    pip install numpy safetensors timm torch
    cargo build --workspace
    python tests/hub/check_timm.py                  # every name of the families below
    python tests/hub/check_timm.py resnet18 'regnety_00*'
    python tests/hub/check_timm.py '* *'            # names with arguments

Each network is made with random weights and statistics, saved as timm saves it for its hub (`model.safetensors`
and `config.json`), imported, and run on a random picture. Its answer is one of

    right     within 1e-4 of the largest output; where PyTorch's own f32 is further from its f64, as random weights can
              make it, the command computes in f64 too
    refused   with a message
    explained wrong, and an option that the import printed makes it right (without `config.json` alone)
    WRONG     anything else

`--alone` imports `model.safetensors` without its `config.json`. Fails if an answer is WRONG, or if less than
`--least` of the networks are right. Largest networks need 2 GB of memory; folders are written to `--scratch`, one at
a time.
"""
import argparse
import collections
import fnmatch
import itertools
import logging
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import timm
import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FAMILIES = (
    "resnet resnext seresnet seresnext ecaresnet wide_resnet resnetv2 resnetrs resnetaa resnetblur legacy_seresnet"
    " skresnet resnest res2net regnet"
).split()
# What `model_args` say beside the architecture.
VARIANTS = """
    resnet18 output_stride=8; resnet50d output_stride=16; resnetblur50 output_stride=8; resnetaa50d output_stride=16;
    resnetv2_50 output_stride=16; resnetv2_50d output_stride=8; regnetx_004 output_stride=8; regnety_002 output_stride=16;
    seresnet18 in_chans=1 num_classes=7; resnet10t num_classes=0; resnet14t global_pool=max; resnet26 act_layer=silu
"""
TOLERANCE = 1e-4


def family(name):
    """The longest of the families that the name begins with."""
    return max((word for word in FAMILIES if name.startswith(word)), key=len)


def variants():
    """Names with arguments behind them."""
    return [" ".join(variant.split()) for variant in VARIANTS.split(";")]


def made(name, **more):
    """The network of a name, which may have arguments behind it."""
    name, *arguments = name.split()
    arguments = [argument.split("=") for argument in arguments]
    arguments = {key: int(value) if value.isdigit() else value for key, value in arguments}
    return timm.create_model(name, **arguments, **more)


def create(name, size):
    """A network with random weights; its norms' statistics are those of pictures, and then shaken."""
    torch.manual_seed(sum(map(ord, name)))
    model = made(name, **({"img_size": size} if needs_size(name) else {}))
    norms = [module for module in model.modules() if hasattr(module, "running_var")]
    with torch.no_grad():
        for module in model.modules():
            if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim == 1:
                # timm begins with zeros at the end of every block; large ones would add up with the depth.
                module.weight.uniform_(*(0.5, 1.5) if module.weight.any() else (0.1, 0.5))
            if isinstance(getattr(module, "bias", None), nn.Parameter) and module.bias is not None:
                module.bias.normal_(0, 0.2)
        for norm in norms:
            norm.momentum = 1.0
        model.train()
        model(pictures(name, size, 4))
        model.eval()
        for norm in norms:
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25)).add_(1e-6)
            norm.running_mean.add_(0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean))
    return model


def needs_size(name):
    """Attention pools have a weight for each pixel."""
    return "clip" in name and "gap" not in name


def pictures(name, size, count):
    """Smooth ones, with noise."""
    generator = torch.Generator().manual_seed(len(name))
    channels = 1 if "in_chans=1" in name else 3
    draw = lambda *shape: torch.randn(count, channels, *shape, generator=generator)
    smooth = nn.functional.interpolate(draw(6, 6), size=(size, size), mode="bilinear")
    return smooth + 0.5 * draw(size, size)


class Refused(Exception):
    pass


def invoke(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode < 0 or "panicked" in done.stderr:
        sys.exit(f"the command failed: {arguments}\n{done.stderr}")
    if done.returncode:
        raise Refused(done.stderr.strip().removeprefix("error: "))
    return done.stderr


def difference(binary, source, out, size, options, picture, expected, backend):
    """What the import printed, and how far its answer is from PyTorch's, in units of the largest."""
    said = invoke(binary, "import", "--force", "-v", source, "-o", out, "--name", "net", "--input", size, *options)
    np.save(out / "x.npy", picture)
    invoke(
        binary, "run", out / "net.yaml", "--weights", out / "net.safetensors", "--input", out / "x.npy",
        "--output", out / "y.npy", "--threads", 1, *backend,
    )
    found = np.load(out / "y.npy").reshape(-1)
    if found.shape != expected.shape:
        return said, float("inf")
    return said, float(np.abs(found - expected).max() / np.abs(expected).max())


def said_options(said):
    """Options with their values that notes name, alone, in pairs and in threes."""
    found = re.findall(r"`(--[a-z-]+ [\w.,-]+)`", said)
    found = [option.split() for option in dict.fromkeys(found)]
    for count in 1, 2, 3:
        for options in itertools.combinations(found, count):
            if len({option for option, _ in options}) == count:
                yield sum(options, [])


def judge(binary, folder, size, alone, picture, expected, backend):
    source = folder
    if alone:
        source = folder / "model.safetensors"
        (folder / "config.json").unlink(missing_ok=True)
    attempt = lambda options: difference(binary, source, folder / "out", size, options, picture, expected, backend)
    (folder / "out").mkdir(exist_ok=True)
    try:
        said, wrong_by = attempt([])
    except Refused as refusal:
        return "refused", str(refusal)
    if wrong_by <= TOLERANCE:
        return "right", f"{wrong_by:.1e}"
    for options in said_options(said) if alone else ():
        try:
            if attempt(options)[1] <= TOLERANCE:
                return "explained", " ".join(options)
        except Refused:
            pass
    return "WRONG", f"{wrong_by:.1e}"


def reason(message):
    """A refusal without what differs from network to network."""
    message = re.sub(r"^`[^`]*`: ", "", message.splitlines()[0])
    message = re.sub(r"\d+(\.\d+)*", "N", message)
    return message[:150]


def report(results):
    kinds = ["right", "explained", "refused", "WRONG"]
    rows = collections.defaultdict(collections.Counter)
    for name, (kind, _) in results.items():
        rows[family(name)][kind] += 1
        rows["all"][kind] += 1
    print(f"\n{'family':16} {'names':>6} " + " ".join(f"{kind:>9}" for kind in kinds))
    for word in [*FAMILIES, "all"]:
        if row := rows.get(word):
            print(f"{word:16} {row.total():6} " + " ".join(f"{row[kind]:9}" for kind in kinds))
    reasons = collections.defaultdict(list)
    for name, (kind, text) in results.items():
        if kind in ("refused", "explained"):
            reasons[f"{kind}: {reason(text)}"].append(name)
    for text, names in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        print(f"\n{len(names)} {text}\n    {' '.join(names)}")
    return rows["all"]


def main():
    logging.disable()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names or patterns")
    parser.add_argument("--alone", action="store_true", help="without config.json")
    parser.add_argument("--both", action="store_true", help="with config.json, then without")
    parser.add_argument("--no-variants", action="store_true", help="names alone")
    parser.add_argument("--size", type=int, default=96, help="of pictures")
    parser.add_argument("--largest", type=float, default=100e6, help="parameters")
    parser.add_argument("--least", type=float, default=0.0, help="part of the networks that must be right")
    parser.add_argument("--resnet", type=pathlib.Path, default=ROOT / "target/debug/resnet")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("/dev/shm"))
    options = parser.parse_args()
    names = [name for name in timm.list_models() if name.startswith(tuple(FAMILIES))]
    names += [] if options.no_variants else variants()
    if options.names:
        names = [name for name in names if any(fnmatch.fnmatch(name, word) for word in options.names)]
    modes = [False, True] if options.both else [options.alone]
    results = {mode: {} for mode in modes}
    for name in names:
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in made(name).parameters())
        if count > options.largest:
            continue
        model = create(name, options.size)
        picture = pictures(name, options.size, 1)
        expected = model(picture).numpy().reshape(-1)
        assert np.isfinite(expected).all() and np.abs(expected).max() > 0, name
        folder = pathlib.Path(tempfile.mkdtemp(dir=options.scratch))
        try:
            timm.models.save_for_hf(model, folder, safe_serialization=True)
            exact = model.double()(picture.double()).numpy().reshape(-1)
            del model
            off = np.abs(expected - exact).max() / np.abs(exact).max()
            backend = ["--backend", "reference"] if off > TOLERANCE / 4 else []
            for alone in modes:
                outcome = judge(options.resnet, folder, options.size, alone, picture.numpy(), exact, backend)
                results[alone][name] = outcome
                kind, text = outcome
                how = " alone" if alone else ""
                print(f"{name}{how}: {kind}: {text.splitlines()[0][:160]}", flush=True)
        finally:
            shutil.rmtree(folder)
    failed = False
    for alone in modes:
        print(f"\n{'model.safetensors alone' if alone else 'model.safetensors with config.json'}:")
        counts = report(results[alone])
        failed |= counts["WRONG"] > 0 or (not alone and counts["right"] < options.least * counts.total())
    sys.exit(failed)


if __name__ == "__main__":
    main()
