# SPDX-License-Identifier: MPL-2.0
"""Validation: the weights of the best score on images that are known."""

import itertools
import math

from .choice import WeightChoice
from .path import FARTHEST, WeightPath

__all__ = ("best_score",)


def best_score(path: WeightPath, grid: dict) -> WeightChoice:
    """Choose the weights of the best score on a grid.

    The grid grows where the best lies on its edge; then the best is compared with the
    means of it and its neighbors.

    Parameters
    ----------
    path : `WeightPath`
        Trials with a score.
    grid : dict
        Increasing values of ``lam``, ``mu`` and ``beta``; a single value is kept.
    """
    grid = {name: list(values) for name, values in grid.items()}
    searched = [name for name, values in grid.items() if len(values) > 1]
    limits = {n: (grid[n][0] / FARTHEST, FARTHEST * grid[n][-1]) for n in searched}
    best = _best(path, grid)
    while any(
        _grow(grid[name], getattr(best, name), limits[name]) for name in searched
    ):
        best = _best(path, grid)
    at_edge = [n for n in searched if getattr(best, n) in (grid[n][0], grid[n][-1])]
    warning = None
    if at_edge:
        where = " and ".join(f"{n} = {getattr(best, n):.2g}" for n in at_edge)
        warning = (
            f"The score is best at the end of the search, {where}: the images do not "
            "tell the weight; give another grid."
        )
    for name in searched:
        i = grid[name].index(getattr(best, name))
        near = grid[name][max(i - 1, 0) : i + 2]
        means = [
            math.sqrt(first * second) for first, second in itertools.pairwise(near)
        ]
        kept = {other: [getattr(best, other)] for other in grid}
        best = max(best, _best(path, {**kept, name: means}), key=_score)
    return WeightChoice("validation", best, path.sorted_trials, warning=warning)


def _grow(values, best, limits):
    """Add a value beyond the edge on which the best lies; return whether it does."""
    if best == values[0] > limits[0]:
        values.insert(0, values[0] ** 2 / values[1])
    elif best == values[-1] < limits[1]:
        values.append(values[-1] ** 2 / values[-2])
    else:
        return False
    return True


def _best(path, grid):
    """Try all weights of a grid, the largest ``lam`` first, and return the best."""
    weights = itertools.product(grid["mu"], grid["beta"], reversed(grid["lam"]))
    return max((path(lam, mu, beta) for mu, beta, lam in weights), key=_score)


def _score(trial):
    return trial.score
