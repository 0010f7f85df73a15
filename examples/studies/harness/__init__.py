# SPDX-License-Identifier: MPL-2.0
"""What the studies share: problems, methods, runs that go on, tables, figures."""

from .compare import compare
from .figures import save_curves, save_images
from .images import mnist_images, mr_images, shape_images
from .methods import (
    Method,
    adjoint,
    filtered_back_projection,
    in_range,
    soft,
    soft_tv,
    sparse,
    tikhonov_method,
    tv,
    tv_deviation,
    wavelet,
)
from .options import study_options
from .problem import Problem
from .run_directory import RunDirectory
from .tables import paired_differences, write_rows, write_table

__all__ = (
    "Method",
    "Problem",
    "RunDirectory",
    "adjoint",
    "compare",
    "filtered_back_projection",
    "in_range",
    "mnist_images",
    "mr_images",
    "paired_differences",
    "save_curves",
    "save_images",
    "shape_images",
    "soft",
    "soft_tv",
    "sparse",
    "study_options",
    "tikhonov_method",
    "tv",
    "tv_deviation",
    "wavelet",
    "write_rows",
    "write_table",
)
