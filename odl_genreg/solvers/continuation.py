# SPDX-License-Identifier: MPL-2.0
"""Nonsmooth terms by their Moreau envelopes, sharper and sharper."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.optimize
import torch

from .step_sizes import block_curvatures
from .terms import Term

__all__ = ("SHARPNESS", "envelope_continuation")

#: Values of ``epsilon`` unless told otherwise.
SHARPNESS = (1e-1, 1e-2, 1e-3)


def envelope_continuation(
    smooth: Callable,
    terms: Sequence[Term],
    starts: Sequence[torch.Tensor],
    bounds: Sequence[tuple[float, float]],
    *,
    tol: float = 1e-6,
    maxiter: int = 1000,
    sharpness: Sequence[float] = SHARPNESS,
    callback: Callable | None = None,
):
    r"""Minimize ``h(v) + sum_i g_i(K_i(v))`` with bounds on the blocks of ``v``.

        ``min_v h(v) + sum_i env_{s_i} g_i(K_i(v))``,    ``s_i = epsilon / sigma_i``,

    for decreasing ``epsilon``, each from the solution of the last, by SciPy's L-BFGS-B.

    Notes
    -----
    With ``sigma_i`` of `Term.stiffness` at the start, ``s_i sigma_i`` is a fraction of
    the size of ``K_i(v)``: deviations from ``g_i`` are below ``epsilon`` of what they
    were at the start. For ``L``-Lipschitz ``g_i``

    .. math::
        0 \leq g_i - \mathrm{env}_{s_i} g_i \leq s_i L^2 / 2.

    Blocks are scaled so that those of the Hessian have the same norm.

    Parameters
    ----------
    smooth : callable
        Differentiable torch function ``h`` of the blocks with values ``(1,)``.
    terms : sequence of Term
        The terms ``g_i(K_i(v))``; without any, the problem is solved once.
    starts : sequence of torch.Tensor
        Start of each block, with a batch axis of length 1; left as they are.
    bounds : sequence of pair of float
        Lower and upper bound of each block, infinite for none.
    tol : positive float, optional
        Each problem is solved until a step decreases it by less than ``tol``,
        relatively.
    maxiter : int, optional
        Maximal number of iterations of each problem.
    sharpness : sequence of float, optional
        The values of ``epsilon``.
    callback : callable, optional
        Called after each iteration with the blocks and the value of the present
        problem, of shape ``(1,)``.

    Returns
    -------
    blocks : list of torch.Tensor
        The best solution.
    value : torch.Tensor
        Its objective, ``(1,)``, with the terms themselves.
    history : list of float
        That objective at the start and after each problem.
    converged : bool
        Whether the last problem was solved to ``tol``.
    interrupted : bool
        Whether the user interrupted it; the solution is the best so far.

    Examples
    --------
    The least of ``|v - 2| + v^2``, with ``K(v) = v - 2``, is at 1/2:

    >>> term = ogr.solvers.Term(odl.functionals.L1Norm(odl.rn(1)), lambda v: v - 2)
    >>> start, unbounded = torch.zeros(1, 1), (-float("inf"), float("inf"))
    >>> blocks, value, *_ = ogr.solvers.envelope_continuation(
    ...     lambda v: (v**2).sum(1), [term], [start], [unbounded]
    ... )
    >>> round(float(blocks[0]), 4)
    0.5
    """
    pairs = zip(starts, bounds, strict=True)
    blocks = [block.detach().clamp(*pair) for block, pair in pairs]
    with torch.no_grad():
        sigmas = [term.stiffness(term.map(*blocks)) or 1.0 for term in terms]

    def objective(blocks):
        with torch.no_grad():
            total = smooth(*blocks)
            return total + sum(term.value(term.map(*blocks)) for term in terms)

    def problem(epsilon):
        def value(*blocks):
            total = smooth(*blocks)
            for term, sigma in zip(terms, sigmas, strict=True):
                total = total + term.envelope(epsilon / sigma, term.map(*blocks))
            return total

        return value

    curvatures = block_curvatures(problem(sharpness[0]), blocks)
    largest = max(curvatures)
    scales = [(largest / c) ** 0.5 if c > 0 else 1.0 for c in curvatures]
    best, best_value = blocks, objective(blocks)
    history, converged, interrupted = [best_value.item()], False, False
    for epsilon in sharpness if terms else sharpness[:1]:
        if interrupted:
            break
        blocks, converged, interrupted = _lbfgsb(
            problem(epsilon), blocks, bounds, scales, tol, maxiter, callback
        )
        value = objective(blocks)
        history.append(value.item())
        if bool(value < best_value):
            best, best_value = blocks, value
    return best, best_value, history, converged, interrupted


def _lbfgsb(function, blocks, bounds, scales, tol, maxiter, callback):
    """Minimize a function of blocks, scaled and put into one vector."""
    shapes = [block.shape for block in blocks]
    ends = np.cumsum([block.numel() for block in blocks])[:-1]

    def split(vector):
        parts = zip(np.split(vector, ends), shapes, scales, blocks, strict=True)
        return [
            (scale * torch.from_numpy(part).reshape(shape)).to(like)
            for part, shape, scale, like in parts
        ]

    def join(tensors, powers):
        flat = [
            (power * tensor.detach().double()).reshape(-1).cpu()
            for tensor, power in zip(tensors, powers, strict=True)
        ]
        return torch.cat(flat).numpy()

    def value_and_gradient(vector):
        leaves = [block.requires_grad_() for block in split(vector)]
        with torch.enable_grad():
            value = function(*leaves)
        gradients = torch.autograd.grad(value, leaves, materialize_grads=True)
        return value.item(), join(gradients, scales)

    point = join(blocks, [1 / scale for scale in scales])

    def report(vector):
        nonlocal point
        point = vector.copy()
        if callback is not None:
            callback(split(vector), torch.tensor([value_and_gradient(vector)[0]]))

    limits = [
        (bound[0] / scale, bound[1] / scale)
        for block, bound, scale in zip(blocks, bounds, scales, strict=True)
        for _ in range(block.numel())
    ]
    options = {"maxiter": maxiter, "maxfun": 4 * maxiter, "maxcor": 20}
    converged = interrupted = False
    try:
        result = scipy.optimize.minimize(
            value_and_gradient,
            point,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            callback=report,
            options={**options, "ftol": tol, "gtol": 0.0},
        )
        point, converged = result.x, result.status == 0
    except KeyboardInterrupt:
        interrupted = True
    pairs = zip(split(point), bounds, strict=True)
    blocks = [block.clamp(*bound) for block, bound in pairs]
    return blocks, converged, interrupted
