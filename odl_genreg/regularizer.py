# SPDX-License-Identifier: MPL-2.0
"""R_G: the named generative regularizers."""

import math

from odl.functionals import IndicatorZero, L1Norm, L2NormSquared

from .deviation import StructuredGaussian, TotalVariation
from .generative_regularizer import GenerativeRegularizer
from .generator import Generator
from .torch_bridge import weight

__all__ = (
    "range_constraint",
    "soft_constraint",
    "sparse_deviation",
    "structured_deviation",
    "tv_deviation",
)


def range_constraint(
    generator: Generator,
    *,
    latent_prior=None,
    num_starts: int = 4,
    seed: int = 0,
    tol: float = 1e-4,
) -> GenerativeRegularizer:
    """Return the range constraint, ``R_G(x) = min_z R_Z(z)`` with ``x = G(z)``.

    ``F`` is the indicator of {0}: finite where ``||x - G(z)|| <= tol (1 + ||x||)``. Its
    proximal projects onto the range; it has no gradient. Only ``lam mu`` counts, so
    ``mu = 1``.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    latent_prior : `Functional`, optional
        Functional ``R_Z`` on ``Z``. Default: ``||z||_Z^2``.
    num_starts, seed, tol :
        As for `GenerativeRegularizer`.

    References
    ----------
    [BJPD2017] Bora A, Jalal A, Price E, and Dimakis A G. *Compressed sensing using
    generative models*. ICML, 2017.

    Examples
    --------
    For ``G(z) = 2 z`` the image 6 has the latent 3:

    >>> Z = odl.rn(1)
    >>> network = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> _ = network.weight.data.fill_(2.0)
    >>> R = ogr.range_constraint(ogr.Generator(network, Z, Z))
    >>> round(R([6.0]), 6)
    9.0
    """
    F = IndicatorZero(generator.range)
    return GenerativeRegularizer(
        generator, F, latent_prior, num_starts=num_starts, seed=seed, tol=tol
    )


def soft_constraint(
    generator: Generator,
    mu: float | None = None,
    *,
    latent_prior=None,
    num_starts: int = 4,
    seed: int = 0,
    tol: float = 1e-5,
) -> GenerativeRegularizer:
    """Return the soft constraint, ``R_G(x) = min_z ||x - G(z)||_X^2 + mu R_Z(z)``.

    Smooth where ``z*`` is unique, with the gradient ``2 (x - G(z*(x)))``, and
    semiconcave: ``R(x + h) <= R(x) + <grad R(x), h> + ||h||^2``, so that a step of 1/2
    is safe for ``R`` alone.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    mu : nonnegative float, optional
        Weight of ``R_Z``. Default: ``w_X * decoder_variance / w_Z``, which for images
        ``x ~ N(G(z), decoder_variance I)`` makes ``R_G`` a multiple of
        ``-log p(x, z)``.
    latent_prior : `Functional`, optional
        Functional ``R_Z`` on ``Z``. Default: ``||z||_Z^2``.
    num_starts, seed, tol :
        As for `GenerativeRegularizer`.

    Raises
    ------
    ValueError
        If ``mu`` is not given and the generator has no decoder variance.

    Examples
    --------
    For ``G(z) = z`` the minimum is ``mu / (1 + mu) ||x||^2``:

    >>> Z = odl.rn(2)
    >>> R = ogr.soft_constraint(ogr.Generator(torch.nn.Identity(), Z, Z), mu=1.0)
    >>> round(R([3.0, 1.0]), 6)
    5.0
    """
    F = L2NormSquared(generator.range)
    mu = _bayesian_mu(generator, 1.0) if mu is None else mu
    return GenerativeRegularizer(
        generator, F, latent_prior, mu, num_starts=num_starts, seed=seed, tol=tol
    )


def sparse_deviation(
    generator: Generator,
    mu: float | None = None,
    *,
    latent_prior=None,
    num_starts: int = 4,
    seed: int = 0,
) -> GenerativeRegularizer:
    """Return the sparse deviation, ``R_G(x) = min_z ||x - G(z)||_1 + mu R_Z(z)``.

    The norm is that of ``L^1(X)``. No gradient; its proximal minimizes a Huber function
    in ``z``.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X``.
    mu : nonnegative float, optional
        Weight of ``R_Z``. Default: ``w_X sqrt(decoder_variance / 8) / w_Z``, which for
        images with Laplacian pixels of that variance about ``G(z)`` makes ``R_G`` a
        multiple of ``-log p(x, z)``.
    latent_prior : `Functional`, optional
        Functional ``R_Z`` on ``Z``. Default: ``||z||_Z^2``.
    num_starts, seed :
        As for `GenerativeRegularizer`.

    Raises
    ------
    ValueError
        If ``mu`` is not given and the generator has no decoder variance.

    References
    ----------
    [DGE2018] Dhar M, Grover A, and Ermon S. *Modeling sparse deviations for compressed
    sensing using generative models*. ICML, 2018.

    Examples
    --------
    For ``G(z) = z`` and ``mu = 1`` the best ``z`` of ``|3 - z| + z^2`` is 1/2:

    >>> Z = odl.rn(1)
    >>> R = ogr.sparse_deviation(ogr.Generator(torch.nn.Identity(), Z, Z), mu=1.0)
    >>> round(R([3.0]), 6)
    2.75
    """
    F = L1Norm(generator.range)
    mu = _bayesian_mu(generator, 0.5) / math.sqrt(8) if mu is None else mu
    return GenerativeRegularizer(
        generator, F, latent_prior, mu, num_starts=num_starts, seed=seed
    )


def tv_deviation(
    generator: Generator,
    mu: float,
    *,
    latent_prior=None,
    num_starts: int = 4,
    seed: int = 0,
) -> GenerativeRegularizer:
    """Return the TV deviation, ``R_G(x) = min_z TV(x - G(z)) + mu R_Z(z)``.

    Keeps edges that ``G`` misses. No gradient.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X`` to a `DiscretizedSpace`.
    mu : nonnegative float
        Weight of ``R_Z``.
    latent_prior : `Functional`, optional
        Functional ``R_Z`` on ``Z``. Default: ``||z||_Z^2``.
    num_starts, seed :
        As for `GenerativeRegularizer`.

    Examples
    --------
    A generator of constant images explains a constant image at no cost but ``mu z^2``:

    >>> class Constant(torch.nn.Module):
    ...     def forward(self, z):
    ...         return z[:, :, None].expand(-1, 2, 2)
    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
    >>> R = ogr.tv_deviation(ogr.Generator(Constant(), odl.rn(1), X), mu=1e-3)
    >>> bool(R(5 * X.one()) < 1e-3 * 25)
    True
    """
    F = TotalVariation(generator.range)
    return GenerativeRegularizer(
        generator, F, latent_prior, mu, num_starts=num_starts, seed=seed
    )


def structured_deviation(
    generator: Generator, mu: float | None = None, *, num_starts: int = 4, seed: int = 0
) -> GenerativeRegularizer:
    """Return ``R_G(x) = min_z u^T Sigma(z)^{-1} u + log det Sigma(z) + mu ||z||_Z^2``.

    The deviation ``u = x - G(z)`` is measured by the covariance that the generator
    expects of it, see `StructuredGaussian`. With the default ``mu`` and ``lam = 1/2``
    the reconstruction is that of the largest ``p(x, z)`` given the data.

    Parameters
    ----------
    generator : `Generator`
        Operator ``G : Z -> X`` with a ``precision``, such as a trained `StructuredVAE`.
    mu : nonnegative float, optional
        Weight of ``||z||_Z^2``. Default: ``1 / w_Z``, for ``R_G = -2 log p(x, z)``.
    num_starts, seed :
        As for `GenerativeRegularizer`.

    References
    ----------
    [DSEC2023] Duff M A G, Simpson I J A, Ehrhardt M J, and Campbell N D F. *VAEs with
    structured image covariance applied to compressed sensing MRI.* arXiv:2210.14586.
    """
    F = StructuredGaussian(generator)
    mu = 1 / weight(generator.domain) if mu is None else mu
    return GenerativeRegularizer(generator, F, mu=mu, num_starts=num_starts, seed=seed)


def _bayesian_mu(generator, power):
    """``w_X decoder_variance^power / w_Z``, up to a constant of the deviation."""
    if generator.decoder_variance is None:
        raise ValueError(
            "`mu` must be given for a generator without `decoder_variance`, got None; "
            "give `mu`, or `decoder_variance` to the generator."
        )
    ratio = weight(generator.range) / weight(generator.domain)
    return ratio * generator.decoder_variance**power
