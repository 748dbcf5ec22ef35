#!/usr/bin/env python3
"""Check what `resnet emit --as onnx` writes of quantised networks with ONNX's checker and with ONNX Runtime.

    pip install numpy onnx onnxruntime
    cargo build --workspace
    python tests/int8/check_onnx.py [RESNET]

ONNX Runtime divides by scales and sums in another order: a byte may come out one step apart, and what follows from
it. Its answers are within 1 % of the largest of those that `make.py` computed by the definition.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = 0.01


def main():
    resnet = sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent / "target/debug/resnet"
    worst = 0.0
    for name in "basic", "bottleneck", "option-a":
        with tempfile.TemporaryDirectory() as folder:
            model = f"{folder}/net.onnx"
            network = [HERE / f"{name}.yaml", "--weights", HERE / f"{name}.safetensors"]
            subprocess.run([resnet, "emit", *network, "--as", "onnx", "-o", model], check=True)
            onnx.checker.check_model(model, full_check=True)
            plain = ort.SessionOptions()
            plain.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            session = ort.InferenceSession(model, plain, providers=["CPUExecutionProvider"])
        answers = session.run(None, {"input": np.load(HERE / f"{name}.input.npy")})[0]
        expected = np.load(HERE / f"{name}.output.npy").reshape(answers.shape)
        error = float(np.abs(answers - expected).max() / np.abs(expected).max())
        print(f"{name}: {error:.1e}")
        worst = max(worst, error)
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
