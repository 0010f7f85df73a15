# SPDX-License-Identifier: MPL-2.0
"""Measure what each way to choose the weight of the soft constraint costs in PSNR.

    python examples/compare_weight_choices.py [--digits 12] [--output choices.json]

Takes digits that the demo reports, and prints how many dB the choice of ``lam`` stays
below the best ``lam`` of each digit, mean (worst), with and without 0 <= x <= 1.
Validation chooses on other digits. Values are kept: a stopped run goes on.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics

import torch

import odl_genreg as ogr
from odl_genreg.demo import BOUNDS, REPORTED, SELECTION, demo_problem
from odl_genreg.evaluation import psnr

NUM_ANGLES = (5, 10, 30)
RULES = ("discrepancy", "L-curve", "validation", "1 / (2 mu)")


def write(path, content):
    """Write JSON under a temporary name and move it in place."""
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


def choose(rule, D, R, x, others, bounds):
    """Return the weight that a rule chooses."""
    options = {"bounds": bounds}
    if rule == "best":
        options |= {"images": [x], "data": [D.data]}
    if rule == "validation":
        options |= {"images": others}
    method = {"discrepancy": "discrepancy", "L-curve": "l_curve"}.get(rule)
    return ogr.choose_weights(D, R, method or "validation", **options).lam


def losses(num_angles, bounds, digits):
    """Return the loss in dB of each rule for each digit, by name."""
    G = ogr.load_generator("mnist-vae", demo_problem(0, num_angles)[1].space)
    R = ogr.soft_constraint(G)
    others = [demo_problem(i, num_angles)[1] for i in SELECTION[: len(digits)]]
    weights = {"1 / (2 mu)": 0.5 / R.mu}
    found = {rule: [] for rule in RULES}
    for index in digits:
        D, x = demo_problem(index, num_angles)
        if "validation" not in weights:  # the same for all digits
            weights["validation"] = choose("validation", D, R, x, others, bounds)
        values = {}
        for rule in ("best", *RULES):
            lam = weights.get(rule) or choose(rule, D, R, x, others, bounds)
            values[rule] = psnr(ogr.reconstruct(D, R, lam, bounds=bounds).x, x)
        for rule in RULES:
            found[rule].append(values["best"] - values[rule])
    return found


def main():
    """Measure all, and print a table for each set of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--digits", type=int, default=12)
    parser.add_argument("--output", type=pathlib.Path, default="choices.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = list(REPORTED)[: options.digits]
    known = json.loads(options.output.read_text()) if options.output.exists() else {}
    for bounds, num_angles in itertools.product((BOUNDS, None), NUM_ANGLES):
        key = json.dumps([bounds, num_angles, digits])
        if key not in known:
            known[key] = losses(num_angles, bounds, digits)
            write(options.output, known)
    for bounds in (BOUNDS, None):
        print(f"\nbounds {bounds}, angles {NUM_ANGLES}")
        for rule in RULES:
            cells = []
            for num_angles in NUM_ANGLES:
                values = known[json.dumps([bounds, num_angles, digits])][rule]
                cells.append(f"{statistics.fmean(values):.2f} ({max(values):.2f})")
            print(f"{rule:12}", *cells, sep="  ")


if __name__ == "__main__":
    main()
