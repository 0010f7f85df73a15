# SPDX-License-Identifier: MPL-2.0
"""The arguments of `choose_weights`, checked and completed before any work."""

import math

import numpy as np
from odl.functionals import IndicatorZero

from ..data_fidelity import DataFidelity
from ..evaluation import psnr, ssim
from ..gaussian_noise import SquaredL2
from ..generative_regularizer import GenerativeRegularizer
from ..projection import sample_latents
from ..torch_bridge import as_element, as_tensor

__all__ = ("check_method", "completed_grid", "validation_set")

METHODS = ("discrepancy", "l_curve", "validation")
SCORES = {"psnr": psnr, "ssim": ssim}

#: The values of ``lam`` about the center that a validation begins with.
LAM_GRID = 10.0 ** np.arange(1, -2.5, -0.5)


def check_method(method, data_fidelity, regularizer, tau, images, data):
    """Raise an error for what does not fit the method."""
    if not isinstance(regularizer, GenerativeRegularizer):
        raise TypeError(
            "`regularizer` must be a `GenerativeRegularizer`, got "
            f"{type(regularizer).__name__}; use `soft_constraint` for example."
        )
    if method not in METHODS:
        raise ValueError(
            f"`method` must be one of {METHODS}, got {method!r}; leave it out for the "
            "discrepancy principle."
        )
    if method == "discrepancy" and not isinstance(data_fidelity, SquaredL2):
        raise ValueError(
            "`data_fidelity` must be that of `squared_l2` for method='discrepancy', "
            f"got {type(data_fidelity).__name__}, which has no expected residual; use "
            "method='l_curve' or 'validation'."
        )
    if not 0 < tau < math.inf:
        raise ValueError(
            f"`tau` must be positive and finite, got {tau}; 1.0 is the default."
        )
    if method != "validation" and (images is not None or data is not None):
        raise ValueError(
            f"`images` and `data` must be left out for method={method!r}, got "
            f"{len(images if data is None else data)}; use method='validation'."
        )


def completed_grid(method, regularizer, lam, mu, beta, other_terms) -> dict:
    """Return increasing values of ``lam``, ``mu`` and ``beta``; single ones are kept.

    Without a validation there is one ``lam``, the center of the search.
    """
    if mu is not None and isinstance(regularizer.deviation, IndicatorZero):
        raise ValueError(
            "`mu` must be left out for the range constraint, where only lam mu counts, "
            f"got {mu}; search `lam`."
        )
    if beta is not None and not other_terms:
        raise ValueError(
            f"`beta` must be left out without `other_terms`, got {beta}; it is their "
            "common factor."
        )
    for name, values in {"lam": lam, "mu": mu, "beta": beta}.items():
        if values is None:
            continue
        array = np.asarray(values, dtype=float)
        if array.size == 0 or not bool(((array > 0) & np.isfinite(array)).all()):
            raise ValueError(
                f"`{name}` must be positive and finite, got {values}; leave it out for "
                "the default."
            )
        if method != "validation" and (name != "lam" or array.size > 1):
            raise ValueError(
                f"`{name}` must not be a grid for method={method!r}, got {values}; use "
                "method='validation'."
            )
    if lam is None:
        lam = 0.5 / regularizer.mu if regularizer.mu > 0 else 1.0
        lam = lam * LAM_GRID if method == "validation" else lam
    mu = regularizer.mu if mu is None else mu
    beta = 1.0 if beta is None else beta
    grid = {"lam": lam, "mu": mu, "beta": beta}
    return {name: np.unique(values).tolist() for name, values in grid.items()}


def validation_set(images, data, score, data_fidelity, image_space, seed):
    """Return images as elements, their data, and the score as a function.

    Data that are not given are simulated, ``A x`` with Gaussian noise of ``noise_std``.
    """
    if images is None or len(images) == 0:
        raise ValueError(
            "`images` must be a sequence of images for method='validation', got "
            f"{images}; give true images, others than those that are reported."
        )
    shapes = {tuple(np.shape(image)) for image in images} - {image_space.shape}
    if shapes:
        raise ValueError(
            f"`images` must have the shape {image_space.shape} of the image space, got "
            f"{sorted(shapes)}; resample them, by `Resampling` for example."
        )
    if not isinstance(data_fidelity, DataFidelity):
        raise ValueError(
            "`data_fidelity` must be a `DataFidelity` for method='validation', got "
            f"{type(data_fidelity).__name__}; build it by `squared_l2`."
        )
    if score not in SCORES and not callable(score):
        raise ValueError(
            f"`score` must be one of {tuple(SCORES)} or a function, got {score!r}; the "
            "larger its value, the better."
        )
    A, noise_std = data_fidelity.operator, data_fidelity.noise_std
    if data is not None and len(data) != len(images):
        raise ValueError(
            f"`data` must be those of the {len(images)} `images`, got {len(data)}; "
            "leave them out to simulate them."
        )
    if data is None and noise_std is None:
        raise ValueError(
            "`data` must be given for a `data_fidelity` without `noise_std`, got None; "
            "simulate those of `images`."
        )
    images = [image_space.element(image) for image in images]
    if data is None:
        noise = noise_std * sample_latents(A.range, len(images), seed)
        clean = (as_tensor(A(x)) for x in images)
        pairs = zip(clean, noise, strict=True)
        data = [as_element(A.range, y + n) for y, n in pairs]
    return images, list(data), SCORES.get(score, score)
