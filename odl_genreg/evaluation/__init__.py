# SPDX-License-Identifier: MPL-2.0
"""How good a reconstruction is, the classical ones, and how good a generator is."""

from .baselines import fbp, zero_filled
from .energy_test import energy_test
from .jacobian_spectrum import extreme_singular_values, jacobian_singular_values
from .latent_statistics import LatentStatistics, latent_statistics
from .metrics import psnr, ssim
from .range_projection import nearest_latents, project_onto_range
from .sample_distances import earth_movers_distance, precision_and_recall
from .tikhonov import tikhonov
from .total_variation import TotalVariationResult, total_variation
from .tuning import TuningResult, tune
from .wavelet_l1 import wavelet_l1
from .wavelet_norm import WaveletL1

__all__ = (
    "LatentStatistics",
    "TotalVariationResult",
    "TuningResult",
    "WaveletL1",
    "earth_movers_distance",
    "energy_test",
    "extreme_singular_values",
    "fbp",
    "jacobian_singular_values",
    "latent_statistics",
    "nearest_latents",
    "precision_and_recall",
    "project_onto_range",
    "psnr",
    "ssim",
    "tikhonov",
    "total_variation",
    "tune",
    "wavelet_l1",
    "zero_filled",
)
