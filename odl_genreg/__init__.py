# SPDX-License-Identifier: MPL-2.0
"""Generative regularizers for ODL.

Solve

    ``min_x D(A x, y) + lam * R_G(x)``,  ``R_G(x) = min_z F(x - G(z)) + mu * R_Z(z)``

with a generative model ``G : Z -> X``, by ODL's solvers or by `reconstruct`.
"""

from .odl_repairs import apply_repairs

apply_repairs()

from . import data_fidelity, deviation, latent_prior, solvers, torch_bridge  # noqa: E402
from . import checkpoint  # noqa: E402
from .checkpoint import load_generator, save_generator  # noqa: E402
from .data_fidelity import kullback_leibler, squared_l2  # noqa: E402
from .generative_regularizer import GenerativeRegularizer  # noqa: E402
from .generator import Generator  # noqa: E402
from .regularizer import (  # noqa: E402
    range_constraint,
    soft_constraint,
    sparse_deviation,
    tv_deviation,
)
from .solvers import BacktrackingLineSearch  # noqa: E402

__version__ = "0.1.0"

__all__ = (
    "BacktrackingLineSearch",
    "GenerativeRegularizer",
    "Generator",
    "kullback_leibler",
    "load_generator",
    "range_constraint",
    "save_generator",
    "soft_constraint",
    "sparse_deviation",
    "squared_l2",
    "tv_deviation",
)
