#!/usr/bin/env python3
"""Times this project against other inference engines: same weights, same input, in alternation.

    python bench/compare.py                              # ResNet-18 and 50, 1 and 2 threads
    python bench/compare.py resnet50 --batch 8 --engines onnxruntime openvino
    python bench/compare.py --isa avx2 --cold --out results
    python bench/compare.py resnet18 resnet50 --precision int8
    python bench/compare.py resnet18 resnet50 --precision bf16

Every engine's answer is compared with ours first; one that differs by more than a thousandth of
the largest is reported and not timed. In 8 bits and in bf16, where engines round at different places, the
root mean square of the difference is looked at. Then each round times ours, an engine, ours, the next
engine, and so on. Ratios are of neighbours; what is shown is the median over rounds.
`bench/README.md` says how to install the engines and what to mind.
"""
import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

import numpy as np

import engines
import report

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = {"f32": 1e-3, "bf16": 0.1, "int8": 0.35}

# Threads of an engine that has just answered may spin for a while before they sleep.
PAUSE = 0.25


def difference(found, expected, precision):
    """The largest difference, in units of the largest expected answer; in fewer bits root mean squares of both."""
    if found.shape != expected.shape:
        raise engines.Failed(f"{found.size} answers instead of {expected.size}")
    if precision != "f32":
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def start(args, case, threads, resnet, scratch):
    """Every engine that gives the right answer, running; and what to say of all of them."""
    expected = resnet.answer(case, threads, scratch.with_suffix(".npy"))
    running, said = {}, {}
    for name in args.engines:
        peer = engines.Peer(name, case, threads, args.isa, args.peers, args.precision)
        try:
            error = difference(peer.answer(scratch), expected, args.precision)
            if not error <= TOLERANCE[args.precision]:
                raise engines.Failed(f"its answer differs by {error:.1e}")
            running[name], said[name] = peer, {"error": error}
        except engines.Failed as failure:
            said[name] = {"failed": str(failure)}
            peer.close()
    return running, said


def compare(args, case, threads, resnet, scratch):
    """Times of all engines on one network, by engine."""
    running, results = start(args, case, threads, resnet, scratch)
    pairs = {name: [] for name in running}
    for _ in range(args.rounds):
        for name, peer in running.items():
            ours = resnet.bench(case, threads, args.seconds)["median_ms"]
            theirs = peer.time(args.seconds)
            time.sleep(PAUSE)
            pairs[name].append((ours, theirs))
    for name, peer in running.items():
        peer.close()
        results[name] |= {
            "ms": statistics.median(theirs for _, theirs in pairs[name]),
            "ratio": statistics.median(theirs / ours for ours, theirs in pairs[name]),
            "pairs": pairs[name],
        }
    ours = [ours for timed in pairs.values() for ours, _ in timed]
    ours = ours or [resnet.bench(case, threads, args.seconds)["median_ms"]]
    return {"resnet": {"ms": statistics.median(ours), "ratio": 1.0, "error": 0.0}} | results


def start_up(args, case, resnet, scratch):
    """Cold starts and peaks of memory on one thread, by engine."""
    python = engines.peak_bytes(resnet, "none", case, 1, args.isa, args.peers, scratch)
    results = {}
    for name in ["resnet", *args.engines]:
        arguments = resnet, name, case, 1, args.isa, args.peers, scratch
        try:
            # The first one fetches the files into the page cache.
            seconds = [engines.cold_start(*arguments) for _ in range(args.rounds + 1)][1:]
            peak = engines.peak_bytes(*arguments)
        except engines.Failed as failure:
            results[name] = {"failed": str(failure)}
            continue
        peak -= python if name in engines.PYTHON else 0
        results[name] = {"seconds": statistics.median(seconds), "bytes": peak}
    return results


def machine():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    field = lambda key: next((l.split(":")[1].strip() for l in lines if l.startswith(key)), "")
    flags = set(field("flags").split())
    name = f"{field('model name')}, family {field('cpu family')} model {field('model')}"
    return {
        "cpu": name if lines else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "isa": [isa for isa in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if isa in flags],
        "load": os.getloadavg()[0],
    }


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("networks", nargs="*", default=["resnet18", "resnet50"],
        help="networks of the zoo, or tables; PyTorch, burn and candle have torchvision's only")
    add("--resnet", type=pathlib.Path, default=ROOT / "target/release/resnet")
    add("--peers", type=pathlib.Path, default=ROOT / "bench/peers/target/release/peers",
        help="the engines written in Rust, built by `cargo build --release` in bench/peers")
    add("--engines", nargs="+", choices=[*engines.PYTHON, *engines.RUST],
        help="instead of all that are installed")
    add("--weights", type=pathlib.Path, help="a safetensors file, instead of random weights")
    add("--threads", type=int, nargs="+", default=[1, 2])
    add("--batch", type=int, default=1)
    add("--precision", choices=["f32", "bf16", "int8"], default="f32",
        help="bf16: OpenVINO and PyTorch; int8: torchvision's networks, quantised by ONNX Runtime; ours imports that "
        "file, it and OpenVINO load it")
    add("--size", type=int, default=224, help="of the pictures, in 8 bits")
    add("--isa", choices=["auto", "avx512", "avx2"], default="auto",
        help="the instruction set of ours, OpenVINO and PyTorch; the others cannot be limited")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="how long a round times each side")
    add("--cold", action="store_true",
        help="also cold start and memory on one thread, of the first network; in 8 bits ours of all, beside f32")
    add("--out", type=pathlib.Path, help="a folder for report.md, times.svg and results.json")
    return parser.parse_args()


def make_case(args, name, folder):
    if args.precision != "int8":
        return engines.Case(name, args.batch, args.weights, args.resnet, folder)
    import int8
    return int8.Case(name, args.batch, args.resnet, folder, args.size)


def main():
    args = arguments()
    versions = engines.available(args.peers)
    able = {"f32": list(versions), "bf16": engines.BF16, "int8": engines.INT8}[args.precision]
    args.engines = args.engines or [n for n in versions if n in able]
    if args.precision == "int8" and (args.weights or not set(args.engines) <= set(able)):
        raise SystemExit(f"in 8 bits there are {' and '.join(able)}, and weights are random")
    if not set(args.engines) <= set(able) or args.precision == "bf16" and args.cold:
        raise SystemExit(f"in {args.precision} there are {' and '.join(able)}, without a cold start")
    resnet = engines.Resnet(args.resnet, args.isa, args.precision)
    results = {
        "machine": machine(),
        "versions": {"resnet": resnet.version()} | {n: versions.get(n, "?") for n in args.engines},
        "batch": args.batch, "precision": args.precision, "isa": args.isa, "rounds": args.rounds, "seconds": args.seconds,
        "times": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        scratch = folder / "answer"
        cases = [make_case(args, name, folder) for name in args.networks]
        for case in cases:
            for threads in args.threads:
                timed = compare(args, case, threads, resnet, scratch)
                results["times"].append({"network": case.title, "threads": threads, "engines": timed})
                print(report.times([results["times"][-1]], results), flush=True)
        if args.cold and args.precision == "int8":
            import int8
            results["packed"] = {case.title: int8.start_up(args, resnet, case, folder) for case in cases}
        elif args.cold:
            results["start"] = {"network": cases[0].name, "engines": start_up(args, cases[0], resnet, scratch)}
    text = report.markdown(results)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.md").write_text(text)
        (args.out / "times.svg").write_text(report.svg(results))
        (args.out / "results.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
