# SPDX-License-Identifier: MPL-2.0
"""Soft problems with other terms where a transform diagonalizes A^T A."""

import odl
import pytest
import torch
from odl import functionals as f

import odl_genreg as ogr
from generators import make_generator, random_element
from odl_genreg import solver_choice
from odl_genreg.forward_operators import gaussian_kernel, radial_mask
from odl_genreg.torch_bridge import as_tensor

LAM, MU, NOISE = 3.0, 0.2, 0.1


def problem(kind="fourier", impl="numpy"):
    """Data of an image near the range, with noise; the fidelity and the generator."""
    G = make_generator("mlp", impl)
    X = G.range
    A = {
        "fourier": lambda: ogr.MaskedFourier(X, radial_mask(X.shape, 3)),
        "blur": lambda: ogr.Convolution(X, gaussian_kernel(0.7), boundary="periodic"),
    }[kind]()
    x = G(random_element(G.domain, 4)) + random_element(X, 5, 0.1)
    y = A(x) + random_element(A.range, 6, NOISE)
    return ogr.squared_l2(A, y, NOISE), G


def tv_term(X, beta=0.5):
    grad = odl.Gradient(X, pad_mode="symmetric")
    return (beta * f.GroupL1Norm(grad.range), grad)


@pytest.mark.parametrize("bounds", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("kind", ["fourier", "blur"])
def test_same_minimum_as_prox_linear(kind, bounds):
    D, G = problem(kind, "numpy" if bounds is None else "pytorch")
    R, terms = ogr.soft_constraint(G, MU), [tv_term(G.range)]
    options = {"other_terms": terms, "tol": 1e-6, "bounds": bounds}
    fast = ogr.reconstruct(D, R, LAM, solver="transform", **options)
    other = ogr.reconstruct(D, R, LAM, solver="prox_linear", **options)
    assert fast.solver == "transform in (x, z)"
    # Tight bounds cut off what a penalty of them leaves.
    rel, near = (1e-3, 0.03) if bounds is None else (1e-2, 0.1)
    assert fast.objective == pytest.approx(other.objective, rel=rel)
    assert (fast.x - other.x).norm() <= near * other.x.norm()
    if bounds is not None:
        assert float(as_tensor(fast.x).abs().max()) == bounds[1]
    # the objective is that of the image and the latent that are returned
    g, L = terms[0]
    value = D(fast.x) + LAM * R.joint([fast.x, fast.z]) + g(L(fast.x))
    assert fast.objective == pytest.approx(value, rel=1e-9)
    assert fast.history == sorted(fast.history, reverse=True)


def test_smooth_terms_are_solved_exactly():
    D, G = problem()
    X = G.range
    terms = [(2.0 * f.L2NormSquared(X), odl.IdentityOperator(X))]
    R = ogr.soft_constraint(G, MU)
    one, other = (
        ogr.reconstruct(D, R, LAM, other_terms=terms, tol=1e-8, solver=solver)
        for solver in ("transform", "lbfgs")
    )
    assert one.objective == pytest.approx(other.objective, rel=1e-9)
    assert (one.x - other.x).norm() <= 1e-4 * other.x.norm()


def test_a_batch_is_single_images():
    D, G = problem()
    data = [D.data, 0.5 * D.data]
    options = {"other_terms": [tv_term(G.range)], "tol": 1e-6, "restarts": 2}
    options["solver"] = "transform"
    R = ogr.soft_constraint(G, MU)
    together = ogr.reconstruct(D, R, LAM, data=data, **options)
    for y, result in zip(data, together, strict=True):
        alone = ogr.reconstruct(D.with_data(y), R, LAM, **options)
        assert result.objective == pytest.approx(alone.objective, rel=1e-5)


def test_interrupt_keeps_the_best():
    D, G = problem()
    calls = []

    def callback(x):
        calls.append(x)
        if len(calls) == 40:
            raise KeyboardInterrupt

    R, terms = ogr.soft_constraint(G, MU), [tv_term(G.range)]
    result = ogr.reconstruct(
        D, R, LAM, other_terms=terms, callback=callback, solver="transform"
    )
    assert result.stop_reason == "interrupted"
    assert torch.isfinite(torch.tensor(result.objective))


@pytest.mark.parametrize(
    ("regularizer", "options"),
    [
        (lambda G: ogr.sparse_deviation(G, MU), {}),
        (lambda G: ogr.range_constraint(G), {}),
    ],
)
def test_what_it_does_not_take(regularizer, options):
    D, G = problem()
    terms = [tv_term(G.range)]
    with pytest.raises(ValueError, match="`solver` must be .*'transform', which wants"):
        ogr.reconstruct(
            D, regularizer(G), LAM, other_terms=terms, solver="transform", **options
        )


@pytest.mark.parametrize(("pixels", "solver"), [(10**6, "prox_linear"), (62, "tran")])
def test_small_images_go_by_a_matrix(monkeypatch, pixels, solver):
    monkeypatch.setattr(solver_choice, "DENSE_SIZE", pixels)
    D, G = problem()
    terms, R = [tv_term(G.range)], ogr.soft_constraint(G, MU)
    result = ogr.reconstruct(D, R, LAM, other_terms=terms, maxiter=2, restarts=1)
    assert result.solver.startswith(solver)
