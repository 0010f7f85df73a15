# SPDX-License-Identifier: MPL-2.0
"""Images, and whom they are of."""

import dataclasses

import numpy as np
import torch

__all__ = ("ImageSet", "hold_out")


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images with values in [0, 1], and the subject of each.

    Parameters
    ----------
    images : `numpy.ndarray`
        Array of shape ``(number, c, n, m)``, dtype float32.
    subjects : `numpy.ndarray`, optional
        Names of the subjects, ``(number,)``. Default: each image is one of its own.

    Examples
    --------
    >>> from odl_genreg.datasets import ImageSet
    >>> images = ImageSet(np.zeros((3, 1, 4, 4), "float32"), np.array(["A", "A", "B"]))
    >>> len(images), images[1:].subjects.tolist()
    (3, ['A', 'B'])
    """

    images: np.ndarray
    subjects: np.ndarray | None = None

    def __len__(self):
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, part):
        """Return a part of the set, by a slice or by an array of indices."""
        subjects = None if self.subjects is None else self.subjects[part]
        return ImageSet(self.images[part], subjects)


def hold_out(
    number: int, held_out: int, *, seed: int = 0, subjects=None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random split of ``number`` images that keeps subjects together.

    An image of a subject whose other images were trained on measures memory rather
    than what has been learned.

    Parameters
    ----------
    number : int
        Number of images.
    held_out : positive int
        How many of them to hold out; where there are subjects, at least as many.
    seed : int, optional
        Seed of the split.
    subjects : array-like, optional
        Subject of each image.

    Returns
    -------
    rest, held_out : `numpy.ndarray`
        Indices of the images.

    Raises
    ------
    ValueError
        If nothing would be left.

    Examples
    --------
    >>> from odl_genreg.datasets import hold_out
    >>> rest, held_out = hold_out(5, 1, subjects=["A", "A", "B", "B", "B"])
    >>> rest.tolist(), held_out.tolist()
    ([2, 3, 4], [0, 1])
    """
    if not 0 < held_out < number:
        raise ValueError(
            f"`held_out` must leave some of {number} images to train on, got "
            f"{held_out}; give fewer."
        )
    source = torch.Generator().manual_seed(seed)
    if subjects is None:
        order = torch.randperm(number, generator=source).numpy()
        return order[:-held_out], order[-held_out:]
    names, owners = np.unique(np.asarray(subjects), return_inverse=True)
    order = torch.randperm(len(names), generator=source).numpy()
    counts = np.bincount(owners)[order]
    needed = int(np.searchsorted(counts.cumsum(), held_out)) + 1
    if needed == len(names):
        raise ValueError(
            f"`held_out` must leave some of {len(names)} subjects to train on, got "
            f"{held_out} images, which are of all of them; give fewer."
        )
    theirs = np.isin(owners, order[:needed])
    return np.flatnonzero(~theirs), np.flatnonzero(theirs)
