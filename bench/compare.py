#!/usr/bin/env python3
"""Times this project against ONNX Runtime on the same network, weights and input, in alternation.

    pip install torch torchvision onnx onnxruntime safetensors numpy
    cargo build --release
    python bench/compare.py --resnet target/release/resnet resnet18 resnet50

Each round runs ours, then theirs; the table shows the median over rounds of each side's median,
and their ratio. The outputs of both are compared first.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnxruntime
import torch
import torchvision
from safetensors.torch import save_file


def export(name, batch, folder):
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)().eval()
    weights = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, weights)
    pictures = torch.randn(batch, 3, 224, 224)
    onnx = folder / f"{name}-{batch}.onnx"
    torch.onnx.export(net, (pictures,), str(onnx), input_names=["x"], output_names=["y"], dynamo=False)
    return weights, onnx, pictures.numpy()


def session_of(onnx, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])


def time_theirs(session, pictures, seconds):
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        session.run(None, {"x": pictures})
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def time_ours(resnet, name, weights, batch, threads):
    command = [resnet, "bench", name, "--weights", weights, "--batch", batch, "--threads", threads, "--format", "json"]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["median_ms"]


def compare_outputs(resnet, name, weights, session, pictures, folder):
    inputs, outputs = folder / "in.npy", folder / "out.npy"
    np.save(inputs, pictures)
    outputs.unlink(missing_ok=True)
    command = [resnet, "run", name, "--weights", weights, "--input", inputs, "--output", outputs]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    theirs = session.run(None, {"x": pictures})[0]
    error = np.abs(np.load(outputs) - theirs).max() / np.abs(theirs).max()
    assert error < 1e-4, f"{name}: the outputs differ by {error:.1e} of the largest"
    return error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resnet", type=pathlib.Path, default=pathlib.Path("target/release/resnet"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("networks", nargs="*", default=["resnet18", "resnet50"])
    args = parser.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, batch {args.batch}, f32")
    print("network      threads   ours ms  theirs ms  theirs / ours  outputs differ by")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in args.networks:
            weights, onnx, pictures = export(name, args.batch, folder)
            for threads in args.threads:
                session = session_of(onnx, threads)
                error = compare_outputs(args.resnet, name, weights, session, pictures, folder)
                ours, theirs = [], []
                for _ in range(args.rounds):
                    ours.append(time_ours(args.resnet, name, weights, args.batch, threads))
                    theirs.append(time_theirs(session, pictures, 2))
                ours, theirs = statistics.median(ours), statistics.median(theirs)
                print(f"{name:<12} {threads:>7} {ours:>9.2f} {theirs:>10.2f} {theirs / ours:>14.2f}  {error:.0e}", flush=True)


if __name__ == "__main__":
    main()
