# SPDX-License-Identifier: MPL-2.0
"""Choose the weights of the demo, per method and number of angles.

    python examples/select_demo_weights.py [--digits 12] [--output weights.json]

Maximizes the mean PSNR over digits that the demo does not report, by
`odl_genreg.evaluation.tune`. Values are kept beside the output, a file for each method
and number of angles: a stopped search goes on.
"""

import argparse
import functools
import json
import multiprocessing
import os
import pathlib
import statistics

import torch

from odl_genreg.demo import METHODS, NUM_ANGLES, SELECTION, demo_problem
from odl_genreg.evaluation import psnr, tune

STARTS = {
    "FBP": {"frequency_scaling": 0.5},
    "TV": {"beta": 10.0},
    "range": {"lam": 0.25},
    "soft": {"lam": 1e4, "mu": 3e-5},
    "sparse": {"lam": 2e3, "mu": 1e-4},
    "soft + TV": {},  # from soft, with a quarter of the beta of TV
}


def mean_psnr(method, num_angles, digits, weights):
    """Return the mean PSNR of a method with given weights."""
    torch.set_num_threads(1)
    D, x = zip(*(demo_problem(index, num_angles) for index in digits), strict=True)
    images = METHODS[method](D[0], [fidelity.data for fidelity in D], **weights)
    return statistics.fmean(map(psnr, images, x))


def select(task):
    """Choose the weights of all methods at one number of angles."""
    (num_angles, digits, output), chosen = task, {}
    for method, start in STARTS.items():
        if method == "soft + TV":
            start = chosen["soft"] | {"beta": chosen["TV"]["beta"] / 4}
        name = f"{num_angles}_angles_{len(digits)}_digits_{method.replace(' ', '')}"
        score = functools.partial(mean_psnr, method, num_angles, digits)
        path = output.with_name(f"{output.stem}_{name}.json")
        result = tune(score, start, known_path=path)
        chosen[method] = result.weights
        print(num_angles, method, result.weights, f"{result.score:.3f} dB", flush=True)
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
    weights = {str(n): results[n] for n in NUM_ANGLES}
    options.output.write_text(json.dumps(weights, indent=2) + "\n")


if __name__ == "__main__":
    main()
