# SPDX-License-Identifier: MPL-2.0
"""F: how far an image may leave the range of the generator."""

import odl
import torch
from odl import Operator
from odl.functionals import GroupL1Norm
from odl.functionals.functional import FunctionalComp

from .structured_gaussian import StructuredGaussian
from .torch_bridge import (
    LinearMap,
    as_element,
    as_tensor,
    batch_proximal,
    batch_value,
    weight,
)

__all__ = ("StructuredGaussian", "TotalVariation", "envelope")


def envelope(functional, step: float):
    """Return the Moreau envelope of a functional as a batched torch function.

        ``env(u) = min_p F(p) + ||u - p||_X^2 / (2 step)``,
        ``grad env(u) = (u - prox_{step F}(u)) / step``

    Smooth for every convex ``F``; for ``||.||_1`` it is Huber's function.

    Parameters
    ----------
    functional : `Functional`
        Functional ``F`` on ``X`` with a proximal.
    step : positive float
        Step of the proximal.

    Returns
    -------
    value : callable
        Function of tensors ``(batch, *X.shape)`` with values ``(batch,)``,
        differentiable once.

    Examples
    --------
    >>> env = ogr.deviation.envelope(odl.functionals.L1Norm(odl.rn(1)), 1.0)
    >>> env(torch.tensor([[3.0], [0.5]]))
    tensor([2.5000, 0.1250])
    """
    value, proximal = batch_value(functional), batch_proximal(functional)
    w = weight(functional.domain)

    def moreau(u):
        p = proximal(step, u.detach())
        return value(p) + w / (2 * step) * ((u - p) ** 2).flatten(1).sum(1)

    return moreau


class TotalVariation(FunctionalComp):
    r"""Isotropic total variation ``TV(x) = ||grad x||_{2,1}`` with a proximal.

    The composition ``GroupL1Norm(grad.range) @ grad`` with the proximal that ODL cannot
    know. Forward differences divided by the cell sides; the last difference of
    each axis is 0, as in ``odl.Gradient(X, pad_mode='symmetric')``.

    Notes
    -----
    The proximal is computed on the dual by fast gradient projection,

    .. math::
        p^* = \arg\min_{|p_i| \leq 1} \| v + \sigma \, \mathrm{div} \, p \|^2,
        \quad \mathrm{prox}_{\sigma TV}(v) = v + \sigma \, \mathrm{div} \, p^*,

    from ``p = 0`` to a duality gap of `tol` relative to the objective. The momentum is
    dropped where it leads uphill [OC2015].

    References
    ----------
    [BT2009] Beck A, and Teboulle M. *Fast gradient-based algorithms for constrained
    total variation image denoising and deblurring problems*. IEEE Trans Image
    Process, 2009.

    [OC2015] O'Donoghue B, and Candes E. *Adaptive restart for accelerated gradient
    schemes*. Found Comput Math, 2015.
    """

    def __init__(self, space, *, tol: float = 1e-4, maxiter: int = 1000):
        """Initialize a new instance.

        Parameters
        ----------
        space : `DiscretizedSpace`
            Space ``X`` of images of any dimension.
        tol : positive float, optional
            Relative duality gap of the proximal, at least 10 times the rounding. The
            error of the proximal, and so of the gradient of the envelope, is of the
            order of its square root.
        maxiter : int, optional
            Maximal number of iterations of the proximal.

        Examples
        --------
        A jump of height 1 along 3 cells of side 0.5 has the length 1.5:

        >>> X = odl.uniform_discr([0, 0], [1, 1.5], (2, 3))
        >>> round(ogr.deviation.TotalVariation(X)([[0, 0, 0], [1, 1, 1]]), 12)
        1.5
        """
        gradient = odl.Gradient(space, pad_mode="symmetric")
        super().__init__(GroupL1Norm(gradient.range), gradient)
        self.tol, self.maxiter = float(tol), int(maxiter)
        self._gradient = LinearMap(gradient)
        self._value = batch_value(self)

    def batch_proximal(self, step: float, v: torch.Tensor) -> torch.Tensor:
        """Proximals of images ``(batch, *X.shape)``; each stops at its own gap."""
        gradient, divergence = self._gradient, self._gradient.T
        # ||grad||^2 <= 4 sum_k 1 / side_k^2
        lipschitz = 4 * step * sum(1 / side**2 for side in self.domain.cell_sides)
        p = q = torch.zeros_like(gradient(v))
        x, t = v.clone(), v.new_ones(len(v))
        running = torch.ones(len(v), dtype=torch.bool, device=v.device)
        tol = max(self.tol, 10 * torch.finfo(v.dtype).eps)
        for iteration in range(self.maxiter):
            p_old = p
            p = q + gradient(v - step * divergence(q)) / lipschitz
            p = p / p.norm(dim=1, keepdim=True).clamp_min(1)
            uphill = ((q - p) * (p - p_old)).flatten(1).sum(1) > 0
            t_old = torch.where(uphill, 1, t)
            t = (1 + (1 + 4 * t_old**2) ** 0.5) / 2
            momentum = ((t_old - 1) / t).reshape(-1, *[1] * (p.ndim - 1))
            q = p + momentum * (p - p_old)
            if iteration % 10 == 9:
                x_new = v - step * divergence(p)
                x[running] = x_new[running]
                running &= self._gap(x_new, v, p, step) > tol
                if not bool(running.any()):
                    break
        return x

    def _gap(self, x, v, p, step):
        """Relative duality gap of ``TV(x) + ||x - v||_X^2 / (2 step)`` at ``x, p``."""
        w = weight(self.domain)
        variation = self._value(x)
        gap = variation - w * (p * self._gradient(x)).flatten(1).sum(1)
        squared = w * ((x - v) ** 2).flatten(1).sum(1)
        return gap / (variation + squared / (2 * step) + 1e-30)

    @property
    def proximal(self):
        """Factory ``sigma -> prox_{sigma TV}``."""
        functional = self

        class Proximal(Operator):
            """The proximal of the total variation."""

            def __init__(self, sigma):
                super().__init__(functional.domain, functional.domain)
                self.sigma = float(sigma)

            def _call(self, x):
                batch = functional.batch_proximal(self.sigma, as_tensor(x)[None])
                return as_element(self.range, batch[0])

        return Proximal


@batch_proximal.register
def _(functional: TotalVariation):
    return functional.batch_proximal
