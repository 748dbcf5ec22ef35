"""Which depth for which time: sweep depth variants, and plot latency against parameters.

    pip install ./python matplotlib
    python python/examples/explore_depth.py depths.svg
"""

import sys

import resnet

# The networks of the 2015 paper's CIFAR section, thin and wide.
tables = [
    resnet.family(repeats=[n] * 3, cifar=True, width=width)
    for width in (1.0, 2.0)
    for n in (3, 5, 7, 9, 18)
]
records = resnet.sweep(tables)
for record in records:
    print(f"{record['name']:22} {record['params']:>10,} params  {record['median_ms']:8.3f} ms")

if len(sys.argv) > 1:
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]

    for wide, label in ((False, "width 1"), (True, "width 2")):
        chosen = [record for record in records if ("-w" in record["name"]) == wide]
        spread = [
            [record["median_ms"] - record["lower_quartile_ms"] for record in chosen],
            [record["upper_quartile_ms"] - record["median_ms"] for record in chosen],
        ]
        params = [record["params"] for record in chosen]
        plt.errorbar(params, [record["median_ms"] for record in chosen], yerr=spread, marker="o", label=label)
    plt.xlabel("parameters")
    plt.ylabel("ms for an image, 1 thread")
    plt.loglog()
    plt.legend()
    plt.savefig(sys.argv[1])
