# SPDX-License-Identifier: MPL-2.0
"""Measure what a structured covariance is worth beside the soft constraint.

    python examples/structured_covariance.py CHECKPOINT [--output covariance.json]

Takes a generator with a covariance (``odl-genreg train svae``) and reconstructs digits
of the demo from 3 and 10 projections with

    min_x  |A x - y|^2 / (2 sigma^2) + lam R_G(x),   0 <= x <= 1 at the end

by the soft constraint and by the structured deviation, the weights of both chosen on
other digits by PSNR.
"""

import argparse
import itertools
import json
import pathlib
import statistics

import odl_genreg as ogr
from odl_genreg.demo import REPORTED, SELECTION, demo_problem
from odl_genreg.evaluation import psnr

NUM_ANGLES = (3, 10)
# Multiples of lam and mu of the most likely pair (x, z).
GRIDS = {
    "soft": tuple(itertools.product((0.1, 0.3, 1.0, 3.0, 10.0), (0.3, 1.0, 3.0))),
    "structured": ((0.3, 1.0), (1.0, 1.0), (3.0, 1.0)),  # each takes long
}

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint", help="of `odl-genreg train svae`")
parser.add_argument(
    "--digits", type=int, default=12, help="reported; half as many choose"
)
parser.add_argument("--output", type=pathlib.Path, default="covariance.json")
arguments = parser.parse_args()


def regularizer(name, G, factors):
    """Return ``R`` and ``lam`` for multiples of the most likely weights."""
    if name == "soft":
        R = ogr.soft_constraint(G)
        R = ogr.soft_constraint(G, mu=R.mu * factors[1])
        return R, factors[0] / (2 * G.decoder_variance * G.range.cell_volume)
    R = ogr.structured_deviation(G, mu=factors[1] / G.domain.weighting.const)
    return R, factors[0] / 2


def quality(name, factors, indices, num_angles):
    """Return the PSNR of each digit."""
    values = []
    for index in indices:
        D, x = demo_problem(index, num_angles)
        G = ogr.load_generator(arguments.checkpoint, x.space)
        R, lam = regularizer(name, G, factors)
        found = ogr.reconstruct(D, R, lam, restarts=4).x
        values.append(psnr(found.space.element(found.asarray().clip(0, 1)), x))
    return values


table = {}
for num_angles in NUM_ANGLES:
    values = {}
    for name in ("soft", "structured"):
        few = SELECTION[: arguments.digits // 2]
        best = max(
            GRIDS[name],
            key=lambda f: statistics.mean(quality(name, f, few, num_angles)),
        )
        values[name] = quality(name, best, REPORTED[: arguments.digits], num_angles)
        mean = statistics.mean(values[name])
        table[f"{name}, {num_angles} angles"] = {"factors": best, "psnr": mean}
    pairs = zip(values["structured"], values["soft"], strict=True)
    gains = [one - two for one, two in pairs]
    error = statistics.stdev(gains) / len(gains) ** 0.5
    table[f"gain, {num_angles} angles"] = statistics.mean(gains), error
    print(num_angles, table, flush=True)
arguments.output.write_text(json.dumps(table, indent=2) + "\n")
