#!/usr/bin/env python3
"""Make the folders in `tests/hub`: small networks as timm and transformers save them, with their answers.

    pip install numpy safetensors timm torch transformers
    python tests/hub/make.py
"""
import json
import pathlib

import numpy as np
import timm
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent


def shake(model):
    """Statistics and scales that no layer begins with."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            elif isinstance(module, torch.nn.GroupNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return model.eval()


def write(name, model, size):
    picture = torch.randn(1, 3, *size)
    with torch.no_grad():
        answer = model(picture)
    parts = list(getattr(answer, "feature_maps", None) or [getattr(answer, "logits", answer)])
    folder = HERE / name
    np.save(folder / "input.npy", picture.numpy())
    np.save(folder / "output.npy", np.concatenate([part.detach().numpy().ravel() for part in parts]))


def timm_blur():
    """Blurs, the older form of dilation, and labels in two steps."""
    name = "timm-blur"
    model = shake(timm.create_model("resnetblur18", channels=(8, 8, 16, 16), num_classes=3, output_stride=16))
    labels = ["n01", "n02", "n03"]
    timm.models.save_for_hf(
        model,
        HERE / name,
        safe_serialization=True,
        model_config={"label_names": labels, "label_descriptions": {"n01": "a cat", "n03": "a dog"}},
        data_config={"input_size": (3, 64, 80), "crop_pct": 0.8, "interpolation": "bilinear"},
    )
    write(name, model, (64, 80))


def transformers_strides():
    """Strides in the first stage and on the first convolution of bottlenecks; an image processor."""
    name = "transformers-strides"
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 16],
        depths=[1, 2],
        downsample_in_first_stage=True,
        downsample_in_bottleneck=True,
        id2label={0: "cat", 1: "dog", 2: "a  newt"},
    )
    model = shake(transformers.ResNetForImageClassification(config))
    model.save_pretrained(HERE / name)
    processor = transformers.ConvNextImageProcessor(
        size={"shortest_edge": 64}, crop_pct=0.8, resample=2, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]
    )
    processor.save_pretrained(HERE / name)
    write(name, model, (64, 64))


def transformers_backbone():
    """Outputs of some stages are the answer."""
    name = "transformers-backbone"
    config = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stem", "stage2"]
    )
    model = shake(transformers.ResNetBackbone(config))
    model.save_pretrained(HERE / name)
    write(name, model, (64, 48))


def transformers_bit():
    """TensorFlow's padding, weight standardization, few groups."""
    name = "transformers-bit"
    config = transformers.BitConfig(
        embedding_size=8,
        hidden_sizes=[32, 32],
        depths=[1, 2],
        num_groups=4,
        global_padding="same",
        embedding_dynamic_padding=True,
        hidden_act="silu",
        id2label={0: "cat", 1: "dog", 2: "newt"},
    )
    model = shake(transformers.BitForImageClassification(config))
    model.save_pretrained(HERE / name)
    write(name, model, (51, 64))


def main():
    torch.manual_seed(0)
    timm_blur()
    transformers_strides()
    transformers_backbone()
    transformers_bit()


if __name__ == "__main__":
    main()
