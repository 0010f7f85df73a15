# SPDX-License-Identifier: MPL-2.0
"""A: forward operators, as linear ODL operators."""

from .ray_transform import ray_transform
from .resampling import Resampling
from .sparse_matrix_backend import MAX_BYTES, SparseMatrixBackend, matrix_bytes

__all__ = (
    "MAX_BYTES",
    "Resampling",
    "SparseMatrixBackend",
    "matrix_bytes",
    "ray_transform",
)
