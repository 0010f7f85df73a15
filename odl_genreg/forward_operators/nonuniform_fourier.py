# SPDX-License-Identifier: MPL-2.0
"""A: samples of k-space off its grid, by the nonuniform fast Fourier transform."""

import math

import numpy as np
import torch

from ..torch_bridge import torch_device, torch_dtype
from .coils import Coils
from .fourier import KSpaceOperator

__all__ = ("NonuniformFourier",)

# Relative accuracy of the transform in single and in double precision.
ACCURACY = {torch.float32: 1e-6, torch.float64: 1e-13}


class NonuniformFourier(KSpaceOperator):
    """Fourier transform at any points of k-space, radial lines for example.

        ``(F u)_k = (n m)^{-1/2} sum_j exp(-i <omega_k, j>) u_j``

    with pixels ``j`` counted from the center ``(n // 2, m // 2)``. At the points of the
    grid, ``omega = 2 pi (k_1 / n, k_2 / m)``, it is a `MaskedFourier`.

    Notes
    -----
    The sums are those of FINUFFT [BMK2019], on the CPU, with a relative accuracy of
    1e-6 in float32 and 1e-13 in float64; adjoints are exact up to that.

    References
    ----------
    [BMK2019] Barnett A H, Magland J, and af Klinteberg L. *A parallel nonuniform fast
    Fourier transform library based on an "exponential of semicircle" kernel.* SIAM
    Journal on Scientific Computing, 2019.
    """

    def __init__(self, image_space, points, sensitivities=None):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace` or its power ``U ** 2``
            Space ``X`` of real images in two dimensions, or of complex ones, their
            real and imaginary part; on the CPU.
        points : `array-like`
            Points ``omega``, ``(number, 2)``, in rad per pixel along the two axes; see
            `radial_trajectory`. Frequencies are ``2 pi``-periodic.
        sensitivities : complex `array-like`, optional
            Sensitivities of the coils, ``(coils, n, m)``.

        Raises
        ------
        ImportError
            If finufft is not installed.
        TypeError, ValueError
            If an argument does not fit the others.

        Examples
        --------
        The sum of four ones, times 1/2:

        >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
        >>> A = ogr.NonuniformFourier(X, [[0.0, 0.0]])
        >>> A(X.one()).asarray().round(9) + 0.0
        array([[ 2.],
               [ 0.]])
        """
        points = np.asarray(points, dtype="float64")
        grid = Coils(image_space)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise ValueError(
                f"`points` must have shape (number, 2), got {points.shape}; use "
                "`radial_trajectory(shape, num_lines)`."
            )
        if not np.isfinite(points).all():
            raise ValueError(
                "`points` must be finite, got NaN or inf; give angular frequencies in "
                "rad per pixel."
            )
        try:
            import finufft
        except ImportError as error:
            raise ImportError(
                "`finufft` must be installed for points off the grid, got an "
                "ImportError; use `pip install odl_genreg[mri]`, or `MaskedFourier` "
                "with the nearest points of the grid."
            ) from error
        super().__init__(image_space, len(points), sensitivities)
        if torch_device(self.range).type != "cpu":
            raise ValueError(
                "`image_space` must be on the CPU for points off the grid, got device "
                f"{torch_device(self.range)}; use `MaskedFourier` on a GPU."
            )
        self.points, self._shape = points, grid.shape
        dtype = torch_dtype(self.range)
        real = np.float32 if dtype == torch.float32 else np.float64
        self._complex = dtype.to_complex()
        wrapped = np.mod(points + math.pi, 2 * math.pi) - math.pi
        self._axes = [np.ascontiguousarray(axis, dtype=real) for axis in wrapped.T]
        self._scale, self._accuracy = (
            1 / math.sqrt(math.prod(grid.shape)),
            ACCURACY[dtype],
        )
        self._finufft = finufft

    def sample(self, u):
        """Map images ``(batch, coils, n, m)`` to ``(batch, coils, num_samples)``."""
        modes = u.to(self._complex).flatten(0, 1).numpy()
        k = self._finufft.nufft2d2(*self._axes, modes, eps=self._accuracy, isign=-1)
        k = torch.from_numpy(k).reshape(*u.shape[:2], -1)
        return self._scale * k

    def spread(self, k):
        """Map samples ``(batch, coils, num_samples)`` to ``(batch, coils, n, m)``."""
        strengths = k.to(self._complex).flatten(0, 1).contiguous().numpy()
        u = self._finufft.nufft2d1(
            *self._axes, strengths, self._shape, eps=self._accuracy, isign=1
        )
        return self._scale * torch.from_numpy(u).reshape(*k.shape[:2], *self._shape)
