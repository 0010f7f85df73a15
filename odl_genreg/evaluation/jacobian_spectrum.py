# SPDX-License-Identifier: MPL-2.0
"""How smooth a generator is: the singular values of its Jacobian."""

import scipy.sparse.linalg
import torch

from ..generator import Generator

__all__ = ("extreme_singular_values", "jacobian_singular_values")

# Entries of Jacobians at once.
MAX_ENTRIES = 2**22


def jacobian_singular_values(generator: Generator, z: torch.Tensor) -> torch.Tensor:
    """Return the singular values of ``G'(z_b)`` in plain sums, descending.

    The largest says how far the image moves with the latent, the smallest whether it
    moves at all. In the norms of the spaces they are ``sqrt(w_X / w_Z)`` times these.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    z : torch.Tensor
        Latents ``(batch, *Z.shape)``.

    Returns
    -------
    singular_values : torch.Tensor
        ``(batch, min(Z.size, X.size))``.

    Examples
    --------
    >>> G = ogr.Generator(torch.nn.Identity(), odl.rn(2), odl.rn(2), intensity=(1, 3))
    >>> z = torch.zeros(1, 2, dtype=torch.float64)
    >>> ogr.evaluation.jacobian_singular_values(G, z)
    tensor([[3., 3.]], dtype=torch.float64)
    """
    size = generator.domain.size * generator.range.size
    values = []
    for batch in z.split(max(1, MAX_ENTRIES // size)):
        _, columns = generator.linearize(batch)
        values.append(torch.linalg.svdvals(columns.flatten(2)))
    return torch.cat(values)


def extreme_singular_values(
    generator: Generator, z: torch.Tensor, *, tol: float = 1e-3
) -> torch.Tensor:
    """Return the largest and the smallest singular value of ``G'(z_b)``.

    By the iteration of Lanczos on ``J^T J``, one forward and one reverse derivative for
    each step: for generators with hundreds of latents, whose Jacobians are dear.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X`` with more than two latents, no more than pixels.
    z : torch.Tensor
        Latents ``(batch, *Z.shape)``.
    tol : positive float, optional
        Relative tolerance of the squares.

    Returns
    -------
    singular_values : torch.Tensor
        ``(batch, 2)``, in plain sums.
    """
    return torch.stack([_extremes(generator, row[None], tol) for row in z])


def _extremes(generator, z, tol):
    leaf, size = z.detach().clone().requires_grad_(), z.numel()
    with torch.enable_grad():
        x = generator.batch(leaf)

    def product(h):
        direction = torch.from_numpy(h).to(z).reshape(1, 1, *z.shape[1:])
        _, tangent = generator.push_forward(z, direction)
        (gradient,) = torch.autograd.grad(x, leaf, tangent[:, 0], retain_graph=True)
        return gradient.flatten().double().cpu().numpy()

    gram = scipy.sparse.linalg.LinearOperator(
        (size, size), matvec=product, dtype="float64"
    )
    source = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=source, dtype=torch.float64).numpy()
    squares = scipy.sparse.linalg.eigsh(
        gram, k=2, which="BE", v0=start, tol=tol, return_eigenvectors=False
    )
    return torch.tensor([squares.max(), squares.min()]).clamp_min(0).sqrt().to(z)
