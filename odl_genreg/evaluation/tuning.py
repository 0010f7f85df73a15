# SPDX-License-Identifier: MPL-2.0
"""tune(score, start): the weights of any method, by the best score."""

import itertools
import json
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ("TuningResult", "tune")

#: A search goes no further than this factor from where it starts.
FARTHEST = 1e8


class TuningResult(NamedTuple):
    """What `tune` returns."""

    #: Weights of the best score.
    weights: dict[str, float]
    #: Their score.
    score: float
    #: All weights that the search looked at, with their scores, in order.
    trials: list[tuple[dict[str, float], float]]


def tune(
    score: Callable[[dict[str, float]], float],
    start: Mapping[str, float],
    *,
    factors: Sequence[float] = (4.0, 2.0),
    min_gain: float = 0.005,
    known_path: str | os.PathLike | None = None,
) -> TuningResult:
    """Search the weights of the best score on an endless geometric grid.

        ``max_k score(start * factor^k)``

    Goes from ``start`` to the best of its neighbors, one weight larger or smaller by a
    factor, until none gains ``min_gain``; then takes the next, finer factor. Any method
    is tuned like any other: only its score counts. For a fair comparison, it is the
    mean over images that are not reported.

    Parameters
    ----------
    score : callable
        Function of a dict of weights, the larger its value, the better; NaN is the
        worst. Each choice of the weights is evaluated once.
    start : dict of positive float
        Weights to start from, by name.
    factors : sequence of float, optional
        Factors of the grid, each more than 1, from coarse to fine.
    min_gain : float, optional
        Least gain of a move, in the unit of the score; the default suits dB.
    known_path : path-like, optional
        JSON file that keeps all scores and is read if it is there: a search that was
        stopped goes on. It belongs to one ``score`` and to one process.

    Returns
    -------
    result : TuningResult
        The fields ``weights``, ``score`` and ``trials``. Weights but those of ``start``
        are rounded to 4 digits.

    Warns
    -----
    RuntimeWarning
        If the search ends 1e8 times away from ``start``: the score does not tell the
        weight.

    Raises
    ------
    ValueError
        If an argument makes no sense, or the score is NaN wherever the search looked.

    Examples
    --------
    From 1 to 4, no gain at 16; then by factors of 2 to 8:

    >>> result = ogr.evaluation.tune(
    ...     lambda weights: -abs(weights["beta"] - 9), {"beta": 1.0}
    ... )
    >>> result.weights, result.score
    ({'beta': 8.0}, -1.0)
    >>> [weights["beta"] for weights, _ in result.trials]
    [1.0, 4.0, 0.25, 16.0, 8.0, 2.0]
    """
    start = _checked(start, factors, min_gain)
    scores = _Scores(score, known_path)
    weights = dict(start)
    for factor in factors:
        while True:
            here, neighbors = scores.ranked(weights), _neighbors(weights, factor)
            near = [n for n in neighbors if _is_near(n, start)]
            best = max(near, key=scores.ranked, default=weights)
            there = scores.ranked(best)
            if not (there > here and there >= here + min_gain):
                break
            weights = best
    if scores.ranked(weights) == -math.inf:
        raise ValueError(
            f"`score` must be a number near `start`, got {scores(weights)} for all of "
            f"{len(scores.trials)} trials; start elsewhere."
        )
    if len(near) < len(neighbors):
        warnings.warn(
            f"`start` must be within a factor of {FARTHEST:.0e} of the best, got "
            f"{start} and the end of the search at {weights}: the score does not tell "
            "the weight; start elsewhere or leave it out.",
            RuntimeWarning,
            stacklevel=2,
        )
    trials = [(dict(w), value) for w, value in scores.trials.values()]
    return TuningResult(weights, scores(weights), trials)


class _Scores:
    """A score that is kept once it is known, in memory and in a file."""

    def __init__(self, score, path):
        self.score, self.trials, self.known = score, {}, {}
        self.path = None if path is None else pathlib.Path(path)
        if self.path is not None and self.path.exists():
            self.known = json.loads(self.path.read_text(encoding="utf-8"))

    def __call__(self, weights):
        key = json.dumps(weights)
        if key not in self.known:
            self.known[key] = float(self.score(dict(weights)))
            self._save()
        self.trials.setdefault(key, (weights, self.known[key]))
        return self.known[key]

    def ranked(self, weights):
        """Return the score, minus infinity for NaN."""
        value = self(weights)
        return -math.inf if math.isnan(value) else value

    def _save(self):
        """Write under a temporary name and move it in place."""
        if self.path is None:
            return
        part = self.path.with_name(f".{self.path.name}.part")
        part.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path)


def _neighbors(weights, factor):
    """Return the weights with one of them larger or smaller by a factor."""
    return [
        weights | {name: float(f"{weights[name] * step:.4g}")}
        for name, step in itertools.product(weights, (factor, 1 / factor))
    ]


def _is_near(weights, start):
    ways = (abs(math.log(weights[name] / start[name])) for name in start)
    return max(ways) < math.log(FARTHEST) + 1e-3  # weights are rounded


def _checked(start, factors, min_gain):
    """Return ``start`` with floats, after a look at all arguments but ``score``."""
    try:
        start = {name: float(value) for name, value in start.items()}
        fits = start and all(0 < value < math.inf for value in start.values())
    except (AttributeError, TypeError):
        fits = False
    if not fits:
        raise ValueError(
            "`start` must be a dict of positive finite weights by name, got "
            f"{start!r}; give at least one, such as {{'beta': 1.0}}."
        )
    if len(factors) == 0 or not all(1 < factor < math.inf for factor in factors):
        raise ValueError(
            f"`factors` must be larger than 1 and finite, got {factors}; leave them "
            "out for the default, 4 and then 2."
        )
    if not 0 <= min_gain < math.inf:
        raise ValueError(
            f"`min_gain` must be nonnegative and finite, got {min_gain}; use 0 for any "
            "gain."
        )
    return start
