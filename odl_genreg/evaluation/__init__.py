# SPDX-License-Identifier: MPL-2.0
"""How good a reconstruction is, and the classical ones to compare it with."""

from .baselines import fbp
from .metrics import psnr, ssim
from .range_projection import project_onto_range
from .total_variation import TotalVariationResult, total_variation

__all__ = (
    "TotalVariationResult",
    "fbp",
    "project_onto_range",
    "psnr",
    "ssim",
    "total_variation",
)
