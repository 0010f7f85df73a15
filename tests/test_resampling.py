# SPDX-License-Identifier: MPL-2.0
"""The resampling and its adjoint."""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap, as_tensor

PAIRS = [((7, 9), (3, 4)), ((3, 4), (7, 9)), ((8, 6), (4, 3)), ((5, 5), (5, 5))]


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_adjoint(fine, coarse, impl):
    X, Y = (
        odl.uniform_discr([-1, 0], [1, 3], n, impl=impl, device="cpu")
        for n in (fine, coarse)
    )
    source = np.random.default_rng(0)
    S = ogr.Resampling(X, Y)
    x, y = (s.element(source.normal(size=s.shape)) for s in (X, Y))
    assert abs(S(x).inner(y) - x.inner(S.adjoint(y))) <= 1e-10 * S(x).norm() * y.norm()
    batch = torch.stack([as_tensor(x), 2 * as_tensor(x)])
    torch.testing.assert_close(LinearMap(S)(batch)[1], 2 * as_tensor(S(x)))
    assert torch.autograd.gradcheck(LinearMap(S), batch.requires_grad_())


def test_keeps_integrals_and_constants():
    X = odl.uniform_discr([-1, 0], [1, 3], (7, 9))
    Y = odl.uniform_discr([-1, 0], [1, 3], (4, 5))
    x = X.element(np.random.default_rng(0).normal(size=X.shape))
    S = ogr.Resampling(X, Y)
    assert S(x).inner(Y.one()) == pytest.approx(x.inner(X.one()))
    assert (S(X.one()) - Y.one()).norm() < 1e-12


def test_gradient_of_a_composed_regularizer():
    X = odl.uniform_discr([-1, 0], [1, 3], (7, 9))
    image_space, Z = odl.uniform_discr([-1, 0], [1, 3], (4, 5)), odl.rn(2)
    network = torch.nn.Linear(2, 20).double()
    G = ogr.Generator(network, Z, image_space)
    R = ogr.soft_constraint(G, mu=0.1, tol=1e-10) @ ogr.Resampling(X, image_space)
    source = np.random.default_rng(0)
    x, h = (X.element(source.normal(size=X.shape)) for _ in range(2))
    slope, step = R.gradient(x).inner(h), 1e-5
    difference = (R(x + step * h) - R(x - step * h)) / (2 * step)
    assert difference == pytest.approx(slope, rel=1e-6)


def test_errors():
    X = odl.uniform_discr([0, 0], [1, 1], (4, 4))
    with pytest.raises(ValueError, match="`range` must have the number of axes"):
        ogr.Resampling(X, odl.uniform_discr(0, 1, 4))
    with pytest.raises(ValueError, match="`domain` must be a discretized space"):
        ogr.Resampling(odl.uniform_discr([0, 0], [1, 1], (4, 4), weighting=1.0), X)
