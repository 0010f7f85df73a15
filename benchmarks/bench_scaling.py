# SPDX-License-Identifier: MPL-2.0
"""Time and memory of `reconstruct` against pixels, latents, angles and restarts.

Run it as ``python benchmarks/bench_scaling.py [--quick]``.
"""

import functools
import math
import time

from harness import arguments, peak_memory, publish, table, threads
from problems import Problem, convolutional

import odl_genreg as ogr

BASE = {"pixels": 64, "latents": 16, "angles": 20, "restarts": 8}
VARIED = {
    "pixels": (32, 64, 128, 256),
    "latents": (8, 16, 32, 64, 128),
    "angles": (5, 10, 20, 40, 80, 160),
    "restarts": (1, 2, 4, 8, 16, 32, 64),
}
QUICK = {"pixels": (32, 64), "restarts": (1, 8)}


@functools.cache
def problem(pixels, angles, latents):
    return Problem(convolutional, pixels, angles, latents)


def measure(kind, case):
    """Reconstruct twice: the memory of the first run, the time of the second."""
    made = problem(case["pixels"], case["angles"], case["latents"])
    R, lam = (made.range, 0.5) if kind == "range" else (made.soft, made.soft_lam)
    solve = functools.partial(
        ogr.reconstruct, made.D, R, lam, restarts=case["restarts"], seed=5
    )
    _, _, memory = peak_memory(solve)
    start = time.perf_counter()
    result = solve()
    seconds = time.perf_counter() - start
    iterations = len(result.history) - 1
    return case | {
        "seconds": seconds,
        "MB": memory,
        "iterations": iterations,
        "ms an iteration": 1e3 * seconds / max(1, iterations),
        "solver": result.solver,
    }


def growth(name, rows, column):
    """Exponent ``p`` of ``column ~ name^p`` between the two largest cases."""
    (small, small_value), (large, large_value) = (
        (row[name], row[column]) for row in rows[-2:]
    )
    if not (small_value and large_value):
        return None
    return math.log(large_value / small_value) / math.log(large / small)


def main():
    quick, start = arguments(__doc__).quick, time.perf_counter()
    tables, exponents = {}, []
    with threads(1):
        for kind in ("range", "soft"):
            measure(kind, BASE)  # what a process does once
            for name, values in (QUICK if quick else VARIED).items():
                rows = [measure(kind, BASE | {name: value}) for value in values]
                tables[f"{kind}, {name}"] = rows
                exponents.append(
                    {
                        "regularizer": kind,
                        "size": name,
                        "seconds": growth(name, rows, "seconds"),
                        "ms an iteration": growth(name, rows, "ms an iteration"),
                        "MB": growth(name, rows, "MB"),
                    }
                )
                problem.cache_clear()
                print(kind, name, flush=True)
    text = report(tables, exponents)
    results = {"tables": tables, "growth": exponents}
    seconds = time.perf_counter() - start
    publish("scaling", text, results, quick=quick, seconds=seconds)


def report(tables, exponents):
    """The section of README.md."""
    parts = [
        "`reconstruct` with its defaults, on one thread: the decoder of a `VAE` with\n"
        "random weights, "
        + ", ".join(f"{value} {name}" for name, value in BASE.items())
        + ",\nof which one varies. Exponent p of a growth like size^p, between the two"
        "\nlargest cases:\n",
        table(exponents),
        "\nMB: resident memory above that before, at its peak.",
    ]
    for name, rows in tables.items():
        parts += [f"\n{name}:\n", table(rows)]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
