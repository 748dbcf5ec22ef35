from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
import numpy.typing as npt

_Table = str | PathLike[str] | Imported
_Weights = str | PathLike[str] | bytes | bytearray | memoryview | Mapping[str, Any] | Quantized
_Images = npt.NDArray[np.float32] | Any
_Image = str | PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | Any

class ResnetError(ValueError):
    """What the compiler cannot do, and why."""

class TableError(ResnetError):
    """A table contradicts itself.

    The text draws every mistake at its place; `line` and `column` are those of the first, from 1, and `mistakes` has
    all of them as tuples of line, column and message.
    """

    line: int
    """The line of the first mistake, from 1."""
    column: int
    """Its column, from 1."""
    mistakes: list[tuple[int, int, str]]
    """Line, column and message of each."""

class TableWarning(UserWarning):
    """What is legal in a table and nearly always a mistake; `allow` in the table silences it."""

@final
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

@final
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

@final
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
    precision: str
    """`"int8"` if the weights of layers are 8-bit integers, else `"bf16"` or `"f32"`."""
    labels: list[str] | None
    """Names of the classes, if the table has them."""
    has_random_weights: bool
    """Whether the weights were drawn, as none were given."""
    def __call__(self, x: _Images) -> npt.NDArray[np.float32]:
        """Run a batch `x` of shape `(N, C, H, W)`: a float32 array, or a tensor that speaks DLPack.

        It is copied only if its elements do not lie in that order. Returns logits (probabilities, where the table ends in
        softmax) of shape `(N, classes)`; of a table without a classifier, its last activation, `(N, C, H, W)`.
        """
    def features(self, x: _Images) -> dict[str, npt.NDArray[np.float32]]:
        """The activations that the table names as features, each of shape `(N, C, H, W)`."""
    def classify(
        self, images: Sequence[_Image], top: int = 5
    ) -> list[list[tuple[int, str, float]]]:
        """The `top` most probable classes of each image: number, name, probability.

        An image is a path, the bytes of a file, an array of uint8 of shape `(H, W, 3)` or `(H, W)`, or an image of
        Pillow's. It is resized, cropped and normalised as the table's `preprocess` says.
        """
    def bench(self, seconds: float = 0.2, *, batch: int = 1, runs: int = 5) -> list[float]:
        """Times in seconds of runs of `batch` images: for about `seconds`, and at least `runs` of them."""
    def profile(self, seconds: float = 0.2) -> list[dict[str, Any]]:
        """Where the time of a run goes: of each layer `name`, `algorithm` (of what multiplies and adds; else None), `ms`
        (its shortest time), `macs`, and the `bytes` that it moves at least."""

@final
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

@final
class Quantized:
    """Weights of which layers are in 8-bit integers; `compile` takes it as weights."""

    layers: list[dict[str, Any]]
    """Of each convolution and linear layer `name`, `precision` (`"int8"` or `"f32"`), `reason` (why it stays in f32), `macs`
    and `output_snr_db` (signal to noise of its results where it alone is quantised, in decibels)."""
    def safetensors(self) -> bytes:
        """The weights as a safetensors file, which every command takes."""

def quantize(
    table: _Table,
    weights: _Weights | None,
    calibration: _Images | Sequence[_Image],
    *,
    method: str = "least-squares",
    keep: Sequence[str] | None = None,
    keep_worst: int = 0,
    threads: int = 1,
    isa: str | None = None,
) -> Quantized:
    """Round weights to 8-bit integers, and choose the scales of activations.

    `calibration` are some hundred images like those that the network will see: a list of what `classify` takes, or
    prepared ones of shape `(N, C, H, W)`, float32. `weights` is `None` if `table` is what was imported. `method` is
    `"least-squares"`, `"min-max"` or `"percentile=P"`; layers named by `keep`, and the `keep_worst` with the worst signal to
    noise, stay in f32. An image that cannot be read is an error.
    """

@final
class ArrowArray:
    """An array of Arrow, which `pyarrow.array` and whatever else speaks the PyCapsule interface takes."""

    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """The array as capsules of Arrow's C data interface: its type, and its buffers."""

@final
class ArrowNetwork:
    """A network over arrays of Arrow: `ArrowNetwork(model, weights)`, a table's path or the name of a network of the zoo, and
    a file of weights.

    Arrays are of anything that speaks Arrow's PyCapsule interface (`__arrow_c_array__`): pyarrow, nanoarrow, arro3. Pictures
    are bytes or paths of files. A call runs on its own thread, with the GIL released, and decodes a few pictures at a time,
    however many rows there are. It pickles as its two paths.
    """

    def __new__(cls, model: str | PathLike[str], weights: str | PathLike[str]) -> ArrowNetwork: ...
    def classify(self, pictures: Any) -> ArrowArray:
        """The likeliest class of each picture: an array of structs of `label`, `class`, `probability` and `error`.

        Of a picture that cannot be used `error` says why, and the rest is null; the answer to null is null.
        """
    def features(self, pictures: Any) -> ArrowArray:
        """The features of each picture: an array of structs of `features`, a list, and `error`.

        They are the answer of a network that ends in features, and of another one what goes into its classifier.
        """

@final
class Trainer:
    """A network that is trained: a step compiled from its table, over images with classes."""

    is_done: bool
    """Whether all epochs are done."""
    table: str
    """The table with the `labels` and the `preprocess` that it is trained with."""
    def __new__(
        cls,
        table: _Table,
        images: Sequence[_Image] | npt.NDArray[np.uint8],
        classes: Sequence[int] | npt.NDArray[Any],
        weights: _Weights | None = None,
        *,
        labels: Sequence[str] | None = None,
        epochs: int = 60,
        batch: int = 128,
        rate: float = 0.1,
        schedule: str = "one-cycle",
        warm_up: float | None = None,
        momentum: float = 0.9,
        nesterov: bool = True,
        decay: float = 5e-4,
        decoupled: bool = False,
        smoothing: float = 0.0,
        crop: str | None = None,
        flip: bool = True,
        cutout: int = 0,
        mixup: float = 0.0,
        average: float | None = None,
        freeze: Sequence[str] | None = None,
        memory: int | None = None,
        seed: int = 1,
        threads: int = 1,
        isa: str | None = None,
    ) -> Trainer: ...
    def epoch(self) -> dict[str, Any]:
        """Runs the next epoch, or what is left of it: `epoch`, `loss`, `accuracy` and `rate`. KeyboardInterrupt ends it behind the running step;
        another call goes on with the next one."""
    def safetensors(self) -> bytes:
        """The weights as they are now, or their average, as a safetensors file."""
    def checkpoint(self) -> bytes:
        """All that is needed to go on: a file's bytes."""
    def resume(self, checkpoint: bytes | bytearray | memoryview) -> None:
        """Goes on from a checkpoint of the same training: the same bits as without a stop."""

@final
class Fitted:
    """A classifier that was fitted, in its network."""

    table: str
    """The table with its classes."""
    accuracy: float
    """The part of the images that are right."""
    validation_accuracy: float | None
    """The same of those for validation, if there are any."""
    loss: float
    """The mean cross-entropy over the images."""
    iterations: int
    """Steps of the search."""
    converged: bool
    """Whether the search has reached the minimum."""
    def safetensors(self) -> bytes:
        """All weights of the network with its new classifier, as a safetensors file."""

def fit(
    table: _Table,
    weights: _Weights | None,
    images: Sequence[_Image] | npt.NDArray[np.uint8],
    classes: Sequence[int] | npt.NDArray[Any],
    *,
    validate: tuple[Any, Any] | None = None,
    C: float = 1.0,
    labels: Sequence[str] | None = None,
    threads: int = 1,
    isa: str | None = None,
) -> Fitted:
    """Fit the classifier alone, by the features that trained weights make of few images.

    `images` are what `Trainer` takes, and `classes` their classes, 0 to one less than there are; `validate` is a tuple of both, on which
    `validation_accuracy` is measured. What is minimised is `C * sum of cross-entropies + sum of squared weights / 2`, as
    scikit-learn's `LogisticRegression` does. `labels` are the classes' names.
    """

def check(table: _Table, *, batch: int = 1) -> Report:
    """Check a table: shapes, parameters, multiply-adds, and the memory for batches of `batch` images.

    `table` is the name of a network that the package carries, a path, or the text of a table (which has more than one
    line). A mistake raises `TableError`.
    """

def compile(
    table: _Table,
    weights: _Weights | None = None,
    *,
    batch: int = 1,
    threads: int = 1,
    precision: str | None = None,
    exact: bool = False,
    memory: int | None = None,
    isa: str | None = None,
) -> Network:
    """Compile a network and load its weights.

    `table` is what `check` takes. `weights` are a path (safetensors, or what `resnet pack` wrote), the bytes of a
    safetensors file, a state dict or what `quantize` returned; without any, random ones are drawn, with which `classify`
    refuses to answer.

    `batch` is for how many images at a time memory is planned; other numbers run too. `threads` share the layers of one
    call. `precision` is `"f32"`, `"bf16"`, in which activations take half the bytes and much of the network less time, or
    `"int8"`; by default it is what the weights are in, and it is an error if quantised weights are to be anything but int8
    or others int8; `exact` takes only algorithms that add up as the definition does. `memory` bounds weights and activations,
    in bytes. `isa` is an instruction set other than the CPU's best, such as `"avx2"` or `"portable"`.
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

    Nothing in a pickle is run. What tensors do not tell is assumed, which `notes` of the answer say, or told by a keyword:

    - `name`; `architecture`, timm's, such as `"resnetblur50"`
    - which tensors: `key`, where in a pickle the state dict is; `prefix` of their names; `without`, a list of parts
    - `input`, height and width; `mean`, `std`, lists with a number for each channel, of values from 0 to 1; `resize`
    - stem: `stem_stride`; `pool`, one of `"max"`, `"none"`, `"ceil"`, `"stride"`, `"zeros"`
    - stages: `strides`, `dilations`, lists with a number for each
    - blocks: `stride_on` (`"1x1"`, `"3x3"`), `anti_alias` (`"blur"`, `"average"`), `shortcut`, `shortcut_from` (`"input"`,
      `"norm"`), `zero_channels` (`"around"`, `"after"`), `activation`, such as `"silu"`
    - norms: `norm_epsilon`, `norm_groups`, `norm_group_size`, `weight_standardization` (its epsilon)
    - `global_pool`: `"average"` or `"max"`

    docs/import.md says what each means, as options of the command.
    """

def models() -> list[Report]:
    """The networks that the package carries."""

def to_safetensors(state: Mapping[str, Any]) -> bytes:
    """A state dict as the bytes of a safetensors file."""
