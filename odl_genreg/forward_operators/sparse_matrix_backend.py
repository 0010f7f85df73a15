# SPDX-License-Identifier: MPL-2.0
"""ASTRA's system matrix as a backend of ODL's ray transform."""

import functools
import warnings

import astra
import torch
from odl.applications.tomo import RayTransform
from odl.applications.tomo.backends.astra_cpu import default_astra_proj_type
from odl.applications.tomo.backends.astra_setup import (
    astra_projection_geometry,
    astra_projector,
    astra_volume_geometry,
)

from ..torch_bridge import (
    as_element,
    as_tensor,
    gram_matrix,
    torch_device,
    weight,
)

__all__ = ("MAX_BYTES", "SparseMatrixBackend", "matrix_bytes")

#: Memory bound of `SparseMatrixBackend` unless told otherwise: 1 GiB.
MAX_BYTES = 2**30

# A float32 value and an int32 column, in the matrix and again in its transpose; and
# an int32 for the start of each row, and of each column.
_BYTES_PER_NONZERO, _BYTES_PER_ROW = 16, 4


def matrix_bytes(geometry, image_space) -> int:
    """Return an upper bound of the memory of a system matrix and its transpose.

        ``16 * (number of rays * nonzeros of a ray) + 4 * (rays + cells + 2)``

    A ray has at most ``2 max(n, m)`` nonzeros on a grid of ``n`` by ``m`` cells
    (parallel beam, interpolation between two cells in each row or column) or
    ``n + m + 1`` (fan beam, one for each cell that it crosses). With the parallel beam
    geometry of `ray_transform` this is about 1.6 times the memory in fact.

    Parameters
    ----------
    geometry : `Geometry`
        Parallel or fan beam geometry in two dimensions.
    image_space : `DiscretizedSpace`
        Space of the images.

    Examples
    --------
    Two by two cells, one angle, five detector cells: ``16 * (5 * 4) + 4 * 11``

    >>> X = odl.uniform_discr([-1, -1], [1, 1], (2, 2), dtype="float32")
    >>> geometry = odl.applications.tomo.parallel_beam_geometry(X, num_angles=1)
    >>> ogr.forward_operators.matrix_bytes(geometry, X)
    364
    """
    n, m = image_space.shape
    parallel = default_astra_proj_type(geometry) == "linear"
    nonzeros = 2 * max(n, m) if parallel else n + m + 1
    rays, cells = geometry.partition.size, image_space.size
    starts = _BYTES_PER_ROW * (rays + cells + 2)
    return int(_BYTES_PER_NONZERO * rays * nonzeros + starts)


class SparseMatrixBackend:
    """Ray transform by a stored sparse matrix, for single images and batches.

    A backend class for ODL's `RayTransform`, in two dimensions:

        ``A x = S x``,    ``A^* y = (w_Y / w_X) S^T y``,

    ``S`` the system matrix that ASTRA applies on the fly as ``astra_cpu``, ``w`` the
    weights of the inner products. The adjoint is exact, and the numbers are those of
    the CPU on each device.

    Notes
    -----
    ``S`` and ``S^T`` are kept as rows (CSR) with 32 bit indices, 8 bytes a nonzero
    each. While it is built, ASTRA's own copy needs about as much again. Batches go
    through torch tensors that share this memory; they use torch's threads. For spaces
    on a GPU these tensors lie there, and single images go through them as well.
    """

    takes_batches = True

    def __init__(self, geometry, vol_space, proj_space, max_bytes: int = MAX_BYTES):
        """Initialize a new instance.

        Parameters
        ----------
        geometry : `Geometry`
            Parallel or fan beam geometry in two dimensions with a flat detector.
        vol_space : `DiscretizedSpace`
            Space ``X`` of the images, float32, with square cells.
        proj_space : `DiscretizedSpace`
            Space ``Y`` of the data.
        max_bytes : int, optional
            Largest `matrix_bytes` that is allowed.

        Raises
        ------
        ValueError
            If `matrix_bytes` exceeds ``max_bytes``, before anything is built.

        Examples
        --------
        The ray through the center of a square with sides of length 2:

        >>> X = odl.uniform_discr([-1, -1], [1, 1], (2, 2), dtype="float32")
        >>> geometry = odl.applications.tomo.parallel_beam_geometry(X, num_angles=1)
        >>> A = odl.applications.tomo.RayTransform(
        ...     X, geometry, impl=ogr.forward_operators.SparseMatrixBackend
        ... )
        >>> float(A(X.one()).asarray()[0, 2])
        2.0
        """
        bound = matrix_bytes(geometry, vol_space)
        if bound > max_bytes:
            raise ValueError(
                "`geometry` must give a system matrix of at most `max_bytes` = "
                f"{max_bytes} bytes for backend 'matrix', got up to {bound} bytes; "
                "use backend='cpu' or a larger `max_bytes`."
            )
        self.geometry, self.vol_space, self.proj_space = geometry, vol_space, proj_space
        self.matrix = _system_matrix(geometry, vol_space)
        self.transpose = self.matrix.T.tocsr()
        self._adjoint_scale = weight(proj_space) / weight(vol_space)
        self._device = torch_device(vol_space)

    def call_forward(self, x, out=None):
        """Return ``A x``, written to ``out`` if it is given."""
        return _result(self._single_products[0](_flat(x)), self.proj_space, out)

    def call_backward(self, y, out=None):
        """Return ``A^* y``, written to ``out`` if it is given."""
        x = self._single_products[1](_flat(y))
        x *= self._adjoint_scale
        return _result(x, self.vol_space, out)

    @functools.cached_property
    def _single_products(self):
        """Functions ``x -> S x`` and ``y -> S^T y`` of flat tensors."""
        if self._device.type == "cpu":  # by SciPy, which takes float64 as well
            return tuple(
                functools.partial(_host_product, rows)
                for rows in (self.matrix, self.transpose)
            )
        return tuple(
            functools.partial(_first, product) for product in self.batch_products
        )

    @functools.cached_property
    def batch_products(self):
        """Functions ``x -> S x`` and ``y -> S^T y`` of tensors ``(batch, size)``."""
        return tuple(
            functools.partial(_product, _torch_rows(rows, self._device))
            for rows in (self.matrix, self.transpose)
        )

    @property
    def nbytes(self) -> int:
        """Memory of the matrix and its transpose in bytes."""
        arrays = (
            array
            for rows in (self.matrix, self.transpose)
            for array in (rows.data, rows.indices, rows.indptr)
        )
        return sum(array.nbytes for array in arrays)


@gram_matrix.register
def _(operator: RayTransform, transposed: bool = False):
    backend = operator.get_impl(operator.use_cache)
    if not isinstance(backend, SparseMatrixBackend):
        return gram_matrix.dispatch(object)(operator, transposed)
    parts = (backend.transpose, backend.matrix)
    left, right = parts if transposed else reversed(parts)
    gram = torch.from_numpy((left @ right).toarray())
    return gram.to(torch_device(operator.domain))


def _system_matrix(geometry, image_space):
    """Return the matrix that ``astra_cpu`` applies, as float32 rows."""
    projector = astra_projector(
        default_astra_proj_type(geometry),
        astra_volume_geometry(image_space, "cpu"),
        astra_projection_geometry(geometry, "cpu"),
        ndim=2,
    )
    matrix = astra.projector.matrix(projector)
    try:
        return astra.matrix.get(matrix).tocsr().astype("float32")
    finally:
        astra.matrix.delete(matrix)
        astra.projector.delete(projector)


def _flat(x):
    return as_tensor(x).reshape(-1)


def _host_product(matrix, x):
    return torch.from_numpy(matrix @ x.numpy())


def _first(product, x):
    return product(x[None])[0]


def _result(values, space, out):
    values = values.reshape(space.shape)
    if out is None:
        return as_element(space, values)
    out.data[:] = values.numpy() if space.impl == "numpy" else values
    return out


def _torch_rows(matrix, device):
    """Return a CSR tensor, which shares the memory of a SciPy matrix on the CPU."""
    rows = (matrix.indptr, matrix.indices, matrix.data)
    with warnings.catch_warnings():
        # torch announces once that its CSR tensors are in beta.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            *(torch.from_numpy(array).to(device) for array in rows),
            size=matrix.shape,
            check_invariants=False,
        )


def _product(matrix, x):
    if len(x) == 1:
        return torch.mv(matrix, x[0].detach())[None]
    return (matrix @ x.detach().T.contiguous()).T.contiguous()
