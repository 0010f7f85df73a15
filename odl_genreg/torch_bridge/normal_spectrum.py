# SPDX-License-Identifier: MPL-2.0
"""``A^T A`` of operators that a fast transform diagonalizes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import odl
import torch
from odl.core.operator.operator import (
    OperatorLeftScalarMult,
    OperatorRightScalarMult,
)

__all__ = ("NormalSpectrum", "normal_spectrum")


class NormalSpectrum(NamedTuple):
    """``A^T A = U^H diag(eigenvalues) U`` with unitary ``U``, in plain sums."""

    #: ``U``, a function of images ``(batch, *X.shape)``.
    forward: Callable
    #: ``U^H``, with values in the real images.
    backward: Callable
    #: Real tensor that multiplies values of `forward`.
    eigenvalues: torch.Tensor

    def apply(self, function: Callable, x: torch.Tensor) -> torch.Tensor:
        """Return ``f(A^T A) x`` for a function ``f`` of the eigenvalues."""
        return self.backward(function(self.eigenvalues) * self.forward(x))


@functools.singledispatch
def normal_spectrum(operator) -> NormalSpectrum | None:
    """Return the spectrum of ``A^T A`` if a fast transform gives it, else None.

    A generic function (`functools.singledispatch`): register the class of an operator
    whose ``A^T A`` is diagonal in a basis that is cheap to reach, such as a convolution
    in that of Fourier.

    Parameters
    ----------
    operator : linear `Operator`
        Operator ``A : X -> Y`` between spaces with constant weightings.

    Examples
    --------
    ``(3 I)^T (3 I)`` has the eigenvalue 9:

    >>> spectrum = ogr.torch_bridge.normal_spectrum(3 * odl.IdentityOperator(odl.rn(2)))
    >>> x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    >>> spectrum.apply(lambda t: 1 / (t + 1), x)
    tensor([[0.1000, 0.2000]], dtype=torch.float64)
    """
    return None


@normal_spectrum.register
def _(operator: odl.IdentityOperator):
    return NormalSpectrum(torch.clone, torch.clone, torch.ones(()))


@normal_spectrum.register(OperatorLeftScalarMult)
@normal_spectrum.register(OperatorRightScalarMult)
def _(operator):
    spectrum = normal_spectrum(operator.operator)
    if spectrum is None:
        return None
    square = float(operator.scalar) ** 2
    return spectrum._replace(eigenvalues=square * spectrum.eigenvalues)
