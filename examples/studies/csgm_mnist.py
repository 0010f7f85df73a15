# SPDX-License-Identifier: MPL-2.0
"""Compressed sensing of digits by the protocol of CSGM: error against measurements.

    python examples/studies/csgm_mnist.py [--full --images MNIST_TEST_IMAGES]
        [--vae runs/csgm-vae]

28 x 28 pixels, y = A x + noise with A_ij ~ N(0, 1) and noise of standard deviation 0.1;
the error is the mean squared error per pixel. ``--vae`` is the generator of the
protocol, see csgm_vae.py; the one that ships stands beside it. Lasso needs
scikit-learn. Tuned weights are chosen on other digits for each number of measurements.

References
----------
[BJPD2017] Bora A, Jalal A, Price E, and Dimakis A. *Compressed sensing using generative
models*. ICML, 2017.
"""

import time

import numpy as np
import odl
import torch
from csgm_methods import (
    ALPHA,
    compare_with_adam,
    lasso,
    protocol_range,
    tuned_range,
    tuned_soft,
    untuned,
)
from csgm_vae import load_protocol_generator
from harness import (
    Problem,
    RunDirectory,
    compare,
    mnist_images,
    save_curves,
    save_images,
    sparse,
    study_options,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.evaluation import project_onto_range

CONFIG = {
    "quick": {
        "measurements": [100],
        "sparse": [],
        "restarts": {"search": 1, "reported": 2},
        "selection": 1,
        "reported": 2,
        "adam": {"images": 1, "restarts": 2, "iterations": 20},
    },
    "small": {
        "measurements": [50, 100, 400, 750],
        "sparse": [],
        "restarts": {"search": 2, "reported": 4},
        "selection": 3,
        "reported": 6,
        "adam": {"images": 1, "restarts": 4, "iterations": 500},
    },
    "full": {
        "measurements": [10, 25, 50, 100, 200, 300, 400, 500, 750],
        "sparse": [400],
        "restarts": {"search": 4, "reported": 10},
        "selection": 16,
        "reported": 50,
        "adam": {"images": 5, "restarts": 10, "iterations": 1000},
    },
    "noise_std": 0.1,
    "adam_measurements": 100,
    "seed": 0,
}


def main():
    """Run the study."""
    more = {"--vae": "checkpoint of csgm_vae.py"}
    options = study_options(
        __doc__, images="MNIST test images; else those that ship", more=more
    )
    sizes = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    X = odl.uniform_discr([0, 0], [28, 28], (28, 28), dtype="float32")
    generators = {"mnist-vae": ogr.load_generator("mnist-vae", X)}
    if options.vae is not None:
        vae = load_protocol_generator(options.vae, X)
        generators = {"CSGM VAE": vae} | generators
    digits = mnist_images(sizes["selection"], sizes["reported"], options.images)
    problems = {
        m: Problem(
            f"m = {m}",
            ogr.gaussian_sensing(X, m, seed=CONFIG["seed"] + m),
            CONFIG["noise_std"],
            *digits,
            seed=CONFIG["seed"] + m,
        )
        for m in sizes["measurements"]
    }
    floors = run.cached("floors", lambda: _floors(generators, digits[1]))
    adam = {
        name: run.cached(
            f"adam/{name}".replace(" ", "_"),
            lambda G=G: compare_with_adam(
                problems[CONFIG["adam_measurements"]], G, **sizes["adam"]
            ),
        )
        for name, G in generators.items()
    }
    rows, examples = _compare(run, problems, _methods(generators, **sizes["restarts"]))
    few = {m: problems[m] for m in sizes["sparse"]}
    method = {
        "sparse, mnist-vae": untuned(
            sparse(generators["mnist-vae"], restarts=sizes["restarts"]["reported"])
        )
    }
    new, images = _compare(run, few, method)
    rows += new
    for name, found in images.items():
        examples[name] |= found
    _report(run, rows, examples, floors, adam)
    run.finish(options.command, time.perf_counter() - started)


def _methods(generators, search, reported):
    methods = {f"Lasso, alpha {ALPHA}": lasso(ALPHA), "Lasso": lasso()}
    for name, G in generators.items():
        methods |= {
            f"protocol, {name}": protocol_range(G, reported),
            f"range, {name}": tuned_range(G, search, reported),
            f"soft, {name}": tuned_soft(G, search, reported),
        }
    return methods


def _compare(run, problems, methods):
    """Return rows with the error per pixel, and the images of the first digit."""
    rows, examples = [], {}
    for m, problem in problems.items():
        new, images = compare(run, problem, methods)
        for row in new:
            number = row["image"]
            error = images[row["method"]][number] - images["truth"][number]
            rows.append(row | {"m": m, "error": float(np.mean(error**2))})
        examples[problem.name] = {name: stack[0] for name, stack in images.items()}
    return rows, examples


def _floors(generators, reported):
    """Return the error per pixel of the nearest images in the ranges."""
    truth = torch.from_numpy(reported)
    return {
        name: (project_onto_range(G, truth) - truth).square().mean().item()
        for name, G in generators.items()
    }


def _report(run, rows, examples, floors, adam):
    write_rows(run.path / "rows.csv", rows)
    lines = ["Error per pixel, mean and standard error; the least of each range:"]
    lines += [f"{name} {value:.4f}" for name, value in floors.items()]
    lines += ["", "Objective of the protocol, Adam and Gauss-Newton:"]
    lines += [
        f"{name} {_mean(found, 'adam'):.4f} and {_mean(found, 'gauss_newton'):.4f}, "
        f"errors {_mean(found, 'adam_error'):.4f} and "
        f"{_mean(found, 'gauss_newton_error'):.4f}"
        for name, found in adam.items()
    ]
    lines += ["", *_bounds(rows, floors)]
    note = "\n".join(lines)
    table = {"columns": "m", "values": {"error": 4}, "note": note}
    print(write_table(run.path / "table.md", rows, **table))
    label = {"x_label": "measurements", "y_label": "error per pixel", "log_y": True}
    save_curves(run.path / "errors.png", _curves(rows), **label)
    shown = list(examples)[:: max(1, len(examples) // 4)]
    save_images(run.path / "images.png", {name: examples[name] for name in shown})


def _bounds(rows, generators):
    """Return what was expected before the run, and whether it is so."""
    checks = []
    for name in generators:
        checks += [
            (f"range, {name}, m = 100", "<=", _at(rows, f"range, {name}", 100), 0.010),
            (f"soft, {name}, m = 100", "<=", _at(rows, f"soft, {name}", 100), 0.009),
        ]
        quarter = _at(rows, f"range, {name}", 750)
        if quarter is not None:
            found = _at(rows, f"soft, {name}", 750)
            checks.append((f"soft, {name}, m = 750", "<=", found, quarter / 4))
    fixed = f"Lasso, alpha {ALPHA}"
    checks.append((f"{fixed}, m = 400", ">", _at(rows, fixed, 400), 0.010))
    checks.append(("Lasso, m = 300", ">", _at(rows, "Lasso", 300), 0.010))
    lines = []
    for name, sign, found, bound in checks:
        if found is not None:
            met = found <= bound if sign == "<=" else found > bound
            word = "met" if met else "NOT MET"
            lines.append(f"{name}: {found:.5f} {sign} {bound:.5f} {word}")
    return lines


def _at(rows, method, m):
    found = [row for row in rows if (row["method"], row["m"]) == (method, m)]
    return _mean(found, "error") if found else None


def _mean(rows, name):
    return float(np.mean([row[name] for row in rows]))


def _curves(rows):
    curves = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        x = sorted({row["m"] for row in own})
        values = [[row["error"] for row in own if row["m"] == m] for m in x]
        errors = [1.96 * np.std(v, ddof=1) / len(v) ** 0.5 for v in values]
        curves[method] = (x, [np.mean(v) for v in values], errors)
    return curves


if __name__ == "__main__":
    main()
