# SPDX-License-Identifier: MPL-2.0
"""A: the ray transform, by ASTRA or by its stored system matrix."""

import astra
import numpy as np
from odl.applications.tomo import (
    Flat1dDetector,
    Flat2dDetector,
    Geometry,
    ParallelBeamGeometry,
    RayTransform,
    parallel_beam_geometry,
)
from odl.core.discr import DiscretizedSpace

from ..torch_bridge import batch_products, takes_batches
from .cuda_backend import CudaBackend
from .sparse_matrix_backend import MAX_BYTES, SparseMatrixBackend, matrix_bytes

__all__ = ("ray_transform",)

BACKENDS = ("auto", "cuda", "cpu", "matrix")


def ray_transform(
    image_space,
    *,
    num_angles: int | None = None,
    geometry=None,
    backend: str = "auto",
    max_bytes: int = MAX_BYTES,
):
    """Return the ray transform ``A : X -> Y``, the integrals of images along lines.

        ``(A x)(phi, s) = int x(s theta(phi) + t theta'(phi)) dt``    (parallel beam)

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` of the images, float32, weighted by the cell volume (the default of
        `uniform_discr`) or by 1; in two dimensions with square cells. Its extent is
        physical: with lengths in mm and images in 1/mm, ``A x`` has no unit.
    num_angles : positive int, optional
        Number of angles of a parallel beam geometry: the midpoints of equal parts of
        ``[0, pi)``, and a detector that sees the whole image with cells not larger
        than those of ``X``, as `odl.applications.tomo.parallel_beam_geometry` has it.
    geometry : `Geometry`, optional
        Any geometry of ODL with a flat detector. Give this or ``num_angles``.
    backend : {'auto', 'cuda', 'cpu', 'matrix'}, optional
        What computes the integrals:

        - ``'matrix'``: ASTRA's matrix, stored on the device of ``X``; two dimensions.
          The adjoint is exact, batches are one product; see `SparseMatrixBackend`.
        - ``'cuda'``: ASTRA on the GPU, two or three dimensions, without copies; see
          `CudaBackend`. The adjoint is exact up to discretization only.
        - ``'cpu'``: ASTRA on the CPU, two dimensions, on the fly.
        - ``'auto'``: ``'matrix'`` if it fits into ``max_bytes``; else ``'cuda'`` if
          ASTRA finds a GPU; else ``'cpu'``.
    max_bytes : int, optional
        Memory bound of ``'matrix'``, held against `matrix_bytes`.

    Returns
    -------
    ray_trafo : `odl.applications.tomo.RayTransform`
        Linear operator; its adjoint is exact (up to rounding) but for ``'cuda'``.

    Raises
    ------
    TypeError
        If ``image_space`` or ``geometry`` is of a wrong kind.
    ValueError
        If something else above does not hold; nothing has been computed then.

    Notes
    -----
    The choice of ``'auto'`` gives the same numbers on each device, and gradients that
    are gradients. ``'cuda'`` discretizes the integrals of a fan differently, and its
    gradients are wrong by a percent or less: no harm to `range_constraint`, but to
    `soft_constraint` and to certificates. It is for what has no matrix: three
    dimensions, large images, large batches.

    Examples
    --------
    The ray through the center of a square with sides of length 2:

    >>> X = odl.uniform_discr([-1, -1], [1, 1], (2, 2), dtype="float32")
    >>> A = ogr.ray_transform(X, num_angles=1)
    >>> A.range.shape
    (1, 5)
    >>> float(A(X.one()).asarray()[0, 2])
    2.0
    """
    _check_space(image_space)
    if (num_angles is None) == (geometry is None):
        given = "none" if geometry is None else "both"
        raise ValueError(
            f"`num_angles` or `geometry` must be given, one of them, got {given}; "
            "use `num_angles` for parallel beam over [0, pi)."
        )
    if geometry is None:
        geometry = parallel_beam_geometry(image_space, _positive_int(num_angles))
    _check_geometry(geometry, image_space)
    backend = _choose_backend(backend, image_space, geometry, max_bytes)
    if backend == "cpu":
        return RayTransform(image_space, geometry, impl="astra_cpu")
    ray_trafo = RayTransform(image_space, geometry, impl=CudaBackend)
    if backend == "cuda":
        return ray_trafo
    Y = ray_trafo.range
    matrix = SparseMatrixBackend(geometry, image_space, Y, max_bytes)
    return RayTransform(image_space, geometry, proj_space=Y, impl=matrix)


@batch_products.register
def _(operator: RayTransform):
    backend = operator.get_impl(operator.use_cache)
    if hasattr(backend, "batch_products"):
        return backend.batch_products
    return batch_products.dispatch(object)(operator)


@takes_batches.register
def _(operator: RayTransform) -> bool:
    backend = operator.get_impl(operator.use_cache)
    return getattr(backend, "takes_batches", False)


def _check_space(X):
    if not isinstance(X, DiscretizedSpace):
        raise TypeError(
            "`image_space` must be a discretized space, got "
            f"{type(X).__name__}; use `odl.uniform_discr`."
        )
    if X.dtype_identifier != "float32":
        raise ValueError(
            "`image_space` must have dtype float32 (ASTRA needs float32 data), got "
            f"{X.dtype_identifier}; build it with dtype='float32'."
        )
    if not X.is_uniform or X.ndim not in (2, 3):
        raise ValueError(
            "`image_space` must be uniformly discretized in 2 or 3 dimensions, got "
            f"{X!r}; use `odl.uniform_discr`."
        )
    if X.ndim == 2 and not X.partition.has_isotropic_cells:
        sides = " x ".join(f"{side:.6g}" for side in X.cell_sides)
        raise ValueError(
            f"`image_space` must have square cells (ASTRA needs them), got {sides}; "
            "choose extents in proportion to the shape."
        )
    const = getattr(X.weighting, "const", None)
    if const is None or (X.is_weighted and not np.isclose(const, X.cell_volume)):
        raise ValueError(
            "`image_space` must be weighted by its cell volume or by 1, got "
            f"{X.weighting}; leave out `weighting` or use weighting=1.0."
        )


def _positive_int(num_angles):
    if not isinstance(num_angles, int | np.integer) or num_angles < 1:
        raise ValueError(
            f"`num_angles` must be a positive integer, got {num_angles!r}; "
            "use `geometry` for angles of your own."
        )
    return int(num_angles)


def _check_geometry(geometry, X):
    if not isinstance(geometry, Geometry):
        raise TypeError(
            "`geometry` must be a geometry of `odl.applications.tomo`, got "
            f"{type(geometry).__name__}; use `num_angles` for parallel beam."
        )
    if geometry.ndim != X.ndim:
        raise ValueError(
            "`geometry` must have the dimension of `image_space`, "
            f"{X.ndim}, got {geometry.ndim}; choose a geometry in {X.ndim}D."
        )
    flat = isinstance(geometry.detector, Flat1dDetector | Flat2dDetector)
    if not flat or not geometry.det_partition.is_uniform:
        kind = "a nonuniform" if flat else "a curved"
        raise ValueError(
            "`geometry` must have a flat detector with cells of one size (ASTRA knows "
            f"no other), got {kind} one; resample the data to a flat detector."
        )
    if isinstance(geometry, ParallelBeamGeometry) and X.ndim == 3:
        # ASTRA's par3d_fp.cu takes one side for the other in the length of a ray.
        first, second = X.cell_sides[:2]
        if not np.isclose(first, second):
            raise ValueError(
                "`image_space` must have cells of equal sides along its first two axes "
                f"for a parallel beam in 3D, got {first:.6g} and {second:.6g}; "
                "resample it."
            )


def _choose_backend(backend, X, geometry, max_bytes):
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {', '.join(map(repr, BACKENDS))}, got "
            f"{backend!r}; use 'auto' for the fastest that there is."
        )
    if backend == "auto":
        if X.ndim == 2 and matrix_bytes(geometry, X) <= max_bytes:
            backend = "matrix"
        else:
            backend = "cuda" if astra.use_cuda() else "cpu"
    if backend == "cuda" and not astra.use_cuda():
        raise ValueError(
            "`backend` must be 'cpu' or 'matrix' on this machine, got 'cuda' while "
            "`astra.use_cuda()` is False; install ASTRA with CUDA on a machine with a "
            "GPU."
        )
    if backend == "cpu" and X.device != "cpu":
        raise ValueError(
            "`image_space` must be on the CPU for backend 'cpu', got device "
            f"{X.device!r}; use backend='matrix' or 'cuda', or device='cpu'."
        )
    if backend != "cuda" and X.ndim == 3:
        raise ValueError(
            "`image_space` must have 2 dimensions on the CPU (3D needs a GPU), got "
            f"{X.ndim} and no backend 'cuda'; run it on a machine with a GPU where "
            "`astra.use_cuda()` is True, or slice by slice in 2D."
        )
    return backend
