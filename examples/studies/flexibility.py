# SPDX-License-Identifier: MPL-2.0
"""One generator, six forward problems: nothing is trained again.

    python examples/studies/flexibility.py [--full --images MNIST_TEST_IMAGES]
    python examples/studies/flexibility.py --full --generator mr-lvae --images TEST.npy

Denoising, deblurring, inpainting, superresolution, compressed sensing, and tomography
of digits or MRI of heads: TV, range and soft, each with weights chosen on other images.
"""

import time

import odl
from harness import (
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
    study_options,
    tv,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.forward_operators import gaussian_kernel, radial_mask, random_mask

CONFIG = {
    "quick": {"selection": 2, "reported": 2, "factors": ()},
    "small": {"selection": 4, "reported": 4, "factors": (4.0,)},
    "full": {"selection": 6, "reported": 24, "factors": (4.0, 2.0)},
    # Noise in the unit of the data; images have values in [0, 1].
    "noise_std": {
        "denoising": 0.3,
        "deblurring": 0.05,
        "inpainting": 0.05,
        "superresolution": 0.05,
        "compressed sensing": 0.05,
        "tomography": 0.02,
        "MRI": 0.01,
    },
    "kept": 0.2,  # pixels of inpainting, and data of compressed sensing
    "restarts": {"mnist": 4, "other": 1},
    "seed": 0,
}


def operators(X) -> dict:
    """Return the six forward operators of a space of images."""
    shape, number = X.shape, round(CONFIG["kept"] * X.size)
    digits = shape == (28, 28)
    size = shape[0] / 28  # of structures, in pixels of digits
    last = (
        {"tomography": ogr.ray_transform(X, num_angles=5)}
        if digits
        else {"MRI": ogr.MaskedFourier(X, radial_mask(shape, 10))}
    )
    kernel = gaussian_kernel(0.5 + 1.0 * size)
    return {
        "denoising": odl.IdentityOperator(X),
        "deblurring": ogr.Convolution(X, kernel, boundary="periodic"),
        "inpainting": ogr.inpainting(X, random_mask(shape, CONFIG["kept"])),
        "superresolution": ogr.downsampling(X, 4),
        "compressed sensing": ogr.sampled_dct(X, number),
    } | last


def main():
    """Run the study."""
    images = "MNIST test images, or an array of images"
    options = study_options(__doc__, generator="mnist-vae", images=images)
    sizes = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    counts = sizes["selection"], sizes["reported"]
    digits = "mnist" in options.generator
    if digits:
        selection, reported = mnist_images(*counts, options.images)
    else:
        selection, reported = mr_images(options.images, *counts)
    shape = reported.shape[1:]
    side = 2 / shape[0]
    X = odl.uniform_discr([-1, -1], [1, -1 + side * shape[1]], shape, dtype="float32")
    G = ogr.load_generator(options.generator, image_space=X)
    solver = {"restarts": CONFIG["restarts"]["mnist" if digits else "other"]}
    methods = {
        "adjoint": adjoint(),
        "TV": tv(),
        "range": in_range(G, tol=1e-3, maxiter=300, **solver),
        "soft": soft(G, tol=1e-3, maxiter=300, **solver),
    }
    rows, examples = [], {}
    for name, A in operators(X).items():
        std = CONFIG["noise_std"][name]
        problem = Problem(name, A, std, selection, reported, seed=CONFIG["seed"])
        new, images = compare(run, problem, methods, factors=sizes["factors"])
        rows += new
        examples[name] = {method: stack[0] for method, stack in images.items()}
    write_rows(run.path / "rows.csv", rows)
    notes = [
        f"{a} - {b}, dB: {paired_differences(rows, a, b)}"
        for a, b in (("soft", "TV"), ("soft", "range"))
    ]
    table = {"index": "problem", "columns": "method", "note": "\n".join(notes)}
    print(write_table(run.path / "table.md", rows, **table))
    save_images(run.path / "images.png", examples)
    run.finish(options.command, time.perf_counter() - started)


if __name__ == "__main__":
    main()
