# SPDX-License-Identifier: MPL-2.0
"""Projectors without ODL: ASTRA's kernels in a bare torch function, and deepinv's."""

import astra
import astra.experimental
import torch
from deepinv_peer import deepinv
from odl.applications.tomo.backends.astra_setup import astra_projection_geometry

__all__ = ("bare_projector", "peer_physics")


def bare_projector(A, batch: int):
    """Return ``x -> A x`` of batches ``(batch, n, m)`` as a bare torch function.

    The kernels are those of the backend of ``A``.
    """
    backend = A.get_impl(A.use_cache)
    if hasattr(backend, "matrix"):
        return _by_matrix(A, backend)
    return _by_astra(A, batch)


class _Product(torch.autograd.Function):
    """``x -> S x`` with ``S^T`` in the backward pass."""

    @staticmethod
    def forward(ctx, x, forward, transpose):
        ctx.transpose = transpose
        return forward(x)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.transpose(gradient.contiguous()), None, None


def _by_astra(A, batch):
    """One volume of ``batch`` slices, and a detector with as many rows."""
    (n, m), geometry = A.domain.shape, A.geometry
    low, high = A.domain.min_pt, A.domain.max_pt
    vectors = astra_projection_geometry(geometry, "cuda")["Vectors"].copy()
    vectors[:, 9:] = 0, 0, 1
    volume = astra.create_vol_geom(
        n, m, batch, low[1], high[1], low[0], high[0], -batch / 2, batch / 2
    )
    columns = geometry.det_partition.size
    detector = astra.create_proj_geom("parallel3d_vec", batch, columns, vectors)
    projector = astra.create_projector("cuda3d", detector, volume)
    data_shape = astra.geom_size(detector)

    def forward(x):
        y = x.new_empty(data_shape)
        astra.experimental.direct_FP3D(projector, x.detach().contiguous(), y)
        return y

    def transpose(y):
        x = y.new_empty(batch, n, m)
        astra.experimental.direct_BP3D(projector, x, y)
        return x

    return lambda x: _Product.apply(x, forward, transpose)


def _by_matrix(A, backend):
    """Products with the stored rows of the matrix and of its transpose."""
    products = backend.batch_products

    def forward(x):
        return products[0](x.flatten(1)).reshape(-1, *A.range.shape)

    def transpose(y):
        return products[1](y.flatten(1)).reshape(-1, *A.domain.shape)

    return lambda x: _Product.apply(x, forward, transpose)


def peer_physics(pixels: int, num_angles: int, device: torch.device):
    """Return deepinv's `TomographyWithAstra`, None where it cannot run."""
    if deepinv is None or device.type != "cuda":
        return None
    # The second argument is `num_angles` in some versions and `angles` in others.
    return deepinv.physics.TomographyWithAstra(
        (pixels, pixels), num_angles, normalize=False, device=device
    )
