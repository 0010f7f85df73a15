# SPDX-License-Identifier: MPL-2.0
"""Generative regularizers for ODL.

Solve

    ``min_x D(A x, y) + lam * R_G(x)``,  ``R_G(x) = min_z F(x - G(z)) + mu * R_Z(z)``

with a generative model ``G : Z -> X``, by ODL's solvers or by `reconstruct`.
"""

from .odl_repairs import apply_repairs

apply_repairs()

from . import (  # noqa: E402
    checkpoint,
    data_fidelity,
    deviation,
    forward_operators,
    gaussian_noise,
    latent_prior,
    poisson_noise,
    solvers,
    torch_bridge,
)
from .checkpoint import load_generator, save_generator  # noqa: E402
from .forward_operators import (  # noqa: E402
    Convolution,
    MaskedFourier,
    NonuniformFourier,
    Resampling,
    downsampling,
    gaussian_sensing,
    inpainting,
    normalized,
    ray_transform,
    sampled_dct,
    sampled_hadamard,
)
from .gaussian_noise import squared_l2  # noqa: E402
from .generative_regularizer import GenerativeRegularizer  # noqa: E402
from .generator import Generator  # noqa: E402
from .half_precision import half_precision  # noqa: E402
from .poisson_noise import kullback_leibler  # noqa: E402
from .reconstruction import reconstruct  # noqa: E402
from .regularizer import (  # noqa: E402
    range_constraint,
    soft_constraint,
    sparse_deviation,
    structured_deviation,
    tv_deviation,
)
from .result import Reconstruction  # noqa: E402
from .solvers import (  # noqa: E402
    BacktrackingLineSearch,
    InitialScaling,
    WolfeLineSearch,
)
from .weight_choice import WeightChoice, choose_weights  # noqa: E402
from .weight_import import import_weights  # noqa: E402

__version__ = "0.1.0"

__all__ = (
    "BacktrackingLineSearch",
    "Convolution",
    "GenerativeRegularizer",
    "Generator",
    "InitialScaling",
    "MaskedFourier",
    "NonuniformFourier",
    "Reconstruction",
    "Resampling",
    "WeightChoice",
    "WolfeLineSearch",
    "checkpoint",
    "choose_weights",
    "data_fidelity",
    "deviation",
    "downsampling",
    "forward_operators",
    "gaussian_noise",
    "gaussian_sensing",
    "half_precision",
    "import_weights",
    "inpainting",
    "kullback_leibler",
    "latent_prior",
    "load_generator",
    "normalized",
    "poisson_noise",
    "range_constraint",
    "ray_transform",
    "reconstruct",
    "sampled_dct",
    "sampled_hadamard",
    "save_generator",
    "soft_constraint",
    "solvers",
    "sparse_deviation",
    "squared_l2",
    "structured_deviation",
    "torch_bridge",
    "tv_deviation",
)
