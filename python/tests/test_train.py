"""Training and fitting, as Python has them."""

import pathlib
import signal
import threading
from typing import Any

import numpy as np
import pytest

import resnet

TABLE = """\
name: stripes
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 8}
  - {layer: conv2_x, op: basic, channels: 16, stride: 2}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 2}
"""


def stripes() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Along and across, of random colours."""
    random = np.random.default_rng(5)
    images = random.integers(0, 90, size=(64, 8, 8, 3)).astype(np.uint8)
    classes = np.arange(64) % 2
    images[0::2, 1::2] += 120
    images[1::2, :, 1::2] += 120
    return images, classes


OPTIONS: dict[str, Any] = dict(epochs=4, batch=16, rate=0.05, flip=False, labels=["along", "across"])


def test_a_table_is_trained_and_compiled() -> None:
    images, classes = stripes()
    heard: list[dict[str, Any]] = []
    trainer = resnet.train(
        TABLE, images, classes, validate=(images, classes), callback=heard.append, threads=2, **OPTIONS
    )
    assert [epoch["epoch"] for epoch in heard] == [1, 2, 3, 4] and trainer.is_done
    assert heard[3]["loss"] < heard[0]["loss"] and heard[3]["validation_accuracy"] > 0.9
    net = resnet.compile(trainer.table, trainer.safetensors())
    assert net.labels == ["along", "across"]
    assert net.classify([images[1]], top=1)[0][0][1] == "across"
    # The same bits, on another number of threads.
    again = resnet.train(TABLE, list(images), classes.tolist(), **OPTIONS)
    assert again.safetensors() == trainer.safetensors()


def test_a_checkpoint_goes_on_with_the_same_bits() -> None:
    images, classes = stripes()
    whole = resnet.train(TABLE, images, classes, **OPTIONS)
    first = resnet.Trainer(TABLE, images, classes, **OPTIONS)
    first.epoch()
    second = resnet.Trainer(TABLE, images, classes, **OPTIONS)
    second.resume(first.checkpoint())
    while not second.is_done:
        second.epoch()
    assert second.safetensors() == whole.safetensors()
    with pytest.raises(resnet.ResnetError, match="no checkpoint of a training"):
        second.resume(whole.safetensors())
    with pytest.raises(ValueError, match="all epochs are done"):
        second.epoch()


def test_an_interrupt_ends_behind_a_step() -> None:
    images, classes = stripes()
    options = {**OPTIONS, "epochs": 100_000, "warm_up": 1.0}
    trainer = resnet.Trainer(TABLE, images, classes, **options)
    # A shell's background job begins with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            trainer.epoch()
    timer.join()
    signal.signal(signal.SIGINT, before)
    again = resnet.Trainer(TABLE, images, classes, **options)
    again.resume(trainer.checkpoint())
    assert again.epoch()["epoch"] == trainer.epoch()["epoch"]
    assert again.safetensors() == trainer.safetensors()


def test_frozen_layers_stay_as_they_are() -> None:
    images, classes = stripes()
    weights = resnet.train(TABLE, images, classes, **OPTIONS).safetensors()
    with pytest.raises(resnet.ResnetError, match="no layer with weights called `layer2`"):
        resnet.train(TABLE, images, classes, weights, freeze=["layer2"], **OPTIONS)
    with pytest.raises(resnet.ResnetError, match="nothing is left to learn"):
        resnet.train(TABLE, images, classes, weights, freeze=["conv1", "conv2_x", "fc"], **OPTIONS)


def test_a_classifier_is_fitted(tmp_path: pathlib.Path) -> None:
    images, classes = stripes()
    weights = resnet.train(TABLE, images, classes, **OPTIONS).safetensors()
    quarters = (np.arange(64) % 4).astype(np.int64)
    images = images.copy()
    images[quarters >= 2, ..., 0] //= 4
    fitted = resnet.fit(TABLE, weights, images, quarters, validate=(images, quarters), C=1000.0)
    assert fitted.converged and fitted.accuracy == fitted.validation_accuracy
    assert fitted.accuracy > 0.5 and fitted.loss < np.log(4)
    net = resnet.compile(fitted.table, fitted.safetensors())
    assert net.outputs == 4
    answers = [answer[0][0] for answer in net.classify(list(images), top=1)]
    assert np.mean(np.array(answers) == quarters) == pytest.approx(fitted.accuracy)
    assert resnet.fit(TABLE, weights, images, quarters, C=1000.0, threads=3).safetensors() == fitted.safetensors()

    for name in ["b", "a"]:
        (tmp_path / name).mkdir()
    pytest.importorskip("PIL")
    from PIL import Image

    for index, image in enumerate(images[:16]):
        Image.fromarray(image).save(tmp_path / "ab"[index % 2] / f"{index}.png")
    of_folder = resnet.fit(TABLE, weights, tmp_path)
    assert resnet.compile(of_folder.table, of_folder.safetensors()).labels == ["a", "b"]
    (tmp_path / "a" / "notes.txt").write_text("no image")
    with pytest.raises(resnet.ResnetError, match="notes.txt"):
        resnet.fit(TABLE, weights, tmp_path)


def test_what_cannot_be_meant_is_said() -> None:
    images, classes = stripes()
    for wrong, error, said in [
        (lambda: resnet.train(TABLE, images), TypeError, "need `classes`"),
        (lambda: resnet.train(TABLE, images, classes[:9]), ValueError, "64 images and 9 classes"),
        (lambda: resnet.train(TABLE, images, classes - 1), TypeError, "a whole number from 0 on"),
        (lambda: resnet.train(TABLE, images, classes, crop="wide"), ValueError, "none, pad=N, reflect=N, resized"),
        (lambda: resnet.train(TABLE, images, classes, batch=65), ValueError, "fewer than a batch"),
        (lambda: resnet.train(TABLE, images / 255, classes), TypeError, "uint8, not float64"),
        (lambda: resnet.train(TABLE, images, classes, labels=["a"]), ValueError, "1 labels for 2"),
        (lambda: resnet.fit(TABLE, None, images, classes), TypeError, "have to be given"),
        (lambda: resnet.train(TABLE, "nowhere"), OSError, "nowhere"),
    ]:
        with pytest.raises(error, match=said):
            wrong()
