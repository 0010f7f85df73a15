# SPDX-License-Identifier: MPL-2.0
"""A problem of a study: operator, noise, images to choose on and images to report."""

import dataclasses
import functools

import numpy as np
import odl
import torch

from odl_genreg import squared_l2
from odl_genreg.torch_bridge import LinearMap, as_element, torch_dtype


@dataclasses.dataclass
class Problem:
    """Images, how they are measured, and the noise.

    Parameters
    ----------
    name : str
        Name in tables and files.
    operator : linear `odl.Operator`
        Forward operator ``A : X -> Y``.
    noise_std : float
        Standard deviation of each real datum.
    selection, reported : numpy.ndarray
        True images ``(number, *X.shape)``: those on which weights are chosen, and
        those that the study reports. They have none in common.
    bounds : pair of float, optional
        Values that images can have; given to every method that takes bounds.
    seed : int, optional
        Seed of the noise. Each image has its own noise, which depends on its number
        alone.
    """

    name: str
    operator: odl.Operator
    noise_std: float
    selection: np.ndarray
    reported: np.ndarray
    bounds: tuple[float, float] | None = (0.0, 1.0)
    seed: int = 0

    @property
    def fidelity(self):
        """``D`` with data 0; methods are given the data apart."""
        return squared_l2(self.operator, self.operator.range.zero(), self.noise_std)

    @functools.cached_property
    def selection_data(self) -> list:
        """Data of the images of the selection, elements of ``Y``."""
        return self._measure(self.selection, 0)

    @functools.cached_property
    def reported_data(self) -> list:
        """Data of the reported images, elements of ``Y``."""
        return self._measure(self.reported, 1)

    def _measure(self, images, part):
        A, Y = LinearMap(self.operator), self.operator.range
        x = torch.from_numpy(np.asarray(images)).to(torch_dtype(A.domain))
        data = []
        for number, y in enumerate(A(x)):
            source = np.random.default_rng([self.seed, part, number])
            noise = self.noise_std * source.normal(size=Y.shape)
            data.append(as_element(Y, y + torch.from_numpy(noise).to(y.dtype)))
        return data
