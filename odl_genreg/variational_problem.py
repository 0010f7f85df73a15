# SPDX-License-Identifier: MPL-2.0
"""The problem of a reconstruction, taken apart for the solvers."""

import functools
import math
from collections.abc import Callable

import torch
from odl.functionals import IndicatorBox, IndicatorZero
from odl.functionals.functional import FunctionalComp, FunctionalLeftScalarMult

from .arguments import check_problem
from .gaussian_noise import SquaredL2
from .image_elimination import is_direct
from .latent_objective import LatentObjective, QuadraticObjective, RangeObjective
from .projection import sample_latents
from .solvers import Term, is_smooth
from .torch_bridge import LinearMap, as_element, as_tensor, batch_value

__all__ = ("VariationalProblem",)


class VariationalProblem:
    """The problem in images and latents.

        ``min_{x, z} D(x) + lam (F(x - G(z)) + mu R_Z(z)) + sum_i g_i(L_i x)``

    with bounds on ``x``; its parts are batched torch functions. With the range
    constraint ``z`` is the only variable, and ``x = G(z)``. Where ``D`` is quadratic,
    the functions take the data of each row of the batch as their last argument.
    """

    def __init__(self, data_fidelity, regularizer, lam, other_terms=(), bounds=None):
        """Initialize a new instance; see `reconstruct` for parameters and errors."""
        check_problem(data_fidelity, regularizer, lam, other_terms, bounds)
        self.data_fidelity, self.regularizer = data_fidelity, regularizer
        self.lam, self.generator = float(lam), regularizer.generator
        self.prior = self.lam * regularizer.mu * regularizer.latent_prior
        self.in_range = isinstance(regularizer.deviation, IndicatorZero)
        self.other_terms = list(other_terms)
        X = regularizer.domain
        self.box = None if bounds is None else IndicatorBox(X, *map(float, bounds))
        linear = isinstance(data_fidelity, SquaredL2) and (
            data_fidelity.operator.is_linear
        )
        #: Whether ``D`` is the square of a linear residual.
        self.is_quadratic = linear

    @property
    def smooth_others(self):
        """The smooth ones of the other terms."""
        return [(g, L) for g, L in self.other_terms if is_smooth(g)]

    @property
    def is_smooth(self) -> bool:
        """Whether the whole objective is, up to a latent prior with a proximal."""
        deviation = self.in_range or is_smooth(self.regularizer.deviation)
        others = len(self.smooth_others) == len(self.other_terms)
        return deviation and others and self.box is None

    # --- In the latent alone --- #

    @functools.cached_property
    def latent_objective(self) -> LatentObjective:
        """The problem in ``z`` if it has a closed form; else one that gives starts.

        That one keeps the data fidelity and the latent prior, drops the other terms,
        and measures deviations by ``||u||_X^2`` with the weight that gives a typical
        deviation the same value.
        """
        if self._eliminated is not None:
            return self._eliminated
        D, R = self.data_fidelity, self.regularizer
        parts = D, R.generator, R.latent_prior, self.lam * R.mu
        if not self.is_quadratic:
            return RangeObjective(*parts)
        direct = self.lam > 0 and is_direct(D.operator)
        stiffness = self.lam * self._stiffness() if direct else None
        return QuadraticObjective(*parts, lam=stiffness)

    @functools.cached_property
    def _eliminated(self) -> LatentObjective | None:
        try:
            return self.regularizer.latent_objective(self.data_fidelity, self.lam)
        except NotImplementedError:
            return None

    @property
    def has_least_squares(self) -> bool:
        """Whether `latent_objective` is a sum of squares."""
        objective = self.latent_objective
        quadratic = isinstance(objective, QuadraticObjective)
        return quadratic and objective.square_weight is not None

    @property
    def is_latent(self) -> bool:
        """Whether `latent_objective` is the problem itself."""
        free = not self.other_terms and self.box is None
        return free and self._eliminated is not None

    def _stiffness(self):
        """``F(u) / ||u||_X^2`` for white noise ``u`` of the decoder's deviation."""
        G, F = self.generator, self.regularizer.deviation
        variance = G.decoder_variance or (0.1 * G.intensity[1]) ** 2
        u = math.sqrt(variance) * sample_latents(G.range, 1, seed=0)[0]
        u = as_element(G.range, u)
        if F.domain != G.range:
            zero = F.domain.zero()
            return (F([u, zero[1]]) - F(zero)) / u.norm() ** 2
        return F(u) / u.norm() ** 2

    # --- In images and latents --- #

    def images(self, *blocks: torch.Tensor) -> torch.Tensor:
        """Images of the variables, ``x`` of ``(x, z)`` or ``G(z)``."""
        return self.generator.batch(*blocks) if self.in_range else blocks[0]

    @property
    def smooth(self) -> Callable:
        """The sum of all smooth terms, a torch function of the variables (and data)."""
        D, F = self.data_fidelity, self.regularizer.deviation
        data_value = D.quadratic if self.is_quadratic else batch_value(D)
        number = len(self.functionals)
        own_data = (as_tensor(D.data),) if self.is_quadratic else ()
        prior = batch_value(self.prior) if is_smooth(self.prior) else None
        others = [
            (batch_value(g), LinearMap(operator)) for g, operator in self.smooth_others
        ]
        deviation = None
        if not self.in_range and is_smooth(F):
            on_image, value = F.domain == self.generator.range, batch_value(F)

            def deviation(u, z):
                return value(u) if on_image else value(u, z)

        def smooth(*arguments):
            blocks = arguments[:number]
            data = arguments[number:] or own_data
            x, z = self.images(*blocks), blocks[-1]
            total = data_value(x, *data)
            if prior is not None:
                total = total + prior(z)
            if deviation is not None:
                total = total + self.lam * deviation(x - self.generator.batch(z), z)
            for value, linear_map in others:
                total = total + value(linear_map(x))
            return total

        return smooth

    def objective(self, *arguments: torch.Tensor) -> torch.Tensor:
        """Return the whole objective of the variables (and data), ``(batch,)``."""
        blocks = arguments[: len(self.functionals)]
        total = self.smooth(*arguments)
        for term in self.terms:
            total = total + term.value(term.map(*blocks))
        for functional, block in zip(self.functionals, blocks, strict=True):
            total = total + (
                0 if functional is None else batch_value(functional)(block)
            )
        return total

    def feasible(self, blocks: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the variables within their bounds."""
        if self.bounds is None:
            return blocks
        pairs = zip(blocks, self.bounds, strict=True)
        return [block.clamp(*bound) for block, bound in pairs]

    @property
    def terms(self) -> list[Term]:
        """The nonsmooth terms that are composed with a map."""
        terms = [
            Term(g, _composed(LinearMap(L), self.images))
            for g, L in self.other_terms
            if not is_smooth(g)
        ]
        if self.in_range:
            if self.box is not None:
                terms.append(Term(self.box, self.images))
        elif not is_smooth(self.regularizer.deviation):
            F = self.regularizer.deviation

            def deviation(x, z):
                return x - self.generator.batch(z)

            if isinstance(F, FunctionalComp) and F.right.is_linear:
                deviation = _composed(LinearMap(F.right), deviation)
                F = F.left
            terms.append(Term(self.lam * F, deviation))
        return terms

    @property
    def functionals(self) -> list:
        """Functional with a proximal for each variable, or None."""
        prior = None if is_smooth(self.prior) else self.prior
        return [prior] if self.in_range else [self.box, prior]

    @property
    def bounds(self) -> list[tuple[float, float]] | None:
        """Lower and upper bound of each variable; None if a functional is no box."""
        limits = []
        for functional in self.functionals:
            box = _unscaled(functional)
            if box is not None and not isinstance(box, IndicatorBox):
                return None
            lower, upper = (None, None) if box is None else (box.lower, box.upper)
            limits.append(
                (
                    -math.inf if lower is None else float(lower),
                    math.inf if upper is None else float(upper),
                )
            )
        return limits


def _unscaled(functional):
    """Return an indicator without the factor that does not change it."""
    while isinstance(functional, FunctionalLeftScalarMult):
        functional = functional.functional
    return functional


def _composed(outer, inner):
    return lambda *blocks: outer(inner(*blocks))
