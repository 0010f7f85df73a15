# SPDX-License-Identifier: MPL-2.0
"""J(z): problems in the latent alone, in range and with the image eliminated."""

import torch
from odl import Operator
from odl.functionals import Functional, IndicatorZero, L2NormSquared

from .data_fidelity import SquaredL2
from .torch_bridge import LinearMap, as_element, as_tensor, batch_value, weight

__all__ = (
    "EliminatedObjective",
    "LatentObjective",
    "RangeObjective",
    "eliminate_image",
)


class LatentObjective(Functional):
    """Smooth functional ``J`` on ``Z`` given by a batched torch function.

    Value and gradient at one point cost one forward and one backward pass.
    """

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
        super().__init__(generator.domain)
        self.generator = generator
        self.prior = float(weight_of_prior) * latent_prior
        self._prior_value = batch_value(self.prior)
        self._pass = None

    def misfit(self, z: torch.Tensor) -> torch.Tensor:
        """Return ``J`` without the prior, ``(batch, *Z.shape)`` to ``(batch,)``."""
        raise NotImplementedError

    def images(self, z: torch.Tensor) -> torch.Tensor:
        """Return the best images for given latents, ``(batch, *X.shape)``."""
        raise NotImplementedError

    def batch(self, z: torch.Tensor) -> torch.Tensor:
        """Values ``(batch,)`` of latents ``(batch, *Z.shape)``."""
        return self.misfit(z) + self._prior_value(z)

    def _forward_pass(self, z):
        versions, last = self.generator.versions(), self._pass
        if last is None or last[0] != versions or not torch.equal(last[1][0], z):
            leaf = z.detach().clone()[None].requires_grad_()
            with torch.enable_grad():
                last = self._pass = (versions, leaf, self.batch(leaf))
        return last[1:]

    def _call(self, z):
        _, value = self._forward_pass(as_tensor(z))
        return value.item()

    @property
    def gradient(self):
        """Gradient in the inner product of ``Z``, ``(1 / w_Z)`` times that of torch."""
        functional = self
        _ = self.prior.gradient

        class Gradient(Operator):
            """The gradient of a latent objective."""

            def __init__(self):
                super().__init__(functional.domain, functional.domain)

            def _call(self, z):
                leaf, value = functional._forward_pass(as_tensor(z))
                (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
                return as_element(self.range, gradient[0] / weight(self.range))

        return Gradient()


class RangeObjective(LatentObjective):
    """The problem in the range, ``J(z) = D(G(z)) + lam mu R_Z(z)``."""

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


class EliminatedObjective(LatentObjective):
    """The soft problem with the image eliminated (variable projection).

        ``J(z) = min_x D(x) + lam ||x - G(z)||_X^2 + lam mu R_Z(z)``
        ``     = r^T C^{-1} r + lam mu R_Z(z)``,    ``r = y - A G(z)``,
        ``C = 2 sigma^2 I + A A^T / (lam w_X)``

    for ``D(x) = sum_i |(A x - y)_i|^2 / (2 sigma^2)``; the transpose is that of plain
    sums, ``A^T = (w_X / w_Y) A^*``. The minimizer is
    ``x(z) = G(z) + A^T C^{-1} r / (lam w_X)``.

    Notes
    -----
    ``C`` is built as a dense matrix and factored once, in float64: meant for up to some
    thousand data, see `max_size`.

    References
    ----------
    [GP2003] Golub G, and Pereyra V. *Separable nonlinear least squares: the variable
    projection method and its applications*. Inverse Problems, 2003.
    """

    max_size = 4096

    def __init__(
        self, data_fidelity, generator, latent_prior, lam: float, weight_of_prior: float
    ):
        """Initialize a new instance.

        Parameters
        ----------
        data_fidelity : `SquaredL2`
            Functional ``D`` with a linear operator.
        generator, latent_prior, weight_of_prior :
            As for `LatentObjective`.
        lam : positive float
            Weight of ``||x - G(z)||_X^2``.
        """
        super().__init__(generator, latent_prior, weight_of_prior)
        X, Y = generator.range, data_fidelity.operator.range
        self._forward = LinearMap(data_fidelity.operator)
        self._data = as_tensor(data_fidelity.data)
        self._stiffness = lam * weight(X)
        eye = torch.eye(Y.size, dtype=self._data.dtype, device=self._data.device)
        transposed = self._forward.T(eye.reshape(-1, *Y.shape))
        gram = self._forward(transposed).reshape(Y.size, Y.size).double()
        C = (gram + gram.T) / (2 * self._stiffness)
        C.diagonal().add_(2 * data_fidelity.noise_std**2)
        factor = torch.linalg.cholesky(C)
        whitening = torch.linalg.solve_triangular(factor, eye.double(), upper=False)
        self._whitening = whitening.to(self._data.dtype)

    def _whitened(self, x):
        """``L^{-1} (y - A x)`` with ``C = L L^T``, ``(batch, Y.size)``."""
        residual = self._data - self._forward(x)
        return residual.flatten(1) @ self._whitening.T

    def misfit(self, z):
        """Return ``r^T C^{-1} r``."""
        return (self._whitened(self.generator.batch(z)) ** 2).sum(1)

    def images(self, z):
        """Return ``G(z) + A^T C^{-1} r / (lam w_X)``."""
        x = self.generator.batch(z)
        solved = self._whitened(x) @ self._whitening
        solved = solved.reshape(-1, *self._forward.range.shape)
        return x + self._forward.T(solved) / self._stiffness


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
    if isinstance(F, IndicatorZero):
        return RangeObjective(D, *parts, weight_of_prior)
    quadratic = isinstance(D, SquaredL2) and D.operator.is_linear
    small = quadratic and D.operator.range.size <= EliminatedObjective.max_size
    if isinstance(F, L2NormSquared) and small and lam > 0:
        return EliminatedObjective(D, *parts, lam, weight_of_prior)
    raise NotImplementedError(
        "`data_fidelity` and `deviation` must allow the elimination of x, got "
        f"{type(D).__name__} and {type(F).__name__}; use `joint`."
    )
