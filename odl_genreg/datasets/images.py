# SPDX-License-Identifier: MPL-2.0
"""Training images by the name of what holds them."""

from pathlib import Path

import numpy as np

from .folder import read_folder
from .image_set import ImageSet
from .mnist import read_mnist
from .shapes import shapes

__all__ = ("read_images",)

#: Number of images that the name "shapes" stands for.
SHAPES = 40_000


def read_images(
    source,
    *,
    size: tuple[int, int] | None = None,
    slices: tuple[int, int] | None = None,
    acquisition: str | None = None,
) -> ImageSet:
    """Return images with values in [0, 1] from a file, or of a made-up kind.

    Parameters
    ----------
    source : str or path
        One of

        - ``"shapes"``: ``shapes(40000, seed=0)``;
        - a ``.npy`` file of an array ``(number, n, m)`` or ``(number, c, n, m)`` of
          floats in [0, 1] or unsigned bytes;
        - a file of `read_mnist`, MNIST or Fashion-MNIST;
        - a folder of `read_folder`: pictures, arrays, NIfTI, DICOM, fastMRI.

    size, slices, acquisition : optional
        For a folder, see `read_folder`.

    Returns
    -------
    images : `ImageSet`
        Images ``(number, c, n, m)``, and the subjects of those in a folder.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or of another kind, if a value is not in [0, 1], or if
        the source is no folder for an argument that wants one.

    Examples
    --------
    >>> from odl_genreg.datasets import read_images
    >>> read_images("shapes").images.shape
    (40000, 1, 56, 56)
    """
    path, choices = Path(source), (size, slices, acquisition)
    if path.is_dir():
        return read_folder(path, size=size, slices=slices, acquisition=acquisition)
    if choices != (None, None, None):
        raise ValueError(
            "`source` must be a folder for `size`, `slices` and `acquisition`, got "
            f"{str(source)!r}; leave them out."
        )
    if str(source) == "shapes":
        return ImageSet(shapes(SHAPES, seed=0)[:, None])
    if not path.is_file():
        raise FileNotFoundError(
            "`source` must be 'shapes' or the path of a file or folder, got "
            f"{str(source)!r}; check the path."
        )
    images = _read_npy(path) if path.suffix == ".npy" else read_mnist(path)
    return ImageSet(images[:, None] if images.ndim == 3 else images)


def _read_npy(path):
    try:
        images = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"`source` must be a complete .npy file of a plain array, got {path} with "
            f"the fault '{error}'; write it again with `numpy.save`."
        ) from error
    kind = getattr(images, "dtype", None)
    known = kind == np.uint8 or (kind is not None and kind.kind == "f")
    if not known or images.ndim not in (3, 4) or not images.size:
        raise ValueError(
            "`source` must hold bytes or floats of shape (number, n, m) or "
            f"(number, c, n, m), got {path} with {kind} and "
            f"{getattr(images, 'shape', None)}; convert the array."
        )
    if kind == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # False for nan as well
        raise ValueError(
            f"`source` must hold values in [0, 1], got [{low}, {high}] in {path}; "
            "scale them, and remove nan."
        )
    return images.astype(np.float32)
