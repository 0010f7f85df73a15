# SPDX-License-Identifier: MPL-2.0
"""Random small deformations of images."""

import torch
from torch.nn import functional as F

__all__ = ("random_affine",)


def random_affine(
    images, generator, *, rotation=0.15, scaling=0.08, shear=0.12, translation=0.75
):
    """Return images ``x(B t + b)`` with a small random affine map for each of them.

    The linear part is ``B = rotation @ shear @ scaling``, and all its parameters are
    drawn uniformly from symmetric intervals. Interpolation is bicubic, clipped to
    [0, 1]: repeated linear interpolation would teach a generator to blur.

    Parameters
    ----------
    images : torch.Tensor
        Images of shape ``(batch, 1, n, m)`` with values in [0, 1].
    generator : torch.Generator
        Source of the random parameters.
    rotation : nonnegative float, optional
        Largest angle, in rad.
    scaling : nonnegative float, optional
        Largest relative change of size, independent along the two axes.
    shear : nonnegative float, optional
        Largest shear.
    translation : nonnegative float, optional
        Largest shift along each axis, in pixels.

    Examples
    --------
    No deformation returns the images up to rounding:

    >>> from odl_genreg.training import random_affine
    >>> images = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)
    >>> same = random_affine(images, torch.Generator().manual_seed(0), rotation=0,
    ...                      scaling=0, shear=0, translation=0)
    >>> bool((same - images).abs().max() < 1e-5)
    True
    """
    batch, _, n, m = images.shape
    draws = 2 * torch.rand(batch, 6, generator=generator) - 1
    angle, shears = rotation * draws[:, 0], shear * draws[:, 1]
    row_scale, column_scale = (1 + scaling * draws[:, 2:4]).unbind(1)
    # Coordinates (column, row) run over [-1, 1], which holds m and n pixels.
    shifts = 2 * translation * draws[:, 4:] / torch.tensor([m, n])
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([cos * column_scale, (shears * cos - sin) * row_scale], 1)
    second = torch.stack([sin * column_scale, (shears * sin + cos) * row_scale], 1)
    maps = torch.cat([torch.stack([first, second], 1), shifts[:, :, None]], 2)
    grid = F.affine_grid(maps, images.shape, align_corners=False)
    deformed = F.grid_sample(images, grid, mode="bicubic", align_corners=False)
    return deformed.clamp(0, 1)
