# SPDX-License-Identifier: MPL-2.0
"""Orthonormal wavelets of periodic images, as batched torch functions."""

import numpy as np
import torch

__all__ = ("PeriodicWavelets",)


class PeriodicWavelets:
    """Orthonormal wavelet transform ``W`` of images that go on periodically.

    Each level splits what the level before left of the image, in every axis, into
    averages and details of half as many samples; the averages stand first. That of one
    axis is an orthogonal matrix, which PyWavelets gives (``mode='periodization'``) and
    torch multiplies: on any device, in any precision, with derivatives.
    """

    def __init__(
        self, shape, wavelet: str = "db4", level: int | None = None, device="cpu"
    ):
        """Initialize a new instance.

        Parameters
        ----------
        shape : sequence of int
            Shape of the images.
        wavelet : str, optional
            Name of an orthogonal wavelet of PyWavelets.
        level : positive int, optional
            Number of levels; all sizes are multiples of ``2^level``. Default: the
            largest of these for which no size falls below the length of the filter,
            at least 1.
        device : torch.device, optional
            Device of the images.

        Raises
        ------
        ImportError
            If PyWavelets is not installed.
        ValueError
            If the wavelet is not orthogonal, or the sizes do not suit the level.

        Examples
        --------
        >>> from odl_genreg.evaluation.periodic_wavelets import PeriodicWavelets
        >>> W = PeriodicWavelets((4,), "haar", level=1)
        >>> x = torch.tensor([[1.0, 3.0, 5.0, 5.0]])
        >>> (2**0.5 * W.forward(x)).round()  # sums, then differences, of each pair
        tensor([[ 4., 10., -2.,  0.]])
        """
        pywt = _pywt()
        self.shape, self.wavelet = tuple(shape), wavelet
        length = _checked_filter_length(pywt, wavelet)
        self.level = _checked_level(self.shape, level, length)
        self._by_dtype = {}
        self._matrices = [
            [
                torch.from_numpy(_one_level(pywt, size >> l, wavelet)).to(device)
                for size in self.shape
            ]
            for l in range(self.level)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``W x`` of images ``(batch, *shape)``, of the same shape."""
        coefficients = x.clone()
        for l, matrices in enumerate(self._matrices_of(x.dtype)):
            block = self._block(l)
            coefficients[block] = _along_axes(coefficients[block], matrices)
        return coefficients

    def inverse(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return ``W^{-1} c = W^T c``."""
        x = coefficients.clone()
        for l, matrices in reversed([*enumerate(self._matrices_of(x.dtype))]):
            block = self._block(l)
            x[block] = _along_axes(x[block], [matrix.T for matrix in matrices])
        return x

    def details(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return ``c`` with 0 for the averages that the last level leaves."""
        details = coefficients.clone()
        details[self._block(self.level)] = 0
        return details

    def _block(self, l):
        """Index of the averages after ``l`` levels, in a batch."""
        return (slice(None), *(slice(size >> l) for size in self.shape))

    def _matrices_of(self, dtype):
        if dtype not in self._by_dtype:
            self._by_dtype[dtype] = [
                [matrix.to(dtype) for matrix in level] for level in self._matrices
            ]
        return self._by_dtype[dtype]


def _along_axes(x, matrices):
    """Multiply a matrix along each axis but the first."""
    for axis, matrix in enumerate(matrices, start=1):
        x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return x


def _one_level(pywt, size, wavelet):
    """Return the matrix of one level in one axis."""
    return np.concatenate(pywt.dwt(np.eye(size), wavelet, mode="periodization", axis=0))


def _pywt():
    try:
        import pywt
    except ImportError as error:
        raise ImportError(
            "`pywt` must be installed for wavelets, got an ImportError; "
            "use `pip install odl_genreg[wavelets]`."
        ) from error
    return pywt


def _checked_filter_length(pywt, wavelet):
    """Return the length of the filters of a wavelet that is orthogonal."""
    known = wavelet in pywt.wavelist(kind="discrete")
    # PyWavelets calls "dmey" orthogonal, which it is up to 6e-4.
    if not known or not pywt.Wavelet(wavelet).orthogonal or wavelet == "dmey":
        raise ValueError(
            "`wavelet` must be the name of an orthogonal wavelet of PyWavelets, got "
            f"{wavelet!r}; use 'haar', 'db4' or 'sym8' for example."
        )
    return pywt.Wavelet(wavelet).dec_len


def _checked_level(shape, level, filter_length):
    """Return the number of levels, that by default if it is None."""
    most = min((size & -size).bit_length() - 1 for size in shape)
    if most == 0 or (level is not None and not 1 <= level <= most):
        received = f"shape {shape}" + ("" if level is None else f" and {level} levels")
        raise ValueError(
            "`level` must be at least 1, and all sizes multiples of 2^level, got "
            f"{received}; " + (f"at most {most}." if most else "pad to even sizes.")
        )
    if level is not None:
        return int(level)
    sensible = (min(shape) // (filter_length - 1)).bit_length() - 1
    return max(1, min(most, sensible))
