# SPDX-License-Identifier: MPL-2.0
"""Proximal gradient steps in one block after the other, by backtracking."""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from ..torch_bridge import batch_proximal, batch_value, weight

__all__ = ("BlockSteps", "Point", "column", "rounding")

MAX_TRIALS = 60


def column(scalars: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one scalar for each row, so that it multiplies the rows of ``like``."""
    return scalars.reshape(-1, *[1] * (like.ndim - 1))


def rounding(values: torch.Tensor) -> torch.Tensor:
    """Return by how much sums of the size of ``values`` may be wrong."""
    return 10 * torch.finfo(values.dtype).eps * values.abs()


@dataclasses.dataclass
class Point:
    """Rows of a batch on their way through the blocks.

    Parameters
    ----------
    blocks, parameters : list of torch.Tensor
        Arguments of ``h``, ``(batch, ...)`` each.
    constants : list of torch.Tensor
        Constants ``L_b``, ``(batch,)`` for each block.
    h : torch.Tensor
        Value of ``h``, ``(batch,)``.
    gradient : torch.Tensor
        Gradient of ``h`` in the block that is next.
    penalties : list of torch.Tensor
        Values ``f_b(v_b)``, ``(batch,)`` for each block.
    length : torch.Tensor
        Sum of ``L_b |step_b|^2`` so far, ``(batch,)``; NaN if a block found no step.
    moved : torch.Tensor
        Whether a block has moved, ``(batch,)``, bool.
    """

    blocks: list[torch.Tensor]
    parameters: list[torch.Tensor]
    constants: list[torch.Tensor]
    h: torch.Tensor
    gradient: torch.Tensor
    penalties: list[torch.Tensor]
    length: torch.Tensor
    moved: torch.Tensor

    @property
    def values(self) -> torch.Tensor:
        """The objective ``h(v) + sum_b f_b(v_b)``, ``(batch,)``."""
        return self.h + sum(self.penalties)


class BlockSteps:
    """The steps ``v_b <- prox_{f_b / L_b}(v_b - grad_b h(v) / L_b)``, by backtracking.

    Each row is on its own. Its ``L_b`` grows by the factor ``increase`` until

        ``h(v_new) <= h(v) + <grad_b h(v), s> + L_b |s|^2 / 2``

    for the step ``s`` in block ``b``, and the objective does not increase: with an
    exact proximal the one follows from the other. The ``L_b`` of the step is then
    multiplied by ``decrease``. Where no step is left, because it vanishes in the
    rounding or none of 60 will do, block and ``L_b`` stay as they were.
    """

    def __init__(
        self,
        smooth: Callable[..., torch.Tensor],
        functionals: Sequence,
        decrease: float,
        increase: float,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        smooth, functionals, decrease, increase :
            As for `palm`.
        """
        self.smooth = smooth
        self.decrease, self.increase = float(decrease), float(increase)
        self._penalties = [_Penalty(functional) for functional in functionals]

    def point(self, blocks, parameters, constants) -> Point:
        """Return the point from which a pass through the blocks begins."""
        h, gradient = self._evaluate(blocks, parameters, 0)
        pairs = zip(self._penalties, blocks, strict=True)
        return Point(
            blocks=[block.clone() for block in blocks],
            parameters=list(parameters),
            constants=[L.clone() for L in constants],
            h=h.clone(),
            gradient=gradient,
            penalties=[penalty.value(block) for penalty, block in pairs],
            length=torch.zeros_like(h),
            moved=torch.zeros_like(h, dtype=torch.bool),
        )

    def sweep(self, blocks, parameters, constants) -> Point:
        """Return the point after one step in each block."""
        point = self.point(blocks, parameters, constants)
        for b in range(len(blocks)):
            self._step(point, b)
        return point

    def _evaluate(self, blocks, parameters, b):
        """``h`` and, unless ``b`` is behind the last block, its gradient in it."""
        if b == len(blocks):
            with torch.no_grad():
                return self.smooth(*blocks, *parameters), None
        blocks = [block.detach() for block in blocks]
        blocks[b].requires_grad_()
        with torch.enable_grad():
            h = self.smooth(*blocks, *parameters)
            (gradient,) = torch.autograd.grad(h.sum(), blocks[b])
        return h.detach(), gradient

    def _step(self, point, b):
        """Move each row of block ``b`` as soon as one of its trials is accepted."""
        trial = point.constants[b].clone()
        length = torch.full_like(point.h, torch.nan)
        gradient = torch.zeros_like(point.blocks[(b + 1) % len(point.blocks)])
        stale = torch.ones_like(point.moved)
        finite = point.h.isfinite() & point.gradient.flatten(1).isfinite().all(1)
        rows = finite.nonzero()[:, 0]
        for attempt in range(MAX_TRIALS):
            if not len(rows):
                break
            L = trial[rows]
            x, h, g, p, squared, accepted = self._try(point, b, rows, L)
            moves = (x != point.blocks[b][rows]).flatten(1).any(1)
            settled = accepted | ~moves
            over = settled.nonzero()[:, 0]
            done, moves, squared = rows[over], moves[over], squared[over]
            point.blocks[b][done], point.h[done] = x[over], h[over]
            point.penalties[b][done] = p[over]
            point.moved[done] |= moves
            # Values that do not resolve a step say nothing about its constant.
            resolved = squared > rounding(h[over])
            L_next = torch.where(resolved, self.decrease, 1.0) * L[over]
            point.constants[b][done] = L_next.where(moves, point.constants[b][done])
            length[done] = squared.where(moves | (attempt == 0), torch.nan)
            if g is not None:
                gradient[done], stale[done] = g[over], False
            rows = rows[~settled]
            trial[rows] *= self.increase
        point.length = point.length + length
        rows = stale.nonzero()[:, 0]
        if b + 1 < len(point.blocks) and len(rows):
            _, gradient[rows] = self._evaluate(*_rows(point, rows), b + 1)
        point.gradient = gradient

    def _try(self, point, b, rows, L):
        """Trial step of some rows, and whether it is accepted."""
        blocks, parameters = _rows(point, rows)
        x_old, g_old, h_old = blocks[b], point.gradient[rows], point.h[rows]
        x = blocks[b] = self._penalties[b].proximal(L, x_old - g_old / column(L, x_old))
        h, g = self._evaluate(blocks, parameters, b + 1)
        p = self._penalties[b].value(x)
        # A proximal has values in the domain: what is infinite has been rounded.
        p = torch.where(p == torch.inf, 0.0, p)
        step = (x - x_old).flatten(1)
        squared = L * (step**2).sum(1)
        model = h_old + (g_old.flatten(1) * step).sum(1) + squared / 2
        J_old = h_old + point.penalties[b][rows]
        accepted = h.isfinite() & (h <= model + rounding(h_old))
        accepted &= h + p <= J_old + rounding(J_old)
        return x, h, g, p, squared, accepted


class _Penalty:
    """The functional of a block, with a constant for each row."""

    def __init__(self, functional):
        self._functional = functional
        if functional is not None:
            self._weight = weight(functional.domain)
            self._value = batch_value(functional)
            self._proximal = batch_proximal(functional)

    def value(self, x):
        return x.new_zeros(len(x)) if self._functional is None else self._value(x)

    def proximal(self, constants, x):
        if self._functional is None:
            return x
        p = torch.empty_like(x)
        for constant in constants.unique():
            rows = constants == constant
            p[rows] = self._proximal(self._weight / float(constant), x[rows])
        return p


def _rows(point, rows):
    """Blocks and parameters of some rows."""
    blocks = [block[rows] for block in point.blocks]
    return blocks, [parameter[rows] for parameter in point.parameters]
