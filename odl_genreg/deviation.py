# SPDX-License-Identifier: MPL-2.0
"""F: how far an image may leave the range of the generator."""

import torch
from odl import Operator
from odl.functionals import Functional

from .solvers.smoothness import is_smooth
from .torch_bridge import (
    as_element,
    as_tensor,
    batch_proximal,
    batch_value,
    weight,
)

__all__ = ("TotalVariation", "envelope")


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


class TotalVariation(Functional):
    """Isotropic total variation ``TV(x) = ||grad x||_{2,1}`` with a proximal.

    ODL has the composition ``GroupL1Norm(grad.range) @ grad``, whose proximal it
    cannot know. Forward differences divided by the cell sides; the last difference of
    each axis is 0, as in ``odl.Gradient(X, pad_mode='symmetric')``.

    Notes
    -----
    The proximal is computed on the dual by fast gradient projection,

    .. math::
        p^* = \\arg\\min_{|p_i| \\leq 1} \\| v + \\sigma \\, \\mathrm{div} \\, p \\|^2,
        \\quad \\mathrm{prox}_{\\sigma TV}(v) = v + \\sigma \\, \\mathrm{div} \\, p^*,

    from ``p = 0`` to a duality gap of `tol` relative to the objective.

    References
    ----------
    [BT2009] Beck A, and Teboulle M. *Fast gradient-based algorithms for constrained
    total variation image denoising and deblurring problems*. IEEE Trans Image
    Process, 2009.
    """

    def __init__(self, space, *, tol: float = 1e-5, maxiter: int = 1000):
        """Initialize a new instance.

        Parameters
        ----------
        space : `DiscretizedSpace`
            Space ``X`` of images of any dimension.
        tol : positive float, optional
            Relative duality gap of the proximal.
        maxiter : int, optional
            Maximal number of iterations of the proximal.

        Examples
        --------
        A jump of height 1 along 3 cells of side 0.5 has the length 1.5:

        >>> X = odl.uniform_discr([0, 0], [1, 1.5], (2, 3))
        >>> round(ogr.deviation.TotalVariation(X)([[0, 0, 0], [1, 1, 1]]), 12)
        1.5
        """
        super().__init__(space)
        self.tol, self.maxiter = float(tol), int(maxiter)
        self._sides = [float(side) for side in space.cell_sides]
        self._weight = weight(space)

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Values ``(batch,)`` of images ``(batch, *X.shape)``."""
        return self._weight * self._norm(self._differences(x))

    def batch_proximal(self, step: float, v: torch.Tensor) -> torch.Tensor:
        """Proximals of images ``(batch, *X.shape)``; each stops at its own gap."""
        # ||grad||^2 <= 4 sum_k 1 / side_k^2
        lipschitz = 4 * step * sum(1 / side**2 for side in self._sides)
        p = q = torch.zeros(len(self._sides), *v.shape, dtype=v.dtype, device=v.device)
        x, t = v + step * self._divergence(p), 1.0
        running = torch.ones(len(v), dtype=torch.bool, device=v.device)
        for iteration in range(self.maxiter):
            p_old = p
            u = v + step * self._divergence(q)
            p = q + self._differences(u) / lipschitz
            p = p / p.norm(dim=0).clamp_min(1)
            t_old, t = t, (1 + (1 + 4 * t**2) ** 0.5) / 2
            q = p + (t_old - 1) / t * (p - p_old)
            if iteration % 10 == 9:
                x_new = v + step * self._divergence(p)
                x[running] = x_new[running]
                running &= self._gap(x_new, v, p, step) > self.tol
                if not bool(running.any()):
                    break
        return x

    def _gap(self, x, v, p, step):
        """Gap between ``TV(x) + ||x - v||^2 / (2 step)`` and its dual at ``p``."""
        differences = self._differences(x)
        total = self._norm(differences)
        gap = total - (p * differences).sum(0).flatten(1).sum(1)
        return gap / (total + ((x - v) ** 2).flatten(1).sum(1) / (2 * step) + 1e-30)

    def _differences(self, x):
        parts = []
        for axis, side in enumerate(self._sides, start=1):
            last = x.narrow(axis, x.shape[axis] - 1, 1)
            parts.append(torch.diff(x, dim=axis, append=last) / side)
        return torch.stack(parts)

    def _divergence(self, p):
        """The negative transpose of the differences."""
        result = 0
        for axis, side in enumerate(self._sides, start=1):
            n = p.shape[axis + 1]
            inner = p[axis - 1].narrow(axis, 0, n - 1) / side
            zero = torch.zeros_like(inner.narrow(axis, 0, 1))
            result = result + torch.diff(inner, dim=axis, prepend=zero, append=zero)
        return result

    @staticmethod
    def _norm(differences):
        return differences.norm(dim=0).flatten(1).sum(1)

    def _call(self, x):
        return float(self.batch(as_tensor(x)[None])[0])

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


@batch_value.register
def _(functional: TotalVariation):
    return functional.batch


@batch_proximal.register
def _(functional: TotalVariation):
    return functional.batch_proximal


@is_smooth.register
def _(functional: TotalVariation) -> bool:
    return False
