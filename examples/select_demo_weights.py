# SPDX-License-Identifier: MPL-2.0
"""Choose the weights of the demo, per method and number of angles.

    python examples/select_demo_weights.py [--digits 12] [--output weights.json]

Maximizes the mean PSNR over digits that the demo does not report on the endless grid
``start * factor^k``: goes to the best neighbor until none gains `MIN_GAIN`, then takes
the next factor. Values are kept beside the output: a stopped search goes on.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import pathlib
import statistics

import torch

from odl_genreg.demo import METHODS, NUM_ANGLES, SELECTION, demo_problem
from odl_genreg.evaluation import psnr

FACTORS, MIN_GAIN = (4.0, 2.0), 0.005  # dB
STARTS = {
    "FBP": {"frequency_scaling": 0.5},
    "TV": {"beta": 10.0},
    "range": {"lam": 0.25},
    "soft": {"lam": 1e4, "mu": 3e-5},
    "sparse": {"lam": 2e3, "mu": 1e-4},
    "soft + TV": {},  # from soft, with a quarter of the beta of TV
}


def write(path, content):
    """Write JSON under a temporary name and move it in place."""
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


def mean_psnr(method, num_angles, weights, digits):
    """Return the mean PSNR of a method with given weights."""
    torch.set_num_threads(1)
    D, x = zip(*(demo_problem(index, num_angles) for index in digits), strict=True)
    images = METHODS[method](D[0], [fidelity.data for fidelity in D], **weights)
    return statistics.fmean(map(psnr, images, x))


def search(method, num_angles, digits, start, file):
    """Return the best weights of the grid, by moves to the best neighbor."""
    known = json.loads(file.read_text()) if file.exists() else {}

    def score(weights):
        key = json.dumps([method, num_angles, list(digits), weights])
        if key not in known:
            known[key] = mean_psnr(method, num_angles, weights, digits)
            write(file, known)
        return known[key]

    weights = dict(start)
    for factor in FACTORS:
        while True:
            neighbors = [
                weights | {name: float(f"{weights[name] * f:.4g}")}
                for name, f in itertools.product(weights, (factor, 1 / factor))
            ]
            best = max(neighbors, key=score)
            if score(best) < score(weights) + MIN_GAIN:
                break
            weights = best
    return weights, score(weights)


def select(task):
    """Choose the weights of all methods at one number of angles."""
    (num_angles, digits, path), chosen = task, {}
    file = path.with_name(f"{path.stem}_{num_angles}_angles.json")
    for method, start in STARTS.items():
        if method == "soft + TV":
            start = chosen["soft"] | {"beta": chosen["TV"]["beta"] / 4}
        chosen[method], value = search(method, num_angles, digits, start, file)
        print(num_angles, method, chosen[method], f"{value:.3f} dB", flush=True)
    return num_angles, chosen


def main():
    """Run the searches, one process for each core, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digits", type=int, default=12)
    parser.add_argument("--output", type=pathlib.Path, default="demo.json")
    options = parser.parse_args()
    tasks = [(n, SELECTION[: options.digits], options.output) for n in NUM_ANGLES]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        results = dict(pool.imap_unordered(select, tasks, chunksize=1))
    write(options.output, {str(n): results[n] for n in NUM_ANGLES})


if __name__ == "__main__":
    main()
