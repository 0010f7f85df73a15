# SPDX-License-Identifier: MPL-2.0
"""ASTRA's GPU kernels as functions of batches of tensors.

===============  =============================================================
`SliceKernels`   2D parallel beam: a batch is a volume, an image is a slice
`PlaneKernels`   2D fan beam: image by image, each a volume of one slice
`VolumeKernels`  3D parallel and cone beam, volume by volume
===============  =============================================================

Each has ``project(x, y)``, which writes ``S x`` to ``y``, and ``backproject(y, x)``,
which writes an approximation of ``S^T y`` to ``x``, the transpose in plain sums.
Tensors are contiguous, float32, of shapes ``(batch, *X.shape)`` and
``(batch, *Y.shape)``. They go to ASTRA by DLPack, which shares their memory.
"""

import functools
import weakref

import astra
import astra.experimental
import numpy as np
import torch
from odl.applications.tomo import ParallelBeamGeometry
from odl.applications.tomo.backends.astra_setup import (
    astra_parallel_2d_geom_to_parallel3d_vec,
    astra_projection_geometry,
    astra_projector,
    astra_volume_geometry,
)

from ..torch_bridge import torch_device

__all__ = ("PlaneKernels", "SliceKernels", "VolumeKernels", "kernels_for")

# Projectors that are kept for batches of different sizes.
_NUM_PROJECTORS = 8


def kernels_for(geometry, image_space):
    """Return the kernels for a geometry of ODL and images of a space."""
    if image_space.ndim == 3:
        return VolumeKernels(geometry, image_space)
    if isinstance(geometry, ParallelBeamGeometry):
        return SliceKernels(geometry, image_space)
    return PlaneKernels(geometry, image_space)


class SliceKernels:
    """2D parallel beam: one volume for a batch, of which each image is a slice.

    Slices and detector rows have thickness 1, rays run within slices, so that

        ``S^T y = cell area / detector cell * sum over angles of y at the voxel``

    is what ASTRA's weight, the volume of a voxel over the area of a detector cell,
    amounts to.
    """

    def __init__(self, geometry, image_space):
        """Initialize a new instance; parameters are those of `kernels_for`."""
        n, m = image_space.shape
        low, high = image_space.min_pt, image_space.max_pt
        vectors = astra_parallel_2d_geom_to_parallel3d_vec(geometry)
        vectors[:, 9:] = 0, 0, 1  # from a detector row to the next, one slice on
        columns = geometry.det_partition.size

        def create(batch):
            window = low[1], high[1], low[0], high[0], -batch / 2, batch / 2
            return _Projector(
                astra.create_vol_geom(n, m, batch, *window),
                astra.create_proj_geom("parallel3d_vec", batch, columns, vectors),
            )

        self._projector = functools.lru_cache(_NUM_PROJECTORS)(create)
        self._obliquity = _obliquity(create(1).geometry, geometry, image_space)

    def project(self, x: torch.Tensor, y: torch.Tensor):
        """Write ``S x`` to ``y``, all images in one call."""
        astra.experimental.direct_FP3D(self._projector(len(x)).id, x, y)

    def backproject(self, y: torch.Tensor, x: torch.Tensor):
        """Write ``S^T y`` to ``x``, all images in one call."""
        y = _across(y, self._obliquity)
        astra.experimental.direct_BP3D(self._projector(len(x)).id, x, y)


class PlaneKernels:
    """2D fan beam: one image after the other, each a volume of one slice.

    Several slices would be a cone beam: its rays leave them. The weight is that of the
    plane, ``S^T y = cell area / detector cell * sum over angles of m y``, ``m`` the
    magnification at the cell, by ASTRA's projection kernel ``2d_weighting``.
    """

    def __init__(self, geometry, image_space):
        """Initialize a new instance; parameters are those of `kernels_for`."""
        self._projector = _Projector(
            astra_volume_geometry(image_space, "cuda"),
            astra_projection_geometry(geometry, "cuda"),
            in_plane=True,
        )
        self._obliquity = _obliquity(self._projector.geometry, geometry, image_space)

    def project(self, x: torch.Tensor, y: torch.Tensor):
        """Write ``S x`` to ``y``."""
        for image, data in zip(x.split(1), y.split(1), strict=True):
            astra.experimental.direct_FP3D(self._projector.id, image, data)

    def backproject(self, y: torch.Tensor, x: torch.Tensor):
        """Write ``S^T y`` to ``x``."""
        y = _across(y, self._obliquity)
        for image, data in zip(x.split(1), y.split(1), strict=True):
            astra.experimental.direct_BP3D(self._projector.id, image, data)


class VolumeKernels:
    """3D parallel and cone beam, one volume after the other.

    ODL orders data as ``(angle, u, v)`` and ASTRA as ``(u, angle, v)``: data are copied
    once, on their device.
    """

    def __init__(self, geometry, image_space):
        """Initialize a new instance; parameters are those of `kernels_for`."""
        self._projector = _Projector(
            astra_volume_geometry(image_space, "cuda"),
            astra_projection_geometry(geometry, "cuda"),
        )
        self._data_shape = astra.geom_size(self._projector.geometry)
        self._obliquity = _obliquity(self._projector.geometry, geometry, image_space)

    def project(self, x: torch.Tensor, y: torch.Tensor):
        """Write ``S x`` to ``y``."""
        buffer = y.new_empty(self._data_shape)
        for volume, data in zip(x, y, strict=True):
            astra.experimental.direct_FP3D(self._projector.id, volume, buffer)
            data.copy_(buffer.transpose(0, 1).reshape(data.shape))

    def backproject(self, y: torch.Tensor, x: torch.Tensor):
        """Write ``S^T y`` to ``x``."""
        u, angles, v = self._data_shape
        y = _across(y, self._obliquity)
        for volume, data in zip(x, y, strict=True):
            buffer = data.reshape(angles, u, v).transpose(0, 1).contiguous()
            astra.experimental.direct_BP3D(self._projector.id, volume, buffer)


class _Projector:
    """A projector of ASTRA, which is deleted with this object."""

    def __init__(self, volume_geometry, projection_geometry, in_plane=False):
        self.id = astra_projector(
            "cuda3d", volume_geometry, projection_geometry, 3, override_2D=in_plane
        )
        self.geometry = projection_geometry
        weakref.finalize(self, astra.projector3d.delete, self.id)


def _obliquity(projection_geometry, geometry, image_space):
    """Return ``1 / cos`` of the angle between rays and detector normal, on ``Y``.

    Rays that are oblique to the detector lie closer together than its cells. ASTRA's
    weights know the cells alone. None where no ray is oblique.
    """
    vectors = projection_geometry["Vectors"].reshape(-1, 1, 1, 4, 3)
    rays, middle, u, v = np.moveaxis(vectors, 3, 0)
    rows, columns = (
        projection_geometry[f"Detector{name}Count"] for name in ("Row", "Col")
    )
    if projection_geometry["type"] == "cone_vec":
        i = np.arange(rows)[:, None, None] - (rows - 1) / 2
        j = np.arange(columns)[:, None] - (columns - 1) / 2
        rays = middle + i * v + j * u - rays
    normal = np.cross(u, v)
    lengths = np.linalg.norm(rays, axis=-1) * np.linalg.norm(normal, axis=-1)
    values = lengths / np.abs(np.sum(rays * normal, axis=-1))
    if np.allclose(values, 1):
        return None
    values = np.broadcast_to(values, (len(vectors), rows, columns))
    values = torch.from_numpy(values.reshape(geometry.partition.shape).copy())
    return values.to(torch_device(image_space), torch.float32)


def _across(y, obliquity):
    """Turn data for the density of rays across them, rather than on the detector."""
    return y if obliquity is None else y * obliquity
