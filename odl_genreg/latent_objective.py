# SPDX-License-Identifier: MPL-2.0
"""J(z): problems in the latent alone, in range and with the image eliminated."""

import functools

import torch
from odl.functionals import IndicatorZero, L2NormSquared
from odl.functionals.functional import FunctionalLeftScalarMult

from .gaussian_noise import SquaredL2
from .image_elimination import eliminated
from .solvers import QuadraticModel
from .torch_bridge import TorchFunctional, as_tensor, batch_value, weight

__all__ = (
    "MAX_COLUMNS",
    "LatentObjective",
    "QuadraticObjective",
    "RangeObjective",
    "eliminate_image",
)


#: Latents up to which the Jacobian is computed.
MAX_COLUMNS = 512
# Entries of Jacobians at once.
MAX_ENTRIES = 2**20


class LatentObjective(TorchFunctional):
    """Functional ``J`` on ``Z``, a misfit of ``G(z)`` and a latent prior."""

    def __init__(self, generator, latent_prior, weight_of_prior: float):
        """Initialize a new instance.

        Parameters
        ----------
        generator : `Generator`
            Operator ``G : Z -> X``.
        latent_prior : `Functional`
            Functional ``R_Z`` on ``Z``.
        weight_of_prior : nonnegative float
            Weight ``lam mu`` of ``R_Z``.
        """
        super().__init__(generator.domain, generator.tensors)
        self.generator = generator
        self.prior = float(weight_of_prior) * latent_prior
        self._prior_value = batch_value(self.prior)

    def misfit(self, z: torch.Tensor, *data: torch.Tensor) -> torch.Tensor:
        """Return ``J`` without the prior, ``(batch, *Z.shape)`` to ``(batch,)``."""
        raise NotImplementedError

    def images(self, z: torch.Tensor, *data: torch.Tensor) -> torch.Tensor:
        """Return the best images for given latents, ``(batch, *X.shape)``."""
        raise NotImplementedError

    def batch(self, z: torch.Tensor, *data: torch.Tensor) -> torch.Tensor:
        """Values ``(batch,)`` of latents ``(batch, *Z.shape)``.

        Where ``data`` ``(batch, *Y.shape)`` are given, they replace those of ``D``.
        """
        return self.misfit(z, *data) + self._prior_value(z)

    @functools.cached_property
    def gradient(self):
        """Gradient in the inner product of ``Z``, ``(1 / w_Z)`` times that of torch."""
        _ = self.prior.gradient
        return super().gradient


class RangeObjective(LatentObjective):
    """The problem in the range, ``J(z) = D(G(z)) + lam mu R_Z(z)``, for any ``D``."""

    def __init__(self, data_fidelity, generator, latent_prior, weight_of_prior: float):
        """Initialize a new instance.

        Parameters
        ----------
        data_fidelity : `Functional`
            Functional ``D`` on ``X``.
        generator, latent_prior, weight_of_prior :
            As for `LatentObjective`.
        """
        super().__init__(generator, latent_prior, weight_of_prior)
        self._fidelity = batch_value(data_fidelity)

    def misfit(self, z):
        """Return ``D(G(z))``."""
        return self._fidelity(self.images(z))

    def images(self, z):
        """Return ``G(z)``."""
        return self.generator.batch(z)


class QuadraticObjective(LatentObjective):
    """A quadratic of the image, ``J(z) = phi(G(z)) + lam mu R_Z(z)``.

    With ``phi(g) = D(g)`` the problem in the range. With

        ``phi(g) = min_x D(x) + lam ||x - g||_X^2``

    the soft problem with the image eliminated (variable projection), see
    `image_elimination`. ``D`` is `squared_l2` of a linear operator.

    References
    ----------
    [GP2003] Golub G, and Pereyra V. *Separable nonlinear least squares: the variable
    projection method and its applications*. Inverse Problems, 2003.
    """

    def __init__(
        self,
        data_fidelity,
        generator,
        latent_prior,
        weight_of_prior: float,
        lam: float | None = None,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        data_fidelity : `SquaredL2`
            Functional ``D`` with a linear operator.
        generator, latent_prior, weight_of_prior :
            As for `LatentObjective`.
        lam : positive float, optional
            Weight of ``||x - G(z)||_X^2``. Default: ``x = G(z)``.
        """
        super().__init__(generator, latent_prior, weight_of_prior)
        self.data = as_tensor(data_fidelity.data)
        self.phi = data_fidelity.quadratic
        if lam is not None:
            self.phi = eliminated(self.phi, lam * weight(generator.range))

    def misfit(self, z, y=None):
        """Return ``phi(G(z))``, for data ``y`` or those of ``D``."""
        return self.phi(self.generator.batch(z), self.data if y is None else y)

    def images(self, z, y=None):
        """Return the best image beside ``G(z)``."""
        y = self.data if y is None else y
        return self.phi.images(self.generator.batch(z), y)

    @functools.cached_property
    def square_weight(self) -> float | None:
        """The factor of ``sum_i z_i^2`` in the prior; None if it is another one."""
        factor, functional = 1.0, self.prior
        while isinstance(functional, FunctionalLeftScalarMult):
            factor, functional = factor * functional.scalar, functional.functional
        if not isinstance(functional, L2NormSquared):
            return None
        return float(factor) * weight(self.domain)

    def model(self, z: torch.Tensor, y=None) -> QuadraticModel:
        """Return the model of Gauss and Newton at latents ``(batch, *Z.shape)``.

        Latents of the model are vectors. Its Hessian is ``2 J^T M J + 2 rho I``, as
        matrices for few latents and as a function for many; ``rho`` is `square_weight`.
        """
        y = self.data.expand(len(z), *self.data.shape) if y is None else y
        G, flat, rho = self.generator, z.flatten(1), self.square_weight
        if G.domain.size > MAX_COLUMNS:
            return self._matrix_free_model(z, y)
        rows = max(1, MAX_ENTRIES // (G.domain.size * G.range.size))
        parts = zip(z.split(rows), y.split(rows), strict=True)
        pieces = [self.phi.along(*G.linearize(a), b) for a, b in parts]
        value, slopes, curvatures = map(torch.cat, zip(*pieces, strict=True))
        hessian = 2 * curvatures
        hessian.diagonal(dim1=1, dim2=2).add_(2 * rho)
        value = value + rho * (flat**2).sum(1)
        return QuadraticModel(value, slopes + 2 * rho * flat, hessian)

    def _matrix_free_model(self, z, y):
        leaf, rho = z.detach().clone().requires_grad_(), self.square_weight
        with torch.enable_grad():
            x = self.generator.batch(leaf)

        def transpose(u):
            (v,) = torch.autograd.grad(x, leaf, u, retain_graph=True)
            return v.flatten(1)

        def hessian(d):
            _, u = self.generator.push_forward(z, d.reshape(z.shape)[:, None])
            return 2 * transpose(self.phi.curvature(u[:, 0])) + 2 * rho * d

        value = self.phi(x.detach(), y) + rho * (z**2).flatten(1).sum(1)
        gradient = transpose(self.phi.gradient(x.detach(), y))
        return QuadraticModel(value, gradient + 2 * rho * z.flatten(1), hessian)


def eliminate_image(
    data_fidelity, deviation, generator, latent_prior, lam, weight_of_prior
) -> LatentObjective:
    """Return the problem in ``z`` where the minimum over ``x`` has a closed form.

    Raises
    ------
    NotImplementedError
        If it has none, see `GenerativeRegularizer.latent_objective`.
    """
    D, F, parts = data_fidelity, deviation, (generator, latent_prior)
    quadratic = isinstance(D, SquaredL2) and D.operator.is_linear
    if isinstance(F, IndicatorZero):
        form = QuadraticObjective if quadratic else RangeObjective
        return form(D, *parts, weight_of_prior)
    if isinstance(F, L2NormSquared) and quadratic and lam > 0:
        return QuadraticObjective(D, *parts, weight_of_prior, lam)
    raise NotImplementedError(
        "`data_fidelity` and `deviation` must allow the elimination of x, got "
        f"{type(D).__name__} and {type(F).__name__}; use `joint`."
    )
