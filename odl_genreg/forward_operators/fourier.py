# SPDX-License-Identifier: MPL-2.0
"""A: samples of k-space, on its grid."""

import numpy as np
import torch

from ..torch_bridge import NormalSpectrum, normal_spectrum, torch_device
from .batch_operator import BatchOperator
from .coils import Coils

__all__ = ("KSpaceOperator", "MaskedFourier")


class KSpaceOperator(BatchOperator):
    """Samples of the Fourier transform of what coils see, ``x -> (F (s_c x))_c``.

    Subclasses define the transform of complex images, `sample`, and its adjoint,
    `spread`, in plain sums. Data are real and imaginary part of the samples, of nothing
    else: ``Y.size`` counts the real data, and a noise level is that of each of them.
    """

    def __init__(self, image_space, num_samples: int, sensitivities=None):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace` or its power ``U ** 2``
            Space ``X`` of real images in two dimensions, or of complex ones, their
            real and imaginary part.
        num_samples : positive int
            Number of complex samples of each coil.
        sensitivities : complex `array-like`, optional
            Sensitivities of the coils, ``(coils, n, m)``.
        """
        self.coils = Coils(image_space, sensitivities)
        super().__init__(image_space, self.coils.data_space(num_samples))

    def sample(self, u: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, coils, n, m)`` to ``(batch, coils, num_samples)``."""
        raise NotImplementedError

    def spread(self, k: torch.Tensor) -> torch.Tensor:
        """Map samples ``(batch, coils, num_samples)`` to ``(batch, coils, n, m)``."""
        raise NotImplementedError

    def batch(self, x):
        """Map images ``(batch, *X.shape)`` to data ``(batch, *Y.shape)``."""
        y = torch.view_as_real(self.sample(self.coils.expand(x))).mT
        return y[:, 0] if self.coils.number is None else y

    def batch_transpose(self, y):
        """Map data ``(batch, *Y.shape)`` to images ``(batch, *X.shape)``."""
        y = y[:, None] if self.coils.number is None else y
        k = torch.complex(y[:, :, 0].contiguous(), y[:, :, 1].contiguous())
        return self.coils.combine(self.spread(k))


class MaskedFourier(KSpaceOperator):
    """Discrete Fourier transform on some points of the grid of k-space.

        ``(F u)_k = (n m)^{-1/2} sum_j exp(-2 pi i (k_1 j_1 / n + k_2 j_2 / m)) u_j``

    with ``k`` and ``j`` counted from the center ``(n // 2, m // 2)``: orthonormal, and
    centered in both spaces, as data of scanners are. The data space holds the sampled
    values only.

    Notes
    -----
    The adjoint is exact in the inner products of the spaces; that of
    `odl.trafos.FourierTransform` is the inverse instead. Real images have
    ``(F u)_{-k} = conj((F u)_k)``: where the mask holds both, their data are the same
    numbers twice, each with its own noise.

    Of a single coil ``A^T A`` is diagonal in k-space, with the mask as its eigenvalues
    (the mean of the mask and its reflection for real images).
    """

    def __init__(self, image_space, mask, sensitivities=None):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace` or its power ``U ** 2``
            Space ``X`` of real images in two dimensions, or of complex ones, their
            real and imaginary part.
        mask : boolean `array-like`
            The sampled points, ``(n, m)``, with the zero frequency at
            ``(n // 2, m // 2)``; see `radial_mask`, `variable_density_mask` and
            `equispaced_mask`. Data are in its row-major order.
        sensitivities : complex `array-like`, optional
            Sensitivities of the coils, ``(coils, n, m)``.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the others.

        Examples
        --------
        The zero frequency of four ones: ``4 / sqrt(4)``, real.

        >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
        >>> A = ogr.MaskedFourier(X, [[False, False], [False, True]])
        >>> A(X.one()).asarray()
        array([[ 2.],
               [ 0.]])
        """
        mask = np.asarray(mask)
        coils = Coils(image_space)
        if mask.dtype != bool or mask.shape != coils.shape or not mask.any():
            raise ValueError(
                f"`mask` must be a boolean array of shape {coils.shape} with a sampled "
                f"point, got dtype {mask.dtype}, shape {mask.shape} and "
                f"{int(np.count_nonzero(mask))} points; use `radial_mask(shape, "
                "num_lines)`."
            )
        super().__init__(image_space, int(mask.sum()), sensitivities)
        self.mask = mask
        # Where the points of the centered mask stand in the order of the FFT.
        places = np.fft.fftshift(np.arange(mask.size).reshape(mask.shape))
        device = torch_device(self.range)
        self._index = torch.from_numpy(places[mask]).to(device)
        self._grid_mask = torch.from_numpy(np.fft.ifftshift(mask)).to(device)

    def sample(self, u):
        """Map images ``(batch, coils, n, m)`` to ``(batch, coils, num_samples)``."""
        k = _fourier(torch.fft.ifftshift(u, dim=(-2, -1)))
        return k.flatten(-2)[..., self._index]

    def spread(self, k):
        """Map samples ``(batch, coils, num_samples)`` to ``(batch, coils, n, m)``."""
        full = k.new_zeros(*k.shape[:-1], self.mask.size)
        full[..., self._index] = k
        u = torch.fft.ifft2(full.unflatten(-1, self.mask.shape), norm="ortho")
        return torch.fft.fftshift(u, dim=(-2, -1))


@normal_spectrum.register
def _(operator: MaskedFourier):
    """Shifts of the image commute with ``A^T A``: none is needed."""
    coils, mask = operator.coils, operator._grid_mask
    if coils.number is not None:
        return None
    if not coils.is_complex:
        axes = tuple(range(mask.ndim))
        reflected = mask.flip(axes).roll([1] * len(axes), axes)
        mask = (mask.float() + reflected.float()) / 2

    def forward(x):
        return _fourier(coils.expand(x))

    def backward(k):
        return coils.combine(torch.fft.ifft2(k, norm="ortho"))

    return NormalSpectrum(forward, backward, mask)


def _fourier(u):
    return torch.fft.fft2(u, norm="ortho")
