# SPDX-License-Identifier: MPL-2.0
"""Moreau envelopes and total variation, against brute force and ODL."""

import numpy as np
import odl
import pytest
import torch
from odl import functionals as f

from checks import taylor_order
from generators import array, image_space, random_element
from odl_genreg.deviation import TotalVariation, envelope
from odl_genreg.torch_bridge import as_element, as_tensor, batch_value, weight
from tolerance import taylor_order as least_order
from tolerance import tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", [None, 1.0])


# --- Envelope --- #


@each_weighting
def test_envelope_of_the_1_norm_is_hubers_function(weighting):
    X, s = image_space(weighting=weighting), 0.6
    u = random_element(X)
    values = np.abs(array(u))
    huber = np.where(values <= s, values**2 / (2 * s), values - s / 2)
    env = envelope(f.L1Norm(X), s)
    assert env(as_tensor(u)[None]).item() == pytest.approx(weight(X) * huber.sum())


@each_weighting
def test_envelope_of_the_square(weighting):
    X, s = image_space(weighting=weighting), 0.6
    u = random_element(X)
    expected = u.norm() ** 2 / (1 + 2 * s)
    env = envelope(f.L2NormSquared(X), s)
    assert env(as_tensor(u)[None]).item() == pytest.approx(expected)


@pytest.mark.parametrize("factory", [f.L1Norm, TotalVariation, f.L2Norm])
def test_envelope_is_the_least_of_all_competitors(factory):
    X, s = image_space(), 0.2
    F, u = factory(X), random_element(X)
    value = envelope(F, s)(as_tensor(u)[None]).item()
    best = F.proximal(s)(u)

    def competitor(p):
        return F(p) + (u - p).norm() ** 2 / (2 * s)

    assert value == pytest.approx(competitor(best), rel=tolerance["float64"])
    for seed in range(20):
        for scale in (1e-3, 1e-1):
            other = competitor(best + scale * random_element(X, seed))
            assert value <= other * (1 + 1e-4)
    assert value <= min(F(u), competitor(X.zero()))


@pytest.mark.parametrize("factory", [f.L1Norm, f.L2NormSquared])
def test_gradient_of_the_envelope(factory):
    """In plain sums ``w_X (u - prox(u)) / s``; finite differences agree."""
    X, s = image_space(), 0.2
    F = factory(X)
    env = envelope(F, s)
    u = torch.stack([as_tensor(random_element(X, seed)) for seed in range(2)])
    u.requires_grad_()
    (gradient,) = torch.autograd.grad(env(u).sum(), u)
    for row, part in zip(u.detach(), gradient, strict=True):
        proximal = as_tensor(F.proximal(s)(as_element(X, row)))
        torch.testing.assert_close(part, weight(X) * (row - proximal) / s)
    assert torch.autograd.gradcheck(env, u)


# --- Total variation: value --- #


@each_impl
@each_weighting
def test_total_variation_is_that_of_odl(impl, weighting):
    X = image_space(impl, weighting=weighting)
    gradient = odl.Gradient(X, pad_mode="symmetric")
    x = random_element(X)
    expected = (f.GroupL1Norm(gradient.range) @ gradient)(x)
    TV = TotalVariation(X)
    assert TV(x) == pytest.approx(expected, rel=tolerance["float64"])
    value = batch_value(TV)(as_tensor(x)[None])
    assert value.item() == pytest.approx(expected, rel=tolerance["float64"])


def test_total_variation_by_hand():
    """A ramp of slope 2 along the first axis, of side 3; 5 of 6 differences count."""
    X = odl.uniform_discr([0, 0], [3, 4], (6, 8))
    ramp = X.element(lambda x: 2 * x[0])
    assert TotalVariation(X)(ramp) == pytest.approx(2 * 3 * 4 * 5 / 6)
    assert TotalVariation(X)(7 * X.one()) == 0.0


@pytest.mark.parametrize("shape", [(11,), (4, 3, 5)])
def test_total_variation_in_other_dimensions(shape):
    X = odl.uniform_discr([0] * len(shape), [1.5] * len(shape), shape)
    x = random_element(X)
    gradient = odl.Gradient(X, pad_mode="symmetric")
    expected = f.GroupL1Norm(gradient.range)(gradient(x))
    assert TotalVariation(X)(x) == pytest.approx(expected)
    p = TotalVariation(X).proximal(0.05)(x)
    assert objective(TotalVariation(X), p, x, 0.05) < TotalVariation(X)(x)


# --- Total variation: proximal --- #


def objective(TV, p, v, s):
    return TV(p) + (p - v).norm() ** 2 / (2 * s)


def test_proximal_of_two_cells_by_hand():
    """``|p_2 - p_1| + |p - v|^2 / (4 s)``: both cells move by 2 s = 0.2."""
    X = odl.uniform_discr([0, 0], [1, 1], (1, 2))
    p = TotalVariation(X, tol=1e-12).proximal(0.1)(X.element([[0.0, 1.0]]))
    assert array(p) == pytest.approx([0.2, 0.8], abs=1e-6)
    p = TotalVariation(X, tol=1e-12).proximal(0.3)(X.element([[0.0, 1.0]]))
    assert array(p) == pytest.approx([0.5, 0.5], abs=1e-6)


@each_impl
@each_weighting
@pytest.mark.parametrize("s", [0.01, 0.3])
def test_proximal_reaches_the_minimum_of_odl(impl, weighting, s):
    """Within the gap `tol` of a long run of `pdhg` on the same problem."""
    X = image_space(impl, weighting=weighting)
    TV, v = TotalVariation(X), random_element(X)
    p = TV.proximal(s)(v)
    before = v.copy()
    value = objective(TV, p, v, s)
    assert v == before
    if impl == "numpy":
        gradient = odl.Gradient(X, pad_mode="symmetric")
        x, tau = v.copy(), 0.9 / np.sqrt(4 / 0.2**2 + 4 / 0.3**2)
        near = 1 / (2 * s) * f.L2NormSquared(X).translated(v)
        g = f.GroupL1Norm(gradient.range)
        odl.solvers.pdhg(x, near, g, gradient, niter=600, tau=tau, sigma=tau)
        assert value <= objective(TV, x, v, s) * (1 + TV.tol)
    for seed in range(10):
        for scale in (1e-3, 1e-1):
            other = p + scale * random_element(X, seed)
            assert value <= objective(TV, other, v, s) * (1 + TV.tol)


def test_proximal_to_its_tolerance():
    X, s = image_space(), 0.05
    v = random_element(X)
    exact = TotalVariation(X, tol=1e-9, maxiter=20000)
    best = objective(exact, exact.proximal(s)(v), v, s)
    for tol in (1e-1, 1e-3, 1e-5):
        TV = TotalVariation(X, tol=tol)
        gap = objective(TV, TV.proximal(s)(v), v, s) - best
        assert 0 <= gap + 1e-8 * best <= 2 * tol * best


def test_rows_of_a_batch_stop_on_their_own():
    X, TV = image_space(), TotalVariation(image_space())
    v = torch.stack([10.0**-k * as_tensor(random_element(X, k)) for k in range(3)])
    rows = TV.batch_proximal(0.1, v)
    for row, start in zip(rows, v, strict=True):
        single = TV.batch_proximal(0.1, start[None])[0]
        torch.testing.assert_close(row, single, rtol=0, atol=1e-12)


def test_proximal_leaves_constants_alone():
    X = image_space(dtype="float32")
    x = 3 * X.one()
    assert TotalVariation(X).proximal(10.0)(x) == x


def test_smoothed_total_variation_has_its_gradient():
    """The envelope of TV as a functional of ODL, differentiated by the bridge."""
    X, s = image_space(), 0.1
    TV = TotalVariation(X, tol=1e-12, maxiter=20000)

    class Envelope(f.functional.Functional):
        def __init__(self):
            super().__init__(X)

        def _call(self, u):
            return envelope(TV, s)(as_tensor(u)[None]).item()

        @property
        def gradient(self):
            return (odl.IdentityOperator(X) - TV.proximal(s)) / s

    u, h = random_element(X, scale=0.3), random_element(X, 1)
    assert taylor_order(Envelope(), u, h, (1e-1, 1e-2)) >= least_order
