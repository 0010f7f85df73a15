# SPDX-License-Identifier: MPL-2.0
"""From real tensors of images to what receive coils see, and back."""

import numpy as np
import odl
import torch

from ..torch_bridge import torch_device, torch_dtype
from .image_space import vector_space

__all__ = ("Coils",)


class Coils:
    """Complex images ``s_c x`` that coils ``c`` see, of real or complex images ``x``.

    Complex images are elements of ``U ** 2``, real and imaginary part, with the real
    inner product ``Re <x, y>``. Without sensitivities there is one coil, ``s = 1``.
    Everything is batched; `combine` is the transpose of `expand` in real plain sums.
    """

    def __init__(self, image_space, sensitivities=None):
        """Initialize a new instance.

        Parameters
        ----------
        image_space : `DiscretizedSpace` or its power ``U ** 2``
            Space of real images in two dimensions, or of complex ones.
        sensitivities : complex `array-like`, optional
            Sensitivities ``s``, of shape ``(number of coils, n, m)``.

        Raises
        ------
        TypeError
            If ``image_space`` is of another kind.
        ValueError
            If ``sensitivities`` have a wrong shape or a value that is not finite.

        Examples
        --------
        >>> X = odl.uniform_discr([0, 0], [1, 1], (1, 1))
        >>> coils = ogr.forward_operators.Coils(X, [[[1.0]], [[1j]]])
        >>> coils.expand(torch.tensor([[[3.0]]])).flatten()
        tensor([3.+0.j, 0.+3.j], dtype=torch.complex128)
        """
        power = isinstance(image_space, odl.ProductSpace)
        grid = image_space[0] if power and len(image_space) == 2 else image_space
        flat = isinstance(grid, odl.DiscretizedSpace) and grid.ndim == 2
        if not flat or (power and not image_space.is_power_space):
            raise TypeError(
                "`image_space` must be a discretized space in 2 dimensions, or its "
                f"power 2 for complex images, got {image_space!r}; use "
                "`odl.uniform_discr`."
            )
        if torch_dtype(grid).is_complex:
            raise TypeError(
                f"`image_space` must be real, got dtype {grid.dtype_identifier}; use "
                "`U ** 2` with a real space U for complex images."
            )
        self._grid, self.shape = grid, grid.shape
        #: Whether images are complex.
        self.is_complex = power
        #: The sensitivities as a tensor, or None.
        self.sensitivities = None
        if sensitivities is not None:
            maps = np.asarray(sensitivities)
            if maps.ndim != 3 or maps.shape[1:] != self.shape or len(maps) == 0:
                raise ValueError(
                    f"`sensitivities` must have shape (coils, {self.shape[0]}, "
                    f"{self.shape[1]}), got {maps.shape}; put a single one in brackets."
                )
            if not np.isfinite(maps).all():
                raise ValueError(
                    "`sensitivities` must be finite, got NaN or inf; set them to 0 "
                    "outside of the object."
                )
            maps = torch.from_numpy(maps.astype("complex128"))
            dtype = torch_dtype(grid).to_complex()
            self.sensitivities = maps.to(torch_device(grid), dtype)

    def data_space(self, num_samples: int):
        """Return ``Y``: real and imaginary part of the samples that each coil takes.

        ``odl.rn((2, num_samples))``, or ``odl.rn((coils, 2, num_samples))`` with
        sensitivities; dtype, impl and device are those of the images.
        """
        coils = () if self.number is None else (self.number,)
        return vector_space(self._grid, (*coils, 2, num_samples))

    @property
    def number(self) -> int | None:
        """Number of coils; None without sensitivities."""
        return None if self.sensitivities is None else len(self.sensitivities)

    def expand(self, x: torch.Tensor) -> torch.Tensor:
        """Map images ``(batch, *X.shape)`` to those of the coils.

        They are complex, or real where nothing makes them complex, of the shape
        ``(batch, coils, n, m)``.
        """
        image = torch.complex(*x.unbind(1)) if self.is_complex else x
        image = image[:, None]
        return image if self.sensitivities is None else self.sensitivities * image

    def combine(self, u: torch.Tensor) -> torch.Tensor:
        """Map complex ``(batch, coils, n, m)`` to images: ``sum_c conj(s_c) u_c``."""
        if self.sensitivities is not None:
            u = self.sensitivities.conj() * u
        total = u.sum(1)
        if self.is_complex:
            return torch.stack([total.real, total.imag], dim=1)
        return total.real if total.is_complex() else total
