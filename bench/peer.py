#!/usr/bin/env python3
"""One Python engine in one process, which times itself when it is told to.

    peer.py ENGINE MODEL.onnx WEIGHTS.safetensors INPUT SHAPE THREADS NETWORK

The protocol is that of `peers/src/main.rs`: `answer FILE` and `time SECONDS` on stdin. The engine
`none` imports NumPy, reads the input and computes nothing: what Python itself costs.
"""
import os
import sys
import time

import numpy as np

FEWEST_RUNS = 3


def onnxruntime(job):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(job["onnx"], options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"input": job["input"]})[0]


def openvino(job):
    import openvino

    model = openvino.Core().read_model(job["onnx"])
    model.reshape(job["input"].shape)
    config = {"INFERENCE_NUM_THREADS": job["threads"], "NUM_STREAMS": 1}
    # It would compute in bf16 where the CPU can. What stays beside 8 bits it may compute as it likes best.
    if os.environ.get("PRECISION") != "int8":
        config["INFERENCE_PRECISION_HINT"] = os.environ.get("PRECISION", "f32")
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer([job["input"]], share_inputs=True, share_outputs=True)[0]


def torch(job):
    import torch
    import torchvision
    from safetensors.torch import load_file

    torch.set_num_threads(job["threads"])
    torch.set_grad_enabled(False)
    network = torchvision.models.get_model(job["network"]).eval()
    missing, surplus = network.load_state_dict(load_file(job["weights"]), strict=False)
    if surplus or any(not name.endswith("num_batches_tracked") for name in missing):
        sys.exit(f"torchvision's {job['network']} has other tensors")
    pictures = torch.from_numpy(job["input"])
    if os.environ.get("PRECISION") == "bf16":
        network, pictures = network.bfloat16(), pictures.bfloat16()
    traced = torch.jit.freeze(torch.jit.trace(network, pictures))
    traced = torch.jit.optimize_for_inference(traced)
    for _ in range(3):  # its profiling executor compiles in the first runs
        traced(pictures)
    return lambda: traced(pictures).float().numpy()


def none(job):
    return lambda: job["input"]


ENGINES = {engine.__name__: engine for engine in (onnxruntime, openvino, torch, none)}


def main():
    engine, onnx, weights, path, shape, threads, network = sys.argv[1:]
    job = {
        "onnx": onnx,
        "weights": weights,
        "input": np.fromfile(path, "<f4").reshape([int(size) for size in shape.split("x")]),
        "threads": int(threads),
        "network": network,
    }
    run = ENGINES[engine](job)
    for line in sys.stdin:
        command, argument = line.split(maxsplit=1)
        if command == "answer":
            np.ascontiguousarray(run(), "<f4").tofile(argument.strip())
            print("done", flush=True)
        elif command == "time":
            end = time.perf_counter() + float(argument)
            times = []
            while len(times) < FEWEST_RUNS or time.perf_counter() < end:
                start = time.perf_counter()
                run()
                times.append(1e3 * (time.perf_counter() - start))
            print(*(f"{milliseconds:.4f}" for milliseconds in times), flush=True)
        else:
            sys.exit(f"unknown command {command}")


if __name__ == "__main__":
    main()
