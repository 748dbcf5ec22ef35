#!/usr/bin/env python3
"""Check what `resnet emit --as onnx` writes with ONNX's own checker and with ONNX Runtime.

    pip install numpy onnx onnxruntime safetensors
    cargo build --release
    python tests/golden/check_onnx.py                    # every golden and every network of the zoo
    python tests/golden/check_onnx.py pools resnet18     # some of them

For each network the file must pass `onnx.checker` with shape inference, its initialisers must be
the state dict, and ONNX Runtime's answers must be those of `resnet run` (goldens: of PyTorch too)
to 1e-5 of the largest one. Files with a fixed batch must give the same answers. Networks of the
zoo have random weights here. A softmax's answers are compared like any others.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOLERANCE = 1e-5


def zoo():
    """Networks that the command carries, by name."""
    return sorted(path.stem for path in (ROOT / "models").glob("*.yaml"))


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")


def answers_of(model, pictures):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    parts = session.run(None, {"input": pictures})
    return np.concatenate([part.reshape(len(pictures), -1) for part in parts], axis=1)


def difference(found, expected):
    """The largest difference, in units of the largest expected answer."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def initialisers(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def check_state_dict(model, weights):
    """The initialisers are what the safetensors file has, but for batch norm's counters."""
    found = initialisers(model)
    with safe_open(weights, framework="np") as file:
        names = {name for name in file.keys() if not name.endswith("num_batches_tracked")}
        assert set(found) == names, f"initialisers: {set(found) ^ names}"
        with_bf16 = any(file.get_slice(name).get_dtype() == "BF16" for name in names)
        for name in names:
            # NumPy has no bf16.
            if not with_bf16:
                # A classifier stored as a 1x1 convolution is the matrix that it means.
                stored = file.get_tensor(name).astype("f4")
                stored = stored.reshape(found[name].shape) if stored.size == found[name].size else stored
                assert np.array_equal(found[name], stored), name


def read_answers(table, outputs):
    """What `resnet run --output` wrote: a file, or one for each of the table's features."""
    text = (table if isinstance(table, pathlib.Path) else ROOT / f"models/{table}.yaml").read_text()
    features = re.search(r"^features: \[(.*)\]$", text, re.MULTILINE)
    if not features:
        return np.load(outputs)
    parts = [np.load(outputs.with_name(f"{outputs.stem}.{layer}.npy")) for layer in features[1].split(", ")]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def check(resnet, name, folder):
    golden = HERE / f"{name}.yaml"
    model = folder / "model.onnx"
    if golden.exists():
        table = golden
        weights = ["--weights", HERE / f"{name}.safetensors"]
        pictures = np.load(HERE / f"{name}.input.npy")
    else:
        table = name
        weights = ["--random-weights", 1]
        size = 32 if "input: 3x32x32" in (ROOT / f"models/{name}.yaml").read_text() else 224
        pictures = np.random.default_rng(0).standard_normal((2, 3, size, size), dtype="f4")
    inputs, outputs = folder / "in.npy", folder / "out.npy"
    np.save(inputs, pictures)
    run([resnet, "emit", table, "--as", "onnx", *weights, "-o", model])
    run([resnet, "run", table, *weights, "--input", inputs, "--output", outputs])

    onnx.checker.check_model(str(model), full_check=True)
    loaded = onnx.load(model)
    if golden.exists():
        check_state_dict(loaded, HERE / f"{name}.safetensors")
    found = answers_of(model, pictures)
    errors = [difference(found, read_answers(table, outputs).reshape(found.shape))]
    if golden.exists():
        expected = np.load(HERE / f"{name}.output.npy")
        errors.append(difference(found, expected.reshape(found.shape)))

    fixed = ["--batch", len(pictures)]
    run([resnet, "emit", table, "--as", "onnx", *weights, *fixed, "-o", model])
    onnx.checker.check_model(str(model), full_check=True)
    errors.append(difference(answers_of(model, pictures), found))
    return len(loaded.graph.node), len(loaded.graph.initializer), errors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resnet", type=pathlib.Path, default=ROOT / "target/release/resnet")
    parser.add_argument("networks", nargs="*")
    args = parser.parse_args()
    goldens = sorted(path.stem for path in HERE.glob("*.yaml"))
    names = args.networks or goldens + zoo()
    print(f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            nodes, tensors, errors = check(args.resnet, name, pathlib.Path(folder))
            print(f"{name:<22} {nodes:>5} nodes {tensors:>5} tensors, differs by"
                  f" {', '.join(f'{error:.1e}' for error in errors)}", flush=True)
            # Not `max`, which loses what is not a number.
            if not all(error <= TOLERANCE for error in errors):
                sys.exit(f"{name}: more than {TOLERANCE} of the largest answer")
            worst = max(worst, *errors)
    print(f"{len(names)} networks; the largest difference is {worst:.1e}")


if __name__ == "__main__":
    main()
