#!/usr/bin/env python3
"""Make the golden networks: layer tables, weights, inputs, and the outputs that PyTorch computes.

    pip install torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6 safetensors==0.8.0
    python make.py                  # rewrites every file beside this script
    python make.py --only pools     # one network
    python make.py --verify         # writes nothing; fails where a file differs

Each network NAME below becomes four files:

    NAME.yaml         the layer table
    NAME.safetensors  its weights, by torchvision's names unless the table says otherwise
    NAME.input.npy    f32, N x C x H x W
    NAME.output.npy   f32, N x outputs: computed in f64 from exactly the stored weights and inputs

and `zoo.json` holds what torchvision and timm say about the networks of the zoo.

Two things keep this script honest. Tables that torchvision or timm can express are also run
through their own modules with the same state dict, loaded strictly, and must agree; so
must torchvision's networks at their full width, and the block of `models/cifar10/train.py` for
`zero_pad`. And what the tables `expect` (parameters, multiply-adds) and claim as `output` is
counted by PyTorch from the tensors that were used.
"""
import argparse
import functools
import importlib.util
import io
import json
import math
import pathlib
import sys
import textwrap
import zlib

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save as safetensors_bytes
from timm.layers import BatchNormAct2d, BlurPool2d, GroupNorm, GroupNormAct, StdConv2d, create_conv2d
from timm.models import res2net as timm_res2net
from timm.models import resnet as timm_resnet
from timm.models import resnetv2 as timm_resnetv2
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.resnet import BasicBlock, Bottleneck

HERE = pathlib.Path(__file__).resolve().parent


# ---------------------------------------------------------------------------------------------
# The networks


def row(layer, op, **keys):
    return {"layer": layer, "op": op, **keys}


def head(classes):
    return [row("avgpool", "global_average_pool"), row("fc", "linear", channels=classes)]


class Golden:
    """A network to make: its table, its batch, how its weights are stored."""

    def __init__(self, name, input, table, batch, covers, epsilon=None, store=torch.float32, torchvision=None,
                 timm=None, batches_tracked=False, pre_activation=False, linear_as_conv=False,
                 features=(), activation=None, standardise=False, allow=()):
        self.name, self.input, self.table, self.batch, self.covers = name, input, table, batch, covers
        self.epsilon, self.store = epsilon, store
        # Arguments of `Shrunk`, where torchvision can express the table.
        self.torchvision = torchvision
        # A function that makes timm's module, where timm can express the table.
        self.timm = timm
        self.pre_activation = pre_activation
        # That of rows and blocks that name none, if it is not ReLU.
        self.activation = activation
        # What the table says of weight standardization.
        self.standardise = standardise
        # Rows whose outputs are the answer; the last row's if none is named.
        self.features = features
        # What the table is not to be warned of.
        self.allow = allow
        # Whether linear weights are stored as those of 1x1 convolutions.
        self.linear_as_conv = linear_as_conv
        # Real state dicts also hold batch norm's counter of batches, an integer nobody needs.
        self.batches_tracked = batches_tracked or torchvision is not None or timm is not None


GOLDENS = [
    Golden(
        "basic", "3x37x29", batch=2,
        covers="basic blocks, projections, odd sizes down to 2x1, torchvision's stem",
        torchvision=dict(block=BasicBlock, stem=12, planes=(12, 20, 24, 36), layers=(2, 1, 2, 1), classes=10),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=12),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "basic", repeat=2, channels=12),
            row("conv3_x", "basic", channels=20, stride=2),
            row("conv4_x", "basic", repeat=2, channels=24, stride=2),
            row("conv5_x", "basic", channels=36, stride=2),
            *head(10),
        ]),
    Golden(
        "aligned", "3x32x32", batch=1,
        covers="channels that are multiples of 16, 3x3 kernels of stride 1 on even sizes",
        table=[
            row("conv1", "conv", kernel=3, channels=16),
            row("conv2_x", "basic", repeat=2, channels=16),
            row("conv3_x", "basic", repeat=2, channels=32, stride=2),
            *head(16),
        ]),
    Golden(
        "bottleneck", "3x32x32", batch=1,
        covers="bottlenecks, stride on the 3x3, torchvision's stem",
        torchvision=dict(block=Bottleneck, stem=10, planes=(4, 6, 8, 10), layers=(1, 2, 1, 2), classes=7),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=10),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=16),
            row("conv3_x", "bottleneck", repeat=2, channels=24, stride=2),
            row("conv4_x", "bottleneck", channels=32, stride=2),
            row("conv5_x", "bottleneck", repeat=2, channels=40, stride=2),
            *head(7),
        ]),
    Golden(
        "bottleneck-stride-1x1", "4x23x17", batch=2,
        covers="bottlenecks, stride on the 1x1 (also 1x2), 4 input channels, no pool",
        table=[
            row("conv1", "conv", kernel=3, stride=2, channels=24),
            row("conv2_x", "bottleneck", channels=32, stride_on="1x1"),
            row("conv3_x", "bottleneck", repeat=2, channels=40, stride=2, stride_on="1x1"),
            row("conv4_x", "bottleneck", channels=44, stride="1x2", stride_on="1x1"),
            *head(9),
        ]),
    Golden(
        "bottleneck-groups", "3x33x33", batch=2,
        covers="bottlenecks of 8 groups, 3 to 7 channels a group, widths 24, 32, 48, 56",
        torchvision=dict(block=Bottleneck, stem=8, planes=(4, 6, 8, 10), layers=(1, 1, 2, 1), classes=10,
                         groups=8, width_per_group=48),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=8),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=16, width=24, groups=8),
            row("conv3_x", "bottleneck", channels=24, width=32, groups=8, stride=2),
            row("conv4_x", "bottleneck", repeat=2, channels=32, width=48, groups=8, stride=2),
            row("conv5_x", "bottleneck", channels=40, width=56, groups=8, stride=2),
            *head(10),
        ]),
    Golden(
        "bottleneck-widths", "1x13x11", batch=5, allow=["wide_bottleneck"],
        covers="explicit widths; groups of 16, 8, 1 (depthwise) and 32 channels; 1 input channel, batch 5",
        table=[
            row("conv1", "conv", kernel=3, channels=18),
            row("wide", "bottleneck", channels=20, width=40),
            row("two_of_16", "bottleneck", channels=32, width=32, groups=2, stride=2),
            row("three_of_8", "bottleneck", repeat=2, channels=28, width=24, groups=3),
            row("depthwise", "bottleneck", channels=40, width=16, groups=16, stride=2),
            row("two_of_32", "bottleneck", channels=24, width=64, groups=2),
            *head(6),
        ]),
    Golden(
        "zero-pad", "3x17x15", batch=2,
        covers="shortcut A, an odd number of new channels (8 to 21), odd sizes, softmax",
        table=[
            row("conv1", "conv", kernel=3, channels=8),
            row("conv2_x", "basic", repeat=2, channels=8, shortcut="zero_pad"),
            row("conv3_x", "basic", repeat=2, channels=21, stride=2, shortcut="zero_pad"),
            row("conv4_x", "basic", channels=40, stride=2, shortcut="zero_pad"),
            *head(10),
            row("prob", "softmax"),
        ]),
    Golden(
        "zero-pad-variants", "20x11x9", batch=1,
        covers="no stem, first block reads 20 input channels; shortcut A with stride alone, with channels alone, "
               "on bottlenecks, with stride 2x1",
        table=[
            row("first", "basic", channels=20, shortcut="zero_pad"),
            row("subsample", "basic", channels=20, stride=2, shortcut="zero_pad"),
            row("widen", "basic", channels=23, shortcut="zero_pad"),
            row("deep", "bottleneck", repeat=2, channels=40, width=12, stride="2x1", shortcut="zero_pad"),
            *head(5),
        ]),
    Golden(
        "project-all", "3x19x21", batch=2, epsilon=1e-3, store=torch.float16,
        covers="shortcut C in basic blocks and bottlenecks, norm_epsilon 1e-3, weights stored as f16",
        table=[
            row("conv1", "conv", kernel=3, stride=2, channels=14),
            row("conv2_x", "basic", repeat=2, channels=14, shortcut="project_all"),
            row("conv3_x", "bottleneck", repeat=2, channels=36, stride=2, shortcut="project_all"),
            *head(10),
        ]),
    Golden(
        "plain", "3x18x22", batch=1, store=torch.bfloat16,
        covers="no shortcuts at all in basic blocks and bottlenecks, weights stored as bf16",
        table=[
            row("conv1", "conv", kernel=3, channels=12),
            row("conv2_x", "basic", repeat=2, channels=12, shortcut="none"),
            row("conv3_x", "basic", repeat=2, channels=26, stride=2, shortcut="none"),
            row("conv4_x", "bottleneck", repeat=2, channels=32, stride=2, shortcut="none"),
            *head(10),
        ]),
    Golden(
        "conv-rows", "4x40x31", batch=2, allow=["skipped_pixels", "windows_in_padding"],
        covers="conv rows: 5x5 of stride 3, 1x3 and 3x5 with unequal strides, padding 0, 0x1 and more than "
               "half the kernel, norm and bias in all four ways, no activation; ends with a convolution",
        table=[
            row("big", "conv", kernel=5, stride=3, channels=13),
            row("flat", "conv", kernel="1x3", stride="1x2", padding="0x1", channels=19, norm="none"),
            row("wide", "conv", kernel="3x5", stride="2x1", channels=24, bias=True),
            row("valid", "conv", kernel=3, padding=0, channels=17, norm="none", bias=False),
            row("point", "conv", kernel=1, padding=1, channels=33, activation="none"),
            row("last", "conv", kernel="2x1", stride="1x2", padding=0, channels=6, norm="none", activation="none"),
        ]),
    Golden(
        "conv-groups", "20x21x16", batch=1,
        covers="conv rows with groups (20 input channels in 4, 32 in 2, depthwise with 1 and 2 outputs a channel), "
               "no linear row, ends with global average pooling",
        table=[
            row("four_of_5", "conv", kernel=3, channels=32, groups=4),
            row("two_of_16", "conv", kernel=3, stride=2, channels=48, groups=2),
            row("depthwise", "conv", kernel=5, channels=48, groups=48, norm="none", activation="none"),
            row("point", "conv", kernel=1, channels=18),
            row("twice", "conv", kernel=3, stride="2x1", channels=36, groups=18),
            row("mean", "global_average_pool"),
        ]),
    Golden(
        "pools", "20x35x27", batch=2, allow=["stacked_linear"],
        covers="begins with a pool; max pools 3/2, 2/2 with padding 0 and with padding 1, 1x3, of negative values too; average pools that "
               "count their padding; two linear rows, softmax",
        table=[
            row("pool1", "max_pool", kernel=3, stride=2),
            row("pool2", "average_pool", kernel=3),
            row("conv1", "conv", kernel=3, channels=22, activation="none"),
            row("pool3", "max_pool", kernel=2, stride=2, padding=0),
            row("pool4", "average_pool", kernel="2x3", stride="1x2", padding="1x0"),
            row("pool5", "max_pool", kernel="1x3", stride=1),
            row("pool6", "max_pool", kernel=2, stride=2),
            row("hidden", "linear", channels=30, weights="classifier.0"),
            row("logits", "linear", channels=11, weights="classifier.2"),
            row("prob", "softmax"),
        ]),
    Golden(
        "flatten", "3x15x12", batch=5, allow=["flattened_pixels"],
        covers="linear directly after a 5x4 activation (channel, row, column order), batch 5",
        table=[
            row("conv1", "conv", kernel=3, stride=3, channels=18),
            row("fc", "linear", channels=12),
        ]),
    Golden(
        "linear-only", "3x5x4", batch=2,
        covers="no convolution: the picture itself is flattened",
        table=[
            row("fc", "linear", channels=21),
        ]),
    Golden(
        "no-stem", "3x20x14", batch=2,
        covers="begins with a basic block of stride 2 that reads the picture, basic and bottleneck mixed",
        table=[
            row("conv1_x", "basic", channels=20, stride=2),
            row("conv2_x", "bottleneck", repeat=2, channels=36, width=14, stride=2),
            row("conv3_x", "basic", channels=30),
            *head(8),
        ]),
    Golden(
        "named", "3x24x24", batch=1, batches_tracked=True,
        covers="weights and norm_weights of the table's own; batch norm's counters in the file",
        table=[
            row("stem_a", "conv", kernel=3, stride=2, channels=9, weights="stem.0", norm_weights="stem.1"),
            row("stem_b", "conv", kernel=3, channels=15, weights="stem.3", norm_weights="stem.4"),
            row("pool", "average_pool", kernel=2, stride=2, padding=0),
            row("body", "basic", repeat=2, channels=15, weights="backbone.blocks1"),
            row("neck", "bottleneck", channels=28, stride=2, weights="backbone.blocks2"),
            row("avgpool", "global_average_pool"),
            row("head", "linear", channels=10, weights="head.out"),
        ]),
    Golden(
        "one-pixel", "1x9x9", batch=2,
        covers="3x3 kernels and pools on 1x1 activations, two default conv rows, default names past a row without norm",
        table=[
            row("conv1", "conv", kernel=3, stride=3, channels=16, norm="none"),
            row("conv2", "conv", kernel=3, stride=3, channels=24),
            row("conv3_x", "basic", repeat=2, channels=24),
            row("pool", "average_pool", kernel=3),
            row("conv4_x", "bottleneck", channels=40),
            row("fc", "linear", channels=4),
        ]),
    Golden(
        "pool-projection", "3x37x29", batch=2,
        covers="shortcut D (average pool, then projection) at odd sizes down to 2x1, a deep stem with timm's names",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 2, 1, 2), num_classes=9, stem_width=6, stem_type="deep",
            avg_down=True, channels=(4, 6, 9, 10)),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=6, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=6, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=12, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=16, shortcut="pool_projection"),
            row("conv3_x", "bottleneck", repeat=2, channels=24, stride=2, shortcut="pool_projection"),
            row("conv4_x", "bottleneck", channels=36, stride=2, shortcut="pool_projection"),
            row("conv5_x", "bottleneck", repeat=2, channels=40, stride=2, shortcut="pool_projection"),
            *head(9),
        ]),
    Golden(
        "pool-projection-variants", "3x11x10", batch=1,
        covers="shortcut D in basic blocks, with strides 3 and 1x2, from one column",
        table=[
            row("conv1", "conv", kernel=3, channels=10),
            row("three", "basic", repeat=2, channels=10, stride=3, shortcut="pool_projection"),
            row("wide", "basic", channels=20, stride="1x2", shortcut="pool_projection"),
            row("tall", "bottleneck", channels=20, stride=2, shortcut="pool_projection"),
            row("one", "basic", channels=18, stride=2, shortcut="pool_projection"),
            row("mean", "global_average_pool"),
        ]),
    Golden(
        "dilation", "3x49x41", batch=2,
        covers="dilated stages that begin with the dilation of the stage before them, as torchvision's "
               "replace_stride_with_dilation has it; output stride 8",
        torchvision=dict(block=Bottleneck, stem=10, planes=(4, 8, 8, 10), layers=(1, 1, 2, 3), classes=7,
                         dilate=(False, False, True, True)),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=10),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=16),
            row("conv3_x", "bottleneck", channels=32, stride=2),
            row("conv4_x", "bottleneck", repeat=2, channels=32, dilation=2),
            row("conv5_x", "bottleneck", repeat=3, channels=40, dilation=4),
            *head(7),
        ]),
    Golden(
        "dilation-basic", "3x33x25", batch=1,
        covers="dilated basic blocks as timm has them, output stride 16",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.BasicBlock, (1, 1, 2, 2), num_classes=5, output_stride=16, stem_width=4,
            stem_type="deep", channels=(12, 20, 24, 20)),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=4, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=4, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=8, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "basic", channels=12),
            row("conv3_x", "basic", channels=20, stride=2),
            row("conv4_x", "basic", repeat=2, channels=24, stride=2),
            row("conv5_x", "basic", repeat=2, channels=20, dilation=2),
            *head(5),
        ]),
    Golden(
        "dilation-pool-projection", "3x35x27", batch=2,
        covers="shortcut D of dilated stages as timm has it, output stride 8, odd and even sizes",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 1, 2, 1), num_classes=6, output_stride=8, stem_width=4,
            stem_type="deep", avg_down=True, channels=(4, 6, 7, 8)),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=4, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=4, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=8, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=16, shortcut="pool_projection"),
            row("conv3_x", "bottleneck", channels=24, stride=2, shortcut="pool_projection"),
            row("conv4_x", "bottleneck", repeat=2, channels=28, dilation=2, shortcut="pool_projection"),
            row("conv5_x", "bottleneck", channels=32, dilation=4, shortcut="pool_projection"),
            *head(6),
        ]),
    Golden(
        "dilation-rows", "3x31x28", batch=1, allow=["skipped_pixels"],
        covers="dilation of conv rows: planar and blocked, with strides, groups, even and oblong kernels; "
               "first_dilation; a 3x3 kernel that reaches past a small activation",
        table=[
            row("stem", "conv", kernel=3, dilation=2, channels=12),
            row("strided", "conv", kernel=3, dilation="3x2", stride=2, channels=20),
            row("even", "conv", kernel="2x4", dilation=3, channels=24, norm="none"),
            row("grouped", "conv", kernel="1x5", dilation="1x2", padding=0, channels=24, groups=6),
            row("blocks", "bottleneck", repeat=2, channels=28, stride=2, dilation=3, first_dilation="1x2", groups=7),
            row("last", "conv", kernel=3, dilation=9, channels=10, norm="none", activation="none"),
        ]),
    Golden(
        "padding", "3x30x23", batch=2, allow=["windows_in_padding"],
        covers="padding that differs from side to side: conv rows planar, blocked, strided and dilated; max pools of "
               "negative values; average pools that count their padding and that do not",
        table=[
            row("stem", "conv", kernel=5, stride=2, channels=14, padding=dict(top=1, bottom=2, left=0, right=3),
                activation="none"),
            row("winograd", "conv", kernel=3, channels=22, padding=dict(top=0, bottom=2, left=1, right=4),
                activation="none"),
            row("pool1", "max_pool", kernel=3, stride=2, padding=dict(bottom=1, right=1)),
            row("shifted", "conv", kernel=3, channels=18, padding=dict(top=2, right=2), activation="none"),
            row("uncounted", "average_pool", kernel=3, stride=2, padding=dict(top=1, left=1, right=1),
                count_padding=False),
            row("spread", "conv", kernel=3, dilation=2, channels=16, padding=dict(top=0, bottom=4, left=3, right=1)),
            row("counted", "average_pool", kernel=2, padding=dict(bottom=1, left=1)),
            row("mean", "average_pool", kernel=3, count_padding=False),
            row("fc", "linear", channels=6),
        ]),
    Golden(
        "padding-same", "3x32x27", batch=2, epsilon=1e-3,
        covers="padding as TensorFlow's SAME in conv rows, pools and blocks, even and odd sizes; blocks whose "
               "convolutions have biases and whose projections have no norm",
        table=[
            row("stem", "conv", kernel=7, stride=2, channels=12, padding="same", bias=True),
            row("pool1", "max_pool", kernel=3, stride=2, padding="same"),
            row("conv2_x", "basic", channels=12, padding="same", bias=True),
            row("conv3_x", "basic", repeat=2, channels=24, stride=2, padding="same", bias=True, projection_norm="none"),
            row("wide", "conv", kernel="4x3", dilation="1x2", stride="1x1", channels=20, padding="same"),
            row("conv4_x", "bottleneck", channels=28, stride=2, padding="same", projection_norm="none"),
            row("mean", "average_pool", kernel=2, stride=2, padding="same", count_padding=False),
            row("fc", "linear", channels=10),
        ]),
    Golden(
        "pre-activation", "3x37x33", batch=2, pre_activation=True, linear_as_conv=True,
        covers="pre-activation bottlenecks with timm's names, the classifier stored as a 1x1 convolution",
        timm=lambda: timm_resnetv2.ResNetV2(
            [1, 2, 1, 2], channels=(32, 64, 64, 96), num_classes=7, stem_chs=8, conv_layer=create_conv2d,
            norm_layer=BatchNormAct2d),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=8, norm="none", bias=False, activation="none",
                weights="stem.conv"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=32, weights="stages.0.blocks"),
            row("conv3_x", "bottleneck", repeat=2, channels=64, stride=2, weights="stages.1.blocks"),
            row("conv4_x", "bottleneck", channels=64, stride=2, weights="stages.2.blocks"),
            row("conv5_x", "bottleneck", repeat=2, channels=96, stride=2, weights="stages.3.blocks"),
            row("norm", "norm"),
            row("avgpool", "global_average_pool"),
            row("fc", "linear", channels=7, weights="head.fc"),
        ]),
    Golden(
        "pre-activation-basic", "3x35x26", batch=1, pre_activation=True, linear_as_conv=True,
        covers="pre-activation basic blocks with timm's names, a deep stem, shortcut D",
        timm=lambda: timm_resnetv2.ResNetV2(
            [1, 2, 1, 1], channels=(16, 24, 24, 40), num_classes=5, stem_chs=16, stem_type="deep", avg_down=True,
            basic=True, bottle_ratio=1.0, conv_layer=create_conv2d, norm_layer=BatchNormAct2d),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=8, weights="stem.conv1", norm_weights="stem.norm1"),
            row("stem2", "conv", kernel=3, channels=8, weights="stem.conv2", norm_weights="stem.norm2"),
            row("stem3", "conv", kernel=3, channels=16, norm="none", bias=False, activation="none",
                weights="stem.conv3"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "basic", channels=16, weights="stages.0.blocks", shortcut="pool_projection"),
            row("conv3_x", "basic", repeat=2, channels=24, stride=2, weights="stages.1.blocks",
                shortcut="pool_projection"),
            row("conv4_x", "basic", channels=24, stride=2, weights="stages.2.blocks", shortcut="pool_projection"),
            row("conv5_x", "basic", channels=40, stride=2, weights="stages.3.blocks", shortcut="pool_projection"),
            row("norm", "norm"),
            row("avgpool", "global_average_pool"),
            row("fc", "linear", channels=5, weights="head.fc"),
        ]),
    Golden(
        "pre-activation-variants", "20x14x11", batch=2, pre_activation=True, epsilon=1e-3,
        covers="pre-activation with all other shortcuts, from the picture itself, dilated, in groups, with biases and "
               "with normed projections; norm rows without ReLU and one after another; ends with an addition",
        table=[
            row("first", "norm", activation="none"),
            row("keep", "basic", channels=20),
            row("zeros", "bottleneck", channels=32, stride=2, shortcut="zero_pad", groups=2),
            row("second", "norm"),
            row("third", "norm", activation="none"),
            row("all", "basic", repeat=2, channels=32, shortcut="project_all", projection_norm="batch"),
            row("conv", "conv", kernel=1, channels=24, norm="none", activation="none"),
            row("folded", "norm"),
            row("plain", "bottleneck", repeat=2, channels=28, shortcut="none"),
            row("last", "basic", repeat=2, channels=28, dilation=2, bias=True),
        ]),
    Golden(
        "res2net", "3x49x43", batch=2,
        covers="Res2Net's blocks as timm has them, with dilation in the place of the last stride",
        timm=lambda: timm_resnet.ResNet(
            timm_res2net.Bottle2neck, (2, 3, 2, 2), num_classes=8, base_width=48, channels=(8, 9, 10, 12),
            output_stride=16, block_args=dict(scale=3)),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=64),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", repeat=2, channels=32, width=6, scale=3),
            row("conv3_x", "bottleneck", repeat=3, channels=36, stride=2, width=6, scale=3),
            row("conv4_x", "bottleneck", repeat=2, channels=40, stride=2, width=7, scale=3),
            row("conv5_x", "bottleneck", repeat=2, channels=48, dilation=2, width=9, scale=3),
            *head(8),
        ]),
    Golden(
        "res2net-variants", "2x23x29", batch=3,
        covers="Res2Net's blocks of 2 to 8 chunks with groups, biases, attention and other shortcuts; chunks of 1 channel, of "
               "whole blocks, and of more",
        table=[
            row("conv1", "conv", kernel=3, channels=19),
            row("groups", "bottleneck", repeat=3, channels=40, width=10, scale=4, groups=5, stride="1x2"),
            row("biases", "bottleneck", repeat=2, channels=40, width=16, scale=2, bias=True),
            row("narrow", "bottleneck", repeat=2, channels=47, width=1, scale=8, shortcut="zero_pad", stride=2),
            row("pooled", "bottleneck", repeat=2, channels=60, width=18, scale=3, stride=2, shortcut="pool_projection",
                squeeze_excitation=dict(channels=4), activation="silu"),
            row("projected", "bottleneck", repeat=3, channels=21, width=5, scale=3, shortcut="project_all", eca=3),
            row("dilated", "bottleneck", repeat=2, channels=37, width=32, scale=3, dilation="2x1", groups=2),
            row("plain", "bottleneck", repeat=2, channels=20, width=3, scale=5, shortcut="none"),
            *head(7),
        ]),
    Golden(
        "squeeze-excitation", "3x35x39", batch=2,
        covers="squeeze-and-excitation in bottlenecks as timm has it",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 2, 1, 1), num_classes=8, stem_width=5, stem_type="deep",
            channels=(5, 8, 9, 12), block_args=dict(attn_layer="se")),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=5, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=5, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=10, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=20, squeeze_excitation=dict(reduction=16)),
            row("conv3_x", "bottleneck", repeat=2, channels=32, stride=2, squeeze_excitation=dict(reduction=16)),
            row("conv4_x", "bottleneck", channels=36, stride=2, squeeze_excitation=dict(reduction=16)),
            row("conv5_x", "bottleneck", channels=48, stride=2, squeeze_excitation=dict(reduction=16)),
            *head(8),
        ]),
    Golden(
        "eca", "3x35x39", batch=2,
        covers="efficient channel attention in basic blocks as timm has it, kernels from the number of channels",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.BasicBlock, (2, 1, 1, 1), num_classes=8, stem_width=5, stem_type="deep", avg_down=True,
            channels=(10, 20, 24, 36), block_args=dict(attn_layer="eca")),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=5, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=5, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=10, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "basic", repeat=2, channels=10, eca="adaptive"),
            row("conv3_x", "basic", channels=20, stride=2, shortcut="pool_projection", eca="adaptive"),
            row("conv4_x", "basic", channels=24, stride=2, shortcut="pool_projection", eca="adaptive"),
            row("conv5_x", "basic", channels=36, stride=2, shortcut="pool_projection", eca="adaptive"),
            *head(8),
        ]),
    Golden(
        "attention-variants", "20x17x14", batch=2,
        covers="squeeze-and-excitation and efficient channel attention beside every shortcut, with kernels up to more "
               "than the channels there are, other reductions; ends with a gated block",
        table=[
            row("same", "basic", repeat=2, channels=20, squeeze_excitation=dict(channels=3)),
            row("zeros", "basic", channels=37, stride=2, shortcut="zero_pad", squeeze_excitation=dict(reduction=4)),
            row("zeros2", "bottleneck", channels=40, stride="1x2", shortcut="zero_pad", eca=3),
            row("all", "bottleneck", repeat=2, channels=24, shortcut="project_all", eca=1),
            row("plain", "basic", channels=22, shortcut="none", eca=49),
            row("last", "bottleneck", channels=28, stride=2, squeeze_excitation=dict(reduction=1)),
        ]),
    Golden(
        "attention-pre-activation", "3x9x13", batch=1, pre_activation=True,
        covers="attention in pre-activation blocks, which end with the addition or with the gate itself",
        table=[
            row("conv1", "conv", kernel=3, channels=18, norm="none", bias=False, activation="none"),
            row("squeezed", "basic", repeat=2, channels=18, squeeze_excitation=dict(reduction=2)),
            row("plain", "bottleneck", channels=36, stride=2, shortcut="none", eca=5),
            row("norm", "norm"),
            *head(5),
        ]),
    Golden(
        "blur", "3x37x42", batch=2,
        covers="anti-aliased bottlenecks and stem as timm has them, odd and even sizes down to 2",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 2, 1, 1), num_classes=7, stem_width=5, stem_type="deep",
            channels=(5, 8, 9, 12), aa_layer=BlurPool2d),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=5, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=5, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=10, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3),
            row("blur1", "blur", stride=2),
            row("conv2_x", "bottleneck", channels=20, anti_alias="blur"),
            row("conv3_x", "bottleneck", repeat=2, channels=32, stride=2, anti_alias="blur"),
            row("conv4_x", "bottleneck", channels=36, stride=2, anti_alias="blur"),
            row("conv5_x", "bottleneck", channels=48, stride=2, anti_alias="blur"),
            *head(7),
        ]),
    Golden(
        "blur-dilation", "3x33x25", batch=1,
        covers="anti-aliased basic blocks as timm has them, output stride 16: where dilation grows, a blur of stride 1",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.BasicBlock, (1, 1, 2, 2), num_classes=5, output_stride=16, stem_width=4,
            stem_type="deep", channels=(12, 16, 20, 20), aa_layer=BlurPool2d),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=4, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=4, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=8, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3),
            row("blur1", "blur", stride=2),
            row("conv2_x", "basic", channels=12, anti_alias="blur"),
            row("conv3_x", "basic", channels=16, stride=2, anti_alias="blur"),
            row("conv4_x", "basic", repeat=2, channels=20, stride=2, anti_alias="blur"),
            row("conv5_x", "basic", repeat=2, channels=20, dilation=2, anti_alias="blur"),
            *head(5),
        ]),
    Golden(
        "anti-alias-average", "3x64x64", batch=2,
        covers="blocks and stem with an average pool in the place of their stride, as timm has them, shortcut D",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 1, 1, 2), num_classes=6, stem_width=4, stem_type="deep", avg_down=True,
            channels=(4, 6, 7, 8), aa_layer=nn.AvgPool2d),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=4, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=4, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=8, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "average_pool", kernel=2, stride=2, padding=0),
            row("conv2_x", "bottleneck", channels=16, shortcut="pool_projection", anti_alias="average"),
            row("conv3_x", "bottleneck", channels=24, stride=2, shortcut="pool_projection", anti_alias="average"),
            row("conv4_x", "bottleneck", channels=28, stride=2, shortcut="pool_projection", anti_alias="average"),
            row("conv5_x", "bottleneck", repeat=2, channels=32, stride=2, shortcut="pool_projection",
                anti_alias="average"),
            *head(6),
        ]),
    Golden(
        "blur-variants", "20x23x18", batch=2,
        covers="begins with a blur; kernels from 1 to 7, even and oblong, padding by sides, as TensorFlow pads and none, "
               "up to one pixel less than the picture; anti-aliased blocks with the stride on the 1x1, with strides 3 "
               "and 1x2, with dilation, averages at odd sizes; ends with a blur",
        table=[
            row("large", "blur", kernel=7, stride="2x1"),
            row("even", "blur", kernel="2x4", stride="1x2"),
            row("sides", "blur", kernel="1x5", padding=dict(top=1, bottom=2, left=4, right=0)),
            row("on_1x1", "bottleneck", channels=16, stride=2, stride_on="1x1", anti_alias="blur"),
            row("same", "blur", kernel=6, padding="same"),
            row("open", "blur", kernel=2, padding=0),
            row("averages", "basic", repeat=2, channels=18, stride="2x1", anti_alias="average", shortcut="zero_pad"),
            row("dilated", "basic", channels=18, dilation="1x2", first_dilation=2, anti_alias="blur"),
            row("plain", "basic", channels=14, stride="1x3", anti_alias="average", shortcut="none"),
            row("last", "blur", kernel=3, padding=1),
        ]),
    Golden(
        "group-norm", "3x35x30", batch=2,
        covers="group norm in bottlenecks, their projections and a deep stem as timm has it, 2 to 12 channels a group",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 2, 1, 1), num_classes=8, stem_width=8, stem_type="deep",
            channels=(8, 8, 12, 12), norm_layer=functools.partial(GroupNorm, num_groups=4)),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=8, norm=dict(groups=4), weights="conv1.0",
                norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=8, norm=dict(groups=4), weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=16, norm=dict(groups=4), weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=32, norm=dict(groups=4)),
            row("conv3_x", "bottleneck", repeat=2, channels=32, stride=2, norm=dict(groups=4)),
            row("conv4_x", "bottleneck", channels=48, stride=2, norm=dict(groups=4)),
            row("conv5_x", "bottleneck", channels=48, stride=2, norm=dict(groups=4)),
            *head(8),
        ]),
    Golden(
        "group-norm-pre-activation", "3x37x33", batch=2, pre_activation=True, linear_as_conv=True,
        covers="group norm of 32 groups in pre-activation bottlenecks with timm's names",
        timm=lambda: timm_resnetv2.ResNetV2(
            [1, 1], channels=(128, 128), num_classes=5, stem_chs=32, conv_layer=create_conv2d,
            norm_layer=GroupNormAct),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=32, norm="none", bias=False, activation="none",
                weights="stem.conv"),
            row("pool1", "max_pool", kernel=3, stride=2),
            *(row(f"conv{i + 2}_x", "bottleneck", channels=128, stride=1 if i == 0 else 2, norm="group",
                  weights=f"stages.{i}.blocks") for i in range(2)),
            row("norm", "norm", norm="group"),
            row("avgpool", "global_average_pool"),
            row("fc", "linear", channels=5, weights="head.fc"),
        ]),
    Golden(
        "group-norm-variants", "20x14x11", batch=2, epsilon=1e-3, features=("conv", "bare", "mixed", "last"),
        covers="group norm of the picture itself, of one group, of one channel a group, of groups that straddle blocks; "
               "beside every shortcut, with attention, with another norm in projections, without ReLU",
        table=[
            row("first", "norm", norm=dict(groups=4), activation="none"),
            row("conv", "conv", kernel=3, channels=24, norm=dict(groups=1)),
            row("bare", "conv", kernel=1, channels=18, norm=dict(groups=18), activation="none", bias=True),
            row("zeros", "basic", channels=37, stride=2, norm=dict(groups=1), shortcut="zero_pad"),
            row("all", "bottleneck", repeat=2, channels=48, norm=dict(groups=2), shortcut="project_all"),
            row("plain", "bottleneck", channels=40, width=20, norm=dict(groups=5), shortcut="none"),
            row("squeezed", "bottleneck", repeat=2, channels=40, width=8, norm=dict(groups=8),
                squeeze_excitation=dict(channels=3)),
            row("mixed", "bottleneck", channels=72, width=12, norm=dict(groups=3), projection_norm="batch",
                anti_alias="blur", stride=2),
            row("other", "bottleneck", channels=32, projection_norm="group", eca=3, shortcut="pool_projection"),
            row("last", "norm", norm=dict(groups=2)),
        ]),
    Golden(
        "anti-alias-pre-activation", "3x15x13", batch=1, pre_activation=True,
        covers="anti-aliased pre-activation blocks, with group norm too: the blur comes after the next ReLU",
        table=[
            row("conv1", "conv", kernel=3, channels=16, norm="none", bias=False, activation="none"),
            row("blurred", "basic", repeat=2, channels=24, stride=2, anti_alias="blur", norm=dict(groups=4)),
            row("averaged", "bottleneck", channels=32, stride=2, anti_alias="average",
                projection_norm=dict(groups=16)),
            row("first", "bottleneck", channels=40, stride=2, stride_on="1x1", anti_alias="blur",
                shortcut="pool_projection"),
            row("norm", "norm"),
            *head(5),
        ]),
    Golden(
        "features", "3x33x29", batch=3, features=("conv2_x", "conv3_x", "conv4_x", "conv5_x"),
        covers="the outputs of four stages, as torchvision's create_feature_extractor gives them; the classifier is "
               "in the file and not computed",
        torchvision=dict(block=BasicBlock, stem=12, planes=(12, 20, 24, 36), layers=(2, 1, 1, 1), classes=10),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=12),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "basic", repeat=2, channels=12),
            row("conv3_x", "basic", channels=20, stride=2),
            row("conv4_x", "basic", channels=24, stride=2),
            row("conv5_x", "basic", channels=36, stride=2),
            *head(10),
        ]),
    Golden(
        "features-variants", "20x12x10", batch=2, pre_activation=True,
        features=("pool", "sum", "normed", "conv", "gated", "vector"),
        covers="features that others read in every way: a pool, a pre-activation sum, the norm after it, a bare "
               "convolution before a norm, a gated block, a classifier's input",
        table=[
            row("pool", "max_pool", kernel=3, stride=1),
            row("sum", "basic", channels=20),
            row("normed", "norm"),
            row("conv", "conv", kernel=3, channels=18, norm="none", activation="none"),
            row("folded", "norm", activation="none"),
            row("gated", "basic", channels=22, stride=2, eca=3),
            row("vector", "global_average_pool"),
        ]),
    Golden(
        "pool-edges", "20x31x26", batch=2, features=("zeros", "sides", "up", "mean", "inside", "open", "picture"),
        covers="max pools of negative values that read their padding as zeros, of one side too; pools whose sizes are "
               "rounded up as PyTorch's ceil_mode, over zeros, counting them and not, where the last window would start "
               "past the edge",
        table=[
            row("conv1", "conv", kernel=3, channels=18, activation="none"),
            row("zeros", "max_pool", kernel=3, stride=2, count_padding=True),
            row("sides", "max_pool", kernel=3, padding=dict(top=1, right=1), count_padding=True),
            row("conv2", "conv", kernel=3, channels=24, activation="none"),
            row("up", "max_pool", kernel=2, stride=2, padding=0, rounding="up"),
            row("mean", "average_pool", kernel=3, stride=2, rounding="up"),
            row("inside", "average_pool", kernel=3, stride=2, rounding="up", count_padding=False),
            row("open", "average_pool", kernel="1x2", stride="1x2", rounding="up", padding=0),
            row("picture", "max_pool", kernel=3, stride=2, rounding="up", count_padding=True),
            *head(4),
        ]),
    Golden(
        "weight-standardization", "3x37x33", batch=2, pre_activation=True, linear_as_conv=True,
        standardise=dict(epsilon=1e-8),
        covers="weight standardization in pre-activation bottlenecks as BiT has it, with group norm and a max pool that "
               "reads its padding as zeros",
        timm=lambda: timm_resnetv2.ResNetV2(
            [1, 2], channels=(32, 64), num_classes=7, stem_chs=8, stem_type="fixed",
            conv_layer=functools.partial(StdConv2d, eps=1e-8),
            norm_layer=functools.partial(GroupNormAct, num_groups=4)),
        table=[
            row("conv1", "conv", kernel=7, stride=2, channels=8, norm="none", bias=False, activation="none",
                weights="stem.conv"),
            row("pool1", "max_pool", kernel=3, stride=2, count_padding=True),
            row("conv2_x", "bottleneck", channels=32, norm=dict(groups=4), weights="stages.0.blocks"),
            row("conv3_x", "bottleneck", repeat=2, channels=64, stride=2, norm=dict(groups=4),
                weights="stages.1.blocks"),
            row("norm", "norm", norm=dict(groups=4)),
            row("avgpool", "global_average_pool"),
            row("fc", "linear", channels=7, weights="head.fc"),
        ]),
    Golden(
        "weight-standardization-variants", "3x20x17", batch=2,
        covers="weight standardization of some rows alone: with batch norm folded in, biases, groups, planar and blocked, "
               "by Winograd's algorithm, of one weight a channel",
        table=[
            row("conv1", "conv", kernel=3, channels=16, weight_standardization=True),
            row("plain", "basic", channels=24, stride=2),
            row("standard", "basic", repeat=2, channels=24, bias=True, weight_standardization=True,
                squeeze_excitation=dict(channels=4)),
            row("grouped", "bottleneck", channels=32, width=16, groups=4, weight_standardization=dict(epsilon=0.01)),
            row("bare", "conv", kernel="1x3", channels=20, norm="none", weight_standardization=True),
            row("point", "conv", kernel=1, channels=20, groups=20, weight_standardization=True),
            *head(5),
        ]),
    Golden(
        "shortcut-from-input", "3x19x17", batch=2, pre_activation=True,
        covers="pre-activation whose shortcuts read what the block reads: projections, pooled ones and zeros",
        table=[
            row("conv1", "conv", kernel=3, channels=16, norm="none", bias=False, activation="none"),
            row("conv2_x", "bottleneck", repeat=2, channels=24, shortcut_from="input", upsample="1.5"),
            row("conv3_x", "bottleneck", repeat=2, channels=32, stride=2, shortcut_from="input"),
            row("pooled", "basic", channels=20, stride=2, shortcut="pool_projection", shortcut_from="input",
                projection_norm="batch"),
            row("zeros", "basic", channels=40, stride=2, shortcut="zero_pad", shortcut_from="input", upsample=2),
            row("norm", "norm"),
            *head(7),
        ]),
    Golden(
        "zero-channels", "3x18x13", batch=2,
        covers="shortcut A with all zeros after the input's channels, and with the mean of the pixels in the place of "
               "every stride-th one; strides of basic blocks on their second convolution",
        table=[
            row("conv1", "conv", kernel=3, channels=9),
            row("after", "basic", repeat=2, channels=14, stride=2, shortcut="zero_pad", zero_channels="after"),
            row("pooled", "basic", channels=21, stride="2x1", shortcut="pool_zero_pad", stride_on="second"),
            row("both", "bottleneck", channels=32, stride=2, shortcut="pool_zero_pad", zero_channels="after"),
            row("kept", "basic", channels=32, stride=2, shortcut="pool_zero_pad", stride_on="second"),
            *head(6),
        ]),
    Golden(
        "projection-kernel", "3x27x22", batch=2, allow=["flattened_pixels", "skipped_pixels"],
        covers="projections of 3x3 and 1x5, padded by halves and as TensorFlow pads, after a pool, in every block; "
               "strides and dilations of basic blocks whose second convolution has the stride; a classifier of three "
               "linear layers with ReLU between them",
        table=[
            row("conv1", "conv", kernel=3, channels=12),
            row("conv2_x", "basic", channels=20, stride=2, projection_kernel=3),
            row("conv3_x", "bottleneck", repeat=2, channels=24, shortcut="project_all", projection_kernel="1x5"),
            row("conv4_x", "basic", channels=28, stride=2, stride_on="second", dilation=2, projection_kernel=3),
            row("conv5_x", "basic", channels=18, stride="1x2", shortcut="pool_projection", projection_kernel=3),
            row("same", "basic", channels=22, stride=2, padding="same", projection_kernel=3),
            row("hidden", "linear", channels=30, activation="relu", weights="classifier.0"),
            row("narrow", "linear", channels=17, activation="relu", weights="classifier.2"),
            row("logits", "linear", channels=9, weights="classifier.4"),
        ]),
    Golden(
        "activation", "3x37x29", batch=2, activation="silu",
        covers="SiLU in every row and block, as timm has it, with squeeze-and-excitation, whose ReLU stays",
        timm=lambda: timm_resnet.ResNet(
            timm_resnet.Bottleneck, (1, 2, 1, 1), num_classes=8, stem_width=5, stem_type="deep", avg_down=True,
            channels=(5, 8, 9, 12), act_layer=nn.SiLU, block_args=dict(attn_layer="se")),
        table=[
            row("stem1", "conv", kernel=3, stride=2, channels=5, weights="conv1.0", norm_weights="conv1.1"),
            row("stem2", "conv", kernel=3, channels=5, weights="conv1.3", norm_weights="conv1.4"),
            row("stem3", "conv", kernel=3, channels=10, weights="conv1.6", norm_weights="bn1"),
            row("pool1", "max_pool", kernel=3, stride=2),
            row("conv2_x", "bottleneck", channels=20, shortcut="pool_projection",
                squeeze_excitation=dict(reduction=16)),
            row("conv3_x", "bottleneck", repeat=2, channels=32, stride=2, shortcut="pool_projection",
                squeeze_excitation=dict(reduction=16)),
            row("conv4_x", "bottleneck", channels=36, stride=2, shortcut="pool_projection",
                squeeze_excitation=dict(reduction=16)),
            row("conv5_x", "bottleneck", channels=48, stride=2, shortcut="pool_projection",
                squeeze_excitation=dict(reduction=16)),
            *head(8),
        ]),
    Golden(
        "activation-variants", "3x21x26", batch=2, store=torch.bfloat16,
        covers="every activation, after convolutions, batch and group norms, additions, gates, linear layers; in a "
               "planar stem, in Winograd's tiles, after a zero-padded shortcut",
        table=[
            row("stem", "conv", kernel=7, stride=2, channels=16, activation="gelu"),
            row("silu", "basic", channels=16, activation="silu"),
            row("gelu", "basic", channels=24, stride=2, shortcut="zero_pad", activation="gelu"),
            row("relu6", "bottleneck", channels=32, norm=dict(groups=4), activation="relu6"),
            row("leaky", "basic", channels=32, squeeze_excitation=dict(channels=6), activation="leaky_relu"),
            row("norm", "norm", activation="hard_swish"),
            row("swish", "bottleneck", channels=36, stride=2, activation="hard_swish"),
            row("bare", "basic", channels=36, activation="none"),
            row("last", "conv", kernel=3, channels=40, norm=dict(groups=8), activation="silu"),
            row("avgpool", "global_average_pool"),
            row("hidden", "linear", channels=20, activation="gelu", weights="hidden"),
            row("fc", "linear", channels=9, weights="fc"),
        ]),
    Golden(
        "activation-pre-activation", "3x15x18", batch=2, pre_activation=True, activation="gelu",
        covers="GELU before the convolutions of blocks",
        table=[
            row("conv1", "conv", kernel=3, channels=18, norm="none", bias=False, activation="none"),
            row("conv2_x", "basic", channels=24, stride=2),
            row("conv3_x", "bottleneck", repeat=2, channels=40, activation="leaky_relu"),
            row("norm", "norm"),
            *head(7),
        ]),
    Golden(
        "attention-on", "20x27x22", batch=2, store=torch.bfloat16,
        covers="attention before the last convolution of blocks, with an activation of its own, after a blur, beside "
               "shortcuts that are the identity or nothing; sums without an activation, or with another one; 3x3 "
               "convolutions that make other channels than they read",
        table=[
            row("regnet", "bottleneck", repeat=2, channels=32, width=24, groups=2, stride=2, activation="silu",
                squeeze_excitation=dict(channels=5, activation="silu"), attention_on="3x3"),
            row("linear", "bottleneck", repeat=2, channels=24, width=[20, 12], stride=2, shortcut="identity",
                anti_alias="blur", eca=3, attention_on="3x3", output_activation="none"),
            row("first", "basic", repeat=2, channels=24, shortcut="identity", eca=5, attention_on="first",
                output_activation="gelu"),
            row("wider", "bottleneck", repeat=2, channels=40, width=[12, 20], groups=4, shortcut="project_all",
                output_activation="none"),
            row("zeros", "basic", channels=44, stride=2, shortcut="zero_pad", attention_on="first",
                squeeze_excitation=dict(reduction=2, activation="hard_swish")),
            row("legacy", "basic", channels=44, squeeze_excitation=dict(channels=4, after="activation")),
            *head(6),
        ]),
    Golden(
        "attention-on-pre-activation", "3x19x18", batch=2, pre_activation=True, activation="silu",
        covers="attention before the last norm of pre-activation blocks, as RegNet V has it; shortcuts that are the "
               "identity or nothing; an activation after the sum",
        table=[
            row("conv1", "conv", kernel=3, channels=18, norm="none", bias=False, activation="none"),
            row("regnet", "bottleneck", repeat=2, channels=36, width=20, groups=2, stride=2, attention_on="3x3",
                squeeze_excitation=dict(channels=4, activation="silu"), shortcut_from="norm_always"),
            row("first", "basic", repeat=2, channels=24, shortcut="identity", eca=3, attention_on="first",
                anti_alias="blur", stride=2),
            row("last", "bottleneck", channels=28, width=[8, 12], output_activation="relu"),
            row("norm", "norm"),
            *head(5),
        ]),
]

# What follows the table's words, in PyTorch.
ACTIVATIONS = dict(relu=F.relu, relu6=F.relu6, silu=F.silu, gelu=F.gelu, leaky_relu=F.leaky_relu,
                   hard_swish=F.hardswish, none=lambda x: x)


# ---------------------------------------------------------------------------------------------
# The meaning of a table, as PyTorch calls


def extent(value):
    """`3` or `3x5`: rows and columns."""
    rows, _, columns = str(value).partition("x")
    return int(rows), int(columns or rows)


def same(size, kernel, stride, dilation):
    """What TensorFlow's SAME pads before and after: `ceil(size / stride)` windows, the odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def padded(x, padding, kernel, stride, dilation=(1, 1), value=0.0, mode="constant"):
    """`x` with the padding that a table's cell asks for: none is left for the operator itself."""
    if padding == "same":
        top, bottom = same(x.shape[2], kernel[0], stride[0], dilation[0])
        left, right = same(x.shape[3], kernel[1], stride[1], dilation[1])
    elif isinstance(padding, dict):
        top, bottom, left, right = (padding.get(side, 0) for side in ("top", "bottom", "left", "right"))
    else:
        half = tuple((d * (k - 1) + 1) // 2 for k, d in zip(kernel, dilation))
        rows, columns = half if padding is None else extent(padding)
        top, bottom, left, right = rows, rows, columns, columns
    return F.pad(x, (left, right, top, bottom), mode, value if mode == "constant" else None)


class Tensors:
    """A state dict whose tensors are drawn when they are first asked for, and rounded as stored.

    `RandomState` is the generator whose streams NumPy has frozen for good.
    """

    def __init__(self, seed, store=torch.float32):
        self.random, self.store, self.stored = np.random.RandomState(seed), store, {}

    def get(self, name, shape, draw):
        if name not in self.stored:
            self.stored[name] = torch.from_numpy(draw(shape)).to(self.store)
        tensor = self.stored[name]
        assert tensor.shape == torch.Size(shape), f"{name}: used as {tensor.shape} and as {shape}"
        return tensor.double()

    def normal(self, deviation):
        return lambda shape: deviation * self.random.standard_normal(shape)

    def uniform(self, low, high):
        return lambda shape: self.random.uniform(low, high, shape)


class Interpreter:
    """Runs a table in f64, a PyTorch function an operator."""

    def __init__(self, table, tensors, epsilon=1e-5, pre_activation=False, activation="relu", standardise=False):
        self.table, self.tensors, self.epsilon, self.pre_activation = table, tensors, epsilon, pre_activation
        self.default_activation = activation
        self.standardise = standardise
        self.depth = 0
        self.outputs = []

    def conv(self, x, name, channels, kernel, stride=(1, 1), padding=None, groups=1, bias=False, dilation=(1, 1),
             standardise=None):
        shape = (channels, x.shape[1] // groups, *kernel)
        fan_in = shape[1] * kernel[0] * kernel[1]
        weight = self.tensors.get(f"{name}.weight", shape, self.tensors.normal((2 / fan_in) ** 0.5))
        bias = self.tensors.get(f"{name}.bias", (channels,), self.tensors.normal(0.5)) if bias else None
        if standardise:
            variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, correction=0)
            weight = (weight - mean) / torch.sqrt(variance + standardise)
        x = padded(x, padding, kernel, stride, dilation)
        return F.conv2d(x, weight, bias, stride, dilation=dilation, groups=groups)

    def norm(self, x, name, kind="batch"):
        get, shape = self.tensors.get, (x.shape[1],)
        weight = get(f"{name}.weight", shape, self.tensors.uniform(0.5, 1.5))
        bias = get(f"{name}.bias", shape, self.tensors.normal(0.3))
        if kind != "batch":
            groups = 32 if kind == "group" else kind["groups"]
            return F.group_norm(x, groups, weight, bias, self.epsilon)
        mean = get(f"{name}.running_mean", shape, self.tensors.normal(0.5))
        variance = get(f"{name}.running_var", shape, self.tensors.uniform(0.5, 1.5))
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.epsilon)

    def linear(self, x, name, channels):
        x = x.flatten(1)
        shape = (channels, x.shape[1])
        weight = self.tensors.get(f"{name}.weight", shape, self.tensors.normal((1 / shape[1]) ** 0.5))
        return F.linear(x, weight, self.tensors.get(f"{name}.bias", (channels,), self.tensors.normal(0.5)))

    def activation(self, x, row, default=None):
        return ACTIVATIONS[row.get("activation", default or self.default_activation)](x)

    def standardisation(self, row):
        """The epsilon with which a row standardises its weights, or nothing."""
        own = row.get("weight_standardization", self.standardise)
        return own["epsilon"] if isinstance(own, dict) else 1e-6 if own else None

    def conv_row(self, x, row, number):
        name, norm = row.get("weights", f"conv{number}"), row.get("norm_weights", f"bn{number}")
        kernel, stride, dilation = (extent(row.get(key, 1)) for key in ("kernel", "stride", "dilation"))
        kind = row.get("norm", "batch")
        normed = kind != "none"
        x = self.conv(x, name, row["channels"], kernel, stride, row.get("padding"), row.get("groups", 1),
                      row.get("bias", not normed), dilation, self.standardisation(row))
        x = self.norm(x, norm, kind) if normed else x
        self.depth += 1
        return self.activation(x, row)

    def projection(self, x, row, name, channels, stride, index=0):
        conv, norm = ("conv", "norm") if self.pre_activation else (index, index + 1)
        kernel = extent(row.get("projection_kernel", 1))
        x = self.conv(x, f"{name}.downsample.{conv}", channels, kernel, stride, row.get("padding"),
                      bias=row.get("bias", False), standardise=self.standardisation(row))
        kind = row.get("projection_norm", "none" if self.pre_activation else row.get("norm", "batch"))
        return x if kind == "none" else self.norm(x, f"{name}.downsample.{norm}", kind)

    def shortcut(self, x, y, row, name, stride):
        """Adds the shortcut of a block from `x` to its main path `y`."""
        kind = row.get("shortcut", "projection")
        if kind == "none":
            return y
        changes = x.shape[1] != y.shape[1] or stride != (1, 1)
        if kind == "project_all" or (kind == "projection" and changes):
            return y + self.projection(x, row, name, y.shape[1], stride)
        if kind == "pool_projection" and changes:
            dilation = extent(row.get("dilation", 1))
            if stride == (1, 1) and dilation != (1, 1):
                # timm's AvgPool2dSame, whose padding counts.
                kernel = tuple(min(d, 2) for d in dilation)
                x = F.avg_pool2d(padded(x, "same", kernel, stride), kernel, stride)
            else:
                x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
            return y + self.projection(x, row, name, y.shape[1], (1, 1), index=1)
        if kind == "identity" and changes:
            return y
        if changes:
            new = y.shape[1] - x.shape[1]
            before = new // 2 if row.get("zero_channels", "around") == "around" else 0
            if kind == "pool_zero_pad":
                x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
            else:
                assert kind == "zero_pad"
                x = x[:, :, :: stride[0], :: stride[1]]
            x = F.pad(x, (0, 0, 0, 0, before, new - before))
        return y + x

    def attention(self, x, row, name):
        """The main path of a block with its channels weighed by their means."""
        channels, gate = x.shape[1], x.mean((2, 3), keepdim=True)
        if "squeeze_excitation" in row:
            squeeze = row["squeeze_excitation"]
            middle = squeeze.get("channels", max(int(channels / squeeze.get("reduction", 16) + 4) // 8 * 8, 8))
            between = ACTIVATIONS[squeeze.get("activation", "relu")]
            gate = between(self.conv(gate, f"{name}.fc1", middle, (1, 1), bias=True))
            gate = self.conv(gate, f"{name}.fc2", channels, (1, 1), bias=True)
        elif "eca" in row:
            kernel = row["eca"]
            if kernel == "adaptive":
                kernel = max(int((np.log2(channels) + 1) / 2) | 1, 3)
            weight = self.tensors.get(f"{name}.conv.weight", (1, 1, kernel), self.tensors.normal(kernel ** -0.5))
            gate = F.conv1d(gate.flatten(2).transpose(1, 2), weight, padding=kernel // 2).transpose(1, 2)[..., None]
        else:
            return x
        return x * torch.sigmoid(gate)

    def blur(self, x, kernel, stride, padding=None):
        """A depthwise convolution with binomial coefficients over the mirrored picture."""
        weights = [np.array([math.comb(k - 1, i) for i in range(k)]) / 2 ** (k - 1) for k in kernel]
        weight = torch.from_numpy(np.outer(*weights)).expand(x.shape[1], 1, *kernel)
        return F.conv2d(padded(x, padding, kernel, stride, mode="reflect"), weight, None, stride, groups=x.shape[1])

    def anti_alias(self, x, row, stride):
        if row["anti_alias"] == "blur":
            return self.blur(x, (3, 3), stride)
        return F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)

    def scales(self, x, row, name, alone, stride, dilation):
        """The middle of a Res2Net's block: chunks of channels, all but the last with a convolution of their own."""
        *chunks, rest = x.split(row["width"], dim=1)
        made = []
        for i, chunk in enumerate(chunks):
            y = chunk if alone or not made else chunk + made[-1]
            y = self.conv(y, f"{name}.convs.{i}", row["width"], (3, 3), stride, None, row.get("groups", 1),
                          row.get("bias", False), dilation)
            made.append(self.activation(self.norm(y, f"{name}.bns.{i}", "batch"), row))
        made.append(F.avg_pool2d(rest, 3, stride, 1, count_include_pad=True) if alone else rest)
        return torch.cat(made, dim=1)

    def block(self, x, row, name, stride, first_dilation):
        channels, once = row["channels"], (1, 1)
        dilation = extent(row.get("dilation", 1))
        norm = row.get("norm", "batch")
        aliased = "anti_alias" in row and (stride != once or first_dilation != dilation)
        own = once if aliased else stride
        if row["op"] == "basic":
            strided = {"first": 1, "second": 2}[row.get("stride_on", "first")]
            convs = [(channels, 3, own if strided == 1 else once, first_dilation, 1),
                     (channels, 3, own if strided == 2 else once, dilation, 1)]
        else:
            width = row.get("width", channels // 4)
            width, middle = width if isinstance(width, list) else (width, width)
            on_1x1 = row.get("stride_on", "3x3") == "1x1"
            convs = [(width, 1, own if on_1x1 else once, once, 1),
                     (middle, 3, once if on_1x1 else own, first_dilation, row.get("groups", 1)),
                     (channels, 1, once, once, 1)]
            strided = 1 if on_1x1 else 2
        changes = stride != once or x.shape[1] != channels or row.get("shortcut") == "project_all"
        if "scale" in row:
            convs[0] = (width * row["scale"], *convs[0][1:])
        y = shortcut = x
        weighed = len(convs) - (row.get("attention_on") in ("first", "3x3"))
        for i, (out, kernel, conv_stride, conv_dilation, groups) in enumerate(convs, start=1):
            if "scale" in row and i == 2:
                y = self.scales(y, row, name, changes, conv_stride, conv_dilation)
                continue
            if self.pre_activation:
                y = self.activation(self.norm(y, f"{name}.norm{i}", norm), row)
                y = self.anti_alias(y, row, stride) if aliased and i == strided + 1 else y
                source = row.get("shortcut_from", "norm")
                from_norm = source == "norm_always" or source == "norm" and changes
                shortcut = y if i == 1 and from_norm else shortcut
            y = self.conv(y, f"{name}.conv{i}", out, (kernel, kernel), conv_stride, row.get("padding"), groups,
                          row.get("bias", False), conv_dilation, self.standardisation(row))
            if not self.pre_activation:
                y = self.norm(y, f"{name}.bn{i}", norm)
                y = self.activation(y, row) if i < len(convs) else y
                y = self.anti_alias(y, row, stride) if aliased and i == strided else y
            if row.get("squeeze_excitation", {}).get("after") == "activation" and i == weighed:
                y = self.activation(y, row)
            y = self.attention(y, row, f"{name}.se") if i == weighed else y
        self.depth += len(convs)
        y = self.shortcut(shortcut if self.pre_activation else x, y, row, name, stride)
        if "output_activation" in row:
            return ACTIVATIONS[row["output_activation"]](y)
        return y if self.pre_activation else self.activation(y, row)

    def stage(self, x, row, number):
        name = row.get("weights", f"layer{number}")
        dilation = extent(row.get("dilation", 1))
        first = extent(row["first_dilation"]) if "first_dilation" in row else tuple(map(min, self.dilation, dilation))
        self.dilation = dilation
        for i in range(row.get("repeat", 1)):
            stride = extent(row.get("stride", 1)) if i == 0 else (1, 1)
            x = self.block(x, row, f"{name}.{i}", stride, first if i == 0 else dilation)
        return x

    def pool(self, x, row):
        kernel, stride, padding = extent(row.get("kernel", 3)), extent(row.get("stride", 1)), row.get("padding")
        if row["op"] == "blur":
            return self.blur(x, kernel, stride, padding)
        counts = row.get("count_padding", row["op"] == "average_pool")
        if row.get("rounding") == "up":
            # PyTorch's own `ceil_mode`; a max pool of zeros reads them as BiT's stem does.
            sides = extent(padding if padding is not None else f"{kernel[0] // 2}x{kernel[1] // 2}")
            if row["op"] == "average_pool":
                return F.avg_pool2d(x, kernel, stride, sides, ceil_mode=True, count_include_pad=counts)
            x, sides = (padded(x, padding, kernel, stride), 0) if counts else (x, sides)
            return F.max_pool2d(x, kernel, stride, sides, ceil_mode=True)
        if row["op"] == "max_pool":
            value = 0.0 if counts else float("-inf")
            return F.max_pool2d(padded(x, padding, kernel, stride, value=value), kernel, stride)
        y = F.avg_pool2d(padded(x, padding, kernel, stride), kernel, stride)
        if counts:
            return y
        return y / F.avg_pool2d(padded(torch.ones_like(x), padding, kernel, stride), kernel, stride)

    def run(self, x):
        """The network's output, N x outputs; also collects each row's output and its shape."""
        convs = stages = norms = 0
        self.dilation = (1, 1)
        self.depth, self.outputs, self.values = 0, [], {}
        for row in self.table:
            op = row["op"]
            if op == "conv":
                convs += 1
                x = self.conv_row(x, row, convs)
            elif op in ("basic", "bottleneck"):
                stages += 1
                x = self.stage(x, row, stages)
            elif op == "norm":
                norms += 1
                name = row.get("weights", "norm" if norms == 1 else f"norm{norms}")
                x = self.norm(x, name, row.get("norm", "batch"))
                x = self.activation(x, row)
            elif op in ("max_pool", "average_pool", "blur"):
                x = self.pool(x, row)
            elif op == "global_average_pool":
                x = F.adaptive_avg_pool2d(x, 1)
            elif op == "linear":
                x = self.linear(x, row.get("weights", "fc"), row["channels"])
                x = self.activation(x, row, "none")
                self.depth += 1
            elif op == "softmax":
                x = F.softmax(x.flatten(1), dim=1)
            else:
                raise ValueError(f"{row['layer']}: unknown op {op}")
            self.outputs.append(tuple(x.shape[1:]))
            self.values[row["layer"]] = x.flatten(1)
        return x.flatten(1)


def count_params(tensors):
    return sum(t.numel() for name, t in tensors.items() if "running_" not in name and "num_batches" not in name)


def count_macs(run):
    """Multiply-adds of convolutions and matrix products, by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() // 2


# ---------------------------------------------------------------------------------------------
# The same networks by other hands


class Shrunk(torchvision.models.ResNet):
    """torchvision's `forward` and `_make_layer` with narrower stages than its constructor allows."""

    def __init__(self, block, stem, planes, layers, classes, groups=1, width_per_group=64,
                 dilate=(False, False, False, False)):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation = nn.BatchNorm2d, stem, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, (width, repeat) in enumerate(zip(planes, layers), start=1):
            stage = self._make_layer(block, width, repeat, stride=1 if i == 1 else 2, dilate=dilate[i - 1])
            setattr(self, f"layer{i}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(planes[-1] * block.expansion, classes)


def with_counters(tensors):
    counters = {name.replace("running_mean", "num_batches_tracked"): torch.tensor(100)
                for name in tensors if name.endswith("running_mean")}
    return tensors | counters


def agree(what, ours, theirs):
    error = float((ours - theirs).abs().max() / ours.abs().max())
    assert ours.shape == theirs.shape and error < 1e-12, f"{what}: {error:.1e} apart"


@torch.no_grad()
def check_module(what, module, stored, x, ours, features=()):
    module.load_state_dict(stored, strict=True)
    module = module.double().eval()
    if features:
        stages = [f"layer{i}" for i in range(1, len(features) + 1)]
        parts = create_feature_extractor(module, stages)(x)
        agree(what, ours, torch.cat([parts[stage].flatten(1) for stage in stages], dim=1))
    else:
        agree(what, ours, module(x).flatten(1))


@torch.no_grad()
def check_full_width():
    """torchvision's constructor itself, at its own widths; nothing of it is stored."""
    cases = [
        ("basic", BasicBlock, (2, 2, 2, 2), {}),
        ("bottleneck", Bottleneck, (1, 2, 1, 1), {}),
        ("bottleneck", Bottleneck, (1, 1, 1, 1), dict(groups=32, width_per_group=4)),
        ("bottleneck", Bottleneck, (1, 1, 1, 1), dict(width_per_group=128)),
    ]
    for op, block, layers, keys in cases:
        groups = keys.get("groups", 1)
        table = [row("conv1", "conv", kernel=7, stride=2, channels=64),
                 row("pool1", "max_pool", kernel=3, stride=2)]
        for i, repeat in enumerate(layers):
            planes = 64 << i
            stage = row(f"conv{i + 2}_x", op, repeat=repeat, channels=planes * block.expansion,
                        stride=1 if i == 0 else 2)
            if op == "bottleneck":
                stage |= dict(groups=groups, width=planes * keys.get("width_per_group", 64) // 64 * groups)
            table.append(stage)
        interpreter = Interpreter(table + head(10), Tensors(7))
        x = torch.from_numpy(np.random.RandomState(8).standard_normal((1, 3, 33, 33)))
        ours = interpreter.run(x)
        module = torchvision.models.ResNet(block, list(layers), num_classes=10, **keys)
        check_module(f"full width {op} {keys}", module, with_counters(interpreter.tensors.stored), x, ours)


class Zeros(nn.Module):
    """Shortcuts of published CIFAR networks: `pool` halves the picture, zeros follow its channels."""

    def __init__(self, channels, pool):
        super().__init__()
        self.channels, self.pool = channels, pool

    def forward(self, x):
        x = self.pool(x)
        zeros = x.new_zeros(len(x), self.channels - x.shape[1], *x.shape[2:])
        return torch.cat([x, zeros], dim=1)


@torch.no_grad()
def check_shortcuts():
    """torchvision's block with other shortcuts in the place of its `downsample`."""
    projection = nn.Sequential(nn.Conv2d(6, 14, 3, 2, 1, bias=False), nn.BatchNorm2d(14))
    cases = [
        (dict(projection_kernel=3), projection),
        (dict(shortcut="zero_pad", zero_channels="after"), Zeros(14, nn.AvgPool2d(1, 2))),
        (dict(shortcut="pool_zero_pad", zero_channels="after"), Zeros(14, nn.AvgPool2d(2, 2))),
    ]
    for keys, downsample in cases:
        interpreter = Interpreter([row("block", "basic", channels=14, stride=2, **keys)], Tensors(11))
        x = torch.from_numpy(np.random.RandomState(12).standard_normal((2, 6, 10, 8)))
        ours = interpreter.run(x)
        stored = {name.removeprefix("layer1.0."): t for name, t in interpreter.tensors.stored.items()}
        module = BasicBlock(6, 14, stride=2, downsample=downsample)
        check_module(f"shortcut {keys}", module, with_counters(stored), x, ours)


@torch.no_grad()
def check_zero_pad():
    """`models/cifar10/train.py` has a block of its own for shortcut A."""
    spec = importlib.util.spec_from_file_location("train", HERE.parent.parent / "models/cifar10/train.py")
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    for in_channels, channels, stride in [(8, 8, 1), (8, 21, 2), (6, 13, 1), (10, 10, 2)]:
        stage = row("block", "basic", channels=channels, stride=stride, shortcut="zero_pad")
        interpreter = Interpreter([stage], Tensors(9))
        x = torch.from_numpy(np.random.RandomState(10).standard_normal((2, in_channels, 9, 7)))
        ours = interpreter.run(x)
        stored = {name.removeprefix("layer1.0."): t for name, t in interpreter.tensors.stored.items()}
        check_module(f"zero_pad {in_channels} to {channels}", train.Block(in_channels, channels, stride),
                     with_counters(stored), x, ours)


# ---------------------------------------------------------------------------------------------
# The files


def flow(keys):
    def scalar(value):
        if isinstance(value, dict):
            return flow(value)
        return str(value).lower() if isinstance(value, bool) else str(value)
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in keys.items()) + "}"


def yaml(golden, outputs, expect):
    covers = f"{golden.covers[0].upper()}{golden.covers[1:]}."
    lines = textwrap.wrap(covers, 98, initial_indent="# ", subsequent_indent="# ")
    lines += [f"name: {golden.name}", f"input: {golden.input}"]
    if golden.epsilon is not None:
        lines.append(f"norm_epsilon: {golden.epsilon}")
    if golden.pre_activation:
        lines.append("pre_activation: true")
    if golden.activation:
        lines.append(f"activation: {golden.activation}")
    if golden.standardise:
        lines.append(flow({"weight_standardization": golden.standardise})[1:-1])
    if golden.features:
        lines.append(f"features: [{', '.join(golden.features)}]")
    if golden.allow:
        lines.append(f"allow: [{', '.join(golden.allow)}]")
    lines.append("table:")
    for row, output in zip(golden.table, outputs):
        # A linear row's output is a vector; its length is the row's `channels` already.
        claim = {"output": "x".join(map(str, output))} if len(output) == 3 else {}
        lines.append(f"  - {flow(row | claim)}")
    lines.append(f"expect: {flow(expect)}")
    return "\n".join(lines) + "\n"


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@torch.no_grad()
def make(golden):
    """The files of one golden network, by name."""
    seed = zlib.crc32(golden.name.encode())
    shape = [int(n) for n in golden.input.split("x")]
    x = np.random.RandomState(seed ^ 1).standard_normal((golden.batch, *shape)).astype(np.float32)
    tensors = Tensors(seed, golden.store)
    options = golden.epsilon or 1e-5, golden.pre_activation, golden.activation or "relu", golden.standardise
    interpreter = Interpreter(golden.table, tensors, *options)
    exact = torch.from_numpy(x).double()
    y = interpreter.run(exact)
    counted = interpreter
    if golden.features:
        y = torch.cat([interpreter.values[layer] for layer in golden.features], dim=1)
        # What comes after the last feature is not computed, and not counted.
        end = [row["layer"] for row in golden.table].index(golden.features[-1]) + 1
        counted = Interpreter(golden.table[:end], Tensors(seed), *options)
        counted.run(exact)
    expect = dict(depth=counted.depth, params=count_params(counted.tensors.stored),
                  macs=count_macs(lambda: counted.run(exact[:1])))
    stored = with_counters(tensors.stored) if golden.batches_tracked else tensors.stored
    if golden.linear_as_conv:
        stored = {name: t[:, :, None, None] if t.dim() == 2 else t for name, t in stored.items()}
    if golden.torchvision:
        check_module(golden.name, Shrunk(**golden.torchvision), stored, exact, y, golden.features)
    if golden.timm:
        check_module(golden.name, golden.timm(), stored, exact, y)
    assert y.isfinite().all() and y.std() > 0.01, f"{golden.name}: an output that shows nothing, deviation {y.std()}"
    return {
        f"{golden.name}.yaml": yaml(golden, interpreter.outputs, expect).encode(),
        f"{golden.name}.safetensors": safetensors_bytes(stored),
        f"{golden.name}.input.npy": npy(x),
        f"{golden.name}.output.npy": npy(y.float().numpy()),
    }


def zoo():
    """What torchvision and timm say of the zoo: `params` is `sum(p.numel() for p in net.parameters())`.

    The networks stand on PyTorch's `meta` device, which has shapes and no data.
    """
    def of_torchvision(name, **keys):
        return lambda: torchvision.models.get_model(name, weights=None, **keys)

    makers = {name: of_torchvision(name) for name in (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
        "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")}
    makers["resnet50_os8"] = of_torchvision("resnet50", replace_stride_with_dilation=[False, True, True])
    for name in ("resnet26d", "resnet50d", "resnetv2_50", "seresnet50", "ecaresnet50d", "resnetblur50", "resnet50_gn",
                 "res2net50_26w_4s"):
        makers[name] = lambda name=name: timm.create_model(name)
    networks = {}
    for name, make in makers.items():
        with torch.device("meta"):
            net = make().eval()
            macs = count_macs(lambda: net(torch.empty(1, 3, 224, 224)))
        networks[name] = {
            "params": sum(p.numel() for p in net.parameters()),
            "macs": macs,
            "tensors": {key: list(t.shape) for key, t in net.state_dict().items()
                        if not key.endswith("num_batches_tracked")},
        }
    text = "{\n" + f'"torchvision": "{torchvision.__version__.partition("+")[0]}",\n'
    text += f'"timm": "{timm.__version__}",\n"networks": {{\n'
    text += ",\n".join(f"{json.dumps(name)}: {json.dumps(facts, separators=(',', ':'))}"
                       for name, facts in networks.items())
    return {"zoo.json": (text + "\n}\n}\n").encode()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="make this network alone")
    parser.add_argument("--verify", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="where the files are")
    args = parser.parse_args()

    # One thread: the order of f64 additions, and so the last digit, is then the same anywhere.
    torch.set_num_threads(1)
    goldens = [g for g in GOLDENS if args.only in (None, g.name)]
    if not goldens:
        sys.exit(f"no network {args.only}; there are {', '.join(g.name for g in GOLDENS)}")
    files = {}
    for golden in goldens:
        files |= make(golden)
    if args.only is None:
        check_full_width()
        check_zero_pad()
        check_shortcuts()
        files |= zoo()
    differing = []
    for name, content in files.items():
        path = args.out / name
        if args.verify:
            if not path.exists() or path.read_bytes() != content:
                differing.append(name)
        else:
            path.write_bytes(content)
    if differing:
        sys.exit(f"differ from what this script makes: {', '.join(differing)}")
    print(f"{len(goldens)} networks, {len(files)} files, {sum(map(len, files.values())):,} bytes"
          f"{': all as stored' if args.verify else ''}")


if __name__ == "__main__":
    main()
