# SPDX-License-Identifier: MPL-2.0
"""What each forward operator on images has to pass, on spaces of all kinds."""

import itertools

import odl
import pytest
import torch

from checks import adjoint_error
from generators import random_element
from odl_genreg.torch_bridge import LinearMap, as_tensor, normal_spectrum, weight

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
KINDS = list(
    itertools.product(("numpy", "pytorch"), ("float32", "float64"), (None, 1.0))
)


def images(shape=(7, 9), impl="numpy", dtype="float64", weighting=None):
    """Space of images with cells that are no squares and no volume of 1."""
    keywords = {} if weighting is None else {"weighting": weighting}
    return odl.uniform_discr(
        [0, -1], [1.4, 1.7], shape, dtype=dtype, impl=impl, **keywords
    )


def on_all_spaces(*shapes):
    """Parametrize a test over ``X``."""
    cases = [
        pytest.param(
            images(shape, *kind), id="-".join(map(str, (*shape, *kind, "weight")))
        )
        for shape in shapes
        for kind in KINDS
    ]
    return pytest.mark.parametrize("X", cases)


def check_operator(A):
    """Adjoint, spaces, and batches against single calls; derivatives if it is small."""
    X, Y, tol = A.domain, A.range, TOLERANCE[A.domain.dtype_identifier]
    assert adjoint_error(A) <= tol
    assert (Y.dtype_identifier, Y.impl, Y.device) == (
        X.dtype_identifier,
        X.impl,
        X.device,
    )
    linear_map = LinearMap(A)
    for one, operator, ratio in (
        (linear_map, A, 1.0),
        (linear_map.T, A.adjoint, weight(X) / weight(Y)),
    ):
        elements = [random_element(operator.domain, seed) for seed in range(3)]
        rows = one(torch.stack([as_tensor(x) for x in elements]))
        singles = torch.stack([ratio * as_tensor(operator(x)) for x in elements])
        assert float((rows - singles).norm()) <= tol * float(singles.norm())
    if X.size < 100 and X.dtype_identifier == "float64":
        x = as_tensor(random_element(X, 5))[None].clone().requires_grad_()
        assert torch.autograd.gradcheck(linear_map, x)


def check_spectrum(A):
    """``A^T A`` and ``(A^T A + s)^{-1}`` by the spectrum."""
    linear_map, spectrum = LinearMap(A), normal_spectrum(A)
    tol = TOLERANCE[A.domain.dtype_identifier]
    x = torch.stack([as_tensor(random_element(A.domain, seed)) for seed in range(2)])
    product = linear_map.T(linear_map(x))
    error = spectrum.apply(lambda t: t, x) - product
    assert float(error.norm()) <= tol * float(x.norm())
    s = 0.3
    back = spectrum.apply(lambda t: 1 / (t + s), product + s * x)
    assert back.dtype == x.dtype
    assert float((back - x).norm()) <= 10 * tol * float(x.norm())
    # U is unitary.
    gain = spectrum.forward(x).norm() / x.norm()
    assert float(gain) == pytest.approx(1, abs=tol)


def matrix_of(A):
    """Matrix of an operator in plain numbers, column by column, from single calls."""
    X, columns = A.domain, []
    for i in range(X.size):
        unit = X.zero()
        as_tensor(unit).view(-1)[i] = 1.0
        columns.append(as_tensor(A(unit)).reshape(-1).clone())
    return torch.stack(columns, dim=1).double().numpy()
