"""Training loops: folders, an epoch after the other, a callback for each."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from . import _resnet
from ._resnet import Fitted, Trainer, compile

_Labelled = tuple[Sequence[Any], Sequence[int]]


def train(
    table: Any,
    images: Any,
    classes: Sequence[int] | None = None,
    weights: Any = None,
    *,
    validate: Any = None,
    callback: Callable[[dict[str, Any]], object] | None = None,
    labels: Sequence[str] | None = None,
    **options: Any,
) -> Trainer:
    """Train a table on images with classes, and return the `Trainer`, all epochs done.

    `images` are an array of uint8 of shape `(N, H, W, 3)` or a list of what `classify` takes, with `classes`; or a folder
    with one folder a class, named as the labels, or without labels in sorted order. `validate` is a tuple of both, or a
    folder. `callback` hears of every epoch: a dict of `epoch`, `loss`, `accuracy`, `rate` and, with `validate`,
    `validation_accuracy`. Options are those of `resnet train`, as keywords: `epochs`, `batch`, `rate`, `schedule`, `warm_up`,
    `momentum`, `nesterov`, `decay`, `decoupled`, `smoothing`, `crop`, `flip`, `cutout`, `mixup`, `average`, `freeze`, `memory`
    (bytes), `seed`, `threads` (1 if it is left out), `isa`. KeyboardInterrupt ends it behind the running step; who means to go on makes a
    `Trainer`, whose `checkpoint()` is then where it was.
    """
    images, classes, labels = _labelled(images, classes, labels)
    others = _validation(validate, labels)
    trainer = Trainer(table, images, classes, weights, labels=labels, **options)
    while not trainer.is_done:
        epoch = trainer.epoch()
        if others is not None:
            threads = options.get("threads", 1)
            net = compile(trainer.table, trainer.safetensors(), threads=threads)
            answers = net.classify(list(others[0]), top=1)
            right = sum(answer[0][0] == own for answer, own in zip(answers, others[1], strict=True))
            epoch["validation_accuracy"] = right / len(answers)
        if callback is not None:
            callback(epoch)
    return trainer


def fit(
    table: Any,
    weights: Any,
    images: Any,
    classes: Sequence[int] | None = None,
    *,
    validate: Any = None,
    labels: Sequence[str] | None = None,
    **options: Any,
) -> Fitted:
    """Fit the classifier alone, by the features that trained weights make of few images.

    `images`, `classes` and `validate` are what `train` takes, and `weights` what `compile` takes. What is minimised is
    `C * sum of cross-entropies + sum of squared weights / 2`, as scikit-learn's `LogisticRegression` does. Options: `C`
    (1.0), `threads` (1), `isa`.
    """
    images, classes, labels = _labelled(images, classes, labels)
    others = _validation(validate, labels)
    return _resnet.fit(
        table, weights, images, classes, validate=others, labels=labels, **options
    )


def _validation(given: Any, labels: list[str] | None) -> _Labelled | None:
    if given is None:
        return None
    images, classes = given if isinstance(given, tuple) else (given, None)
    images, classes, _ = _labelled(images, classes, labels)
    return images, classes


def _labelled(
    images: Any, classes: Sequence[int] | None, labels: Sequence[str] | None
) -> tuple[Sequence[Any], Sequence[int], list[str] | None]:
    names = None if labels is None else list(labels)
    is_folder = isinstance(images, (str, os.PathLike))
    if is_folder and classes is not None:
        raise TypeError("a folder has its classes in its folders: leave `classes` out")
    if not is_folder:
        if classes is None:
            raise TypeError("images that are no folder need `classes`, one for each")
        return images, classes, names
    root = pathlib.Path(images)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if not folders:
        raise ValueError(f"there are no folders in `{root}`; one a class is expected")
    names = [folder.name for folder in folders] if names is None else names
    files: list[pathlib.Path] = []
    of_files: list[int] = []
    for folder in folders:
        if folder.name not in names:
            raise ValueError(f"the folder `{folder}` is no label; the labels are: {', '.join(names)}")
        # Whatever is in it is an image, and what cannot be read as one an error: nothing is left out in silence.
        own = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
        if not own:
            raise ValueError(f"there are no images in `{folder}`")
        files += own
        of_files += [names.index(folder.name)] * len(own)
    return files, of_files, names
