"""The engines that are compared: how each is started, and how it is spoken to."""
import contextlib
import importlib.metadata
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import safetensors.numpy

HERE = pathlib.Path(__file__).resolve().parent

# Distribution and whether `--isa avx2` can be imposed on it (through oneDNN's variable and, for
# PyTorch's own kernels, its own).
PYTHON = {"onnxruntime": False, "openvino": True, "torch": True}
# The crate whose version counts.
RUST = {"tract": "tract-onnx", "rten": "rten", "burn": "burn", "candle": "candle-core"}
# Those that load networks in 8 bits, and those that compute in bf16 what is given in f32.
INT8 = ["onnxruntime", "openvino"]
BF16 = ["openvino", "torch"]
TITLES = {
    "resnet": "resnet (this project)", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO",
    "torch": "PyTorch", "tract": "tract", "rten": "rten", "burn": "burn (flex)", "candle": "candle",
}


class Failed(Exception):
    """An engine that cannot do what it is asked to; the message is for the report."""


class Case:
    """A network with weights and input, in all the forms that engines read."""

    def __init__(self, name, batch, weights, resnet, folder):
        self.name, self.title, self.batch = name, name, batch
        stem = folder / f"{pathlib.Path(name).stem}-{batch}"
        self.onnx, self.npy, self.raw = (stem.with_suffix(end) for end in (".onnx", ".npy", ".f32"))
        origin = ["--weights", weights] if weights else ["--random-weights", 1]
        run([resnet, "emit", name, "--as", "onnx", *origin, "-o", self.onnx])
        model = onnx.load(self.onnx)
        self.weights = weights or save_weights(model, stem.with_suffix(".safetensors"))
        onnx.save(fold_batch_norms(model), self.onnx)
        shape = json.loads(run([resnet, "check", name, "--format", "json"]))["input"]
        self.shape = (batch, *shape)
        pictures = np.random.default_rng(0).standard_normal(self.shape, dtype="f4")
        np.save(self.npy, pictures)
        pictures.tofile(self.raw)


def save_weights(model, path):
    """Writes a safetensors file: the initialisers are the state dict."""
    tensors = {t.name: onnx.numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    safetensors.numpy.save_file(tensors, path)
    return path


def fold_batch_norms(model):
    """Puts batch norms into the convolutions before them, because not every engine does."""
    graph = model.graph
    tensors = {t.name: onnx.numpy_helper.to_array(t).astype("f8") for t in graph.initializer}
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = convolutions[norm.input[0]]
        scale, shift, mean, variance = (tensors.pop(name) for name in norm.input[1:])
        factor = scale / np.sqrt(variance + norm.attribute[0].f)
        weight, bias = conv.input[1], norm.input[2]
        tensors[weight] = tensors[weight] * factor[:, None, None, None]
        before = tensors.pop(conv.input[2]) if len(conv.input) > 2 else 0
        tensors[bias] = shift + (before - mean) * factor
        conv.input[:] = [conv.input[0], weight, bias]
        conv.output[:] = norm.output
        graph.node.remove(norm)
    del graph.initializer[:], graph.value_info[:]
    arrays = tensors.items()
    graph.initializer.extend(onnx.numpy_helper.from_array(a.astype("f4"), n) for n, a in arrays)
    return model


class Resnet:
    """This project's command. It is started anew for every measurement: compiling and loading are
    not timed, and its first run is not counted."""

    name = "resnet"

    def __init__(self, binary, isa, precision):
        self.binary = binary
        # In 8 bits it is the weights that say so.
        self.options = ["--isa", isa, *(["--precision", "bf16"] if precision == "bf16" else [])]

    def bench(self, case, threads, seconds):
        command = [self.binary, "bench", case.name, "--weights", case.weights,
                   "--batch", case.batch, "--threads", threads, *self.options,
                   "--seconds", seconds, "--format", "json"]
        return json.loads(run(command))

    def answer(self, case, threads, path):
        """Writes the answer to a file, as the command does by itself."""
        path.unlink(missing_ok=True)
        run([self.binary, "run", case.name, "--weights", case.weights, "--input", case.npy,
             "--output", path, "--threads", threads, *self.options])
        return np.load(path).reshape(-1)

    def version(self):
        return run([self.binary, "--version"]).split()[1]


class Peer:
    """Another engine, in a process that lives for as long as it is needed."""

    def __init__(self, name, case, threads, isa, peers, precision="f32"):
        arguments = [name, case.onnx, case.weights, case.raw, "x".join(map(str, case.shape)), threads]
        if name in RUST:
            command = [peers, *arguments]
        else:
            command = [sys.executable, HERE / "peer.py", *arguments, case.name]
        environment = os.environ | {
            "RAYON_NUM_THREADS": str(threads),
            "RTEN_NUM_THREADS": str(threads),
            "OMP_NUM_THREADS": str(threads),
            "RUST_BACKTRACE": "0",
            "PRECISION": precision,
        }
        if isa != "auto":
            environment["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE" if isa == "avx512" else isa.upper()
            environment["ATEN_CPU_CAPABILITY"] = isa
        self.complaints = tempfile.TemporaryFile("w+")
        self.child = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.complaints, text=True, env=environment)

    def ask(self, command):
        try:
            print(command, file=self.child.stdin, flush=True)
            reply = self.child.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            self.child.wait()
            self.complaints.seek(0)
            lines = self.complaints.read().strip().splitlines()
            lines = [line for line in lines if line.strip() and not line.startswith("note:")]
            raise Failed(lines[-1] if lines else "it ended without a word")
        return reply

    def answer(self, path):
        self.ask(f"answer {path}")
        return np.fromfile(path, "<f4")

    def time(self, seconds):
        """The median of the runs of `seconds`, in milliseconds."""
        return statistics.median(float(word) for word in self.ask(f"time {seconds}").split())

    def peak_bytes(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def close(self):
        """Lets the process end. One that has failed has ended already."""
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()
        self.complaints.close()


def available(peers):
    """Engines that are installed here, with their versions."""
    found = {}
    for name in PYTHON:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    lock = HERE / "peers/Cargo.lock"
    if peers.exists() and lock.exists():
        versions = dict(re.findall(r'name = "(.+)"\nversion = "(.+)"', lock.read_text()))
        found |= {name: versions[crate] for name, crate in RUST.items()}
    return found


def limited(name, isa):
    """Whether an engine keeps to an instruction set that is asked for."""
    return isa == "auto" or name == "resnet" or PYTHON.get(name, False)


def cold_start(resnet, name, case, threads, isa, peers, scratch):
    """Seconds from the start of a process to the end of it, with one answer in between."""
    start = time.perf_counter()
    if name == "resnet":
        resnet.answer(case, threads, scratch.with_suffix(".npy"))
    else:
        peer = Peer(name, case, threads, isa, peers)
        peer.answer(scratch)
        peer.close()
    return time.perf_counter() - start


def peak_bytes(resnet, name, case, threads, isa, peers, scratch):
    """The most memory that a fresh process had resident while it loaded and ran the network."""
    if name == "resnet":
        return resnet.bench(case, threads, 0.1)["peak_rss_bytes"]
    peer = Peer(name, case, threads, isa, peers)
    try:
        peer.answer(scratch)
        peer.time(0.1)
        return peer.peak_bytes()
    finally:
        peer.close()


def run(command):
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout
