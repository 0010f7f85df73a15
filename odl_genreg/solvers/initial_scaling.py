# SPDX-License-Identifier: MPL-2.0
"""H0: the initial inverse Hessian that ODL's quasi-Newton methods lack."""

import math
from collections import deque

import odl
import torch

from ..torch_bridge import as_element, as_tensor, torch_dtype, weight
from .wolfe_line_search import WolfeLineSearch

__all__ = ("InitialScaling",)


class InitialScaling(odl.Operator):
    """Inverse Hessian to start from, learned from the steps of a line search.

    Without pairs of its own, on a product ``X_1 x ... x X_n`` of spaces,

        ``H0 = diag(gamma_1 w_1, ..., gamma_n w_n)``

    with the weights ``w_i`` of the spaces. On one space ``gamma w = <s, y> / <y, y>``
    for the last step ``s`` and the change ``y`` of the gradient. With ``num_store``
    pairs it is the matrix of L-BFGS built on that.

    Notes
    -----
    Blocks can be far out of scale: gradients in ``X_i`` are ``1 / w_i`` times those in
    plain sums, and a generator adds its own factor. A step takes the numbers
    ``gamma_i`` to those of

        ``B = BFGS update of diag(1 / gamma_i)`` by ``s, y``, in plain sums,

    ``1 / gamma_i`` the mean of the diagonal of ``B`` in a block; before, they are
    scaled to ``<y, H0 y> = <s, y>``. At first all are 1. This is the update of [GL1989]
    with means; on one space it is the usual factor.

    Pairs that are kept here, on plain tensors, cost a fraction of those that ODL keeps,
    and ones without positive curvature are left out. They include the newest, and an
    update by that one changes nothing then: give ``num_store=1`` to ODL.

    When a search finds no step, ODL's L-BFGS forgets its pairs, and so does this.

    References
    ----------
    [GL1989] Gilbert J C, and Lemarechal C. *Some numerical experiments with
    variable-storage quasi-Newton algorithms*. Mathematical Programming, 1989.
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

        >>> f = 2 * odl.functionals.L2NormSquared(odl.rn(1))
        >>> search = ogr.WolfeLineSearch(f)
        >>> H0 = ogr.InitialScaling(search)
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
        self._weights, self._sizes = zip(*_blocks(domain), strict=True)
        self._gammas = [1.0] * len(self._sizes)
        self._pairs, self._seen = deque(maxlen=self.num_store), None

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
        parts = zip(self._gammas, r.split(self._sizes), strict=True)
        r = torch.cat([gamma * part for gamma, part in parts])
        for (s, y, rho), c in zip(self._pairs, reversed(coefficients), strict=True):
            r = r + (c - rho * torch.dot(y, r)) * s
        return _element(self.range, iter(r.split(self._sizes)))

    def _learn(self, step):
        if step is self._seen:
            return
        self._seen = step
        if step is None:
            self._pairs.clear()
            return
        s = step.size * _flatten(step.direction)
        y = self._plain_gradient(step.after) - self._plain_gradient(step.before)
        ss, yy, sy = self._squares(s), self._squares(y), float(torch.dot(s, y))
        # False for numbers that are not finite, or vanish.
        if math.inf > sy > 1e-8 * math.sqrt(sum(ss) * sum(yy)) > 0:
            self._gammas = _updated(self._gammas, self._sizes, ss, yy, sy)
            self._pairs.append((s, y, 1 / sy))

    def _squares(self, v):
        """Return the sum of squares of each block."""
        return [float(torch.dot(part, part)) for part in v.double().split(self._sizes)]

    def _plain_gradient(self, g):
        """Return the gradient in plain sums, as one vector."""
        return _flatten(g, self._weights)


def _updated(gammas, sizes, ss, yy, sy):
    """Return the mean diagonal of a BFGS update in each block, inverted."""
    fit = sum(gamma * b for gamma, b in zip(gammas, yy, strict=True)) / sy
    gammas = [gamma / fit for gamma in gammas]
    length = sum(a / gamma for gamma, a in zip(gammas, ss, strict=True))
    means = [
        (1 - a / (gamma * length * size)) / gamma + b / (sy * size)
        for gamma, size, a, b in zip(gammas, sizes, ss, yy, strict=True)
    ]
    # A block of one entry may be left without curvature by rounding.
    return [
        1 / max(mean, 1e-3 / gamma) for gamma, mean in zip(gammas, means, strict=True)
    ]


def _blocks(space):
    """Return weight and size of each factor of a product, also of nested ones."""
    if not isinstance(space, odl.ProductSpace):
        return [(weight(space), space.size)]
    const = getattr(space.weighting, "const", None)
    if const is None:
        raise ValueError(
            "`line_search.function` must be defined on a product with a constant "
            f"weighting, got {space!r}; build it without `weighting`."
        )
    return [(const * w, size) for part in space for w, size in _blocks(part)]


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


def _element(space, blocks):
    """Return the element with the entries that an iterator gives, block by block."""
    if isinstance(space, odl.ProductSpace):
        return space.element([_element(part, blocks) for part in space])
    return as_element(space, next(blocks).reshape(space.shape).to(torch_dtype(space)))
