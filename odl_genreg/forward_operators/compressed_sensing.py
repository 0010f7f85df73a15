# SPDX-License-Identifier: MPL-2.0
"""A: random measurements, by a matrix or by the samples of a fast transform."""

import math

import numpy as np
import scipy.fft
import scipy.linalg
import torch

from ..torch_bridge import gram_matrix, torch_device, torch_dtype
from .batch_operator import BatchOperator
from .image_space import check_count, check_image_space, vector_space
from .sampled_transform import SampledTransform

__all__ = ("MatrixSensing", "gaussian_sensing", "sampled_dct", "sampled_hadamard")


class MatrixSensing(BatchOperator):
    """Measurements ``A : X -> R^m`` of images by the rows of a matrix.

    ``A x = M vec(x)``,    ``vec`` row by row
    """

    def __init__(self, image_space, matrix):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace`
            Space ``X`` in two dimensions, float32 or float64.
        matrix : array-like
            Matrix ``M`` of shape ``(m, X.size)``; it is kept in the dtype and on the
            device of ``X``.

        Raises
        ------
        TypeError, ValueError
            If something above does not hold.

        Examples
        --------
        >>> X = odl.uniform_discr([0, 0], [1, 1], (1, 2))
        >>> A = ogr.forward_operators.MatrixSensing(X, [[1.0, 1.0], [0.0, 1.0]])
        >>> A([[1.0, 2.0]])
        rn(2).element([ 3.,  2.])
        """
        check_image_space(image_space)
        matrix = torch.as_tensor(matrix)
        if matrix.ndim != 2 or not len(matrix) or matrix.shape[1] != image_space.size:
            raise ValueError(
                "`matrix` must have a row for each measurement and a column for each "
                f"of the {image_space.size} pixels, got shape {tuple(matrix.shape)}; "
                "transpose it if the pixels are its rows."
            )
        super().__init__(image_space, vector_space(image_space, len(matrix)))
        self.matrix = matrix.to(torch_device(image_space), torch_dtype(image_space))

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, *X.shape)`` to measurements ``(batch, m)``."""
        return x.flatten(1) @ self.matrix.T

    def batch_transpose(self, y: torch.Tensor) -> torch.Tensor:
        """Map measurements to the images ``M^T y``."""
        return (y @ self.matrix).reshape(-1, *self.domain.shape)


@gram_matrix.register
def _(operator: MatrixSensing, transposed: bool = False):
    M = operator.matrix
    return M.T @ M if transposed else M @ M.T


def gaussian_sensing(
    image_space, num_measurements: int, seed: int = 0, std: float = 1.0
) -> MatrixSensing:
    """Return measurements by a matrix of independent normal numbers.

        ``A x = M vec(x)``,    ``M_ij ~ N(0, std^2)``

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` in two dimensions, float32 or float64.
    num_measurements : positive int
        Number ``m`` of the rows of ``M``.
    seed : int, optional
        Seed of the matrix.
    std : positive float, optional
        Standard deviation of the entries; ``1 / sqrt(m)`` keeps the norm of an image
        in the mean.

    Notes
    -----
    ``M`` is stored: as many measurements as pixels take 134 MB for 64 x 64 pixels in
    float64, half of it in float32. For larger images see `sampled_dct`.

    Examples
    --------
    >>> X = odl.uniform_discr([0, 0], [1, 1], (8, 8))
    >>> A = ogr.gaussian_sensing(X, num_measurements=20, seed=1)
    >>> A.range, A.matrix.shape
    (rn(20), torch.Size([20, 64]))
    >>> same = ogr.gaussian_sensing(X, num_measurements=20, seed=1)
    >>> torch.equal(A.matrix, same.matrix)
    True
    """
    check_image_space(image_space)
    check_count(num_measurements, "num_measurements")
    if not math.isfinite(std) or std <= 0:
        raise ValueError(
            f"`std` must be a positive number, got {std!r}; use 1 / sqrt(m) to keep "
            "the norm of images."
        )
    shape = (num_measurements, image_space.size)
    return MatrixSensing(
        image_space, std * np.random.default_rng(seed).normal(size=shape)
    )


def sampled_dct(image_space, num_measurements: int, seed: int = 0) -> SampledTransform:
    """Return samples of the cosine transform of images with random signs.

        ``A x = (C_n (s * x) C_k^T)[mask]``,    ``s_ij = +-1``

    with the orthonormal cosine transforms ``C`` (DCT-II) of ``n`` by ``k`` pixels. The
    random signs ``s`` spread each image over all coefficients, so that a choice of
    them at random, without repetition, is as good as a random matrix.

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` in two dimensions, float32 or float64.
    num_measurements : positive int
        Number of the samples, at most that of the pixels.
    seed : int, optional
        Seed of the signs and of the choice of samples.

    Examples
    --------
    All samples keep the norm of an image:

    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 3), weighting=1.0)
    >>> A = ogr.sampled_dct(X, num_measurements=6)
    >>> round(float(A([[1.0, 2.0, 2.0], [0.0, 0.0, 4.0]]).norm()), 12)
    5.0
    """
    check_image_space(image_space)
    matrices = [
        scipy.fft.dct(np.eye(n), axis=0, norm="ortho") for n in image_space.shape
    ]
    return _sampled(image_space, matrices, num_measurements, seed)


def sampled_hadamard(
    image_space, num_measurements: int, seed: int = 0
) -> SampledTransform:
    """Return samples of the Hadamard transform of images with random signs.

        ``A x = (H_n (s * x) H_k^T)[mask]``,    ``s_ij = +-1``

    with the orthonormal Hadamard transforms ``H``, whose entries are ``+-1/sqrt(n)``:
    patterns of a single-pixel camera, which are either open or closed.

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` in two dimensions with sides that are powers of two, float32 or
        float64.
    num_measurements : positive int
        Number of the samples, at most that of the pixels.
    seed : int, optional
        Seed of the signs and of the choice of samples.

    Examples
    --------
    Each pixel has the same part in each sample, up to signs:

    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
    >>> A = ogr.sampled_hadamard(X, num_measurements=3)
    >>> np.abs(A([[4.0, 0.0], [0.0, 0.0]]).asarray()).round(12)
    array([ 2.,  2.,  2.])
    """
    check_image_space(image_space)
    if any(n & (n - 1) for n in image_space.shape):
        raise ValueError(
            "`image_space` must have sides that are powers of two, got "
            f"{tuple(image_space.shape)}; use `sampled_dct`."
        )
    matrices = [scipy.linalg.hadamard(n) / math.sqrt(n) for n in image_space.shape]
    return _sampled(image_space, matrices, num_measurements, seed)


def _sampled(X, matrices, num_measurements, seed):
    """Sample a transform along the rows and columns of signed images."""
    check_count(num_measurements, "num_measurements", most=X.size)
    source = np.random.default_rng(seed)
    signs = source.choice([-1.0, 1.0], size=X.shape)
    mask = np.zeros(X.size, dtype=bool)
    mask[source.choice(X.size, num_measurements, replace=False)] = True
    left, right, signs = (
        torch.from_numpy(array).to(torch_device(X), torch_dtype(X))
        for array in (*matrices, signs)
    )

    def forward(x):
        return left @ (signs * x) @ right.T

    def backward(c):
        return signs * (left.T @ c @ right)

    return SampledTransform(X, mask.reshape(X.shape), forward, backward)
