# SPDX-License-Identifier: MPL-2.0
"""A: forward operators, as linear ODL operators.

===================  ======================================================
Tomography           `ray_transform`
Magnetic resonance   `MaskedFourier`, `NonuniformFourier`
Blur                 `Convolution`, `gaussian_kernel`, `motion_kernel`
Missing pixels       `inpainting`, `random_mask`
Superresolution      `downsampling`, `Resampling`
Compressed sensing   `gaussian_sensing`, `sampled_dct`, `sampled_hadamard`
Scaled to norm 1     `normalized`, `operator_norm`
One's own            `BatchOperator`, `MatrixSensing`, `SampledTransform`
===================  ======================================================
"""

from .batch_operator import BatchOperator
from .coils import Coils
from .compressed_sensing import (
    MatrixSensing,
    gaussian_sensing,
    sampled_dct,
    sampled_hadamard,
)
from .convolution import Convolution
from .cuda_backend import CudaBackend
from .fourier import KSpaceOperator, MaskedFourier
from .inpainting import inpainting, random_mask
from .kernels import gaussian_kernel, motion_kernel
from .nonuniform_fourier import NonuniformFourier
from .normalization import normalized, operator_norm
from .ray_transform import ray_transform
from .resampling import Resampling, downsampling
from .sampled_transform import SampledTransform
from .sampling_masks import (
    equispaced_mask,
    radial_mask,
    radial_trajectory,
    variable_density_mask,
)
from .sparse_matrix_backend import MAX_BYTES, SparseMatrixBackend, matrix_bytes

__all__ = (
    "MAX_BYTES",
    "BatchOperator",
    "Coils",
    "Convolution",
    "CudaBackend",
    "KSpaceOperator",
    "MaskedFourier",
    "MatrixSensing",
    "NonuniformFourier",
    "Resampling",
    "SampledTransform",
    "SparseMatrixBackend",
    "downsampling",
    "equispaced_mask",
    "gaussian_kernel",
    "gaussian_sensing",
    "inpainting",
    "matrix_bytes",
    "motion_kernel",
    "normalized",
    "operator_norm",
    "radial_mask",
    "radial_trajectory",
    "random_mask",
    "ray_transform",
    "sampled_dct",
    "sampled_hadamard",
    "variable_density_mask",
)
