# SPDX-License-Identifier: MPL-2.0
"""The search of weights: known optima, stopped searches, and its limits."""

import itertools
import json
import math

import pytest

import odl_genreg as ogr
from generators import forward_operator, make_generator, random_element
from odl_genreg.evaluation import TuningResult, psnr, tikhonov, tune


def peak(**best):
    """Score that falls with the squared distance to the best weights, in factors."""

    def score(weights):
        assert set(weights) == set(best)
        ways = (math.log2(weights[name] / best[name]) for name in best)
        return -sum(way**2 for way in ways)

    return score


class Counted:
    """A score that counts its calls, and is stopped after some."""

    def __init__(self, score, stop_after=math.inf):
        self.score, self.stop_after, self.calls = score, stop_after, []

    def __call__(self, weights):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(dict(weights))
        return self.score(weights)


@pytest.mark.parametrize("best", [0.02, 1.0, 37.0, 5e3])
def test_one_weight_ends_at_the_best_of_the_grid(best):
    score = peak(lam=best)
    result = tune(score, {"lam": 1.0})
    grid = [{"lam": 2.0**k} for k in range(-10, 20)]
    expected = max(grid, key=score)["lam"]
    assert result.weights["lam"] == pytest.approx(expected, rel=1e-3)
    assert result.score == score(result.weights)
    assert isinstance(result, TuningResult)


def test_three_weights_end_at_the_best_of_the_grid():
    score = peak(lam=70.0, mu=3e-3, beta=0.3)
    start = {"lam": 1.0, "mu": 1e-2, "beta": 1.0}
    result = tune(score, start)
    exponents = itertools.product(range(-9, 10), repeat=3)
    grid = (
        {name: start[name] * 2.0**k for name, k in zip(start, ks, strict=True)}
        for ks in exponents
    )
    assert result.weights == pytest.approx(max(grid, key=score), rel=1e-3)
    assert len(result.trials) < 60


def test_trials_hold_each_choice_once():
    score = Counted(peak(lam=8.0, mu=2.0))
    result = tune(score, {"lam": 1.0, "mu": 1.0})
    assert score.calls[0] == {"lam": 1.0, "mu": 1.0}
    assert [weights for weights, _ in result.trials] == score.calls
    assert len({json.dumps(weights) for weights in score.calls}) == len(score.calls)
    assert max(value for _, value in result.trials) == result.score


def test_factors_and_min_gain():
    score = peak(lam=100.0)
    fine = tune(score, {"lam": 1.0}, factors=(4.0, 2.0, 1.1), min_gain=0.0)
    assert fine.weights["lam"] == pytest.approx(100, rel=0.05)
    # From 1 to 4 the score gains 6.64^2 - 4.64^2 = 22.6.
    assert tune(score, {"lam": 1.0}, min_gain=23.0).weights == {"lam": 1.0}
    assert tune(score, {"lam": 1.0}, factors=[4.0], min_gain=22.0).weights == {
        "lam": 4.0
    }


def test_flat_scores_are_not_followed():
    result = tune(lambda weights: 1.0, {"lam": 3.0}, min_gain=0.0)
    assert (result.weights, len(result.trials)) == ({"lam": 3.0}, 5)
    assert tune(lambda weights: math.inf, {"lam": 3.0}).weights == {"lam": 3.0}


def test_score_may_change_what_it_is_given():
    def score(weights):
        return -abs(weights.pop("lam") - 4)

    assert tune(score, {"lam": 1.0}).weights == {"lam": 4.0}


def test_nan_is_the_worst(tmp_path):
    """Left of 2 nothing is known."""

    def score(weights):
        return -abs(weights["lam"] - 8) if weights["lam"] > 2 else math.nan

    path = tmp_path / "known.json"
    for _ in range(2):
        result = tune(score, {"lam": 1.0}, known_path=path)
        assert (result.weights, result.score) == ({"lam": 8.0}, 0.0)
    with pytest.raises(ValueError, match="`score` must be a number near `start`, .*5"):
        tune(lambda weights: math.nan, {"lam": 1.0})


def test_a_search_without_end_warns():
    with pytest.warns(RuntimeWarning, match=r"`start` must be within .* 1e\+08") as w:
        result = tune(lambda weights: math.log(weights["lam"]), {"lam": 2.0})
    assert 5e7 < result.weights["lam"] / 2 <= 1e8 * (1 + 1e-3)
    assert w[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="`start` must be within"):
        tune(lambda weights: -math.log(weights["lam"]), {"lam": 2.0})


# --- Stopped searches --- #


@pytest.mark.parametrize("stop_after", [0, 1, 4, 7])
def test_a_stopped_search_goes_on(tmp_path, stop_after):
    score, start = peak(lam=8.0, mu=2.0), {"lam": 1.0, "mu": 1.0}
    whole = Counted(score)
    expected = tune(whole, start)
    path = tmp_path / "known.json"
    stopped = Counted(score, stop_after)
    with pytest.raises(KeyboardInterrupt):
        tune(stopped, start, known_path=path)
    resumed = Counted(score)
    assert tune(resumed, start, known_path=path) == expected
    assert stopped.calls + resumed.calls == whole.calls
    again = Counted(score, stop_after=0)
    assert tune(again, start, known_path=path) == expected
    assert [file.name for file in tmp_path.iterdir()] == ["known.json"]


def test_the_file_is_whole_at_any_time(tmp_path):
    path = tmp_path / "known.json"
    seen = []

    def score(weights):
        seen.append(len(json.loads(path.read_text())) if path.exists() else 0)
        return -weights["lam"]

    result = tune(score, {"lam": 1.0}, factors=[4.0], min_gain=10.0, known_path=path)
    assert seen == list(range(len(result.trials)))


# --- Methods --- #


def test_classical_and_generative_methods_are_tuned_alike(global_state_untouched):
    """The true images of the soft constraint are generated: it is the better one."""
    G = make_generator()
    A = forward_operator(G.range)
    images = [G(random_element(G.domain, seed)) for seed in range(3)]
    data = [A(x) + random_element(A.range, 9 + i, 0.1) for i, x in enumerate(images)]
    D = ogr.squared_l2(A, data[0], 0.1)

    def mean_psnr(results):
        scores = [psnr(x, truth) for x, truth in zip(results, images, strict=True)]
        return sum(scores) / len(scores)

    def soft(lam, mu):
        R = ogr.soft_constraint(G, mu)
        return [result.x for result in ogr.reconstruct(D, R, lam, data=data)]

    with global_state_untouched():
        classical = tune(
            lambda weights: mean_psnr(tikhonov(D, **weights, data=data)), {"beta": 1.0}
        )
        generative = tune(
            lambda weights: mean_psnr(soft(**weights)), {"lam": 10.0, "mu": 0.05}
        )
    for result in (classical, generative):
        best = max(value for _, value in result.trials)
        assert best - 0.005 <= result.score <= best  # dB
    assert generative.score > classical.score


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"start": {}}, r"`start` must be a dict of positive .*, got \{\}"),
        ({"start": [1.0]}, r"`start` must be a dict of positive .*, got \[1.0\]"),
        ({"start": {"lam": 0.0}}, "`start` must be a dict .*, got {'lam': 0.0}"),
        ({"start": {"lam": math.inf}}, "`start` must be a dict .* got {'lam': inf}"),
        ({"start": {"lam": None}}, "`start` must be a dict .* got {'lam': None}"),
        ({"factors": (4.0, 1.0)}, r"`factors` must be larger than 1.*\(4.0, 1.0\)"),
        ({"factors": ()}, r"`factors` must be larger than 1 and finite, got \(\)"),
        ({"min_gain": -1.0}, "`min_gain` must be nonnegative and finite, got -1.0"),
        ({"min_gain": math.nan}, "`min_gain` must be nonnegative .* got nan"),
    ],
)
def test_errors_before_any_work(keywords, message):
    score = Counted(peak(lam=1.0))
    with pytest.raises(ValueError, match=message):
        tune(score, **({"start": {"lam": 1.0}} | keywords))
    assert score.calls == []
