# SPDX-License-Identifier: MPL-2.0
"""Images of a rectangle and a circle, drawn from a seed."""

import numpy as np

__all__ = ("bright_spots", "shapes")

_PIXELS = 56
_SPOT_RADIUS = 2


def shapes(number: int, *, seed: int = 0, bright_spot: bool = False) -> np.ndarray:
    """Return images of a filled rectangle and a filled circle [DCE2021].

    Of 56 x 56 pixels with the values 0 and 1, not antialiased. Rows and columns of the
    center of the circle are uniform in {28, ..., 41}, its radius in {6, ..., 13}, the
    first row and column of the rectangle in {0, ..., 13}, its sides in {6, ..., 13}.

    Parameters
    ----------
    number : positive int
        Number of images. The first ones do not depend on it.
    seed : int, optional
        Seed of the images; another one for each split.
    bright_spot : bool, optional
        Whether the circle has a spot of the value 2, see `bright_spots`: what a
        generator of `shapes` has never seen.

    Returns
    -------
    images : `numpy.ndarray`
        Array of shape ``(number, 56, 56)``, dtype float32.

    References
    ----------
    [DCE2021] Duff M, Campbell N D F, and Ehrhardt M J. *Regularising inverse problems
    with generative machine learning models*. arXiv:2107.11191.

    Examples
    --------
    >>> from odl_genreg.datasets import shapes
    >>> images = shapes(3, seed=1)
    >>> images.shape, np.unique(images).tolist()
    ((3, 56, 56), [0.0, 1.0])
    >>> bool((shapes(2, seed=1) == images[:2]).all())
    True
    """
    draws = _draw(number, seed)
    circle = _disc(draws["center"], draws["radius"])
    # Offsets of rows and columns from the first corner, (number, 2, 56).
    offset = np.arange(_PIXELS) - draws["corner"][:, :, None]
    within = (offset >= 0) & (offset < draws["sides"][:, :, None])
    rectangle = within[:, 0, :, None] & within[:, 1, None, :]
    images = (circle | rectangle).astype(np.float32)
    if bright_spot:
        images[bright_spots(number, seed=seed)] = 2
    return images


def bright_spots(number: int, *, seed: int = 0) -> np.ndarray:
    """Return where the spots of ``shapes(number, seed=seed, bright_spot=True)`` are.

    A disc of radius 2 pixels in the circle, at its center plus a shift that is
    uniform in [-r/2, r/2] along both axes, ``r`` the radius of the circle.

    Returns
    -------
    masks : `numpy.ndarray`
        Array of shape ``(number, 56, 56)``, dtype bool.

    Examples
    --------
    A disc of radius 2 has 13 pixels, with the middle at a pixel:

    >>> from odl_genreg.datasets import bright_spots
    >>> int(bright_spots(1, seed=1).sum())
    13
    """
    draws = _draw(number, seed)
    shift = np.trunc(draws["shift"] * draws["radius"][:, None])
    return _disc(draws["center"] + shift, np.full(number, _SPOT_RADIUS))


def _draw(number, seed):
    """Return the parameters of the images."""
    if not (isinstance(number, int | np.integer) and number > 0):
        raise ValueError(
            f"`number` must be a positive int, got {number!r}; give the number of "
            "images."
        )
    limits = {
        "center": (28, 42),
        "radius": (6, 14),
        "corner": (0, 14),
        "sides": (6, 14),
    }
    # A sequence of its own for each parameter: more images leave the first as they are.
    sources = np.random.default_rng(seed).spawn(len(limits) + 1)
    draws = {
        name: source.integers(*between, (number, 2))
        for source, (name, between) in zip(sources[:-1], limits.items(), strict=True)
    }
    draws["radius"] = draws["radius"][:, 0]
    return draws | {"shift": sources[-1].uniform(-0.5, 0.5, (number, 2))}


def _disc(center, radius):
    """Return the pixels with a distance of at most the radius from the center."""
    pixels = np.arange(_PIXELS, dtype=np.int16)
    rows, columns = ((pixels - part[:, None]) ** 2 for part in center.T.astype("int16"))
    return rows[:, :, None] + columns[:, None, :] <= radius[:, None, None] ** 2
