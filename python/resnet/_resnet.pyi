from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32] | Any

class ResnetError(ValueError):
    """What the compiler cannot do, and why."""

class TableError(ResnetError):
    """A table contradicts itself. The text draws every mistake at its place."""

    line: int
    """The line of the first mistake, from 1."""
    column: int
    """Its column, from 1."""
    mistakes: list[tuple[int, int, str]]
    """Line, column and message of each."""

class TableWarning(UserWarning):
    """What is legal in a table and nearly always a mistake; `allow` in the table silences it."""

class Layer:
    """A line of a report: a convolution with its norm, a pool, a linear layer."""

    name: str
    op: str
    input: tuple[int, int, int]
    """Channels, height and width of what it reads."""
    output: tuple[int, int, int]
    """Channels, height and width of what it makes."""
    params: int
    """Weights, biases, scales and shifts."""
    macs: int
    """Multiply-adds for one image."""

class Report:
    """Counts of a network and of each of its layers. Notebooks show it as a table."""

    name: str
    input: tuple[int, int, int]
    """Channels, height and width of an image."""
    output: tuple[int, int, int]
    depth: int
    """Weighted layers, projections not counted."""
    params: int
    """Weights, biases, and batch norm's scales and shifts."""
    macs: int
    """Multiply-adds for one image."""
    arena_bytes: int | None
    """Bytes of the memory for activations; `None` if it was not planned."""
    layers: list[Layer]
    warnings: list[tuple[str, str]]
    """What the table is warned of: the name that its `allow` knows, and the message."""
    def json(self) -> str:
        """The JSON of `resnet check --format json`."""
    def _repr_html_(self) -> str: ...

class Network:
    """A compiled network with its weights.

    Several threads may call it at a time: each call takes a session of its own, and the GIL is released while it runs.
    """

    name: str
    input: tuple[int, int, int]
    """Channels, height and width of an image."""
    outputs: int
    """Numbers in the answer for an image."""
    depth: int
    params: int
    macs: int
    """Multiply-adds for one image."""
    arena_bytes: int
    """Bytes of a session's memory for activations."""
    isa: str
    """The instruction set of the kernels."""
    labels: list[str] | None
    """Names of the classes, if the table has them."""
    has_random_weights: bool
    """Whether the weights were drawn, as none were given."""
    def __call__(self, x: Images) -> npt.NDArray[np.float32]:
        """Run a batch `x` of shape `(N, C, H, W)`: a float32 array, or a tensor that speaks DLPack.

        It is copied only if its elements do not lie in that order. Returns logits (probabilities, where the table ends in
        softmax) of shape `(N, classes)`; of a table without a classifier, its last activation, `(N, C, H, W)`.
        """
    def features(self, x: Images) -> dict[str, npt.NDArray[np.float32]]:
        """The activations that the table names as features, each of shape `(N, C, H, W)`."""
    def classify(
        self, images: Sequence[str | PathLike[str] | bytes | npt.NDArray[np.uint8] | Any], top: int = 5
    ) -> list[list[tuple[int, str, float]]]:
        """The `top` most probable classes of each image: number, name, probability.

        An image is a path, the bytes of a file, an array of uint8 of shape `(H, W, 3)` or `(H, W)`, or an image of
        Pillow's. It is resized, cropped and normalised as the table's `preprocess` says.
        """
    def bench(self, seconds: float = 0.2, *, batch: int = 1, runs: int = 5) -> list[float]:
        """Times in seconds of runs of `batch` images: for about `seconds`, and at least `runs` of them."""
    def profile(self, seconds: float = 0.2) -> list[dict[str, Any]]:
        """Where the time of a run goes: `name`, `algorithm` (of what multiplies and adds; else None), `ms`, `macs` and
        `bytes` of each layer."""

class Imported:
    """A table that was derived from a checkpoint, and its weights; `compile` takes it."""

    name: str
    table: str
    """The layer table, YAML."""
    notes: list[str]
    """What was left out, made up, renamed or assumed, a line each."""
    labels: list[str]
    """Names of the classes; empty if nothing says them."""
    def safetensors(self) -> bytes:
        """The weights as a safetensors file."""

def check(table: str | PathLike[str] | Imported, *, batch: int = 1) -> Report:
    """Check a table: shapes, parameters, multiply-adds, and the memory for batches of `batch` images.

    `table` is the name of a network that the package carries, a path, or the text of a table (which has more than one
    line). A mistake raises `TableError`.
    """

def compile(
    table: str | PathLike[str] | Imported,
    weights: str | PathLike[str] | bytes | Mapping[str, Any] | None = None,
    *,
    batch: int = 1,
    threads: int = 1,
    exact: bool = False,
    memory: int | None = None,
    isa: str | None = None,
) -> Network:
    """Compile a network and load its weights.

    `table` is what `check` takes. `weights` are a path (safetensors, or what `resnet pack` wrote), the bytes of a
    safetensors file or a state dict; without any, random ones are drawn, with which `classify` refuses to answer.

    `batch` is for how many images at a time memory is planned; other numbers run too. `threads` share the layers of one
    call. `exact` takes only algorithms that add up as the definition does. `memory` bounds weights and activations, in
    bytes. `isa` is an instruction set other than the CPU's best, such as `"avx2"` or `"portable"`.
    """

def family(
    depth: int | None = None,
    *,
    repeats: Sequence[int] | None = None,
    cifar: bool = False,
    block: str | None = None,
    width: float = 1.0,
    groups: int | None = None,
    width_per_group: int | None = None,
    classes: int | None = None,
) -> str:
    """The table of a depth variant: of a known `depth`, or of stages with these `repeats` of a block.

    `block` is `"basic"` or `"bottleneck"`; `width` multiplies all channels; `cifar` takes the stem and the three stages
    for images of 32x32.
    """

def import_checkpoint(path: str | PathLike[str], **options: Any) -> Imported:
    """Derive a table from a checkpoint: PyTorch's, safetensors or ONNX, or a folder as timm and transformers save it.

    What tensors do not tell is a keyword, as the options of `resnet import` (`strides=[1, 2, 2, 2]`, `activation="silu"`).
    Nothing in a pickle is run.
    """

def models() -> list[Report]:
    """The networks that the package carries."""

def to_safetensors(state: Mapping[str, Any]) -> bytes:
    """A state dict as the bytes of a safetensors file."""
