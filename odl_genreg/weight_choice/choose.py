# SPDX-License-Identifier: MPL-2.0
"""choose_weights(D, R): lam, and mu and the factor of other terms, from data."""

import warnings
from collections.abc import Callable, Sequence

import tqdm

from .arguments import check_method, completed_grid, validation_set
from .choice import WeightChoice
from .discrepancy import discrepancy_principle
from .l_curve import l_curve_corner
from .path import WeightPath
from .validation import best_score

__all__ = ("choose_weights",)


def choose_weights(
    data_fidelity,
    regularizer,
    method: str = "discrepancy",
    *,
    tau: float = 1.0,
    images: Sequence | None = None,
    data: Sequence | None = None,
    score: str | Callable = "psnr",
    lam: float | Sequence | None = None,
    mu: Sequence | None = None,
    beta: Sequence | None = None,
    other_terms: Sequence = (),
    bounds: tuple[float, float] | None = None,
    restarts: int = 8,
    seed: int = 0,
    solver: str = "auto",
    tol: float = 1e-4,
    maxiter: int = 1000,
    progress: bool = False,
) -> WeightChoice:
    """Choose the weights of ``D(x) + lam R_G(x) + beta sum_i g_i(L_i x)``.

    'discrepancy'
        The largest ``lam`` with ``sum_i |(A x - y)_i|^2 <= tau m sigma^2``: the image
        explains the data as well as the noise allows, and no better.
    'l_curve'
        The ``lam`` at the corner of the curve ``(log D(x), log R_G(x))``; it does not
        ask for the noise level.
    'validation'
        The ``lam``, and on request ``mu`` and ``beta``, of the best mean score over
        given images, from their data or from simulated ones.

    Weights run through a geometric grid, the largest ``lam`` first: it starts from
    ``restarts`` latents, every other one from the latent before. The grid grows rather
    than to end on its edge.

    Parameters
    ----------
    data_fidelity : `SquaredL2`
        Data fidelity ``D``. The L-curve takes any that `reconstruct` takes; validation
        takes operator and noise level from it, never its data.
    regularizer : `GenerativeRegularizer`
        Regularizer ``R_G``, with the ``mu`` that is kept unless it is searched.
    method : {'discrepancy', 'l_curve', 'validation'}, optional
        How to choose.
    tau : positive float, optional
        Factor of the expected residual ``m sigma^2``; more than 1 for a noise level
        that is not trusted.
    images : sequence of `element-like`, optional
        True images of a validation; other ones than those that are reported.
    data : sequence of `element-like`, optional
        Data of these images. Default: ``A x`` with Gaussian noise of ``noise_std``.
    score : {'psnr', 'ssim'} or callable, optional
        Score of a validation, ``(x, image) -> float``; the larger, the better.
    lam : positive float or sequence of float, optional
        Where the search is centered; of a validation the grid, where a single value is
        kept. Default: ``1 / (2 mu)``, which makes ``z ~ N(0, I)``, and about it.
    mu, beta : sequence of positive float, optional
        Grids of a validation. Default: the ``mu`` of ``regularizer`` and 1.
    other_terms, bounds, restarts, seed, solver, tol, maxiter, progress :
        As for `reconstruct`; ``seed`` is also that of the simulated noise.

    Returns
    -------
    choice : `WeightChoice`
        ``choice.lam``, ``choice.mu``, ``choice.beta``; the ``choice.path`` of all that
        was tried; ``choice.reconstruction``, and ``choice.show()``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; before any work.

    Warns
    -----
    UserWarning
        If no weight meets the criterion; ``choice.warning`` tells the same.

    Notes
    -----
    With the range constraint only ``lam mu`` counts, and the residual may be larger
    than that of the noise for all ``lam``: the generator cannot explain the data.

    Examples
    --------
    Denoising with ``G(z) = z``, where ``x = y / (1 + lam)`` for ``mu = 1`` and the
    residual of ``y = (2, 2)`` is that of the noise, 2, for ``lam = 1``:

    >>> Z = odl.rn(2)
    >>> R = ogr.soft_constraint(ogr.Generator(torch.nn.Identity(), Z, Z), mu=1.0)
    >>> D = ogr.squared_l2(odl.IdentityOperator(Z), [2.0, 2.0])
    >>> choice = ogr.choose_weights(D, R)
    >>> bool(0.98 < choice.lam <= 1)
    True
    """
    check_method(method, data_fidelity, regularizer, tau, images, data)
    grid = completed_grid(method, regularizer, lam, mu, beta, other_terms)
    validation = None
    if method == "validation":
        X = regularizer.domain
        validation = validation_set(images, data, score, data_fidelity, X, seed)
    options = {"bounds": bounds, "solver": solver, "tol": tol, "maxiter": maxiter}
    with tqdm.tqdm(disable=not progress, unit=" weights") as bar:
        path = WeightPath(
            data_fidelity,
            regularizer,
            other_terms,
            restarts=restarts,
            options={**options, "seed": seed},
            validation=validation,
            report=lambda trial: bar.update(),
        )
        if method == "discrepancy":
            choice = discrepancy_principle(path, *grid["lam"], tau)
        elif method == "l_curve":
            choice = l_curve_corner(path, *grid["lam"])
        else:
            choice = best_score(path, grid)
    if choice.warning is not None:
        warnings.warn(choice.warning, stacklevel=2)
    return choice
