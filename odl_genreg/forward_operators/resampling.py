# SPDX-License-Identifier: MPL-2.0
"""From the grid of one space to that of another, with an exact adjoint."""

from collections.abc import Sequence

import numpy as np
import odl
import torch
from odl import Operator

from ..torch_bridge import as_element, as_tensor, batch_products, torch_dtype

__all__ = ("Resampling", "downsampling")


class Resampling(Operator):
    """Resampling ``S : X -> X'`` of images by averages over cells.

        ``(S x)_i = sum_j |c'_i cap c_j| / |c'_i| x_j``

    with the cells ``c`` of ``X`` and ``c'`` of ``X'``: block averages to a coarser
    grid, repetition to a finer one, 0 outside of ``X``. The adjoint of ``X -> X'`` is
    the resampling ``X' -> X``, exactly; that of `odl.Resampling` is not one.

    A regularizer whose generator has the image space ``X'`` becomes one on ``X`` by
    ``R @ Resampling(X, X')``.
    """

    def __init__(self, domain, range):
        """Initialize a new instance.

        Parameters
        ----------
        domain, range : `DiscretizedSpace`
            Spaces with uniform grids of the same number of axes, the same dtype, impl
            and device, both weighted by the cell volume.

        Raises
        ------
        ValueError
            If the spaces do not fit.

        Examples
        --------
        >>> X = odl.uniform_discr(0, 1, 4)
        >>> S = ogr.Resampling(X, odl.uniform_discr(0, 1, 2))
        >>> S([1.0, 3.0, 5.0, 5.0]).asarray()
        array([ 2.,  5.])
        >>> S.adjoint([2.0, 5.0]).asarray()
        array([ 2.,  2.,  5.,  5.])
        """
        _check(domain, range)
        super().__init__(domain, range, linear=True)
        self._averages = [
            _averages(source, target).to(range.device, torch_dtype(range))
            for source, target in zip(_edges(domain), _edges(range), strict=True)
        ]

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, *X.shape)`` to ``(batch, *X'.shape)``."""
        for axis, averages in enumerate(self._averages, start=1):
            x = torch.tensordot(x, averages, dims=([axis], [1])).movedim(-1, axis)
        return x

    def _call(self, x):
        return as_element(self.range, self.batch(as_tensor(x)[None])[0])

    @property
    def adjoint(self):
        """The resampling from ``X'`` to ``X``."""
        return Resampling(self.range, self.domain)


def downsampling(image_space, factor: int | Sequence[int]) -> Resampling:
    """Return the operator ``A : X -> X'`` of averages over blocks.

        ``(A x)_i = mean of x_j over the pixels j in block i``

    the forward operator of superresolution: `Resampling` to a space ``X'`` with cells
    that are larger by the factor.

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` with a uniform grid, weighted by the cell volume.
    factor : positive int or sequence of them
        Side of the blocks in pixels, for all axes or one for each; it divides the
        shape.

    Raises
    ------
    ValueError
        If something above does not hold.

    Examples
    --------
    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 4))
    >>> A = ogr.downsampling(X, 2)
    >>> A([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]).asarray()
    array([[ 3.5,  5.5]])
    """
    X = image_space
    _check_weight("image_space", X)
    factors = np.broadcast_to(factor, X.ndim) if np.ndim(factor) == 0 else factor
    whole = all(isinstance(f, int | np.integer) and f > 0 for f in factors)
    if not whole or len(factors) != X.ndim or any(np.mod(X.shape, factors)):
        raise ValueError(
            f"`factor` must be a positive integer that divides the shape {X.shape}, or "
            f"one for each axis, got {factor!r}; use `Resampling` for other grids."
        )
    shape = tuple(n // int(f) for n, f in zip(X.shape, factors, strict=True))
    coarse = odl.uniform_discr(
        X.min_pt,
        X.max_pt,
        shape,
        dtype=X.dtype_identifier,
        impl=X.impl,
        device=X.device,
    )
    return Resampling(X, coarse)


@batch_products.register
def _(operator: Resampling):
    X, Y = operator.domain, operator.range
    adjoint, ratio = operator.adjoint, X.cell_volume / Y.cell_volume

    def forward(x):
        return operator.batch(x.reshape(-1, *X.shape)).flatten(1)

    def transpose(y):
        return float(ratio) * adjoint.batch(y.reshape(-1, *Y.shape)).flatten(1)

    return forward, transpose


def _edges(space):
    """Edges of the cells along each axis."""
    return [
        np.linspace(low, high, n + 1)
        for low, high, n in zip(space.min_pt, space.max_pt, space.shape, strict=True)
    ]


def _averages(source, target):
    """Fractions of the target cells in the source cells, ``(target, source)``."""
    upper = np.minimum(target[1:, None], source[None, 1:])
    lower = np.maximum(target[:-1, None], source[None, :-1])
    fractions = np.maximum(upper - lower, 0) / np.diff(target)[:, None]
    return torch.from_numpy(fractions)


def _check(domain, range):
    for name, space in (("domain", domain), ("range", range)):
        _check_weight(name, space)
    kinds = [(s.ndim, s.dtype_identifier, s.impl, s.device) for s in (domain, range)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "`range` must have the number of axes, dtype, impl and device of `domain`, "
            f"{kinds[0]}, got {kinds[1]}; build it with the same arguments."
        )


def _check_weight(name, space):
    weight = getattr(getattr(space, "weighting", None), "const", None)
    if weight is None or not np.isclose(weight, getattr(space, "cell_volume", -1)):
        raise ValueError(
            f"`{name}` must be a discretized space weighted by its cell volume, "
            f"got {space!r}; build it with `odl.uniform_discr`."
        )
