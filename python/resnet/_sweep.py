"""Sizes and times of depth variants."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

from ._resnet import Imported, compile

ROUNDS = 5


def sweep(
    tables: Iterable[Any], *, threads: int = 1, seconds: float = 0.5, isa: str | None = None
) -> list[dict[str, Any]]:
    """Compile networks with random weights, on which times do not depend, and time them one image at a time.

    `tables` are what `compile` takes; `family` writes those of depth variants. The networks run in five rounds, each
    once a round for a fifth of `seconds`, so that a busy minute falls on all of them.

    Returns a record for each network, such as `pandas.DataFrame` takes: `name`, `depth`, `params`, `macs`,
    `arena_bytes`, and `min_ms`, `median_ms` and the quartiles `lower_quartile_ms` and `upper_quartile_ms` of all its
    runs.
    """
    import statistics  # takes longer than the rest of the package

    if isinstance(tables, str | PathLike | Imported):
        raise TypeError(f"expected a list of tables, found {type(tables).__name__}; one table is `[table]`")
    networks = [compile(table, threads=threads, isa=isa) for table in tables]
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(ROUNDS):
        for network, runs in zip(networks, times, strict=True):
            runs += network.bench(seconds / ROUNDS, runs=1)
    records = []
    for network, runs in zip(networks, times, strict=True):
        lower, _, upper = statistics.quantiles(runs, n=4, method="inclusive")
        records.append(
            {
                "name": network.name,
                "depth": network.depth,
                "params": network.params,
                "macs": network.macs,
                "arena_bytes": network.arena_bytes,
                "min_ms": 1e3 * min(runs),
                "lower_quartile_ms": 1e3 * lower,
                "median_ms": 1e3 * statistics.median(runs),
                "upper_quartile_ms": 1e3 * upper,
            }
        )
    return records
