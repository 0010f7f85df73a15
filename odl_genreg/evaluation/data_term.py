# SPDX-License-Identifier: MPL-2.0
"""Data fidelities of many images, with the conjugates that a duality gap needs."""

import copy
import functools
from collections.abc import Sequence

import torch

from ..gaussian_noise import SquaredL2
from ..torch_bridge import as_tensor, batch_proximal, batch_value, torch_dtype, weight

__all__ = ("AnyTerm", "SquaredTerm", "data_term")


def data_term(fidelities: Sequence):
    """Return the batched functions of ``f_b = on_data`` of some data fidelities.

    Everything is in plain sums, ``f^*(q) = sup_v sum_i q_i v_i - f(v)``, on float64
    tensors ``(batch, Y.size)``.

    Parameters
    ----------
    fidelities : sequence of `Functional`
        Functionals with the attributes ``on_data`` and ``data``, on one space ``Y``.

    Returns
    -------
    term : SquaredTerm or AnyTerm
        For `SquaredL2` the former, which takes the batch at once.

    Examples
    --------
    >>> D = ogr.squared_l2(odl.IdentityOperator(odl.rn(1)), [1.0], noise_std=2.0)
    >>> term = ogr.evaluation.data_term.data_term([D, D])
    >>> q = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    >>> term.conjugate(q)  # 2^2 q^2 / 2 + q
    tensor([3., 1.], dtype=torch.float64)
    """
    squared = all(isinstance(D, SquaredL2) for D in fidelities)
    return SquaredTerm(fidelities) if squared else AnyTerm(fidelities)


class SquaredTerm:
    """``f_b(v) = sum_i (v - y_b)_i^2 / (2 sigma_b^2)``, all at once."""

    def __init__(self, fidelities):
        """Initialize a new instance; see `data_term`."""
        y = torch.stack([as_tensor(D.data).reshape(-1) for D in fidelities])
        self._dtype, self._y = y.dtype, y.double()
        self._variance = self._y.new_tensor([[D.noise_std**2] for D in fidelities])

    def __getitem__(self, chosen):
        """Return the term of the images that are chosen by a mask."""
        term = copy.copy(self)
        term._y, term._variance = self._y[chosen], self._variance[chosen]
        return term

    def value(self, v):
        """Return ``f_b(v_b)``."""
        return ((v - self._y) ** 2 / (2 * self._variance)).sum(1)

    def conjugate(self, q):
        """Return ``f_b^*(q_b) = sum_i sigma_b^2 q_i^2 / 2 + q_i y_i``."""
        return (q * (self._variance / 2 * q + self._y)).sum(1)

    def dual_point(self, q):
        """Return ``q`` rounded to the dtype of ``Y``."""
        return q.to(self._dtype).double()

    def dual_proximal(self, step, q):
        """Return ``prox_{step_b f_b^*}(q_b)``, ``step`` of shape ``(batch, 1)``."""
        return (q - step * self._y) / (1 + step * self._variance)


class AnyTerm:
    """``f_b`` any functionals whose conjugates have values and proximals; one by one.

    With the inner product ``w_Y sum_i`` of ODL, ``f^*(q) = f^*_ODL(q / w_Y)``. They are
    evaluated in the dtype of ``Y``.
    """

    def __init__(self, fidelities):
        """Initialize a new instance; see `data_term`."""
        self._space = fidelities[0].on_data.domain
        conjugates = [D.on_data.convex_conj for D in fidelities]
        self._values = [batch_value(D.on_data) for D in fidelities]
        self._conjugates = [batch_value(f) for f in conjugates]
        self._proximals = [batch_proximal(f) for f in conjugates]

    def __getitem__(self, chosen):
        """Return the term of the images that are chosen by a mask."""
        term, rows = copy.copy(self), chosen.nonzero()[:, 0].tolist()
        for name in ("_values", "_conjugates", "_proximals"):
            setattr(term, name, [getattr(self, name)[row] for row in rows])
        return term

    def value(self, v):
        """Return ``f_b(v_b)``."""
        return self._one_by_one(self._values, v)

    def conjugate(self, q):
        """Return ``f_b^*(q_b)``."""
        return self._one_by_one(self._conjugates, q / weight(self._space))

    def dual_point(self, q):
        """Return a point beside ``q``, rounded, where ``f_b^*`` is finite after all."""
        dtype = torch_dtype(self._space)
        return (q * (1 - 4 * torch.finfo(dtype).eps)).to(dtype).double()

    def dual_proximal(self, step, q):
        """Return ``prox_{step_b f_b^*}(q_b)``, ``step`` of shape ``(batch, 1)``."""
        w = weight(self._space)
        steps = (step / w)[:, 0].tolist()
        proximals = map(functools.partial, self._proximals, steps)
        return w * self._one_by_one(proximals, q / w).reshape(q.shape)

    def _one_by_one(self, functions, rows):
        rows = rows.to(torch_dtype(self._space)).reshape(-1, 1, *self._space.shape)
        results = [f(row) for f, row in zip(functions, rows, strict=True)]
        return torch.cat(results).double()
