# SPDX-License-Identifier: MPL-2.0
"""Curvatures of torch functions by power iterations, and the steps they allow."""

from collections.abc import Callable, Sequence

import torch

__all__ = ("block_curvatures", "primal_dual_steps")


def block_curvatures(smooth: Callable, blocks: Sequence[torch.Tensor]) -> list[float]:
    """Return the norm of each diagonal block of the Hessian of ``h`` at ``blocks``.

    Parameters
    ----------
    smooth : callable
        Differentiable torch function of the blocks with values ``(batch,)``.
    blocks : sequence of torch.Tensor
        Point of linearization, ``(batch, ...)`` each.

    Examples
    --------
    >>> from odl_genreg.solvers.step_sizes import block_curvatures
    >>> h = lambda x, z: (x**2).sum(1) + 5 * (z**2).sum(1)
    >>> norms = block_curvatures(h, [torch.ones(1, 3), torch.ones(1, 2)])
    >>> [round(norm, 3) for norm in norms]
    [2.0, 10.0]
    """
    return [
        _norm(lambda d, b=b: _hessian_product(smooth, blocks, d), blocks, only=b)
        for b in range(len(blocks))
    ]


def primal_dual_steps(
    smooth: Callable,
    maps: Sequence[Callable],
    blocks: Sequence[torch.Tensor],
    sigmas: Sequence[float | None],
    margin: float = 1.2,
) -> tuple[list[float], list[float]]:
    """Return steps ``tau_b`` of the blocks and ``sigma_i`` of the maps.

        ``margin * || T^(1/2) (H / 2 + sum_i sigma_i K_i'^T K_i') T^(1/2) || = 1``

    with the Hessian ``H`` of ``smooth`` and the derivatives of the maps at ``blocks``.
    A ``sigma_i`` that is None becomes the ratio of the norms of ``H / 2`` and
    ``K_i'^T K_i'``.
    """
    count = range(len(blocks))
    smooth_norms = [norm / 2 for norm in block_curvatures(smooth, blocks)]
    map_norms = [
        [_norm(lambda d, k=k: _gram(k, blocks, d), blocks, only=b) for b in count]
        for k in maps
    ]
    sigmas = [
        (max(smooth_norms) or 1.0) / max(norms) if sigma is None else sigma
        for sigma, norms in zip(sigmas, map_norms, strict=True)
    ]
    taus = []
    for b in count:
        coupled = sum(s * n[b] for s, n in zip(sigmas, map_norms, strict=True))
        taus.append(1 / max(smooth_norms[b] + coupled, 1e-30))
    roots = [tau**0.5 for tau in taus]

    def scaled(directions):
        inner = [root * d for root, d in zip(roots, directions, strict=True)]
        total = [d / 2 for d in _hessian_product(smooth, blocks, inner)]
        for k, sigma in zip(maps, sigmas, strict=True):
            gram = _gram(k, blocks, inner)
            total = [a + sigma * b for a, b in zip(total, gram, strict=True)]
        return [root * d for root, d in zip(roots, total, strict=True)]

    size = margin * _norm(scaled, blocks)
    return [tau / size for tau in taus], sigmas


def _norm(apply, blocks, only=None, niter=12):
    """Norm of a symmetric map of blocks, or of one diagonal block of it."""
    source = torch.Generator().manual_seed(0)
    directions = [
        torch.randn(x.shape, generator=source, dtype=x.dtype).to(x.device)
        for x in blocks
    ]
    size = 0.0
    for _ in range(niter):
        if only is not None:
            directions = [
                d if b == only else torch.zeros_like(d)
                for b, d in enumerate(directions)
            ]
        size = _length(directions)
        if not size > 0:
            return 0.0
        directions = apply([d / size for d in directions])
    chosen = directions if only is None else [directions[only]]
    return _length(chosen)


def _length(directions):
    return sum(float((d**2).sum()) for d in directions) ** 0.5


def _hessian_product(smooth, blocks, directions):
    """``H d`` by a difference of gradients over 1 % of the size of the point."""
    length = _length(directions)
    step = 1e-2 * (1 + _length(blocks)) / length if length > 0 else 1.0

    def gradients(shift):
        leaves = [
            (x + shift * d).requires_grad_()
            for x, d in zip(blocks, directions, strict=True)
        ]
        with torch.enable_grad():
            value = smooth(*leaves).sum()
        return torch.autograd.grad(value, leaves, materialize_grads=True)

    pairs = zip(gradients(step), gradients(0.0), strict=True)
    return [(ahead - here) / step for ahead, here in pairs]


def _gram(function, blocks, directions):
    """``K'(v)^T K'(v) d``; ``K' d`` is the derivative of ``K'^T u`` by ``u``."""
    leaves = [x.detach().requires_grad_() for x in blocks]
    with torch.enable_grad():
        value = function(*leaves)
        u = torch.zeros_like(value, requires_grad=True)
        pulled_back = torch.autograd.grad(
            value, leaves, u, create_graph=True, materialize_grads=True
        )
        product = sum(
            (g * d).sum() for g, d in zip(pulled_back, directions, strict=True)
        )
    (tangent,) = torch.autograd.grad(product, u, retain_graph=True)
    return torch.autograd.grad(value, leaves, tangent, materialize_grads=True)
