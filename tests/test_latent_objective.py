# SPDX-License-Identifier: MPL-2.0
"""Problems in the latent: values, gradients, cost, the image eliminated."""

import numpy as np
import pytest
import torch

import odl_genreg as ogr
from checks import taylor_order
from generators import (
    Counted,
    DenseOperator,
    array,
    forward_operator,
    image_space,
    latent_space,
    linear_parts,
    make_generator,
    mlp_network,
    random_element,
)
from odl_genreg.latent_objective import QuadraticObjective
from odl_genreg.latent_prior import box
from odl_genreg.torch_bridge import as_element, as_tensor, weight
from tolerance import taylor_order as least_order

LAM, MU, NOISE = 0.7, 0.3, 0.4

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", [None, 1.0])
each_kind = pytest.mark.parametrize("kind", ["range", "soft"])


def objective(kind, name="mlp", impl="numpy", weighting=None, fidelity="squared_l2"):
    G = make_generator(name, impl, weighting)
    A = forward_operator(G.range)
    if fidelity == "squared_l2":
        D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    else:
        positive = DenseOperator(abs(A.matrix), G.range, A.range)
        counts = np.arange(10.0)
        G = make_generator("linear", impl, weighting)
        G.module.weight.abs_()
        G.module.bias.abs_()
        D = ogr.kullback_leibler(positive, counts, background=1.0)
    maker = {
        "range": lambda: ogr.range_constraint(G),
        "soft": lambda: ogr.soft_constraint(G, MU),
    }[kind]
    return maker().latent_objective(D, LAM), D, G


@each_impl
@each_weighting
def test_range_objective_is_the_sum(impl, weighting):
    """``D(G(z)) + lam ||z||_Z^2``, each by ODL."""
    J, D, G = objective("range", impl=impl, weighting=weighting)
    assert isinstance(J, QuadraticObjective)
    z = random_element(G.domain)
    assert J(z) == pytest.approx(D(G(z)) + LAM * z.norm() ** 2)
    assert torch.equal(J.images(as_tensor(z)[None])[0], as_tensor(G(z)))


@each_impl
@each_weighting
@each_kind
def test_gradient_order(kind, impl, weighting):
    J, _, G = objective(kind, impl=impl, weighting=weighting)
    z, h = random_element(G.domain), random_element(G.domain, 1)
    assert taylor_order(J, z, h) >= least_order
    assert J.derivative(z)(h) == pytest.approx(J.gradient(z).inner(h))


def test_gradient_order_with_counts():
    J, D, G = objective("range", fidelity="kullback_leibler")
    z = as_element(G.domain, as_tensor(random_element(G.domain)).abs())
    h = random_element(G.domain, 1, scale=0.3)
    assert J(z) == pytest.approx(D(G(z)) + LAM * z.norm() ** 2)
    assert taylor_order(J, z, h) >= least_order


@each_kind
def test_batch_equals_single(kind):
    J, _, G = objective(kind)
    z = [random_element(G.domain, seed) for seed in range(4)]
    values = J.batch(torch.stack([as_tensor(part) for part in z]))
    assert values.tolist() == pytest.approx([J(part) for part in z])


# --- The image eliminated --- #


def least_over_images(D, G, z):
    """``min_x D(x) + lam ||x - G(z)||_X^2`` by dense normal equations in numpy."""
    A, w, g = D.operator.matrix, weight(G.range), array(G(z))
    hessian = A.T @ A / NOISE**2 + 2 * LAM * w * np.eye(63)
    x = np.linalg.solve(hessian, A.T @ array(D.data) / NOISE**2 + 2 * LAM * w * g)
    misfit = ((A @ x - array(D.data)) ** 2).sum() / (2 * NOISE**2)
    return x, misfit + LAM * w * ((x - g) ** 2).sum()


@each_impl
@each_weighting
def test_eliminated_objective_is_the_minimum_over_the_image(impl, weighting):
    J, D, G = objective("soft", impl=impl, weighting=weighting)
    assert isinstance(J, QuadraticObjective)
    z = random_element(G.domain)
    x, value = least_over_images(D, G, z)
    assert J(z) == pytest.approx(value + LAM * MU * z.norm() ** 2)
    image = J.images(as_tensor(z)[None])[0]
    assert image.numpy().ravel() == pytest.approx(x)
    R = ogr.soft_constraint(G, MU)
    point = R.joint.domain.element([as_element(G.range, image), z])
    assert J(z) == pytest.approx(D(point[0]) + LAM * R.joint(point))


def test_data_with_two_axes():
    """Data as an image: ``Y = X``, blurred."""
    G = make_generator("mlp")
    matrix = 0.1 * np.random.default_rng(0).standard_normal((63, 63))
    A = DenseOperator(matrix, G.range, image_space(weighting=0.5))
    D = ogr.squared_l2(A, random_element(A.range), NOISE)
    J = ogr.soft_constraint(G, MU).latent_objective(D, LAM)
    z = random_element(G.domain)
    x, value = least_over_images(D, G, z)
    assert J(z) == pytest.approx(value + LAM * MU * z.norm() ** 2)
    assert J.images(as_tensor(z)[None]).numpy().ravel() == pytest.approx(x)


def test_float32():
    G = make_generator("conv")
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    J = ogr.soft_constraint(G, MU).latent_objective(D, LAM)
    z = random_element(G.domain)
    _, value = least_over_images(D, G, z)
    assert J(z) == pytest.approx(value + LAM * MU * z.norm() ** 2, rel=1e-4)
    assert J.batch(as_tensor(z)[None]).dtype == torch.float32


def test_limit_of_large_lam_is_the_range():
    G = make_generator("mlp")
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    z = random_element(G.domain)
    J = ogr.soft_constraint(G, 0.0).latent_objective(D, 1e9)
    assert J(z) == pytest.approx(D(G(z)), rel=1e-5)


# --- Cost --- #


@each_kind
def test_value_and_gradient_cost_one_pass_each_way(kind):
    network = Counted(mlp_network())
    G = ogr.Generator(network, latent_space(), image_space())
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    R = ogr.range_constraint(G) if kind == "range" else ogr.soft_constraint(G, MU)
    J = R.latent_objective(D, LAM)
    z = random_element(G.domain)
    before = network.counter()
    J(z)
    J.gradient(z)
    after = network.counter()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


@each_kind
def test_weights_changed_in_place_are_noticed(kind):
    network = mlp_network()
    G = ogr.Generator(network, latent_space(), image_space())
    A = forward_operator(G.range)
    D = ogr.squared_l2(A, random_element(A.range, 5), NOISE)
    R = ogr.range_constraint(G) if kind == "range" else ogr.soft_constraint(G, MU)
    J, z = R.latent_objective(D, LAM), random_element(G.domain)
    before = J(z)
    with torch.no_grad():
        network[0].weight.mul_(2)
    assert J(z) == pytest.approx(R.latent_objective(D, LAM)(z))
    assert abs(J(z) - before) > 1e-3


# --- Where there is no closed form --- #


@pytest.mark.parametrize("case", ["deviation", "fidelity", "lam"])
def test_no_elimination(case):
    G = make_generator("linear")
    A = forward_operator(G.range)
    D, lam, R = ogr.squared_l2(A, A.range.zero()), LAM, ogr.soft_constraint(G, MU)
    if case == "deviation":
        R = ogr.sparse_deviation(G, MU)
    elif case == "fidelity":
        D = ogr.kullback_leibler(A, A.range.one())
    else:
        lam = 0.0
    message = "must allow the elimination of x, got .*; use `joint`"
    with pytest.raises(NotImplementedError, match=message):
        R.latent_objective(D, lam)


def test_no_gradient_with_an_indicator():
    G = make_generator("linear")
    A = forward_operator(G.range)
    R = ogr.range_constraint(G, latent_prior=box(G.domain))
    J = R.latent_objective(ogr.squared_l2(A, A.range.zero()), LAM)
    assert J(3 * G.domain.one()) == np.inf
    with pytest.raises(NotImplementedError):
        _ = J.gradient


def test_closed_form_of_the_minimizer():
    """A linear generator: the gradient vanishes where linear algebra says so."""
    J, D, G = objective("range", "linear")
    B, b = linear_parts(G)
    A, w_Z = D.operator.matrix @ B, weight(G.domain)
    hessian = A.T @ A / NOISE**2 + 2 * LAM * w_Z * np.eye(3)
    shifted = array(D.data) - D.operator.matrix @ b
    z = G.domain.element(np.linalg.solve(hessian, A.T @ shifted / NOISE**2))
    scale = J.gradient(G.domain.zero()).norm()
    assert J.gradient(z).norm() <= 1e-12 * scale
