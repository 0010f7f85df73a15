# SPDX-License-Identifier: MPL-2.0
"""The nearest images in the range of a generator."""

import odl
import torch

from ..gaussian_noise import squared_l2
from ..generator import Generator
from ..reconstruction import reconstruct
from ..regularizer import range_constraint
from ..torch_bridge import as_element, as_tensor, torch_device

__all__ = ("nearest_latents", "project_onto_range")

# Images in one batch.
BATCH = 50

# Weight of ||z||^2 beside |x - G(z)|^2 / 2: far too small to be seen in the image.
LAM = 1e-6


def project_onto_range(
    generator: Generator,
    images: torch.Tensor,
    *,
    restarts: int = 4,
    seed: int = 0,
    tol: float = 1e-3,
) -> torch.Tensor:
    """Return the nearest images in the range, ``G(z*)`` with ``min_z |x - G(z)|^2``.

    Their distance to the images is what a range constraint can never be better than.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    images : torch.Tensor
        Images ``(number, *X.shape)`` of the dtype of ``X``.
    restarts, seed, tol :
        As for `reconstruct`; the first start is the encoding, if there is an encoder.

    Returns
    -------
    projections : torch.Tensor
        The nearest images that were found, ``(number, *X.shape)``.

    Raises
    ------
    ValueError
        If ``images`` have another shape than ``X``.

    Examples
    --------
    The range of ``G(z) = (z, z)`` is a line; the nearest point to (1, 3) is (2, 2):

    >>> class Twice(torch.nn.Module):
    ...     def forward(self, z):
    ...         return z.repeat(1, 2)
    >>> G = ogr.Generator(Twice(), odl.rn(1), odl.rn(2))
    >>> images = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    >>> ogr.evaluation.project_onto_range(G, images).round(decimals=3)
    tensor([[2., 2.]], dtype=torch.float64)
    """
    z = nearest_latents(generator, images, restarts=restarts, seed=seed, tol=tol)
    with torch.no_grad():
        return torch.cat([generator.batch(part) for part in z.split(BATCH)])


def nearest_latents(
    generator: Generator,
    images: torch.Tensor,
    *,
    restarts: int = 4,
    seed: int = 0,
    tol: float = 1e-3,
) -> torch.Tensor:
    """Return the latents of the nearest images in the range, ``argmin_z |x - G(z)|^2``.

    Encodings by optimization, for generators without an encoder too; parameters and
    errors are those of `project_onto_range`.

    Returns
    -------
    latents : torch.Tensor
        The best latents that were found, ``(number, *Z.shape)``.
    """
    X, Z = generator.range, generator.domain
    if tuple(images.shape[1:]) != X.shape:
        raise ValueError(
            f"`images` must have the shape (number, *{X.shape}) of `generator.range`, "
            f"got {tuple(images.shape)}; reshape them."
        )
    if images.device != torch_device(X):
        raise ValueError(
            f"`images` must be on the device {torch_device(X)} of `generator.range`, "
            f"got {images.device}; move them with `to`."
        )
    identity, R = odl.IdentityOperator(X), range_constraint(generator)
    latents = []
    for batch in images.split(BATCH):
        data = [as_element(X, image.contiguous()) for image in batch]
        starts = None
        if generator.encoder is not None:
            starts = [as_element(Z, z) for z in generator.encode(batch)]
        results = reconstruct(
            squared_l2(identity, data[0]),
            R,
            LAM,
            data=data,
            start=starts,
            restarts=restarts,
            seed=seed,
            tol=tol,
        )
        latents += [as_tensor(result.z) for result in results]
    return torch.stack(latents)
