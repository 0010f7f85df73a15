# SPDX-License-Identifier: MPL-2.0
"""The problem of a reconstruction, taken apart for the solvers."""

import functools
import math
from collections.abc import Callable

import odl
import torch
from odl.functionals import Functional, IndicatorBox, IndicatorZero
from odl.functionals.functional import FunctionalComp, FunctionalLeftScalarMult

from .data_fidelity import SquaredL2
from .generative_regularizer import GenerativeRegularizer
from .latent_objective import EliminatedObjective, LatentObjective, RangeObjective
from .projection import sample_latents
from .solvers import Term, is_smooth
from .torch_bridge import LinearMap, as_element, batch_value

__all__ = ("VariationalProblem",)


class VariationalProblem:
    """The problem in images and latents.

        ``min_{x, z} D(x) + lam (F(x - G(z)) + mu R_Z(z)) + sum_i g_i(L_i x)``

    with bounds on ``x``; its parts are batched torch functions. With the range
    constraint ``z`` is the only variable, and ``x = G(z)``.
    """

    def __init__(self, data_fidelity, regularizer, lam, other_terms, bounds):
        """Initialize a new instance; see `reconstruct` for parameters and errors."""
        _check(data_fidelity, regularizer, lam, other_terms, bounds)
        self.data_fidelity, self.regularizer = data_fidelity, regularizer
        self.lam, self.generator = float(lam), regularizer.generator
        self.prior = self.lam * regularizer.mu * regularizer.latent_prior
        self.in_range = isinstance(regularizer.deviation, IndicatorZero)
        self.other_terms = list(other_terms)
        X = regularizer.domain
        self.box = None if bounds is None else IndicatorBox(X, *map(float, bounds))

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
        linear = isinstance(D, SquaredL2) and D.operator.is_linear and self.lam > 0
        if linear and D.operator.range.size <= EliminatedObjective.max_size:
            weights = self.lam * self._stiffness(), self.lam * R.mu
            return EliminatedObjective(D, R.generator, R.latent_prior, *weights)
        return RangeObjective(D, R.generator, R.latent_prior, self.lam * R.mu)

    @functools.cached_property
    def _eliminated(self) -> LatentObjective | None:
        try:
            return self.regularizer.latent_objective(self.data_fidelity, self.lam)
        except NotImplementedError:
            return None

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
            u = F.domain.element([u, G.domain.zero()])
            return F(u) / u[0].norm() ** 2
        return F(u) / u.norm() ** 2

    # --- In images and latents --- #

    def images(self, *blocks: torch.Tensor) -> torch.Tensor:
        """Images of the variables, ``x`` of ``(x, z)`` or ``G(z)``."""
        return self.generator.batch(*blocks) if self.in_range else blocks[0]

    @property
    def smooth(self) -> Callable:
        """The sum of all smooth terms, a torch function of the variables."""
        F = self.regularizer.deviation
        data = batch_value(self.data_fidelity)
        prior = batch_value(self.prior) if is_smooth(self.prior) else None
        others = [
            (batch_value(g), LinearMap(operator)) for g, operator in self.smooth_others
        ]
        deviation = None
        if not self.in_range and is_smooth(F):
            on_image, value = F.domain == self.generator.range, batch_value(F)

            def deviation(u, z):
                return value(u) if on_image else value(u, z)

        def smooth(*blocks):
            x, z = self.images(*blocks), blocks[-1]
            total = data(x)
            if prior is not None:
                total = total + prior(z)
            if deviation is not None:
                total = total + self.lam * deviation(x - self.generator.batch(z), z)
            for value, linear_map in others:
                total = total + value(linear_map(x))
            return total

        return smooth

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


def _check(data_fidelity, regularizer, lam, other_terms, bounds):
    """Raise the errors of `reconstruct`."""
    if not isinstance(regularizer, GenerativeRegularizer):
        raise TypeError(
            "`regularizer` must be a `GenerativeRegularizer`, got "
            f"{type(regularizer).__name__}; give a composition such as `R @ op` to one "
            "of ODL's solvers."
        )
    X = regularizer.domain
    if not isinstance(data_fidelity, Functional) or data_fidelity.domain != X:
        received = getattr(data_fidelity, "domain", type(data_fidelity).__name__)
        raise ValueError(
            f"`data_fidelity` must be a functional on the image space {X!r} of the "
            f"generator, got {received!r}; build it by `squared_l2(A, y, noise_std)` "
            "with an operator on that space."
        )
    if not is_smooth(data_fidelity):
        raise ValueError(
            "`data_fidelity` must be smooth, got "
            f"{type(data_fidelity).__name__}; give a nonsmooth one as "
            "`other_terms=[(g, A)]`, beside `odl.functionals.ZeroFunctional(X)`."
        )
    if not 0 <= lam < math.inf:
        raise ValueError(
            f"`lam` must be nonnegative and finite, got {lam}; it is the weight of the "
            "regularizer."
        )
    if lam == 0 and not is_smooth(regularizer.latent_prior):
        raise ValueError(
            "`lam` must be positive for a latent prior without a gradient, got 0; use "
            "a small one."
        )
    for term in other_terms:
        pair = isinstance(term, (tuple, list)) and len(term) == 2
        functional, operator = term if pair else (None, None)
        fits = isinstance(functional, Functional) and isinstance(operator, odl.Operator)
        fits = fits and operator.is_linear and operator.domain == X
        if not fits or functional.domain != operator.range:
            raise ValueError(
                "`other_terms` must be pairs (g, L) of a linear operator on the image "
                f"space and a functional on its range, got {term!r}; for TV take "
                "(beta * odl.functionals.GroupL1Norm(grad.range), grad)."
            )
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    if bounds is not None and not (pair and bounds[0] < bounds[1]):
        raise ValueError(
            f"`bounds` must be a pair (lower, upper) with lower < upper, got {bounds}; "
            "use -inf or inf for none."
        )
