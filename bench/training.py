"""What a step of training takes beside PyTorch's, on the same threads and batch.

    cargo build --release --workspace --example step --features resnet-compiler/train
    pip install torch torchvision numpy pillow safetensors
    python bench/training.py

Rounds are ours, PyTorch, ours, PyTorch and so on, each a process of its own; of its steps the fastest counts. Printed are
medians over rounds, of images a second, of ratios of neighbours, and of the memory that a process grew by for the network
and its steps. PyTorch's layout is `channels_last`; `--compiled` adds `torch.compile` (which wants a C++ compiler), and `--bf16`
autocast to bfloat16, which our steps, in f32, are then compared with too.
"""

import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEP = ROOT / "target/release/examples/step"
# The network, and the batch, size and classes that the table has.
NETWORKS = {"cifar-resnet20": (128, 32, 10), "resnet18": (32, 224, 1000), "resnet50": (16, 224, 1000)}


def peer(network: str, threads: int, steps: int, way: str) -> None:
    """One of PyTorch's processes."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    batch, size, classes = NETWORKS[network]
    if network == "cifar-resnet20":
        sys.path.insert(0, str(ROOT / "models/cifar10"))
        from train import ResNet20

        net = ResNet20()
    else:
        import torchvision

        net = getattr(torchvision.models, network)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = net.to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % classes
    descent = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    forward = torch.compile(net) if "compiled" in way else net
    fastest = float("inf")
    for _ in range(steps):
        start = time.perf_counter()
        descent.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in way):
            loss = F.cross_entropy(forward(images).float(), labels)
        loss.backward()
        descent.step()
        fastest = min(fastest, time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    print(f"{batch / fastest:.1f} images/s, {grown:.0f} MB")


def measure(command: list[str]) -> tuple[float, float]:
    """Images a second, and megabytes."""
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    speed, memory = line.split(": ")[-1].split(", ")
    return float(speed.split()[0]), float(memory.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["cifar-resnet20", "resnet18"], metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.networks) - NETWORKS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(NETWORKS)}")
    if args.peer:
        return peer(args.networks[0], args.threads[0], args.steps, args.peer)
    if not STEP.exists():
        parser.error(f"{STEP} is not there: build it as --help says")
    ways = ["f32"] + ["bf16"] * args.bf16
    ways += [f"{way}, compiled" for way in ways if args.compiled]
    for network in args.networks:
        for threads in args.threads:
            ours_command = [str(STEP), network, str(NETWORKS[network][0]), str(threads), str(args.steps)]
            rounds: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
            for _ in range(args.rounds):
                for way, found in rounds.items():
                    ours = measure(ours_command)
                    options = ["--threads", str(threads), "--steps", str(args.steps), "--peer", way]
                    theirs = measure([sys.executable, __file__, network, *options])
                    found.append((ours[0], theirs[0], ours[0] / theirs[0], ours[1], theirs[1]))
            for way, found in rounds.items():
                ours, theirs, ratio, memory, their_memory = map(statistics.median, zip(*found))
                print(
                    f"{network}, batch {NETWORKS[network][0]}, {threads} thread(s): ours {ours:.0f} images/s and {memory:.0f} MB,"
                    f" PyTorch {way} {theirs:.0f} and {their_memory:.0f} MB: {ratio:.2f} times as fast",
                    flush=True,
                )


if __name__ == "__main__":
    main()
