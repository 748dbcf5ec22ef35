#!/usr/bin/env python3
"""Compile modules of torchvision, timm and transformers with `resnet.from_torch`, and compare the answers.

    pip install ./python torch torchvision timm transformers
    python tests/hub/check_from_torch.py

Weights are random and statistics of norms are shaken. Fails if an answer is off by more than 1e-4 of the largest.
"""
import sys

import numpy as np
import timm
import torch
import torchvision
import transformers

import resnet
from make import shake

TOLERANCE = 1e-4


def modules():
    for name in ["resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2"]:
        yield f"torchvision {name}", torchvision.models.get_model(name), {}
    for name in [
        "resnet18d", "resnet26t", "resnet50d", "resnetblur18", "resnetaa34d", "resnext26ts", "seresnet18", "ecaresnet26t",
        "resnetv2_50", "resnetv2_50d_gn", "regnetx_002", "legacy_seresnext26_32x4d",
    ]:
        yield f"timm {name}", timm.create_model(name), {}
    for changes in [{"num_classes": 7}, {"num_classes": 0}, {"in_chans": 1}, {"global_pool": "max"}]:
        yield f"timm resnet18 {changes}", timm.create_model("resnet18", **changes), {}
    tuned = timm.create_model("resnet18")
    tuned.fc = torch.nn.Linear(512, 11)
    yield "timm resnet18, another classifier", tuned, {}
    small = dict(embedding_size=16, hidden_sizes=[32, 64, 96, 128], depths=[1, 2, 1, 1], num_labels=7)
    for layer in ["basic", "bottleneck"]:
        config = transformers.ResNetConfig(layer_type=layer, **small)
        yield f"transformers {layer}", transformers.ResNetForImageClassification(config), {}
    config = transformers.ResNetConfig(downsample_in_first_stage=True, **small)
    yield "transformers downsample_in_first_stage", transformers.ResNetForImageClassification(config), {}


def main():
    torch.manual_seed(0)
    worst = 0.0
    for name, module, options in modules():
        shake(module)
        module.eval()
        net = resnet.from_torch(module, **options)
        x = torch.randn(2, *net.input)
        with torch.no_grad():
            expected = module(x)
        expected = getattr(expected, "logits", expected).numpy()
        difference = float(np.abs(net(x) - expected).max() / np.abs(expected).max())
        print(f"{name:45} {difference:.1e}")
        worst = max(worst, difference)
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
