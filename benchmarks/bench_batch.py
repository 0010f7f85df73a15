# SPDX-License-Identifier: MPL-2.0
"""What a restart, and an image, costs in a batch of 1, 4, 16, 32, 64.

Run it as ``python benchmarks/bench_batch.py [--quick]``.
"""

import functools
import itertools
import time

import torch
from cases import digit
from deepinv_peer import deepinv, tomography
from harness import alternate, arguments, claim, publish, table, threads
from ours import Prepared
from problems import NETWORKS, Problem, latents

import odl_genreg as ogr
from odl_genreg.demo import demo_problem
from odl_genreg.solvers.minima import value_and_gradient

COUNTS = (1, 4, 16, 32, 64)
SINGLE = 8  # runs that stand for all that are run one by one
NUM_ANGLES, DIGIT_ANGLES = 30, 10
SOLVES = (
    ("range", "lbfgs"),
    ("range", "gauss_newton"),
    ("soft", "lbfgs"),
    ("soft", "gauss_newton"),
)


def deepinv_objective(problem):
    """The same with deepinv's operator, a network that needs no gradient, no Adam."""
    physics = tomography(problem.pixels, problem.num_angles)
    shape = (-1, 1, problem.pixels, problem.pixels)
    with torch.no_grad():
        data = physics.A(problem.network(torch.ones(1, 16)).reshape(shape))

    def objective(z):
        residual = physics.A(problem.network(z).reshape(shape)) - data
        return (residual**2).flatten(1).sum(1) + 0.5 * (z**2).sum(1)

    return objective


def evaluations(problem, counts, seconds):
    """Value and gradient for a latent, in batches."""
    objectives = {"ours": problem.range.latent_objective(problem.D, 0.5).batch}
    if deepinv is not None:
        objectives["deepinv"] = deepinv_objective(problem)
    calls, iterations = {}, {}
    for (name, objective), count in itertools.product(objectives.items(), counts):
        calls[name, count] = functools.partial(value_and_gradient, objective)
        iterations[name, count] = count

    def fresh(i):
        z = latents(max(counts), problem.latent_dim, seed=i)
        return {key: z[: key[1]].clone() for key in calls}

    return alternate(calls, fresh, seconds=seconds, iterations=iterations)


def solves(kind, solver, counts, seconds):
    """Whole solves of a digit: many starts at once, and one after the other."""
    solve = Prepared(digit(kind, 0, DIGIT_ANGLES), solver)
    size = solve.problem.generator.domain.size
    calls = {count: solve for count in counts}

    def one_by_one(starts):
        for z in starts:
            solve(z[None])

    calls["one by one"] = one_by_one
    iterations = {count: count for count in counts} | {"one by one": SINGLE}

    def fresh(i):
        z = latents(max(counts), size, seed=i)
        return {key: z[: iterations[key]].clone() for key in calls}

    return alternate(calls, fresh, seconds=seconds, iterations=iterations)


def images(kind, counts, seconds):
    """`reconstruct` of many digits at once, and one after the other."""
    case = digit(kind, 0, DIGIT_ANGLES)
    data = [demo_problem(index, DIGIT_ANGLES)[0].data for index in range(max(counts))]
    options = {"restarts": 4}

    def at_once(point):
        seed, data = point
        ogr.reconstruct(case.D, case.R, case.lam, data=data, seed=seed, **options)

    def one_by_one(point):
        seed, data = point
        for y in data:
            D = case.D.with_data(y)
            ogr.reconstruct(D, case.R, case.lam, seed=seed, **options)

    calls = {count: at_once for count in counts} | {"one by one": one_by_one}
    iterations = {count: count for count in counts} | {"one by one": SINGLE}

    def fresh(i):
        return {key: (i, data[: iterations[key]]) for key in calls}

    return alternate(calls, fresh, seconds=seconds, iterations=iterations)


def solve_row(case, times, counts):
    """Milliseconds of a run, by batch; and what 32 at once gain."""
    row = case | {"one by one": times.milliseconds("one by one")}
    row |= {f"{count} at once": times.milliseconds(count) for count in counts}
    row["one by one / 32 at once"] = times.ratio("one by one", 32)
    return row


def main():
    quick, start = arguments(__doc__).quick, time.perf_counter()
    counts = (1, 32) if quick else COUNTS
    sizes, seconds = ((28,), 0.1) if quick else ((28, 64, 128), 3.0)
    rows, solve_rows, image_rows, claims = [], [], [], []
    with threads(1):
        for pixels, kind in itertools.product(sizes, NETWORKS):
            problem = Problem(NETWORKS[kind], pixels, NUM_ANGLES)
            times = evaluations(problem, counts, seconds)
            case = {"pixels": pixels, "network": kind}
            for count in counts:
                rows.append(
                    case
                    | {
                        "latents": count,
                        "ours, ms": times.milliseconds(("ours", count)),
                        "ours, 1 / many": times.ratio(("ours", 1), ("ours", count)),
                        "deepinv, ms": times.milliseconds(("deepinv", count)),
                        "deepinv / ours": times.ratio(
                            ("deepinv", count), ("ours", count)
                        ),
                    }
                )
            value = times.ratio(("deepinv", 32), ("ours", 32))
            text = f"deepinv / ours, 32 latents, {pixels} pixels, {kind}"
            claims.append(claim(text, value, 5, at_least=True))
            print(case, flush=True)
        for kind, solver in SOLVES:
            times = solves(kind, solver, counts, seconds)
            case = {"regularizer": kind, "solver": solver}
            solve_rows.append(solve_row(case, times, counts))
            value, bound = times.ratio("one by one", 32), 6 if solver == "lbfgs" else 2
            text = f"{kind}, {solver}: 32 solves one by one / at once"
            claims.append(claim(text, value, bound, at_least=True))
            print(case, flush=True)
        for kind in ("range", "soft"):
            times = images(kind, counts, seconds)
            image_rows.append(solve_row({"regularizer": kind}, times, counts))
    results = {"rows": rows, "solves": solve_rows, "images": image_rows}
    results["claims"] = claims
    text = report(rows, solve_rows, image_rows, claims)
    seconds = time.perf_counter() - start
    publish("batch", text, results, quick=quick, seconds=seconds)


def report(rows, solve_rows, image_rows, claims):
    """The section of README.md."""
    parts = [
        table(claims, "not measured"),
        f"""
Value and gradient of `D(G(z)) + lam R_Z(z)` for many latents in one batch, {NUM_ANGLES}
angles, one thread; milliseconds for a latent. *deepinv*: plain torch with its operator.
""",
        table(rows, "no deepinv"),
        f"""
Whole solves of a digit, {DIGIT_ANGLES} angles, from many starts, without set-up;
milliseconds for a start. Each run leaves the batch when it is done.
""",
        table(solve_rows),
        f"""
`reconstruct(..., data=[y_1, ...], restarts=4)` of many digits, {DIGIT_ANGLES} angles,
with set-up; milliseconds for an image.
""",
        table(image_rows),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
