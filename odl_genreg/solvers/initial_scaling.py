# SPDX-License-Identifier: MPL-2.0
"""H0: the initial inverse Hessian that ODL's quasi-Newton methods lack."""

from collections import deque

import odl
import torch

from ..torch_bridge import as_element, as_tensor, torch_dtype, weight
from .wolfe_line_search import WolfeLineSearch

__all__ = ("InitialScaling",)


class InitialScaling(odl.Operator):
    """Inverse Hessian to start from, learned from the steps of a line search.

    Without pairs of its own, on a product ``X_1 x ... x X_n`` of spaces,

        ``H0 = gamma * diag(w_1, ..., w_n)``,    ``gamma = <s, y> / <y, diag(w) y>``

    with the weights ``w_i`` of the spaces and, from the last step, ``s`` and the
    change ``y`` of the gradient. With ``num_store`` pairs it is the matrix of L-BFGS
    built on that.

    Notes
    -----
    A gradient in ``X_i`` is ``1 / w_i`` times that in plain sums: H0 = I sees blocks
    out of scale by the ratios of the weights, 196 for images of 28 x 28 pixels on
    [-1, 1]^2 beside latents. See [NW2006], section 7.2, for ``gamma``.

    Pairs that are kept here, on plain tensors, cost a tenth of those that ODL keeps,
    and ones without positive curvature are left out. They include the newest, and an
    update of H0 by that one changes nothing: give ``num_store=1`` to ODL.

    When a search finds no step, ODL's L-BFGS forgets its pairs, and so does this.

    References
    ----------
    [NW2006] Nocedal J, and Wright S J. *Numerical optimization*. Springer, 2006.
    """

    def __init__(self, line_search: WolfeLineSearch, num_store: int = 0):
        """Initialize a new instance.

        Parameters
        ----------
        line_search : WolfeLineSearch
            The line search of the run, whose accepted steps it learns from.
        num_store : nonnegative int, optional
            Number of pairs that are kept.

        Raises
        ------
        TypeError
            If ``line_search`` is not a `WolfeLineSearch`.
        ValueError
            If ``num_store`` is negative, or a space has no constant weighting.

        Examples
        --------
        A step of ``f(x) = 2 x^2``, whose inverse Hessian is 1/4:

        >>> from odl_genreg.solvers.initial_scaling import InitialScaling
        >>> from odl_genreg.solvers.wolfe_line_search import WolfeLineSearch
        >>> f = 2 * odl.functionals.L2NormSquared(odl.rn(1))
        >>> search = WolfeLineSearch(f)
        >>> H0 = InitialScaling(search)
        >>> x = f.domain.one()
        >>> H0(x)
        rn(1).element([ 1.])
        >>> _ = search(x, -4 * x, -16.0)
        >>> H0(x)
        rn(1).element([ 0.25])
        """
        if not isinstance(line_search, WolfeLineSearch):
            raise TypeError(
                "`line_search` must be a `WolfeLineSearch`, got "
                f"{type(line_search).__name__}; use `WolfeLineSearch(J)`."
            )
        if num_store < 0:
            raise ValueError(
                f"`num_store` must be nonnegative, got {num_store}; use 0 to keep the "
                "pairs in the solver, 10 to keep them here."
            )
        domain = line_search.function.domain
        super().__init__(domain, domain, linear=True)
        self.line_search, self.num_store = line_search, int(num_store)
        self._weights = _weights(domain)
        self._gamma, self._pairs, self._seen = 1.0, deque(maxlen=self.num_store), None

    @property
    def adjoint(self):
        """The operator itself."""
        return self

    def _call(self, q):
        self._learn(self.line_search.accepted)
        r, coefficients = self._plain_gradient(q), []
        for s, y, rho in reversed(self._pairs):
            coefficients.append(rho * torch.dot(s, r))
            r = r - coefficients[-1] * y
        r = self._gamma * r
        for (s, y, rho), c in zip(self._pairs, reversed(coefficients), strict=True):
            r = r + (c - rho * torch.dot(y, r)) * s
        return _element(self.range, r)

    def _learn(self, step):
        if step is self._seen:
            return
        self._seen = step
        if step is None:
            self._pairs.clear()
            return
        s = step.size * _flatten(step.direction)
        y = self._plain_gradient(step.after) - self._plain_gradient(step.before)
        sy, yy = torch.dot(s, y), torch.dot(y, y)
        gamma, rho = sy / yy, 1 / sy
        if sy > 1e-8 * s.norm() * yy.sqrt() and gamma.isfinite() and rho.isfinite():
            self._gamma = gamma
            self._pairs.append((s, y, rho))

    def _plain_gradient(self, g):
        """Return the gradient in plain sums, as one vector."""
        return _flatten(g, self._weights)


def _weights(space):
    """Return the weight of each factor of a product, also of products of products."""
    if not isinstance(space, odl.ProductSpace):
        return [weight(space)]
    const = getattr(space.weighting, "const", None)
    if const is None:
        raise ValueError(
            "`line_search.function` must be defined on a product with a constant "
            f"weighting, got {space!r}; build it without `weighting`."
        )
    return [const * w for part in space for w in _weights(part)]


def _tensors(x):
    """Return the tensor of each factor."""
    if isinstance(x.space, odl.ProductSpace):
        return [tensor for part in x for tensor in _tensors(part)]
    return [as_tensor(x)]


def _flatten(x, weights=None):
    """Return all entries as one vector, each factor times its weight."""
    tensors = _tensors(x)
    if weights is not None:
        tensors = [w * tensor for w, tensor in zip(weights, tensors, strict=True)]
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _element(space, vector):
    """Return the element with these entries."""
    if isinstance(space, odl.ProductSpace):
        parts = vector.split([part.size for part in space])
        pairs = zip(space, parts, strict=True)
        return space.element([_element(part, entries) for part, entries in pairs])
    return as_element(space, vector.reshape(space.shape).to(torch_dtype(space)))
