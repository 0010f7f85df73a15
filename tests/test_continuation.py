# SPDX-License-Identifier: MPL-2.0
"""Envelope continuation against closed forms and certified solutions."""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from odl_genreg.evaluation import total_variation
from odl_genreg.solvers import Term, envelope_continuation, primal_dual
from odl_genreg.torch_bridge import LinearMap, as_tensor, batch_value

FREE = (-float("inf"), float("inf"))


def test_soft_thresholding_on_a_weighted_space():
    X = odl.uniform_discr([0, 0], [2, 3], (7, 9))
    y = X.element(np.random.default_rng(0).normal(size=X.shape))
    image = as_tensor(y)[None]
    squared = batch_value(odl.functionals.L2NormSquared(X))
    term = Term(0.8 * odl.functionals.L1Norm(X), lambda x: x)
    (x,), value, history, converged, _ = envelope_continuation(
        lambda x: squared(x - image), [term], [image + 1], [FREE], tol=1e-12
    )
    shrunk = torch.sign(image) * (image.abs() - 0.4).clamp_min(0)
    assert converged
    assert float((x - shrunk).abs().max()) < 5e-3
    best = squared(shrunk - image) + term.value(shrunk)
    assert float(best) <= float(value) <= float(best) * (1 + 1e-3)
    assert float(value) == min(history)


def test_bounds_are_those_of_a_clipped_solution():
    target = torch.linspace(-1, 2, 12, dtype=torch.float64)[None]
    (x,), *_ = envelope_continuation(
        lambda x: ((x - target) ** 2).sum(1), [], [target * 0], [(0.0, 1.0)], tol=1e-14
    )
    torch.testing.assert_close(x, target.clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("solver", ["continuation", "primal_dual"])
def test_tv_denoising_reaches_the_certified_minimum(solver):
    X = odl.uniform_discr([-1, -1], [1, 1.5], (7, 9))
    y = np.random.default_rng(1).normal(size=X.shape)
    y[:, 4:] += 2
    D = ogr.squared_l2(odl.IdentityOperator(X), y, noise_std=0.5)
    beta, bounds = 4.0, (-0.5, 2.5)
    reference = total_variation(D, beta, bounds=bounds, gap_tol=1e-7)
    grad = odl.Gradient(X, pad_mode="symmetric")
    term = Term(beta * odl.functionals.GroupL1Norm(grad.range), LinearMap(grad))
    start = as_tensor(D.data)[None]
    if solver == "continuation":
        _, value, *_ = envelope_continuation(
            batch_value(D), [term], [start], [bounds], tol=1e-10
        )
    else:
        box = odl.functionals.IndicatorBox(X, *bounds)
        _, value, *_ = primal_dual(
            batch_value(D), [term], [start], [box], tol=1e-8, maxiter=5000
        )
    assert float(value) == pytest.approx(reference.objective, rel=1e-3)
    assert float(value) >= reference.objective * (1 - 1e-6)


def test_never_worse_than_the_start_and_start_untouched():
    start = torch.full((1, 3), 0.3, dtype=torch.float64)
    kept = start.clone()

    def rugged(x):
        return (torch.sin(40 * x) + x**2).sum(1)

    term = Term(odl.functionals.L1Norm(odl.rn(3)), lambda x: x)
    _, value, history, *_ = envelope_continuation(rugged, [term], [start], [FREE])
    assert float(value) <= float(rugged(kept) + kept.abs().sum())
    assert history[0] == pytest.approx(float(rugged(kept) + kept.abs().sum()))
    assert torch.equal(start, kept)


def test_nonlinear_map_and_two_blocks():
    """``min |x - z^2| + (x - 2)^2 + z^2 / 10`` has ``x = z^2`` at its minimum."""
    term = Term(odl.functionals.L1Norm(odl.rn(1)), lambda x, z: x - z**2)
    blocks, *_ = envelope_continuation(
        lambda x, z: ((x - 2) ** 2 + z**2 / 10).sum(1),
        [term],
        [torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)],
        [FREE, FREE],
        tol=1e-14,
    )
    # Along x = z^2 the derivative 2 (x - 2) + 1 / 10 vanishes at x = 1.95.
    assert float(blocks[0]) == pytest.approx(1.95, abs=2e-3)
    assert float(blocks[1]) ** 2 == pytest.approx(1.95, abs=2e-3)


def test_callback_sees_blocks():
    seen = []
    envelope_continuation(
        lambda x: ((x - 1) ** 4).sum(1),
        [],
        [torch.zeros(1, 2, dtype=torch.float64)],
        [FREE],
        callback=lambda blocks, values: seen.append((blocks[0].shape, values.shape)),
    )
    assert len(seen) > 2
    assert set(seen) == {(torch.Size([1, 2]), torch.Size([1]))}
