# SPDX-License-Identifier: MPL-2.0
"""MRI from few radial lines: zero-filled, TV, range, soft, soft + TV.

    python examples/studies/train_mr_generator.py TRAINING.npy --out mr-lvae
    python examples/studies/mri_radial.py --full --images TEST.npy --generator mr-lvae

Magnitude images with values in [0, 1] on orthonormal k-space, equispaced lines rounded
to its grid, Gaussian noise of standard deviation 0.01 in the real and in the imaginary
part of each sample. Weights are chosen for each number of lines on images that are not
reported. TV, wavelets and soft + TV have 0 <= x <= 1; all images are clipped to it.
Without ``--images`` it runs on digits and ``mnist-vae``, to show that it works.
"""

import dataclasses
import time

import numpy as np
import odl
from harness import (
    Method,
    Problem,
    RunDirectory,
    adjoint,
    compare,
    in_range,
    mnist_images,
    mr_images,
    paired_differences,
    save_images,
    soft,
    soft_tv,
    study_options,
    tikhonov_method,
    tv,
    wavelet,
    write_rows,
    write_table,
)
from harness.tables import mean_and_error

import odl_genreg as ogr
from odl_genreg.evaluation import project_onto_range, psnr
from odl_genreg.forward_operators import radial_mask
from odl_genreg.torch_bridge import as_element, as_tensor

CONFIG = {
    "quick": {"lines": [5], "selection": 2, "reported": 2, "factors": ()},
    "small": {"lines": [3, 7], "selection": 4, "reported": 6, "factors": (4.0,)},
    "full": {
        "lines": [10, 30],
        "selection": 5,
        "reported": 24,
        "factors": (4.0, 2.0),
    },
    "factors_of_soft_tv": (3.0,),
    "noise_std": 0.01,
    "solver": {"restarts": 1, "tol": 3e-3, "maxiter": 300},
    "seed": 0,
}
PAIRS = [("range", "TV"), ("soft", "TV"), ("soft + TV", "TV"), ("soft + TV", "soft")]


def main():
    """Run the study."""
    options = study_options(
        __doc__, generator="mnist-vae", images="array of images, none of the training"
    )
    sizes = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    counts = sizes["selection"], sizes["reported"]
    images = mr_images(options.images, *counts) if options.images else None
    selection, reported = images or mnist_images(*counts)
    shape = reported.shape[1:]
    X = odl.uniform_discr([0, 0], shape, shape, dtype="float32")
    G = ogr.load_generator(options.generator, image_space=X)
    solver = CONFIG["solver"]
    methods = {
        "zero-filled": adjoint(),
        "Tikhonov": tikhonov_method(),
        "wavelet": wavelet(),
        "TV": tv(),
        "range": in_range(G, **solver),
        "soft": soft(G, **solver),
        "soft + TV": soft_tv(G, **solver),
    }
    # The dearest one is searched for by one factor.
    methods["soft + TV"].factors = CONFIG["factors_of_soft_tv"]
    methods = {name: _clipped(method) for name, method in methods.items()}
    rows, examples = [], {}
    for lines in sizes["lines"]:
        A = ogr.MaskedFourier(X, radial_mask(shape, lines))
        std, name = CONFIG["noise_std"], f"{lines} lines"
        problem = Problem(name, A, std, selection, reported, seed=CONFIG["seed"])
        new, found = compare(run, problem, methods, factors=sizes["factors"])
        rows += new
        for number in range(2):
            stack = {method: images[number] for method, images in found.items()}
            examples[f"{name}, image {number}"] = stack
    write_rows(run.path / "rows.csv", rows)
    note = "\n".join(
        [
            f"Projection floor: {_floor(run, G, reported)} dB",
            *(f"{a} - {b}, dB: {paired_differences(rows, a, b)}" for a, b in PAIRS),
        ]
    )
    values = {"psnr": 2, "ssim": 3}
    print(write_table(run.path / "table.md", rows, values=values, note=note))
    save_images(run.path / "images.png", examples, size=1.6)
    run.finish(options.command, time.perf_counter() - started)


def _clipped(method: Method) -> Method:
    """Return a method whose images are cut off at the bounds of the problem."""

    def solve(problem, data, **weights):
        images = method.solve(problem, data, **weights)
        X, (low, high) = problem.operator.domain, problem.bounds
        return [as_element(X, as_tensor(x).clamp(low, high)) for x in images]

    return dataclasses.replace(method, solve=solve)


def _floor(run, generator, images):
    """Mean PSNR of the nearest images in the range: what no x = G(z) exceeds."""

    def project():
        x = as_tensor(generator.range.zero()).new_tensor(np.asarray(images))
        projections = project_onto_range(generator, x, restarts=1, tol=1e-3)
        return [psnr(p, truth) for p, truth in zip(projections, images, strict=True)]

    return mean_and_error(run.cached("floor", project), 2)


if __name__ == "__main__":
    main()
