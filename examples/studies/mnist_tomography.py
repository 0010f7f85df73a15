# SPDX-License-Identifier: MPL-2.0
"""Tomography of digits: PSNR against the number of angles, and against noise.

    python examples/studies/mnist_tomography.py [--full --images MNIST_TEST_IMAGES]

28 x 28 pixels, parallel beam over [0, pi), Gaussian noise of a fraction of the root
mean square of the data. Every method has 0 <= x <= 1 but Tikhonov, and weights chosen
on other digits for each number of angles and noise level.
"""

import time

import numpy as np
import odl
import torch
from harness import (
    Problem,
    RunDirectory,
    compare,
    filtered_back_projection,
    in_range,
    mnist_images,
    paired_differences,
    save_curves,
    save_images,
    soft,
    soft_tv,
    sparse,
    study_options,
    tikhonov_method,
    tv,
    wavelet,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap

CONFIG = {
    "quick": {"angles": [3], "noise": [], "selection": 2, "reported": 2},
    "small": {"angles": [3, 10], "noise": [], "selection": 4, "reported": 6},
    "full": {
        "angles": [3, 5, 10, 30, 60],
        "noise": [0.01, 0.2],
        "selection": 10,
        "reported": 40,
    },
    "noise_of_angles": 0.05,
    "angles_of_noise": 10,
    "factors": {"quick": (), "small": (4.0,), "full": (4.0, 2.0)},
    "restarts": 4,
    "seed": 0,
}


def main():
    """Run the study."""
    options = study_options(
        __doc__, generator="mnist-vae", images="MNIST test images; else those that ship"
    )
    sizes = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    G = ogr.load_generator(options.generator, image_space=X)
    digits = mnist_images(sizes["selection"], sizes["reported"], options.images)
    solver = {"restarts": CONFIG["restarts"]}
    methods = {
        "FBP": filtered_back_projection(),
        "Tikhonov": tikhonov_method(),
        "TV": tv(),
        "wavelet": wavelet(),
        "range": in_range(G, **solver),
        "soft": soft(G, bounded=True, **solver),
        "sparse": sparse(G, **solver),
        "soft + TV": soft_tv(G, **solver),
    }
    settings = [(angles, CONFIG["noise_of_angles"]) for angles in sizes["angles"]]
    settings += [(CONFIG["angles_of_noise"], noise) for noise in sizes["noise"]]
    rows, examples = [], {}
    for angles, noise in settings:
        A = ogr.ray_transform(X, num_angles=angles)
        name = f"{angles} angles, noise {noise:.0%}"
        problem = Problem(name, A, noise * _rms(A, digits[0]), *digits)
        factors = CONFIG["factors"][options.size]
        new, images = compare(run, problem, methods, factors=factors)
        rows += [row | {"angles": angles, "noise": noise} for row in new]
        examples[name] = {method: stack[0] for method, stack in images.items()}
    write_rows(run.path / "rows.csv", rows)
    difference = paired_differences(rows, "soft", "TV")
    note = f"soft - TV, dB: {difference}"
    print(write_table(run.path / "table.md", rows, note=note))
    save_images(run.path / "images.png", examples)
    for axis, fixed in (("angles", "noise"), ("noise", "angles")):
        if not sizes["noise"]:
            break
        kept = CONFIG[f"{fixed}_of_{axis}"]
        curves = _curves([row for row in rows if row[fixed] == kept], axis, methods)
        label = {"x_label": axis, "y_label": "PSNR in dB", "log_x": True}
        save_curves(run.path / f"{axis}.png", curves, **label)
    run.finish(options.command, time.perf_counter() - started)


def _rms(A, images):
    """Root mean square of the data of images without noise."""
    return float(LinearMap(A)(torch.from_numpy(images)).square().mean().sqrt())


def _curves(rows, axis, methods):
    curves = {}
    for method in methods:
        x = sorted({row[axis] for row in rows})
        values = [
            [row["psnr"] for row in rows if (row["method"], row[axis]) == (method, at)]
            for at in x
        ]
        errors = [np.std(v, ddof=1) / len(v) ** 0.5 for v in values]
        curves[method] = (x, [np.mean(v) for v in values], errors)
    return curves


if __name__ == "__main__":
    main()
