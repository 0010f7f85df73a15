# SPDX-License-Identifier: MPL-2.0
"""What operators on images demand of the image space, and the space of their data."""

import numpy as np
import odl
from odl.core.discr import DiscretizedSpace

__all__ = ("check_count", "check_image_space", "vector_space")

_DTYPES = ("float32", "float64")


def check_image_space(image_space) -> None:
    """Raise an error unless ``X`` holds real images on a uniform grid.

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` in two dimensions, float32 or float64, weighted by a constant.

    Raises
    ------
    TypeError
        If it is not a discretized space.
    ValueError
        If something else above does not hold.

    Examples
    --------
    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2))
    >>> from odl_genreg.forward_operators.image_space import check_image_space
    >>> check_image_space(X)
    """
    if not isinstance(image_space, DiscretizedSpace):
        raise TypeError(
            "`image_space` must be a discretized space, got "
            f"{type(image_space).__name__}; use `odl.uniform_discr`."
        )
    if image_space.ndim != 2 or not image_space.is_uniform:
        raise ValueError(
            "`image_space` must be uniformly discretized in 2 dimensions, got "
            f"{image_space!r}; use `odl.uniform_discr` with a shape of two sides."
        )
    if image_space.dtype_identifier not in _DTYPES:
        raise ValueError(
            "`image_space` must have dtype float32 or float64, got "
            f"{image_space.dtype_identifier}; build it with dtype='float32'."
        )
    if getattr(image_space.weighting, "const", None) is None:
        raise ValueError(
            "`image_space` must be weighted by a constant, got "
            f"{image_space.weighting}; leave out `weighting` or use a number."
        )


def vector_space(image_space, shape):
    """Return ``Y = R^shape`` with the dtype, impl and device of the images.

    Parameters
    ----------
    image_space : `DiscretizedSpace`
        Space ``X`` of the images.
    shape : positive int or tuple of positive int
        Number of data, or the shape of their array.

    Examples
    --------
    >>> X = odl.uniform_discr([0, 0], [1, 1], (2, 2), dtype="float32")
    >>> from odl_genreg.forward_operators.image_space import vector_space
    >>> vector_space(X, 3)
    rn(3, 'float32')
    """
    X = image_space
    return odl.rn(shape, dtype=X.dtype_identifier, impl=X.impl, device=X.device)


def check_count(count, name: str, most: int | None = None) -> None:
    """Raise an error unless ``count`` is a positive integer, not above ``most``.

    Examples
    --------
    >>> from odl_genreg.forward_operators.image_space import check_count
    >>> check_count(3, "num_measurements", most=4)
    """
    integer = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if not integer or count < 1 or (most is not None and count > most):
        bound = "a positive integer" if most is None else f"an integer in [1, {most}]"
        raise ValueError(
            f"`{name}` must be {bound}, got {count!r}; a quarter of the number of "
            "pixels is usual."
        )
