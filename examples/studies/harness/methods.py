# SPDX-License-Identifier: MPL-2.0
"""The methods of the tables: images from data and weights.

Weights are those of ``D(x) + lam F(x - G(z)) + prior ||z||_Z^2 + beta TV(x)``, with
``prior = lam mu``: what the prior of the latent weighs does not depend on ``lam``. A
search starts from what the generator says of itself: ``prior = 1/2`` for ``N(0, I)``,
and ``lam`` from the variance of a pixel about ``G(z)``.
"""

import dataclasses
from collections.abc import Callable

import odl

from odl_genreg import (
    range_constraint,
    reconstruct,
    soft_constraint,
    sparse_deviation,
)
from odl_genreg import tv_deviation as tv_of_deviation
from odl_genreg.evaluation import (
    fbp,
    tikhonov,
    total_variation,
    wavelet_l1,
    zero_filled,
)
from odl_genreg.torch_bridge import weight

TYPICAL_JUMP = 0.07  # of neighboring pixels, where the search of beta starts


@dataclasses.dataclass
class Method:
    """A method: ``solve(problem, data, **weights)`` and the start of its weights.

    ``start(problem, chosen)`` returns the weights to start a search from, given those
    of the methods before it; an empty dict where there are none. ``factors`` replace
    those of the study in a search.
    """

    solve: Callable
    start: Callable = lambda problem, chosen: {}
    factors: tuple[float, ...] | None = None


def adjoint() -> Method:
    """``A^T y``, the zero-filled image in MRI."""
    return Method(
        lambda problem, data: zero_filled(problem.operator, data, bounds=problem.bounds)
    )


def filtered_back_projection() -> Method:
    """Filtered back-projection with the filter of Hann."""

    def solve(problem, data, *, frequency_scaling):
        options = {"filter_type": "Hann", "frequency_scaling": frequency_scaling}
        bounds = problem.bounds
        return [fbp(problem.operator, y, bounds=bounds, **options) for y in data]

    return Method(solve, lambda problem, chosen: {"frequency_scaling": 0.5})


def tikhonov_method() -> Method:
    """``min_x D(x) + beta ||x||_X^2``; it knows no bounds."""

    def solve(problem, data, *, beta):
        return tikhonov(problem.fidelity, beta, data=data)

    return Method(solve, lambda problem, chosen: {"beta": 5 / _cell(problem)})


def tv() -> Method:
    """``min_x D(x) + beta TV(x)`` with bounds, to a gap of 1e-3."""

    def solve(problem, data, *, beta):
        options = {"data": data, "bounds": problem.bounds, "gap_tol": 1e-3}
        results = total_variation(problem.fidelity, beta, **options)
        return [result.x for result in results]

    return Method(solve, lambda problem, chosen: {"beta": _beta(problem)})


def wavelet() -> Method:
    """``min_x D(x) + beta ||W x||_1`` with bounds, in an orthonormal wavelet basis."""

    def solve(problem, data, *, beta):
        options = {"data": data, "bounds": problem.bounds, "gap_tol": 1e-3}
        return wavelet_l1(problem.fidelity, beta, **options)

    start = 1 / TYPICAL_JUMP
    return Method(solve, lambda problem, chosen: {"beta": start / _cell(problem)})


def in_range(generator, **options) -> Method:
    """``x = G(z)``."""

    def solve(problem, data, *, prior):
        return _images(problem, data, range_constraint(generator), prior, **options)

    return Method(solve, lambda problem, chosen: {"prior": 0.5})


def soft(generator, *, bounded: bool = False, **options) -> Method:
    """``x`` near ``G(z)`` in the square; with bounds if asked for."""

    def solve(problem, data, *, lam, prior):
        R = soft_constraint(generator, prior / lam)
        bounds = problem.bounds if bounded else None
        return _images(problem, data, R, lam, bounds=bounds, **options)

    def start(problem, chosen):
        return {"lam": _variance_weight(generator), "prior": 0.5}

    return Method(solve, start)


def sparse(generator, **options) -> Method:
    """``x`` near ``G(z)`` in the 1-norm, with bounds."""
    return _nonsmooth(generator, sparse_deviation, options)


def tv_deviation(generator, **options) -> Method:
    """``x`` near ``G(z)`` in total variation, with bounds."""
    return _nonsmooth(generator, tv_of_deviation, options, jump=TYPICAL_JUMP)


def _nonsmooth(generator, regularizer, options, jump=None):
    def solve(problem, data, *, lam, prior):
        R = regularizer(generator, prior / lam)
        return _images(problem, data, R, lam, bounds=problem.bounds, **options)

    def start(problem, chosen):
        scale = (generator.decoder_variance or 0.01) ** 0.5
        lam = 1 / (scale * _cell(problem)) if jump is None else _beta(problem)
        return {"lam": lam, "prior": 0.5}

    return Method(solve, start)


def soft_tv(generator, **options) -> Method:
    """Soft plus ``beta TV(x)``, with bounds; from the weights of soft and of TV."""

    def solve(problem, data, *, lam, prior, beta):
        grad = odl.Gradient(problem.operator.domain, pad_mode="symmetric")
        total_variation = beta * odl.functionals.GroupL1Norm(grad.range), grad
        R = soft_constraint(generator, prior / lam)
        terms = {"bounds": problem.bounds, "other_terms": [total_variation]}
        return _images(problem, data, R, lam, **terms, **options)

    def start(problem, chosen):
        beta = chosen["TV"]["beta"] / 4 if "TV" in chosen else _beta(problem)
        return {**chosen["soft"], "beta": beta}

    return Method(solve, start)


def _images(problem, data, R, lam, **options):
    results = reconstruct(problem.fidelity, R, lam, data=data, **options)
    return [result.x for result in results]


def _cell(problem):
    return weight(problem.operator.domain)


def _variance_weight(generator):
    """``lam`` with ``lam ||u||_X^2 = |u|^2 / (2 variance)``."""
    return 0.5 / ((generator.decoder_variance or 0.01) * weight(generator.range))


def _beta(problem):
    """``beta`` that gives a typical jump the value 1, of an edge of one pixel."""
    X = problem.operator.domain
    return float(min(X.cell_sides)) / (TYPICAL_JUMP * _cell(problem))
