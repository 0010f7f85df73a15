# SPDX-License-Identifier: MPL-2.0
"""ODL functionals and their proximals as batched torch functions."""

import odl
import pytest
import torch
from odl import functionals as f

from generators import (
    LatentScaledSquare,
    forward_operator,
    image_space,
    latent_space,
    make_generator,
    random_element,
)
from odl_genreg import soft_constraint, squared_l2
from odl_genreg.deviation import TotalVariation
from odl_genreg.latent_prior import ball, box, gaussian
from odl_genreg.poisson_noise import CountDivergence
from odl_genreg.torch_bridge import (
    as_element,
    as_tensor,
    batch_proximal,
    batch_value,
    weight,
)
from tolerance import tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])


def functionals(impl="numpy"):
    """Functionals on one space or a power: registered ones, and others."""
    X = image_space(impl)
    A = forward_operator(X)
    grad = odl.Gradient(X, pad_mode="symmetric")
    shift = random_element(X, 7)
    counts = as_element(X, as_tensor(random_element(X, 8)).abs())
    as_tensor(counts)[0] = 0
    return {
        "L2 squared": f.L2NormSquared(X),
        "L1": f.L1Norm(X),
        "zero": f.ZeroFunctional(X),
        "scaled": 2.5 * f.L2NormSquared(X),
        "argument scaled": f.L2NormSquared(X) * 3.0,
        "translated": f.L1Norm(X).translated(shift),
        "sum": f.L2NormSquared(X) + 0.5 * f.L1Norm(X),
        "composed": f.L2NormSquared(A.range) @ A,
        "data fidelity": squared_l2(A, A(shift), noise_std=0.3),
        "divergence of counts": CountDivergence(X, prior=counts),
        "divergence of ODL": f.KullbackLeibler(X, prior=counts + X.one()),
        "divergence without prior": f.KullbackLeibler(X),
        "total variation": f.GroupL1Norm(grad.range) @ grad,
        "our total variation": TotalVariation(X),
        "group": f.GroupL1Norm(grad.range),
        "group, 1-norm": f.GroupL1Norm(grad.range, 1),
        "L2 squared on a power": f.L2NormSquared(grad.range),
        "Huber": f.Huber(X, 0.1),
        "Huber on a power": f.Huber(grad.range, 0.1),
        "L2": f.L2Norm(X),
        "quadratic": f.QuadraticForm(operator=odl.ScalingOperator(X, 2.0)),
    }


CASES = [
    pytest.param(impl, name, id=f"{impl} {name}")
    for impl in ("numpy", "pytorch")
    for name in functionals()
]


def positive(name):
    return "divergence" in name


def points(functional, name, count=3):
    x = [random_element(functional.domain, seed=10 + i) for i in range(count)]
    tensor = torch.stack([as_tensor(element) for element in x])
    return tensor.abs() + 0.1 if positive(name) else tensor


@pytest.mark.parametrize(("impl", "name"), CASES)
def test_values_and_gradients_are_those_of_odl(impl, name):
    functional = functionals(impl)[name]
    X, x = functional.domain, points(functional, name).requires_grad_()
    values = batch_value(functional)(x)
    assert values.shape == (3,)
    elements = [as_element(X, row) for row in x.detach()]
    expected = [functional(point) for point in elements]
    assert values.tolist() == pytest.approx(expected, rel=tolerance["float64"])
    scale = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(
        values @ scale, x, allow_unused=True, materialize_grads=True
    )
    rows = [as_tensor(functional.gradient(point)) for point in elements]
    for row, factor, part in zip(rows, scale, gradient, strict=True):
        expected = factor * weight(X) * row
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-12)


@each_impl
def test_values_leave_the_points_alone(impl):
    for name, functional in functionals(impl).items():
        x = points(functional, name)
        before = x.clone()
        batch_value(functional)(x)
        assert torch.equal(x, before), name


def with_proximal(impl):
    X, Z = image_space(impl), latent_space(impl)
    grad = odl.Gradient(X)
    return {
        "L2 squared": f.L2NormSquared(X),
        "scaled": 2.5 * f.L2NormSquared(X),
        "L1": f.L1Norm(X),
        "L1 scaled": 0.3 * f.L1Norm(X),
        "group": f.GroupL1Norm(grad.range),
        "group, 1-norm": 0.5 * f.GroupL1Norm(grad.range, 1),
        "zero": f.ZeroFunctional(X),
        "indicator of 0": f.IndicatorZero(X),
        "box": f.IndicatorBox(X, -0.5, 0.2),
        "half a box": f.IndicatorBox(X, lower=0.0),
        "box of elements": f.IndicatorBox(X, X.zero(), X.one()),
        "Huber": f.Huber(X, 0.1),
        "translated": f.L1Norm(X).translated(random_element(X, 7)),
        "our total variation": TotalVariation(X),
        "gaussian": gaussian(Z),
        "latent box": box(Z),
        "latent ball": ball(Z, 0.7),
    }


@pytest.mark.parametrize(
    ("impl", "name"),
    [(i, n) for i in ("numpy", "pytorch") for n in with_proximal("numpy")],
)
def test_proximals_are_those_of_odl(impl, name):
    functional = with_proximal(impl)[name]
    x = points(functional, "")
    before = x.clone()
    rows = batch_proximal(functional)(0.7, x)
    assert torch.equal(x, before)
    assert rows.data_ptr() != x.data_ptr()
    operator = functional.proximal(0.7)
    for point, row in zip(x, rows, strict=True):
        expected = as_tensor(operator(as_element(functional.domain, point)))
        torch.testing.assert_close(row, expected, rtol=1e-10, atol=1e-12)


def test_proximal_on_a_group_that_vanishes():
    functional = f.GroupL1Norm(odl.Gradient(image_space()).range)
    zero = torch.zeros(1, 2, 7, 9, dtype=torch.float64)
    assert torch.equal(batch_proximal(functional)(0.5, zero), zero)


def product_functionals():
    X, Z = image_space(), latent_space()
    S = f.SeparableSum(f.L2NormSquared(X), f.Huber(Z, 0.5))
    P = odl.ProductSpace(X, Z)
    on_image = odl.ComponentProjection(P, 0)
    R = soft_constraint(make_generator("mlp"), mu=0.1)
    return {
        "separable": S,
        "scaled": 2.0 * S,
        "argument scaled": S * 0.5,
        "sum": S + LatentScaledSquare(X, Z),
        "translated": S.translated(random_element(P, 4)),
        "L2 squared": f.L2NormSquared(P),
        "composed": f.L2NormSquared(X) @ on_image,
        "depends on z": LatentScaledSquare(X, Z),
        "joint": R.joint,
    }


@pytest.mark.parametrize("name", product_functionals())
def test_products(name):
    functional = product_functionals()[name]
    X, Z = functional.domain
    u, z = (points(f.L1Norm(space), "").requires_grad_() for space in (X, Z))
    values = batch_value(functional)(u, z)
    pairs = [
        functional.domain.element([as_element(X, a), as_element(Z, b)])
        for a, b in zip(u.detach(), z.detach(), strict=True)
    ]
    expected = torch.tensor([functional(pair) for pair in pairs], dtype=torch.float64)
    torch.testing.assert_close(values, expected)
    parts = torch.autograd.grad(values.sum(), (u, z))
    for b, pair in enumerate(pairs):
        gradient = functional.gradient(pair)
        for space, part, row in zip((X, Z), parts, gradient, strict=True):
            torch.testing.assert_close(part[b], weight(space) * as_tensor(row))


@pytest.mark.parametrize(
    "make", [f.L2NormSquared, f.L1Norm, lambda P: 2 * f.L2NormSquared(P)]
)
def test_power_by_its_factors(make):
    """``X x X`` takes one tensor ``(batch, 2, 7, 9)``, or two ``(batch, 7, 9)``."""
    functional = make(odl.ProductSpace(image_space(), 2))
    x = points(functional, "")
    value = batch_value(functional)
    torch.testing.assert_close(value(x), value(x[:, 0], x[:, 1]))


def test_indicators():
    X = image_space()
    zero, one = torch.zeros(7, 9).double(), torch.ones(7, 9).double()
    rows = torch.stack([zero, 1e-300 * one])
    assert batch_value(f.IndicatorZero(X))(rows).tolist() == [0.0, torch.inf]
    box_value = batch_value(f.IndicatorBox(X, 0, 1))
    assert box_value(torch.stack([one, 1.5 * one])).tolist() == [0.0, torch.inf]


def test_counts_at_the_boundary_of_the_domain():
    """``sum v - y + y log(y / v)`` with the weight 2, ``0 log 0 = 0``."""
    Z = latent_space()
    value = batch_value(CountDivergence(Z, prior=Z.element([0.0, 1.0, 2.0])))
    rows = [[0, 1, 2], [3, 1, 2], [0, 0, 2], [-1, 1, 2], [0, 1, -2]]
    v = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    values = value(v)
    assert values.tolist() == [0.0, 6.0, torch.inf, torch.inf, torch.inf]
    (gradient,) = torch.autograd.grad(values[:2].sum(), v)
    assert gradient[:2].tolist() == [[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]]


def test_float32_counts_keep_their_digits():
    Z = latent_space(dtype="float32")
    counts = torch.full((1, 3), 1e5)
    value = batch_value(CountDivergence(Z, prior=as_element(Z, counts[0])))
    v = counts + 300.0
    exact = 2 * 3 * (300 + 1e5 * torch.log(torch.tensor(1e5 / 100300.0).double()))
    assert value(v).item() == pytest.approx(exact.item(), rel=2e-2)


def test_values_can_be_registered():
    class Counted(f.L1Norm):
        pass

    @batch_value.register
    def _(functional: Counted):
        return lambda x: 7 * x.flatten(1).sum(1)

    x = torch.ones(2, 7, 9).double()
    assert batch_value(3 * Counted(image_space()))(x).tolist() == [3 * 7 * 63.0] * 2
