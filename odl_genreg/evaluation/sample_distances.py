# SPDX-License-Identifier: MPL-2.0
"""How far samples of a generator are from images, as two sets."""

import scipy.optimize
import torch

__all__ = ("earth_movers_distance", "precision_and_recall")


def earth_movers_distance(images: torch.Tensor, samples: torch.Tensor) -> float:
    """Return the exact earth mover's distance of two sets of as many images.

        ``min_p (1 / N) sum_i |x_i - s_p(i)|^2``    over all permutations ``p``,

    the squared 2-Wasserstein distance of the empirical distributions, in plain sums
    over the pixels. It is zero for equal sets; that of two sets of images of one kind
    says what is small.

    Parameters
    ----------
    images, samples : torch.Tensor
        Images ``(N, ...)``; time and memory grow like ``N^3`` and ``N^2``: seconds for
        2000.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    0 goes to 1 and 2 to 4, at a cost of 1 and 4:

    >>> images, samples = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [1.0]])
    >>> ogr.evaluation.earth_movers_distance(images, samples)
    2.5
    """
    if images.shape != samples.shape:
        raise ValueError(
            f"`samples` must have the shape {tuple(images.shape)} of `images`, got "
            f"{tuple(samples.shape)}; draw as many."
        )
    cost = _squared_distances(images, samples).cpu().numpy()
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def precision_and_recall(
    images: torch.Tensor, samples: torch.Tensor, neighbors: int = 3
) -> tuple[float, float]:
    """Return the share of samples near images, and of images near samples.

    Near a set is what lies within the distance of one of its points to its
    `neighbors`-th nearest other point [KKLLA2019], here in the distance of the pixels.
    Precision is low where samples are no images, recall where images are missing.

    Parameters
    ----------
    images, samples : torch.Tensor
        Images ``(number, ...)`` of one shape, more of each than ``neighbors``.
    neighbors : positive int, optional
        Which neighbor gives the radius.

    References
    ----------
    [KKLLA2019] Kynkaanniemi T, Karras T, Laine S, Lehtinen J, and Aila T. *Improved
    precision and recall metric for assessing generative models*. NeurIPS, 2019.

    Examples
    --------
    Two of four samples are near an image; three of four images are near a sample, the
    radius of 0.5 and 1.5 being 1:

    >>> images = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    >>> samples = torch.tensor([[0.5], [1.5], [60.0], [61.0]])
    >>> ogr.evaluation.precision_and_recall(images, samples, neighbors=1)
    (0.5, 0.75)
    """
    least = min(len(images), len(samples))
    if not 0 < neighbors < least:
        raise ValueError(
            f"`neighbors` must be positive and less than the number {least} of images "
            f"and samples, got {neighbors}; give more images."
        )
    between = _squared_distances(images, samples)
    near_images = between <= _radii(images, neighbors)[:, None]
    near_samples = between <= _radii(samples, neighbors)[None]
    precision = near_images.any(0).double().mean()
    return float(precision), float(near_samples.any(1).double().mean())


def _radii(points, neighbors):
    """Squared distance of each point to the last of its nearest others."""
    distances = _squared_distances(points, points)
    distances.fill_diagonal_(0)
    return distances.kthvalue(neighbors + 1, dim=1).values


def _squared_distances(one, other):
    """``|x_i - y_j|^2`` in float64, ``(len(one), len(other))``."""
    return torch.cdist(one.flatten(1).double(), other.flatten(1).double()).square()
