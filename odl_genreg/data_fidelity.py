# SPDX-License-Identifier: MPL-2.0
"""D: how well an image explains the data, as ODL functionals."""

import numpy as np
import odl
import torch
from odl.functionals.functional import FunctionalComp

from .torch_bridge import as_tensor, space_name, torch_device, torch_dtype

__all__ = ("DataFidelity", "checked_data")


class DataFidelity(FunctionalComp):
    """Data fidelity ``D(x) = on_data(A x)``, a negative log-likelihood.

    A `FunctionalComp` that remembers its parts: `operator` ``A``, `data` ``y``,
    `noise_std`, and `on_data`, the functional on ``Y`` that primal-dual solvers take.
    """

    def __init__(
        self, operator, data, on_data, noise_std: float | None = None, rebuild=None
    ):
        """Initialize a new instance.

        Parameters
        ----------
        operator : `Operator`
            Forward operator ``A : X -> Y``.
        data : `LinearSpaceElement`
            Element of ``operator.range``.
        on_data : `Functional`
            Functional on ``operator.range``.
        noise_std : positive float, optional
            Standard deviation of the noise of each real datum, where it is Gaussian.
        rebuild : callable, optional
            Function that returns the data fidelity of other data, for `with_data`.
        """
        super().__init__(on_data, operator)
        self._rebuild = rebuild
        self.operator = operator
        self.data = data
        self.on_data = on_data
        self.noise_std = noise_std

    def with_data(self, data):
        """Return the same data fidelity for other data, an element of ``Y``.

        Raises
        ------
        NotImplementedError
            If it was built without `rebuild`.
        """
        if self._rebuild is None:
            raise NotImplementedError(
                "`rebuild` must be given to exchange the data, got a "
                f"{type(self).__name__} without; build one for each data."
            )
        return self._rebuild(data)


def checked_data(data, data_space):
    """Return ``data`` as an element of ``Y`` after a look at shape and values."""
    if torch_dtype(data_space).is_complex:
        raise ValueError(
            f"`operator.range` must be real, got {data_space!r}; take real and "
            "imaginary part as two components."
        )
    if isinstance(data, odl.core.set.space.LinearSpaceElement):
        if data not in data_space:
            raise ValueError(
                f"`data` must be an element of `operator.range` "
                f"{space_name(data_space)}, got one of {space_name(data.space)}; use "
                "`operator.range.element(data)`."
            )
    else:
        if tuple(np.shape(data)) != data_space.shape:
            raise ValueError(
                f"`data` must have the shape {data_space.shape} of `operator.range`, "
                f"got {tuple(np.shape(data))}; reshape it."
            )
        if isinstance(data, torch.Tensor) and data.device != torch_device(data_space):
            raise ValueError(
                f"`data` must be on the device {torch_device(data_space)} of "
                f"`operator.range`, got a tensor on {data.device}; move it with `to`."
            )
        data = data_space.element(data)
    if not bool(as_tensor(data).isfinite().all()):
        raise ValueError(
            "`data` must be finite, got NaN or inf; remove or mask those values."
        )
    return data
