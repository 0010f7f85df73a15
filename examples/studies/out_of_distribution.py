# SPDX-License-Identifier: MPL-2.0
"""Shapes with a bright spot, which no generator has seen: who finds the spot?

    python examples/studies/out_of_distribution.py [--full]

The last comparison of Duff, Campbell and Ehrhardt (arXiv:2107.11191), in their setting:
56 x 56 pixels, tomography in full view with 125 angles, divided by its norm in ODL's
inner products with pixels of side 1 (13.03); noise 0.05 for values up to 1, that is 0.1
for the values {0, 1, 2} here. The generator was trained on shapes without a spot. Every
method has 0 <= x <= 2 but Tikhonov, and weights chosen on other images by PSNR.
"""

import statistics
import time

import odl
import torch
from harness import (
    Method,
    Problem,
    RunDirectory,
    compare,
    in_range,
    save_images,
    shape_images,
    soft,
    sparse,
    study_options,
    tikhonov_method,
    tv,
    tv_deviation,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap

CONFIG = {
    "quick": {"selection": 2, "reported": 2, "factors": []},
    "small": {"selection": 2, "reported": 4, "factors": []},
    "full": {"selection": 3, "reported": 20, "factors": [3.0]},
    "angles": 125,
    # ODL takes pixels of side 1 exactly for no weighting, of the data as well.
    "side": 1.00001,
    "noise": 0.1,
    "bounds": [0.0, 2.0],
    "restarts": 4,
    "seed": 0,
}
SPOT = 2  # the value of the spot, and of nothing else


def main():
    """Run the study."""
    options = study_options(__doc__, generator="shapes-vae")
    size = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    half = 28 * CONFIG["side"]
    X = odl.uniform_discr([-half] * 2, [half] * 2, (56, 56), dtype="float32")
    A = ogr.normalized(ogr.ray_transform(X, num_angles=CONFIG["angles"]))
    G = ogr.load_generator(options.generator, image_space=X)
    images = shape_images(size["selection"], size["reported"], bright_spot=True)
    noise, bounds = CONFIG["noise"], tuple(CONFIG["bounds"])
    rms = float(LinearMap(A)(torch.from_numpy(images[0])).square().mean().sqrt())
    print(f"noise {noise / rms:.0%} of the root mean square", flush=True)
    problem = Problem("bright spot", A, noise, *images, bounds=bounds)
    solver = {"restarts": CONFIG["restarts"]}
    methods = {
        "Tikhonov": tikhonov_method(),
        "TV": tv(),
        "range": in_range(G, **solver),
        "soft": _with_prior(soft(G, bounded=True, **solver)),
        "sparse": _with_prior(sparse(G, **solver)),
        "TV deviation": _with_prior(tv_deviation(G, **solver)),
    }
    rows, stacks = compare(run, problem, methods, factors=size["factors"])
    for row in rows:
        number = row["image"]
        truth = stacks["truth"][number]
        squares = (stacks[row["method"]][number] - truth) ** 2
        row["spot"] = float(squares[truth == SPOT].mean())
        row["rest"] = float(squares[truth != SPOT].mean())
    write_rows(run.path / "rows.csv", rows)
    values = {"psnr": 2, "ssim": 3, "spot": 3, "rest": 5}
    note = _verdict(rows)
    print(write_table(run.path / "table.md", rows, values=values, note=note))
    shown = {
        f"image {n + 1}": {title: stack[n] for title, stack in stacks.items()}
        for n in range(min(3, size["reported"]))
    }
    save_images(run.path / "images.png", shown, limits=bounds)
    run.finish(options.command, time.perf_counter() - started)


def _with_prior(method):
    """Leave the prior of the latent at its start, 1/2: these data hardly need it."""

    def solve(problem, data, *, lam):
        prior = method.start(problem, {})["prior"]
        return method.solve(problem, data, lam=lam, prior=prior)

    return Method(
        solve, lambda problem, chosen: {"lam": method.start(problem, {})["lam"]}
    )


def _verdict(rows):
    """Say whether a deviation halves the error of the range inside the spot."""
    error = {
        name: statistics.fmean(row["spot"] for row in rows if row["method"] == name)
        for name in ("range", "sparse", "TV deviation")
    }
    best = min(("sparse", "TV deviation"), key=error.get)
    ratio = error[best] / error["range"]
    met = "met" if ratio <= 0.5 else "not met"
    return (
        f"Squared error in the spot, {best} / range: {ratio:.3f}; at most 1/2: {met}. "
        "spot, rest: mean of the squared error inside the spot and outside."
    )


if __name__ == "__main__":
    main()
