"""Compiles ResNets, written as tables of layers, to native functions.

    import resnet

    net = resnet.compile("resnet18", weights="resnet18.safetensors")
    net.classify(["cat.jpg"], top=1)      # [[(281, 'tabby', 0.93)]]
    logits = net(x)                       # x: float32 of shape (N, 3, 224, 224)
"""

from ._resnet import (
    ArrowArray,
    ArrowNetwork,
    Fitted,
    Imported,
    Layer,
    Network,
    Quantized,
    Report,
    ResnetError,
    TableError,
    TableWarning,
    Trainer,
    check,
    compile,
    family,
    import_checkpoint,
    models,
    quantize,
)
from ._sweep import sweep
from ._torch import from_torch
from ._train import fit, train

__all__ = [
    "ArrowArray",
    "ArrowNetwork",
    "Fitted",
    "Imported",
    "Layer",
    "Network",
    "Quantized",
    "Report",
    "ResnetError",
    "TableError",
    "TableWarning",
    "Trainer",
    "check",
    "compile",
    "family",
    "fit",
    "from_torch",
    "import_checkpoint",
    "models",
    "quantize",
    "sweep",
    "train",
]
