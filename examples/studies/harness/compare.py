# SPDX-License-Identifier: MPL-2.0
"""compare(run, problem, methods): all methods on the same data, tuned by one code."""

import statistics
import time

import numpy as np

from odl_genreg.evaluation import psnr, ssim, tune
from odl_genreg.torch_bridge import as_tensor

from .methods import Method
from .problem import Problem
from .run_directory import RunDirectory


def compare(
    run: RunDirectory,
    problem: Problem,
    methods: dict[str, Method],
    *,
    factors=(4.0, 2.0),
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Choose the weights of each method on the selection, and report the rest.

    The weights maximize the mean PSNR over the images of the selection, see
    `evaluation.tune`; without ``factors`` they stay where a search starts. Where a
    method builds on others, its search starts from theirs.

    Returns
    -------
    rows : list of dict
        For each method and reported image: ``problem``, ``method``, ``image``,
        ``psnr`` (data range 1), ``ssim``, ``seconds`` and ``weights``.
    images : dict of numpy.ndarray
        The reconstructions of each method, and the truth.
    """
    chosen, rows = {}, []
    images = {"truth": np.asarray(problem.reported)}
    for name, method in methods.items():
        place = f"{problem.name}/{name}".replace(" ", "_")
        run.path.joinpath(place).parent.mkdir(parents=True, exist_ok=True)
        start = {k: float(f"{v:.4g}") for k, v in method.start(problem, chosen).items()}
        known = run.path / f"{place}.trials.json"
        chosen[name] = run.cached(
            f"{place}.weights",
            lambda m=method, s=start, k=known: _choose(problem, m, s, factors, k),
        )
        arrays = run.cached_arrays(
            place, lambda m=method, n=name: _solve(problem, m, chosen[n])
        )
        images[name] = arrays["images"]
        rows += [
            {
                "problem": problem.name,
                "method": name,
                "image": number,
                "psnr": psnr(x, truth),
                "ssim": ssim(x, truth),
                "seconds": float(arrays["seconds"]),
                "weights": " ".join(f"{k}={v:.4g}" for k, v in chosen[name].items()),
            }
            for number, (x, truth) in enumerate(
                zip(arrays["images"], problem.reported, strict=True)
            )
        ]
        mean = statistics.fmean(row["psnr"] for row in rows if row["method"] == name)
        print(f"{problem.name}: {name} {mean:.2f} dB {chosen[name]}", flush=True)
    return rows, images


def _choose(problem, method, start, factors, known):
    if not start or not factors:
        return start
    factors = method.factors or factors

    def score(weights):
        images = method.solve(problem, problem.selection_data, **weights)
        pairs = zip(images, problem.selection, strict=True)
        return statistics.fmean(psnr(x, truth) for x, truth in pairs)

    return tune(score, start, factors=factors, known_path=known).weights


def _solve(problem, method, weights):
    start = time.perf_counter()
    images = method.solve(problem, problem.reported_data, **weights)
    seconds = (time.perf_counter() - start) / len(images)
    stack = np.stack([as_tensor(x).numpy() for x in images])
    return {"images": stack, "seconds": np.float64(seconds)}
