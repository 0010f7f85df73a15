# SPDX-License-Identifier: MPL-2.0
"""A: the convolution of images with a kernel, the model of blur."""

import numpy as np
import scipy.fft
import torch

from ..torch_bridge import NormalSpectrum, normal_spectrum, torch_device, torch_dtype
from .batch_operator import BatchOperator
from .image_space import check_image_space

__all__ = ("Convolution",)

BOUNDARIES = ("zero", "periodic")


class Convolution(BatchOperator):
    """Convolution ``A : X -> X`` of images with a kernel.

        ``(A x)_i = sum_j k_j x_{i - j}``

    with pixels ``i`` and offsets ``j`` from the center of the kernel, the entry
    ``(n // 2, m // 2)`` of its ``n`` by ``m``. Outside of the image is 0 or, if the
    boundary is periodic, the image again.

    Notes
    -----
    The sum counts pixels, whatever their size. It is computed by the real FFT; for the
    boundary of zeros the images are padded first, so nothing wraps around.
    """

    def __init__(self, image_space, kernel, boundary: str = "zero"):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace`
            Space ``X`` in two dimensions, float32 or float64.
        kernel : array-like
            Array ``k`` in two dimensions, not larger than the images, of odd or even
            sides; see `gaussian_kernel` and `motion_kernel`.
        boundary : {'zero', 'periodic'}, optional
            What continues the images.

        Raises
        ------
        TypeError, ValueError
            If something above does not hold.

        Examples
        --------
        The next pixel to the left, by a kernel whose center is its second entry:

        >>> X = odl.uniform_discr([0, 0], [1, 3], (1, 3))
        >>> A = ogr.Convolution(X, [[0.0, 0.0, 1.0]])
        >>> A([[1.0, 2.0, 3.0]]).asarray().round(12)
        array([[ 0.,  1.,  2.]])
        >>> A.adjoint([[1.0, 2.0, 3.0]]).asarray().round(12)
        array([[ 2.,  3.,  0.]])
        """
        check_image_space(image_space)
        kernel = _checked(kernel, image_space, boundary)
        super().__init__(image_space, image_space)
        self.boundary = boundary
        self._kernel, self._sides = kernel, tuple(image_space.shape)
        if boundary == "zero":
            # Beyond the image by the reach of the kernel; what wraps stays there.
            self._sides = tuple(
                scipy.fft.next_fast_len(n + k // 2, real=True)
                for n, k in zip(image_space.shape, kernel.shape, strict=True)
            )
        response = np.fft.rfft2(_around_origin(kernel, self._sides))
        complex_dtype = torch_dtype(image_space).to_complex()
        self._response = torch.from_numpy(response).to(
            torch_device(image_space), complex_dtype
        )

    @property
    def kernel(self) -> np.ndarray:
        """A copy of the kernel."""
        return self._kernel.copy()

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolutions of images ``(batch, *X.shape)``."""
        return self._filtered(x, self._response)

    def batch_transpose(self, y: torch.Tensor) -> torch.Tensor:
        """Return the correlations ``sum_j k_j y_{i + j}``."""
        return self._filtered(y, self._response.conj())

    def _filtered(self, x, response):
        n, m = self.domain.shape
        spectrum = response * torch.fft.rfft2(x, s=self._sides)
        return torch.fft.irfft2(spectrum, s=self._sides)[..., :n, :m].contiguous()


@normal_spectrum.register
def _(operator: Convolution):
    """``A^T A = F^H |k_hat|^2 F`` for the periodic boundary."""
    if operator.boundary != "periodic":
        return None
    X = operator.domain
    response = np.fft.fft2(_around_origin(operator.kernel, X.shape))
    eigenvalues = torch.from_numpy(np.abs(response) ** 2)

    def forward(x):
        return torch.fft.fft2(x, norm="ortho")

    def backward(x):
        return torch.fft.ifft2(x, norm="ortho").real

    return NormalSpectrum(
        forward, backward, eigenvalues.to(torch_device(X), torch_dtype(X))
    )


def _around_origin(kernel, sides):
    """Return a periodic array of given sides, the center of the kernel at 0."""
    n, m = kernel.shape
    array = np.zeros(sides)
    array[:n, :m] = kernel
    return np.roll(array, (-(n // 2), -(m // 2)), axis=(0, 1))


def _checked(kernel, X, boundary):
    if boundary not in BOUNDARIES:
        raise ValueError(
            f"`boundary` must be one of {', '.join(map(repr, BOUNDARIES))}, got "
            f"{boundary!r}; use 'zero' for images that end in their background."
        )
    kernel = np.array(kernel, dtype="float64")
    if kernel.ndim != 2 or not kernel.size:
        raise ValueError(
            "`kernel` must be an array in two dimensions with at least one entry, got "
            f"shape {kernel.shape}; use `gaussian_kernel` or `motion_kernel`."
        )
    if any(k > n for k, n in zip(kernel.shape, X.shape, strict=True)):
        raise ValueError(
            f"`kernel` must not be larger than the images, {tuple(X.shape)}, got "
            f"{kernel.shape}; crop it, or use a smaller width."
        )
    if not np.isfinite(kernel).all():
        raise ValueError(
            "`kernel` must be finite, got NaN or infinity; look at how it was computed."
        )
    return kernel
