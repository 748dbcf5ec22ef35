"""What the Python package costs beside the library that it binds. Build and install it first:

    pip install ./python && python bench/binding.py

Prints how long importing takes (numpy is imported by the first call), what a call costs beyond the library's own run, and how
many images four threads of Python, each with a session of its own, classify in the time in which two processes of one thread
do. Rounds are pairs of both, one after the other; medians over rounds are shown, and quartiles.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

import resnet

SMALLEST = """\
name: smallest
input: 1x1x1
table:
  - {layer: fc, op: linear, channels: 1}
"""


def quartiles(values: list[float]) -> str:
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.3g} ({lower:.3g} to {upper:.3g})"


def import_times(rounds: int) -> None:
    times: dict[str, list[float]] = {"resnet": [], "numpy": [], "numpy, resnet": []}
    for _ in range(rounds):
        for names, of_names in times.items():
            code = f"import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"
            of_names.append(1e3 * float(subprocess.check_output([sys.executable, "-c", code])))
    for names, of_names in times.items():
        print(f"import {names}: {quartiles(of_names)} ms")


def call_costs(rounds: int) -> None:
    """Of the smallest network there is, and of one that fills a cache. Of times, the first tenth: others use the machine too."""
    for table in (SMALLEST, "cifar-resnet20"):
        net = resnet.compile(table)
        x = np.zeros((1, *net.input), np.float32)
        costs = []
        for _ in range(rounds):
            inside = net.bench(0.1, runs=10)
            calls = []
            for _ in inside:
                before = time.perf_counter()
                net(x)
                calls.append(time.perf_counter() - before)
            tenths = [statistics.quantiles(times, n=10)[0] for times in (calls, inside)]
            costs.append(1e6 * (tenths[0] - tenths[1]))
        print(f"a call of {net.name} beyond its run: {quartiles(costs)} us")


def classify(net: resnet.Network, x: np.ndarray, until: float) -> int:
    images = 0
    while time.monotonic() < until:
        net(x)
        images += len(x)
    return images


def worker(table: str) -> None:
    """A process that runs the network for as many seconds as each line of its input says."""
    net = resnet.compile(table)
    x = np.zeros((1, *net.input), np.float32)
    net(x)
    print("ready", flush=True)
    for line in sys.stdin:
        print(classify(net, x, float(line)), flush=True)


def threads_and_processes(table: str, rounds: int, seconds: float) -> None:
    command = [sys.executable, __file__, "--worker", table]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    net = resnet.compile(table)
    x = np.zeros((1, *net.input), np.float32)
    ratios, rates = [], []
    for process in processes:
        process.stdout.readline()
    for at in range(rounds + 1):
        counts = [0] * 4

        def count(index: int, until: float) -> None:
            counts[index] = classify(net, x, until)

        until = time.monotonic() + seconds
        threads = [threading.Thread(target=count, args=(index, until)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until = time.monotonic() + seconds
        for process in processes:
            print(until, file=process.stdin, flush=True)
        theirs = sum(int(process.stdout.readline()) for process in processes)
        if at > 0:  # the first round warms up
            ratios.append(sum(counts) / theirs)
            rates.append(theirs / seconds)
    for process in processes:
        process.stdin.close()
        process.wait()
    print(
        f"{table}: two processes {quartiles(rates)} images a second, four threads {quartiles(ratios)} times as many"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=["cifar-resnet20", "resnet18"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each half of a round")
    parser.add_argument("--worker", metavar="TABLE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(arguments.worker)
    import_times(arguments.rounds)
    call_costs(arguments.rounds)
    for table in arguments.tables:
        threads_and_processes(table, arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
