"""Arrays of Arrow: the answers are `classify`'s, whatever holds the pictures."""

import pathlib
import pickle

import pyarrow as pa
import pytest

import resnet

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL, WEIGHTS = ROOT / "models/cifar10/resnet20.yaml", ROOT / "models/cifar10/resnet20.safetensors"
FILES = sorted((ROOT / "examples/pictures").glob("*.png"))


def answers(array: pa.Array, network: resnet.ArrowNetwork) -> list[dict | None]:
    return pa.array(network.classify(array)).to_pylist()


def expected() -> list[dict]:
    top = resnet.compile(MODEL, WEIGHTS).classify([str(file) for file in FILES], top=1)
    return [{"label": l, "class": c, "probability": p, "error": None} for [(c, l, p)] in top]


def test_every_type_answers_as_classify_does() -> None:
    network = resnet.ArrowNetwork(MODEL, WEIGHTS)
    pictures = [file.read_bytes() for file in FILES]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        assert answers(pa.array(pictures, kind), network) == expected()
    assert answers(pa.array([str(file) for file in FILES]), network) == expected()
    # A part of an array, and a network that went to another process.
    assert answers(pa.array(pictures)[3:7], pickle.loads(pickle.dumps(network))) == expected()[3:7]
    assert len(network.classify(pa.array(pictures))) == len(FILES)


def test_what_is_no_picture_is_null_and_says_why() -> None:
    network = resnet.ArrowNetwork(MODEL, WEIGHTS)
    null, broken = answers(pa.array([None, b"no picture"]), network)
    assert null is None
    assert broken is not None and broken["label"] is None and broken["error"].startswith("cannot decode")
    null, broken = pa.array(network.features(pa.array([None, b"no picture"]))).to_pylist()
    assert null is None and broken["features"] is None
    [row] = pa.array(network.features(pa.array([FILES[0].read_bytes()]))).to_pylist()
    assert len(row["features"]) == 64 and row["error"] is None


def test_what_is_no_array_of_pictures_is_refused() -> None:
    network = resnet.ArrowNetwork(MODEL, WEIGHTS)
    with pytest.raises(TypeError, match="found list; `pyarrow.array` makes one"):
        network.classify([b"picture"])
    with pytest.raises(TypeError, match="several parts: `combine_chunks"):
        network.classify(pa.chunked_array([[b"picture"]]))
    with pytest.raises(resnet.ResnetError, match="not Int64"):
        network.classify(pa.array([1]))
    with pytest.raises(resnet.ResnetError, match="neither a file nor a network"):
        resnet.ArrowNetwork("resnet19", WEIGHTS)
