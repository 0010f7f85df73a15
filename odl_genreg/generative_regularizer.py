# SPDX-License-Identifier: MPL-2.0
"""R_G: the generative regularizer of any deviation, with its three views."""

import functools
import math

import odl
from odl import Operator
from odl.functionals import Functional

from .generator import Generator
from .joint_functional import JointFunctional
from .latent_objective import LatentObjective, eliminate_image
from .latent_prior import gaussian
from .projection import InnerProblem, InnerSolution
from .regularizer_operators import InnerGradient, InnerProximal
from .solvers.smoothness import is_smooth
from .torch_bridge import space_name

__all__ = ("GenerativeRegularizer",)


class GenerativeRegularizer(Functional):
    r"""Generative regularizer ``R_G : X -> R``.

        ``R_G(x) = min_z F(x - G(z)) + mu R_Z(z)``

    Three views: this functional on ``X``; the functional `joint` on ``X x Z``; the
    problem in ``z``, `latent_objective`.

    Notes
    -----
    With a minimizer :math:`z^*(x)`, gradient (Riesz representer in ``X``) and proximal
    are

    .. math::
        \nabla R_G(x) &= \nabla F(x - G(z^*(x))), \\
        \mathrm{prox}_{s R_G}(v) &= G(z) + \mathrm{prox}_{s F}(v - G(z)), \quad
        z \in \arg\min_z \mathrm{env}_{s F}(v - G(z)) + \mu R_Z(z),

    exact as far as the inner problem is solved: from a fixed set of starts, to
    ``||grad_z|| <= tol`` relative to the starts, the best kept. The result does not
    depend on what was called before.

    For a nonsmooth ``F`` the search of ``z`` takes its envelope with a small step; the
    value is that of ``F``, an upper bound tight to first order in `smoothing`.

    References
    ----------
    [DCE2023] Duff M, Campbell N, and Ehrhardt M. *Regularising inverse problems with
    generative machine learning models.* J Math Imaging Vis, 2023.
    """

    def __init__(
        self,
        generator: Generator,
        deviation,
        latent_prior=None,
        mu: float = 1.0,
        *,
        num_starts: int = 4,
        seed: int = 0,
        tol: float = 1e-5,
        maxiter: int = 500,
        smoothing: float = 1e-2,
        warm_start: bool = False,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        generator : `Generator`
            Operator ``G : Z -> X``.
        deviation : `Functional`
            Functional ``F`` on ``X``, or on ``odl.ProductSpace(X, Z)`` for an ``F`` of
            ``(x - G(z), z)``. Smooth, or with a proximal.
        latent_prior : `Functional`, optional
            Functional ``R_Z`` on ``Z``. Default: ``||z||_Z^2``.
        mu : nonnegative float, optional
            Weight of ``R_Z``, in the unit of ``F``.
        num_starts, seed : int, optional
            Number of starts of the inner problem: the code of ``x`` if ``G`` has an
            encoder, 0, and samples of N(0, I) with this seed.
        tol, maxiter : optional
            Tolerance of the inner problem, of the range where ``F`` is an indicator,
            and maximal number of iterations.
        smoothing : positive float, optional
            Step of the envelope of a nonsmooth ``F`` relative to the scale
            ``||u||^2 / F(u)`` of the deviation ``u``.
        warm_start : bool, optional
            Start from the last solution alone, from the second call on: fewer
            evaluations in a solver, but the result depends on what was called before.

        Raises
        ------
        TypeError
            If ``generator`` is not a `Generator`.
        ValueError
            If ``deviation`` or ``latent_prior`` is not defined on the spaces of
            ``generator``, or ``mu`` is negative.

        Examples
        --------
        For ``G(z) = z``, ``R_Z = ||z||^2`` the minimum is ``mu / (1 + mu) ||x||^2``:

        >>> Z = odl.rn(2)
        >>> G = ogr.Generator(torch.nn.Identity(), Z, Z)
        >>> R = ogr.GenerativeRegularizer(G, odl.functionals.L2NormSquared(Z), mu=3.0)
        >>> round(R([4.0, 0.0]), 6)
        12.0
        """
        if not isinstance(generator, Generator):
            raise TypeError(
                f"`generator` must be a `Generator`, got {type(generator).__name__}; "
                "use `odl_genreg.Generator(network, latent_space, image_space)`."
            )
        X, Z = generator.range, generator.domain
        super().__init__(X)
        latent_prior = gaussian(Z) if latent_prior is None else latent_prior
        if deviation.domain not in (X, odl.ProductSpace(X, Z)):
            raise ValueError(
                "`deviation` must be a functional on `generator.range` X or on "
                f"ProductSpace(X, Z), X = {space_name(X)}, got one on "
                f"{space_name(deviation.domain)}; build it on the spaces of the "
                "generator."
            )
        if latent_prior.domain != Z:
            raise ValueError(
                "`latent_prior` must be a functional on `generator.domain` "
                f"{space_name(Z)}, got one on {space_name(latent_prior.domain)}; build "
                "it on `generator.domain`."
            )
        if not 0 <= mu < math.inf or (mu == 0 and not is_smooth(latent_prior)):
            raise ValueError(
                "`mu` must be nonnegative and finite, and positive for a latent prior "
                f"without a gradient, got {mu}; it is the weight of that prior."
            )
        self.generator, self.deviation = generator, deviation
        self.latent_prior, self.mu = latent_prior, float(mu)
        self.inner = InnerProblem(
            generator,
            self.mu * latent_prior,
            num_starts=num_starts,
            seed=seed,
            tol=tol,
            maxiter=maxiter,
            smoothing=smoothing,
            warm_start=warm_start,
        )

    # --- The functional on X --- #

    def info(self, x) -> InnerSolution:
        """Return the solution of the inner problem at ``x``, with its accuracy."""
        return self.inner.project(self.deviation, self.domain.element(x))

    def latent(self, x):
        """Return ``z*(x)``, an element of ``Z``."""
        return self.info(x).z

    def _call(self, x):
        return self.info(x).value

    @property
    def gradient(self):
        """Gradient ``x -> grad F(x - G(z*(x)))`` in the inner product of ``X``.

        Raises
        ------
        NotImplementedError
            If ``F`` is not smooth.
        """
        if not is_smooth(self.deviation):
            raise NotImplementedError(
                "`deviation` must be smooth for a gradient, got "
                f"{type(self.deviation).__name__}; use `proximal`, or a solver that "
                "takes it."
            )
        return InnerGradient(self.inner, self.deviation)

    @property
    def proximal(self):
        """Factory ``s -> prox_{s R_G}``.

        Raises
        ------
        NotImplementedError
            If ``F`` is a functional of ``(u, z)`` or has no proximal.
        """
        F = self.deviation
        if F.domain != self.domain:
            raise NotImplementedError(
                "`deviation` must be a functional on X for a proximal, got one on "
                "ProductSpace(X, Z); use `gradient`."
            )
        _ = F.proximal
        return functools.partial(InnerProximal, self.inner, F)

    # --- The functional on X x Z --- #

    @property
    def joint(self) -> JointFunctional:
        """Functional ``(x, z) -> F(x - G(z)) + mu R_Z(z)`` on ``X x Z``.

        For a fixed ``z`` it is ``F.translated(G(z))`` plus a constant, for a fixed
        deviation ``mu R_Z``: their proximals are the partial ones.
        """
        latent_term = self.mu * self.latent_prior
        return JointFunctional(self.generator, self.deviation, latent_term)

    @property
    def synthesis(self) -> Operator:
        """Operator ``(u, z) -> u + G(z)``, the image of a deviation and a latent."""
        return odl.ReductionOperator(odl.IdentityOperator(self.domain), self.generator)

    @property
    def separable(self) -> Functional:
        """Functional ``(u, z) -> F(u) + mu R_Z(z)`` on ``X x Z``, with its proximal.

        ``D @ R.synthesis + lam * R.separable`` suits proximal gradient methods.
        """
        if self.deviation.domain != self.domain:
            raise NotImplementedError(
                "`deviation` must be a functional on X to be separable from z, got one "
                "on ProductSpace(X, Z); use `joint`."
            )
        return odl.functionals.SeparableSum(self.deviation, self.mu * self.latent_prior)

    # --- The problem in z --- #

    def latent_objective(self, data_fidelity, lam: float) -> LatentObjective:
        """Return ``J(z) = min_x D(x) + lam (F(x - G(z)) + mu R_Z(z))`` on ``Z``.

        Parameters
        ----------
        data_fidelity : `Functional`
            Functional ``D`` on ``X``.
        lam : nonnegative float
            Weight of the regularizer.

        Raises
        ------
        NotImplementedError
            If the minimum over ``x`` has no closed form: it has for the range
            constraint, and for the soft constraint with a `squared_l2` of a linear
            operator.
        """
        F, G, R_Z = self.deviation, self.generator, self.latent_prior
        return eliminate_image(data_fidelity, F, G, R_Z, float(lam), lam * self.mu)
