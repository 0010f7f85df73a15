# SPDX-License-Identifier: MPL-2.0
"""Value and gradient of each view of a problem against plain torch and deepinv.

Run it as ``python benchmarks/bench_objective.py [--quick]``.
"""

import itertools
import time

import numpy as np
from deepinv_peer import CSGM, deepinv
from harness import alternate, arguments, claim, publish, table, threads
from problems import NETWORKS, Problem
from views import VIEWS, reduced

# Fewer angles where there are more pixels: the whitened data fit into one matrix.
ANGLES = {28: 30, 64: 30, 128: 20}


def agree(calls, points):
    """Check that all functions compute the same, before they are timed."""
    results = {name: call(points[name]) for name, call in calls.items()}
    reference = results.pop("bare")[0]
    for name, (value, _) in results.items():
        if not np.isclose(value, reference, rtol=1e-3):
            raise ValueError(f"{name} must be {reference}, got {value}")


def measure(problem, name, seconds):
    """Time one view; return its times."""
    calls, points = VIEWS[name](problem)
    agree(calls, points(0))
    iterations = {}
    if name == "range" and deepinv is not None:
        parts = problem.network, problem.latent_dim, problem.pixels, problem.num_angles
        for peer, frozen in (("CSGM", False), ("CSGM frozen", True)):
            calls[peer] = CSGM(*parts, frozen=frozen)
            iterations[peer] = CSGM.iterations
    return alternate(calls, points, seconds=seconds, iterations=iterations)


def main():
    quick, start = arguments(__doc__).quick, time.perf_counter()
    sizes, counts = ((28, 64), (1,)) if quick else (ANGLES, (1, 2))
    seconds = 0.3 if quick else 2.0
    rows, inner_rows = {name: [] for name in VIEWS}, []
    for pixels, kind in itertools.product(sizes, NETWORKS):
        problem = Problem(NETWORKS[kind], pixels, ANGLES[pixels])
        for number in counts:
            case = {"pixels": pixels, "network": kind, "threads": number}
            with threads(number):
                for name in VIEWS:
                    times = measure(problem, name, seconds)
                    rows[name].append(case | columns(name, times))
                calls, points = reduced(problem)
                times = alternate(calls, points, seconds=seconds)
            inner_rows.append(
                case
                | {
                    "bare, ms": times.milliseconds("bare"),
                    "D + lam R, ms": times.milliseconds("composed"),
                    "D + lam R / bare": times.ratio("composed", "bare"),
                }
            )
            print(case, flush=True)
    claims = what_must_hold(rows)
    text = report(rows, inner_rows, claims)
    results = {"rows": rows, "reduced": inner_rows, "claims": claims}
    seconds = time.perf_counter() - start
    publish("objective", text, results, quick=quick, seconds=seconds)


def columns(name, times):
    """Columns of one view."""
    row = {
        "bare, ms": times.milliseconds("bare"),
        "fused / bare": times.ratio("fused", "bare"),
    }
    if name != "soft, (x, z)":
        row["view / bare"] = times.ratio("view", "bare")
    if name != "soft, x eliminated":
        row["composed / bare"] = times.ratio("composed", "bare")
    if name == "range":
        row["CSGM, ms"] = times.milliseconds("CSGM")
        row["fused / CSGM"] = times.ratio("fused", "CSGM")
        row["fused / frozen CSGM"] = times.ratio("fused", "CSGM frozen")
    return row


def what_must_hold(rows):
    """The bounds, each against its worst case."""

    def worst(names, column, **case):
        values = [
            row.get(column)
            for name in names
            for row in rows[name]
            if all(row[key] == value for key, value in case.items())
        ]
        values = [value for value in values if value is not None]
        return max(values, default=None)

    latent = ("range", "soft, x eliminated")
    claims = [
        claim(f"fused / bare in z, {n} pixels", worst(latent, column, pixels=n), bound)
        for column, n, bound in (("fused / bare", 28, 1.3), ("fused / bare", 64, 1.15))
    ]
    composed = worst(("range",), "composed / bare")
    claims.append(claim("composed / bare in z, all sizes", composed, 1.6))
    for kind, bound in (("dense", 0.5), ("convolutional", 0.7)):
        value = worst(("range",), "fused / CSGM", network=kind)
        claims.append(claim(f"fused / CSGM, {kind}, all sizes", value, bound))
    return claims


def report(rows, inner_rows, claims):
    """The section of README.md."""
    parts = [
        "Worst case over networks and threads:\n",
        table(claims, "not measured"),
        """
*bare*: one forward pass and one `torch.autograd.grad` of plain torch, with the same
network and the same matrix. *fused*: what the solvers of `reconstruct` evaluate.
*view*: `J = R.latent_objective(D, lam)`, `gradient = J.gradient`; timed are `J(z)` and
`gradient(z)`. *composed*: the same of the sum as an ODL user writes it. *CSGM*: an
iteration of deepinv's `CSGMGenerator`, Adam and weight gradients included; *frozen*:
without the latter. Every call gets a new point.
""",
        "`D(G(z)) + lam ||z||^2`; composed: `D @ G + lam * R_Z`.\n",
        table(rows["range"], "no deepinv"),
        "\n`min_x D(x) + lam (||x - G(z)||^2 + mu ||z||^2)`; bare: as one matrix.\n",
        table(rows["soft, x eliminated"]),
        "\n`D(x) + lam (||x - G(z)||^2 + mu ||z||^2)` in `(x, z)`; composed:"
        "\n`D @ ComponentProjection(X x Z, 0) + lam * R.joint`.\n",
        table(rows["soft, (x, z)"]),
        "\n`(D + lam * R)(x)` and its gradient, a search in `z` from four starts; bare:"
        "\nthe same passes through the network, without a solver.\n",
        table(inner_rows),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
