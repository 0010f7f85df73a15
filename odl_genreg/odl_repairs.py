# SPDX-License-Identifier: MPL-2.0
"""Repairs of ODL 1.0.0, without which its torch spaces and step sizes do not work.

=======================  ===============================================
`BackendLookup`          inner products in torch spaces take milliseconds
                         to seconds
`NumpyScalarProduct`     ``np.float64(2) * x`` raises an error, and with it
                         automatic step sizes
=======================  ===============================================

Each repair probes for its defect first and leaves a healthy ODL alone. The environment
variable ``ODL_GENREG_REPAIRS`` chooses: unset or ``1`` all of them, ``0`` none, or
names separated by commas, such as ``backend_lookup,numpy_scalar_product``.
"""

import functools
import os
import sys

import numpy as np
import odl
import torch
from odl.core.array_API_support import utils as array_utils
from odl.core.set.space import LinearSpaceElement

__all__ = ("REPAIRS", "BackendLookup", "NumpyScalarProduct", "apply_repairs")

VARIABLE = "ODL_GENREG_REPAIRS"


class BackendLookup:
    """Find the backend of an array by its type alone.

    Notes
    -----
    *Symptom.* ``x.inner(y)`` and ``x.norm()`` in a space with ``impl='pytorch'`` take
    from 10 ms to seconds; on a GPU each call also copies the tensor to the host.

    *Cause.* ``get_array_and_backend(tensor)`` asks whether the tensor is one of numpy's
    dtypes. Each comparison ``np.dtype == tensor`` fails with an error whose text holds
    ``repr(tensor)``, and the error is dropped.

    *Repair.* The type of the array is compared with all backends first; whatever is no
    array goes to ODL's own function.
    """

    name = "backend_lookup"

    @staticmethod
    def is_needed():
        """Return True if ODL prints a tensor in order to find its backend."""
        probe = torch.zeros(1).as_subclass(_CountsPrints)
        _CountsPrints.count = 0
        array_utils.get_array_and_backend(probe)
        return _CountsPrints.count > 0

    @staticmethod
    def apply():
        """Put the repaired function into every module of ODL that holds ODL's own."""
        stock = array_utils.get_array_and_backend
        backends = array_utils._registered_array_backends

        @functools.wraps(stock)
        def get_array_and_backend(x, must_be_contiguous=False):
            for backend in backends.values():
                if isinstance(x, backend.array_type):
                    array = backend.make_contiguous(x) if must_be_contiguous else x
                    return array, backend
            return stock(x, must_be_contiguous)

        for name, module in tuple(sys.modules.items()):
            # `vars`, because `getattr` may start the import of a lazy module.
            if (
                name.partition(".")[0] == "odl"
                and vars(module).get(stock.__name__) is stock
            ):
                module.get_array_and_backend = get_array_and_backend


class NumpyScalarProduct:
    """Let an element answer ``np.float64(2) * x``.

    Notes
    -----
    *Symptom.* ``RuntimeError: You are trying to convert an ODL object to a plain
    array`` from ``accelerated_proximal_gradient`` (always), from ``pdhg`` and
    ``douglas_rachford_pd`` with automatic step sizes, and from every solver that is
    given ``1 / op.norm(estimate=True)`` as a step.

    *Cause.* The product of a numpy scalar tries to turn the element into an array,
    which ODL 1.0 forbids, and never reaches ``x.__rmul__``.

    *Repair.* ``__array_ufunc__ = None`` on the elements: numpy's documented way to say
    that an object answers binary operators itself. ``np.sin(x)`` stays an error, now a
    `TypeError`.
    """

    name = "numpy_scalar_product"

    @staticmethod
    def is_needed():
        """Return True if a numpy scalar times an element is an error."""
        x = odl.rn(1).one()
        try:
            return np.float64(2.0) * x not in x.space
        except RuntimeError:
            return True

    @staticmethod
    def apply():
        """Make numpy leave binary operators to the elements."""
        LinearSpaceElement.__array_ufunc__ = None


REPAIRS = (BackendLookup, NumpyScalarProduct)

_applied = []


def apply_repairs():
    """Apply the repairs that the installed ODL needs, and return their names.

    Calling it again changes nothing.

    Returns
    -------
    names : tuple of str
        Names of the repairs in force, also those of earlier calls.

    Raises
    ------
    ValueError
        If the environment variable ``ODL_GENREG_REPAIRS`` names an unknown repair.

    Examples
    --------
    >>> names = ogr.odl_repairs.apply_repairs()
    >>> names == ogr.odl_repairs.apply_repairs()
    True
    >>> x = np.float64(2.0) * odl.rn(3).one()
    >>> float(x.inner(x))
    12.0
    """
    chosen = _chosen_names()
    for repair in REPAIRS:
        if repair.name in chosen and repair.name not in _applied and repair.is_needed():
            repair.apply()
            _applied.append(repair.name)
    return tuple(_applied)


def _chosen_names():
    known = {repair.name for repair in REPAIRS}
    setting = os.environ.get(VARIABLE, "").strip()
    if setting in ("", "1"):
        return known
    if setting == "0":
        return set()
    chosen = {name.strip() for name in setting.split(",")}
    if not chosen <= known:
        raise ValueError(
            f"`{VARIABLE}` must be 0, 1 or names out of {', '.join(sorted(known))}, "
            f"separated by commas, got {setting!r}; unset it to apply all repairs."
        )
    return chosen


class _CountsPrints(torch.Tensor):
    """Tensor that counts how often it is printed."""

    count = 0

    def __repr__(self, *, tensor_contents=None):
        type(self).count += 1
        return "probe"
