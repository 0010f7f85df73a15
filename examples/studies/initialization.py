# SPDX-License-Identifier: MPL-2.0
"""How much depends on where the search of the latent starts.

    python examples/studies/initialization.py [--full --images MNIST_TEST_IMAGES]

Tomography of digits from 3, 5 and 10 angles and of shapes from 10, noise of 5 % of the
root mean square. Each image is reconstructed from each of several single starts, draws
of N(0, I), by the range, the soft and the sparse constraint of each generator: the
share of starts that end within 1 % of the best objective, and the PSNR of single starts
beside that of the best. The weights are those that the generators say of themselves,
1/2 for the prior and the variance of a pixel about G(z); none is chosen. Compare the
figure on initialization of Duff, Campbell and Ehrhardt (arXiv:2107.11191).
"""

import time

import numpy as np
import odl
import torch
from harness import (
    Problem,
    RunDirectory,
    in_range,
    mnist_images,
    save_curves,
    save_images,
    shape_images,
    soft,
    sparse,
    study_options,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.evaluation import psnr
from odl_genreg.torch_bridge import LinearMap, as_tensor

CONFIG = {
    "quick": {
        "problems": [["mnist", 3]],
        "generators": ["VAE"],
        **{"images": 2, "starts": 4},
    },
    "small": {
        "problems": [["mnist", 3], ["mnist", 10]],
        "generators": ["VAE", "AE", "GAN"],
        **{"images": 3, "starts": 8},
    },
    "full": {
        "problems": [["mnist", 3], ["mnist", 5], ["mnist", 10], ["shapes", 10]],
        "generators": ["VAE", "AE", "GAN"],
        **{"images": 4, "starts": 10},
    },
    "noise": 0.05,
    "seed": 0,
}
PIXELS = {"mnist": 28, "shapes": 56}
CONSTRAINTS = {"range": in_range, "soft": soft, "sparse": sparse}
BEST = 0.01  # relative difference of objectives that counts as none


def main():
    """Run the study."""
    options = study_options(__doc__, images="MNIST test images; else those that ship")
    size = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    rows, lines = [], {}
    for data, angles in size["problems"]:
        X = odl.uniform_discr([-1, -1], [1, 1], [PIXELS[data]] * 2, dtype="float32")
        A = ogr.ray_transform(X, num_angles=angles)
        if data == "mnist":
            images = mnist_images(1, size["images"], options.images)
        else:
            images = shape_images(1, size["images"])
        rms = float(LinearMap(A)(torch.from_numpy(images[1])).square().mean().sqrt())
        kind = {"mnist": "digits", "shapes": "shapes"}[data]
        problem = Problem(f"{kind}, {angles} angles", A, CONFIG["noise"] * rms, *images)
        for network in size["generators"]:
            checkpoint = f"{data}-{network.lower()}"
            if checkpoint == "shapes-ae":  # does not ship
                continue
            G = ogr.load_generator(checkpoint, image_space=X)
            for name, found in _study(run, problem, network, G, size["starts"]).items():
                rows += _rows(problem, name, found, angles)
                if (data, angles) == tuple(size["problems"][0]):
                    shown = enumerate(found["images"][0, :8], 1)
                    lines[name] = {"truth": images[1][0]} | {
                        str(k): x for k, x in shown
                    }
    write_rows(run.path / "rows.csv", rows)
    values = {"share": 0, "best": 2, "single": 2, "spread": 2}
    note = (
        f"share: of the starts, %, within {BEST:.0%} of the best objective of the "
        "image; best: PSNR of the start with the best objective; single: mean PSNR of "
        "single starts; spread: standard deviation of the PSNR between starts, dB."
    )
    print(write_table(run.path / "table.md", rows, values=values, note=note))
    save_images(run.path / "images.png", lines, size=1.0)
    label = {"x_label": "angles", "y_label": "starts within 1 % of the best, %"}
    save_curves(run.path / "share.png", _curves(rows), **label)
    run.finish(options.command, time.perf_counter() - started)


def _study(run, problem, network, G, number):
    """Return images and objectives ``(image, start, ...)`` of each constraint."""
    found = {}
    for constraint, method in CONSTRAINTS.items():
        weights = method(G).start(problem, {})
        name = f"{network} {constraint}"
        found[name] = run.cached_arrays(
            f"{problem.name}/{name}".replace(" ", "_"),
            lambda c=constraint, w=weights: _single_starts(problem, G, c, w, number),
        )
        print(problem.name, name, flush=True)
    return found


def _single_starts(problem, G, constraint, weights, number):
    """Reconstruct each image from each start alone, all of them in one batch."""
    prior = weights["prior"]
    lam, bounds = weights.get("lam", prior), problem.bounds
    if constraint == "range":
        R, bounds = ogr.range_constraint(G), None
    elif constraint == "soft":
        R = ogr.soft_constraint(G, prior / lam)
    else:
        R = ogr.sparse_deviation(G, prior / lam)
    source = np.random.default_rng(CONFIG["seed"])
    starts = [
        G.domain.element(source.normal(size=G.domain.shape).astype("float32"))
        for _ in range(number)
    ]
    data = [y for y in problem.reported_data for _ in starts]
    count = len(problem.reported)
    options = {"start": starts * count, "restarts": 1, "bounds": bounds}
    results = ogr.reconstruct(problem.fidelity, R, lam, data=data, **options)
    images = np.stack([as_tensor(result.x).numpy() for result in results])
    objectives = np.array([result.objective for result in results])
    return {
        "images": images.reshape(count, number, *G.range.shape),
        "objectives": objectives.reshape(count, number),
    }


def _rows(problem, name, found, angles):
    rows = []
    for number, truth in enumerate(problem.reported):
        objectives = found["objectives"][number]
        values = [psnr(x, truth) for x in found["images"][number]]
        near = objectives <= (1 + BEST) * objectives.min()
        rows.append(
            {
                "problem": problem.name,
                "method": name,
                "angles": angles,
                "image": number,
                "share": 100 * float(near.mean()),
                "best": values[int(objectives.argmin())],
                "single": float(np.mean(values)),
                "worst": min(values),
                "spread": float(np.std(values, ddof=1)),
            }
        )
    return rows


def _curves(rows):
    """Return the shares of the digits against the number of angles."""
    curves = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        x, means, errors = [], [], []
        own = [r for r in rows if r["method"] == name and "digits" in r["problem"]]
        for angles in dict.fromkeys(row["angles"] for row in own):
            shares = [row["share"] for row in own if row["angles"] == angles]
            x.append(angles)
            means.append(np.mean(shares))
            errors.append(np.std(shares, ddof=1) / len(shares) ** 0.5)
        curves[name] = (x, means, errors)
    return curves


if __name__ == "__main__":
    main()
