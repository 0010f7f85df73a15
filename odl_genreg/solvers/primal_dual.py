# SPDX-License-Identifier: MPL-2.0
"""A primal-dual method for smooth and nonsmooth terms with nonlinear couplings."""

from collections.abc import Callable, Sequence

import torch

from ..torch_bridge import batch_proximal, batch_value, weight
from .step_sizes import primal_dual_steps
from .terms import Term

__all__ = ("primal_dual",)


def primal_dual(
    smooth: Callable,
    terms: Sequence[Term],
    starts: Sequence[torch.Tensor],
    functionals: Sequence,
    *,
    tol: float = 1e-5,
    maxiter: int = 2000,
    callback: Callable | None = None,
):
    r"""Minimize ``h(v) + sum_b f_b(v_b) + sum_i g_i(K_i(v))`` over blocks ``v_b``.

        ``q_i <- prox_{sigma_i g_i^*}(q_i + sigma_i (2 K_i(v) - K_i(v_old)))``
        ``v_b <- prox_{tau_b f_b}(v_b - tau_b (grad_b h(v) + sum_i d_b K_i(v)^T q_i))``

    The method of Condat and Vu [Con2013], with the nonlinear maps of [Val2014] and a
    step for each block and each term. Without convexity there is no guarantee: the best
    iterate is kept, and it is never worse than the start.

    Notes
    -----
    ``sigma_i`` is `Term.stiffness` at the start. The ``tau_b`` make

    .. math::
        T^{1/2} \left( \tfrac12 \nabla^2 h + \sum_i \sigma_i K_i'^T K_i' \right)
        T^{1/2}

    a matrix of norm 1 up to a margin, by power iterations at the start. They are halved
    when the iterates leave the region where that holds.

    Parameters
    ----------
    smooth : callable
        Differentiable torch function ``h`` of the blocks with values ``(batch,)``.
    terms : sequence of Term
        The terms ``g_i(K_i(v))``.
    starts : sequence of torch.Tensor
        Start of each block, ``(batch, ...)``; left as they are.
    functionals : sequence of `Functional` or None
        For each block ``f_b`` with a proximal, or None for 0.
    tol : positive float, optional
        Stop when the objective changes by less than ``tol``, relatively, in 25
        iterations, three times in a row.
    maxiter : int, optional
        Maximal number of iterations.
    callback : callable, optional
        Called every 25 iterations with the blocks and the objective.

    Returns
    -------
    blocks : list of torch.Tensor
        The best iterate of each run of the batch.
    values : torch.Tensor
        Its objective, ``(batch,)``.
    history : list of float
        Least objective of the batch, at the start and every 25 iterations.
    converged : bool
        Whether the stopping rule was met.
    interrupted : bool
        Whether the user interrupted it; the blocks are the best so far.

    References
    ----------
    [Con2013] Condat L. *A primal-dual splitting method for convex optimization
    involving Lipschitzian, proximable and linear composite terms*. J Optim Theory
    Appl, 2013.

    [Val2014] Valkonen T. *A primal-dual hybrid gradient method for nonlinear operators
    with applications to MRI*. Inverse Problems, 2014.
    """
    weights = [1.0 if f is None else weight(f.domain) for f in functionals]
    proximals = [None if f is None else batch_proximal(f) for f in functionals]
    penalties = [None if f is None else batch_value(f) for f in functionals]

    def project(b, step, block):
        return block if proximals[b] is None else proximals[b](weights[b] * step, block)

    def evaluate(blocks):
        leaves = [block.detach().requires_grad_() for block in blocks]
        with torch.enable_grad():
            h, maps = smooth(*leaves), [term.map(*leaves) for term in terms]
        return leaves, h, maps

    def objective(blocks, h, maps):
        total = h.detach().clone()
        for term, k in zip(terms, maps, strict=True):
            total += term.value(k.detach())
        for penalty, block in zip(penalties, blocks, strict=True):
            total += 0 if penalty is None else penalty(block)
        return total

    blocks = [project(b, 1e-12, start.detach()) for b, start in enumerate(starts)]
    leaves, h, maps = evaluate(blocks)
    best, values = [block.clone() for block in blocks], objective(blocks, h, maps)
    history = [float(values.min())]
    sigmas = [term.stiffness(k) for term, k in zip(terms, maps, strict=True)]
    taus, sigmas = primal_dual_steps(
        smooth, [term.map for term in terms], blocks, sigmas
    )
    duals = [torch.zeros_like(k) for k in maps]
    ahead = [k.detach() for k in maps]
    quiet, last = 0, values
    interrupted = False
    try:
        for iteration in range(1, maxiter + 1):
            duals = [
                term.dual_proximal(sigma, q + sigma * k)
                for term, sigma, q, k in zip(terms, sigmas, duals, ahead, strict=True)
            ]
            with torch.enable_grad():
                lagrangian = h.sum() + sum(
                    (k * q).sum() for k, q in zip(maps, duals, strict=True)
                )
            gradients = torch.autograd.grad(lagrangian, leaves, materialize_grads=True)
            blocks = [
                project(b, tau, block.detach() - tau * gradient)
                for b, (tau, block, gradient) in enumerate(
                    zip(taus, leaves, gradients, strict=True)
                )
            ]
            old = [k.detach() for k in maps]
            leaves, h, maps = evaluate(blocks)
            ahead = [2 * k.detach() - k_old for k, k_old in zip(maps, old, strict=True)]
            if iteration % 25 and iteration < maxiter:
                continue
            current = objective(blocks, h, maps)
            better = current < values
            for kept, block in zip(best, blocks, strict=True):
                kept[better] = block[better]
            values = torch.where(better, current, values)
            history.append(float(values.min()))
            if callback is not None:
                callback(best, values)
            if bool((~h.isfinite() | (h.detach() > 2 * last.abs() + 1)).any()):
                taus = [tau / 2 for tau in taus]
                leaves, h, maps = evaluate(best)
                ahead = [k.detach() for k in maps]
            change = (current - last).abs() <= tol * current.abs()
            quiet = quiet + 1 if bool(change.all()) else 0
            last = current
            if quiet == 3:
                break
    except KeyboardInterrupt:
        interrupted = True
    return best, values, history, quiet == 3, interrupted
