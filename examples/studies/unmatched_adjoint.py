# SPDX-License-Identifier: MPL-2.0
"""What a back-projector that is not the adjoint does to the solvers.

    python examples/studies/unmatched_adjoint.py [--full] [--device cuda:0]

Tomography of digits from 10 and 30 angles with much and with little noise: range and
soft by L-BFGS and Gauss-Newton, soft by a primal-dual method, TV by PDHG, each with the
exact pair, that of the stored matrix, and with an unmatched one. The unmatched pair has
the same forward projector, and a back-projector that interpolates the data where the
center of each pixel is seen, as GPUs do; with ``--device`` it is ASTRA's on that GPU.
The objective of all results is that of the exact pair, which needs no adjoint.
"""

import math
import statistics
import time
import warnings

import numpy as np
import odl
import torch
from harness import (
    Problem,
    RunDirectory,
    mnist_images,
    save_images,
    study_options,
    write_rows,
    write_table,
)
from mismatch import VoxelDriven, gradient_errors, mismatches

import odl_genreg as ogr
from odl_genreg.evaluation import psnr, total_variation
from odl_genreg.torch_bridge import (
    LinearMap,
    as_element,
    as_tensor,
    torch_device,
    weight,
)

CONFIG = {
    "quick": {"images": 1, "angles": [10], "noise": [0.05], "maxiter": 20},
    "small": {"images": 2, "angles": [10, 30], "noise": [0.05, 0.005]},
    "full": {"images": 4, "angles": [10, 30], "noise": [0.05, 0.005]},
    "maxiter": 1000,
    "tv": {"beta": 200.0, "gap_tol": 1e-4, "maxiter": 2000},
    "prior": 0.5,  # of z, that of N(0, I)
    "seed": 0,
}
METHODS = {
    "range, L-BFGS": ("lbfgs", 1e-4),
    "range, L-BFGS, 1e-6": ("lbfgs", 1e-6),
    "range, Gauss-Newton": ("gauss_newton", 1e-4),
    "range, Gauss-Newton, 1e-6": ("gauss_newton", 1e-6),
    "soft, L-BFGS": ("lbfgs", 1e-4),
    "soft, L-BFGS, 1e-6": ("lbfgs", 1e-6),
    "soft, Gauss-Newton": ("gauss_newton", 1e-4),
    "soft, Gauss-Newton, 1e-6": ("gauss_newton", 1e-6),
    "soft, primal-dual": ("primal_dual", 1e-4),
    "TV, PDHG": (None, None),
}
MINIMUM = "range, Gauss-Newton, 1e-6"
SHOWN = ("range, L-BFGS", "soft, L-BFGS", "TV, PDHG")
VALUES = {"excess": 3, "iterations": 0, "early": 0, "difference": 3, "loss": 3}


def main():
    """Run the study."""
    more = {"--device": "GPU whose pair is the unmatched one; default: none"}
    options = study_options(__doc__, more=more)
    size = CONFIG | CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    _, images = mnist_images(0, size["images"])
    rows, gradients, pairs, shown = [], [], [], {}
    for angles in size["angles"]:
        A = ogr.ray_transform(X, num_angles=angles, backend="matrix")
        B = _unmatched(A, options.device)
        name = f"{angles} angles"
        pair = run.cached(name.replace(" ", "_"), lambda a=A, b=B: mismatches(a, b))
        pairs.append({"problem": name, "method": "unmatched"} | pair)
        rms = float(LinearMap(A)(torch.from_numpy(images)).square().mean().sqrt())
        for noise in size["noise"]:
            problem = Problem(
                f"{name}, noise {noise:.1%}", A, noise * rms, images[:0], images
            )
            place = problem.name.replace(" ", "_")
            found = run.cached_arrays(
                f"{place}/images",
                lambda p=problem, d=place, b=B: _solve_all(run, d, p, b, size),
            )
            rows += run.cached(f"{place}/rows", list)
            gradients += run.cached(f"{place}/gradients", list)
            shown[problem.name] = {"truth": images[0]} | {
                f"{method},\n{pair}": found[f"{method}, {pair}"][0]
                for method in SHOWN
                for pair in ("exact", "unmatched")
            }
    write_rows(run.path / "rows.csv", rows)
    write_rows(run.path / "pairs.csv", pairs)
    _tables(run, rows, pairs, gradients)
    save_images(run.path / "images.png", shown)
    run.finish(options.command, time.perf_counter() - started)


def _unmatched(A, device):
    """Return the unmatched pair of a ray transform."""
    if device is None:
        return VoxelDriven(A)
    X = odl.uniform_discr(
        [-1, -1], [1, 1], (28, 28), dtype="float32", impl="pytorch", device=str(device)
    )
    return ogr.ray_transform(X, geometry=A.geometry, backend="cuda")


def _solve_all(run, place, problem, B, size):
    """Solve with both pairs, write the rows, and return the images."""
    found, latents, rows = {}, None, []
    for method in METHODS:
        parts = []
        for pair, operator in (("exact", problem.operator), ("unmatched", B)):
            solved = [
                _solve(problem, method, operator, y, size)
                for y in problem.reported_data
            ]
            found[f"{method}, {pair}"] = np.stack([x for x, _, _ in solved])
            parts.append([row for _, _, row in solved])
            for number, row in enumerate(parts[-1]):
                row |= {"problem": problem.name, "method": f"{method}, {pair}"}
                truth = problem.reported[number]
                row |= {"image": number, "psnr": psnr(solved[number][0], truth)}
            if (method, pair) == (MINIMUM, "exact"):
                latents = [z for _, z, _ in solved]
        images = (found[f"{method}, {pair}"] for pair in ("exact", "unmatched"))
        for exact, other, x, x_other in zip(*parts, *images, strict=True):
            distance = np.linalg.norm(x_other - x) / np.linalg.norm(x)
            other["excess"] = 100 * (other["objective"] / exact["objective"] - 1)
            other["difference"] = 100 * float(distance)
            other["loss"] = exact["psnr"] - other["psnr"]
            exact |= {"excess": 0.0, "difference": 0.0, "loss": 0.0}
        rows += parts[0] + parts[1]
        excess = statistics.fmean(row["excess"] for row in parts[1])
        print(f"{problem.name}: {method}, unmatched {excess:+.3f} %", flush=True)
    run.cached(f"{place}/rows", lambda: rows)
    run.cached(
        f"{place}/gradients",
        lambda: gradient_errors(problem, B, latents, CONFIG["prior"]),
    )
    return found


def _solve(problem, method, operator, y, size):
    """Return image, latent, and what the table says of the run."""
    device = torch_device(operator.domain)
    data = as_element(operator.range, as_tensor(y).to(device))
    D = ogr.squared_l2(operator, data, problem.noise_std)
    if method.startswith("TV"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            result = total_variation(D, **size["tv"])
        early = result.niter >= size["tv"]["maxiter"]
        row = {"objective": result.objective, "iterations": result.niter}
        return as_tensor(result.x).cpu().numpy(), None, row | {"early": 100.0 * early}
    solver, tol = METHODS[method]
    G = ogr.load_generator("mnist-vae", image_space=operator.domain)
    prior = lam = size["prior"]
    R = ogr.range_constraint(G)
    if method.startswith("soft"):
        lam = 0.5 / (G.decoder_variance * weight(G.range))
        R = ogr.soft_constraint(G, prior / lam)
    run = {"solver": solver, "tol": tol, "maxiter": size["maxiter"]}
    try:
        result = ogr.reconstruct(D, R, lam, start=G.domain.zero(), restarts=1, **run)
    except ValueError as error:
        if "an exact adjoint" not in str(error):
            raise
        nothing = dict.fromkeys(("objective", "iterations", "early"), math.nan)
        return np.full(G.range.shape, math.nan, "float32"), None, nothing
    x = as_tensor(result.x).cpu()
    exact = ogr.squared_l2(problem.operator, y, problem.noise_std)
    objective = float(exact(as_element(exact.domain, x)))
    objective += prior * float(result.z.norm()) ** 2
    if method.startswith("soft"):
        objective += lam * result.distance_to_range**2
    number = len(result.history) - 1
    stopped = (
        not result.stop_reason.startswith("converged") and number < size["maxiter"]
    )
    row = {"objective": objective, "iterations": number, "early": 100.0 * stopped}
    return x.numpy(), as_tensor(result.z).cpu().numpy(), row


def _tables(run, rows, pairs, gradients):
    note = (
        "excess: objective above that of the exact pair, %; early: runs that ended "
        "unconverged before maxiter, %, of TV those at maxiter; difference: of the "
        "image to that of the exact pair, %; loss: of PSNR, dB; empty: a Gram "
        "matrix was not positive definite."
    )
    solved = [row for row in rows if not math.isnan(row["objective"])]
    print(write_table(run.path / "table.md", solved, values=VALUES, note=note))
    values = {"random": 5, "digits": 5, "eigenvalue": 6}
    note = "|<A x, y> - <x, A^* y>| / (|A x| |y|); least real part of A^* A, relative."
    print(write_table(run.path / "pairs.md", pairs, values=values, note=note))
    note = "Errors of gradients against differences; the gradient at the exact minimum."
    values = {"error": 5, "remaining": 6}
    print(write_table(run.path / "gradients.md", gradients, values=values, note=note))


if __name__ == "__main__":
    main()
