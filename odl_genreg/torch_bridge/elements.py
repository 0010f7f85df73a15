# SPDX-License-Identifier: MPL-2.0
"""ODL elements as torch tensors and back, without a copy where memory allows it."""

import numpy as np
import odl
import torch

__all__ = (
    "as_element",
    "as_tensor",
    "space_name",
    "torch_device",
    "torch_dtype",
    "weight",
)


def weight(space) -> float:
    """Return ``w`` of the inner product ``<x, y> = w * sum_i x_i y_i`` of a space.

    Parameters
    ----------
    space : `TensorSpace`, `DiscretizedSpace` or a power of one
        Space with a constant weighting: the cell volume of a
        `uniform_discr`, 1 for ``odl.rn(n)``.

    Raises
    ------
    ValueError
        If the weighting of ``space`` is not constant.

    Examples
    --------
    >>> ogr.torch_bridge.weight(odl.uniform_discr([0, 0], [1, 1], (2, 4)))
    0.125
    """
    const = getattr(getattr(space, "weighting", None), "const", None)
    power = isinstance(space, odl.ProductSpace)
    if const is None or (power and not space.is_power_space):
        raise ValueError(
            f"`space` must have a constant weighting, got {space!r}; "
            "use `odl.uniform_discr` or `odl.rn` with `weighting` a number."
        )
    return float(const) * (weight(space[0]) if power else 1.0)


def torch_dtype(space) -> torch.dtype:
    """Return the torch dtype of the elements of a space or a power of one."""
    return getattr(torch, _base(space).dtype_identifier)


def torch_device(space) -> torch.device:
    """Return the torch device of the elements of a space or a power of one."""
    return torch.device(_base(space).device)


def space_name(space) -> str:
    """Return a space as errors name it, with the device that ODL may leave out.

    Examples
    --------
    >>> ogr.torch_bridge.space_name(odl.rn(2))
    'rn(2) on cpu'
    """
    device = getattr(_base(space), "device", None)
    return repr(space) if device is None else f"{space!r} on {device}"


def _base(space):
    return space[0] if isinstance(space, odl.ProductSpace) else space


def as_tensor(x) -> torch.Tensor:
    """Return the tensor that shares memory with the element ``x``.

    Parameters
    ----------
    x : `LinearSpaceElement`
        Element of a space with ``impl='numpy'`` or ``impl='pytorch'``, or of a power
        of such a space.

    Returns
    -------
    tensor : torch.Tensor
        Detached tensor of the shape, dtype and device of ``x``. Powers, read-only and
        negatively strided arrays are copied, everything else is shared.

    Examples
    --------
    >>> x = odl.rn(2).element([1.0, 2.0])
    >>> ogr.torch_bridge.as_tensor(x).mul_(3)
    tensor([3., 6.], dtype=torch.float64)
    >>> x
    rn(2).element([ 3.,  6.])
    """
    if isinstance(x.space, odl.ProductSpace):
        return torch.stack([as_tensor(part) for part in x])
    data = x.data
    if isinstance(data, torch.Tensor):
        return data.detach()
    if not data.flags.writeable or min(data.strides, default=0) < 0:
        data = np.array(data)
    return torch.from_numpy(data)


def as_element(space, tensor: torch.Tensor):
    """Return the element of ``space`` that shares memory with ``tensor``.

    Parameters
    ----------
    space : `TensorSpace`, `DiscretizedSpace` or a power of one
        Space of the element.
    tensor : torch.Tensor
        Tensor with the shape, dtype and device of ``space``.

    Raises
    ------
    ValueError
        If shape, dtype or device of ``tensor`` are not those of ``space``.

    Examples
    --------
    >>> ogr.torch_bridge.as_element(odl.rn(2), torch.zeros(2, dtype=torch.float64))
    rn(2).element([ 0.,  0.])
    """
    received = (tuple(tensor.shape), tensor.dtype, tensor.device)
    expected = (space.shape, torch_dtype(space), torch_device(space))
    if received != expected:
        raise ValueError(
            f"`tensor` must have shape, dtype and device {expected} of `space`, "
            f"got {received}; convert it with `reshape` and `to`."
        )
    if isinstance(space, odl.ProductSpace):
        return space.element([as_element(space[0], part) for part in tensor])
    tensor = tensor.detach()
    return space.element(tensor.numpy() if space.impl == "numpy" else tensor)
