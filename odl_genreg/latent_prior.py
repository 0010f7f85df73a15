# SPDX-License-Identifier: MPL-2.0
"""R_Z: what is known of the latents, as ODL functionals on the latent space."""

import math

from odl.functionals import IndicatorBox, IndicatorLpUnitBall, L2NormSquared

__all__ = ("ball", "box", "gaussian")


def gaussian(latent_space) -> L2NormSquared:
    """Return ``R_Z(z) = ||z||_Z^2``, for latents ``z ~ N(0, I)``.

    Examples
    --------
    >>> R_Z = ogr.latent_prior.gaussian(odl.rn(2))
    >>> R_Z([3.0, 4.0])
    25.0
    """
    return L2NormSquared(latent_space)


def box(latent_space, lower: float = -1.0, upper: float = 1.0) -> IndicatorBox:
    """Return the indicator of ``lower <= z_i <= upper``, for uniform latents.

    Raises
    ------
    ValueError
        If ``lower`` is not less than ``upper``.

    Examples
    --------
    >>> R_Z = ogr.latent_prior.box(odl.rn(2))
    >>> R_Z([0.5, -1.0]), R_Z([0.5, 2.0])
    (0, inf)
    """
    if not lower < upper:
        raise ValueError(
            f"`lower` must be less than `upper`, got {lower} and {upper}; "
            "exchange them."
        )
    return IndicatorBox(latent_space, float(lower), float(upper))


def ball(latent_space, radius: float | None = None):
    """Return the indicator of ``||z||_2 <= radius``.

    Parameters
    ----------
    latent_space : `TensorSpace`
        Space ``Z``.
    radius : positive float, optional
        Radius in the unweighted norm. Default: ``sqrt(Z.size)``, about which
        the norm of ``z ~ N(0, I)`` concentrates.

    Raises
    ------
    ValueError
        If ``radius`` is not positive.

    Examples
    --------
    >>> R_Z = ogr.latent_prior.ball(odl.rn(2), radius=5)
    >>> R_Z([3.0, 3.0]), R_Z([4.0, 4.0])
    (0, inf)
    """
    radius = math.sqrt(latent_space.size) if radius is None else float(radius)
    if not 0 < radius < math.inf:
        raise ValueError(
            f"`radius` must be positive, got {radius}; leave it out for sqrt(d)."
        )
    w = getattr(latent_space.weighting, "const", 1.0)
    return IndicatorLpUnitBall(latent_space, exponent=2) * (1 / (radius * w**0.5))
