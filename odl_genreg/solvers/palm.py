# SPDX-License-Identifier: MPL-2.0
"""Proximal alternating linearized minimization, from many starts in one batch."""

import dataclasses
from collections.abc import Callable, Sequence

import torch

from .block_minima import BlockMinima
from .block_steps import BlockSteps, column, rounding

__all__ = ("palm",)

# A run that gains nothing for so many iterations has met the rounding.
PATIENCE = 30


def palm(
    smooth: Callable[..., torch.Tensor],
    starts: Sequence[torch.Tensor],
    functionals: Sequence,
    *,
    parameters: Sequence[torch.Tensor] = (),
    inertia: float = 1.0,
    constant: float = 1.0,
    decrease: float = 0.5,
    increase: float = 10.0,
    tol: float = 1e-5,
    maxiter: int = 1000,
    callback: Callable | None = None,
) -> BlockMinima:
    r"""Minimize ``h(v) + sum_b f_b(v_b)`` over blocks ``v_b``, one after the other.

        ``v_b <- prox_{f_b / L_b}(v_b - grad_b h(v) / L_b)``    [BST2014]

    Each run is on its own. ``L_b`` grows by the factor ``increase`` until ``h`` lies
    under its quadratic model; then it is multiplied by ``decrease``, and carries over
    to the next iteration. Where no constant will do, block and constant stay.

    Notes
    -----
    With inertia an iteration begins at

    .. math::
        v^k + \beta \frac{j - 1}{j + 2} (v^k - v^{k-1}),

    :math:`\beta` the ``inertia`` and ``j`` the number of steps since the last restart,
    in all blocks at once ([PS2016]: block by block). A step that increases the
    objective is dropped and the next begins at the best iterate without inertia
    [OC2015], so that the objective of the iterates never increases beyond rounding.

    Parameters
    ----------
    smooth : callable
        Differentiable torch function ``h`` of the blocks and the ``parameters`` of
        these rows, with values ``(batch,)``, each row on its own.
    starts : sequence of torch.Tensor
        Start of each block, ``(batch, ...)``; left as they are.
    functionals : sequence of `Functional` or None
        For each block ``f_b`` with a proximal, or None for 0.
    parameters : sequence of torch.Tensor, optional
        What else ``h`` takes of each run, such as its data, ``(batch, ...)``.
    inertia : float in [0, 1], optional
        Factor of the extrapolation; 0 is the method of [BST2014].
    constant : positive float, optional
        Constants ``L_b`` at the start, in plain sums.
    decrease, increase : float, optional
        Factors of a constant that is accepted, at most 1, and rejected, above 1.
    tol : positive float, optional
        A run has converged when ``sum_b L_b |step_b|^2``, which estimates what an
        iteration gains, is at most ``tol**2`` times the largest in this run.
    maxiter : int, optional
        Maximal number of iterations.
    callback : callable, optional
        Called after each iteration with the best blocks and values of all runs.

    Returns
    -------
    minima : BlockMinima
        A run ends unconverged when no block finds a step, when 30 iterations gain
        nothing (rounding), at ``maxiter``, or by an interrupt.

    References
    ----------
    [BST2014] Bolte J, Sabach S, and Teboulle M. *Proximal alternating linearized
    minimization for nonconvex and nonsmooth problems*. Math Program, 2014.

    [OC2015] O'Donoghue B, and Candes E. *Adaptive restart for accelerated gradient
    schemes*. Found Comput Math, 2015.

    [PS2016] Pock T, and Sabach S. *Inertial proximal alternating linearized
    minimization (iPALM) for nonconvex and nonsmooth problems*. SIAM J Imaging Sci,
    2016.

    Examples
    --------
    The least of ``(u + z - 3)^2 + z^2 + |u|`` is at u = 2, z = 1/2:

    >>> minima = ogr.solvers.palm(
    ...     lambda u, z: ((u + z - 3) ** 2 + z**2).sum(1),
    ...     [torch.zeros(1, 1), torch.zeros(1, 1)],
    ...     [odl.functionals.L1Norm(odl.rn(1)), None],
    ... )
    >>> [round(block.item(), 3) for block in minima.blocks]
    [2.0, 0.5]
    """
    _check(starts, functionals, parameters, inertia, constant, decrease, increase)
    steps = BlockSteps(smooth, functionals, decrease, increase)
    run, interrupted = _start(steps, starts, parameters, constant), False
    trace = [run.values]
    try:
        while len(trace) <= maxiter and bool(run.running.any()):
            run = _iterate(steps, run, inertia, tol)
            trace.append(run.values)
            if callback is not None:
                callback(run.best, run.values)
    except KeyboardInterrupt:
        interrupted = True
        if trace[-1] is not run.values:
            trace.append(run.values)
    return BlockMinima(
        run.best, run.values, run.constants, run.converged, trace, interrupted
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """The batch after a whole iteration, also if the next one is interrupted."""

    blocks: list[torch.Tensor]
    previous: list[torch.Tensor]
    parameters: list[torch.Tensor]
    constants: list[torch.Tensor]
    best: list[torch.Tensor]
    values: torch.Tensor
    age: torch.Tensor
    quiet: torch.Tensor
    largest: torch.Tensor
    converged: torch.Tensor
    running: torch.Tensor


def _start(steps, starts, parameters, constant):
    blocks = [start.detach().clone() for start in starts]
    batch = len(blocks[0])
    constants = [start.new_full((batch,), float(constant)) for start in blocks]
    point = steps.point(blocks, parameters, constants)
    if point.h.shape != (batch,):
        raise ValueError(
            f"`smooth` must return one value for each row, {(batch,)}, got "
            f"{tuple(point.h.shape)}; sum over all axes but the first."
        )
    values = point.values
    return _Run(
        blocks=blocks,
        previous=blocks,
        parameters=list(parameters),
        constants=constants,
        best=blocks,
        values=values,
        age=torch.ones_like(values),
        quiet=torch.zeros_like(values),
        largest=torch.zeros_like(values),
        converged=torch.zeros_like(values, dtype=torch.bool),
        running=point.h.isfinite(),
    )


def _iterate(steps, run, inertia, tol):
    rows = run.running.nonzero()[:, 0]

    def take(tensors):
        return [tensor[rows] for tensor in tensors]

    x, x_old, best = take(run.blocks), take(run.previous), take(run.best)
    lowest, age = run.values[rows], run.age[rows]
    factor = inertia * (age - 1) / (age + 2)
    ahead = [v + column(factor, v) * (v - old) for v, old in zip(x, x_old, strict=True)]
    point = steps.sweep(ahead, take(run.parameters), take(run.constants))
    reached = torch.where(point.h.isfinite(), point.values, torch.inf)
    better, kept = reached < lowest, reached <= lowest + rounding(lowest)
    best = _where(better, point.blocks, best)
    quiet = torch.where(better, 0.0, run.quiet[rows] + 1)
    largest = torch.fmax(run.largest[rows], point.length)
    converged = kept & (point.length <= tol**2 * largest)
    stuck = ~point.moved & (factor == 0)

    def put(whole, part):
        return whole.index_copy(0, rows, part)

    def put_all(wholes, parts):
        return [put(*pair) for pair in zip(wholes, parts, strict=True)]

    return _Run(
        blocks=put_all(run.blocks, _where(kept, point.blocks, best)),
        previous=put_all(run.previous, _where(kept, x, best)),
        parameters=run.parameters,
        constants=put_all(run.constants, point.constants),
        best=put_all(run.best, best),
        values=put(run.values, torch.where(better, reached, lowest)),
        age=put(run.age, torch.where(kept, age + 1, 1.0)),
        quiet=put(run.quiet, quiet),
        largest=put(run.largest, largest),
        converged=put(run.converged, converged),
        running=put(run.running, ~(converged | stuck | (quiet >= PATIENCE))),
    )


def _where(condition, first, second):
    """Choose row by row, in each block."""
    return [
        torch.where(column(condition, a), a, b)
        for a, b in zip(first, second, strict=True)
    ]


def _check(starts, functionals, parameters, inertia, constant, decrease, increase):
    if len(functionals) != len(starts) or not starts:
        raise ValueError(
            f"`functionals` must have one entry for each block, got {len(functionals)} "
            f"for {len(starts)} blocks; use None for a block without."
        )
    for functional, start in zip(functionals, starts, strict=True):
        if functional is not None and functional.domain.shape != start.shape[1:]:
            raise ValueError(
                "`starts` must have a batch axis and then the shape of the functional, "
                f"got {tuple(start.shape)} for {functional.domain.shape}; add the axis "
                "with `start[None]`."
            )
    lengths = {len(tensor) for tensor in (*starts, *parameters)}
    if len(lengths) > 1:
        raise ValueError(
            "`starts` and `parameters` must have as many rows as each other, got "
            f"{sorted(lengths)}; repeat the shorter ones along the batch axis."
        )
    if not 0 <= inertia <= 1:
        raise ValueError(
            f"`inertia` must be in [0, 1], got {inertia}; 0 is without extrapolation."
        )
    if not (constant > 0 and 0 < decrease <= 1 < increase):
        raise ValueError(
            "`constant` must be positive, `decrease` at most 1 and `increase` above 1, "
            f"got {constant}, {decrease} and {increase}; leave them out for the "
            "defaults."
        )
