# SPDX-License-Identifier: MPL-2.0
"""Data of one or several images as one tensor."""

import torch

from ..data_fidelity import checked_data
from ..torch_bridge import as_tensor

__all__ = ("data_stack", "is_several")


def is_several(data, data_space) -> bool:
    """Tell data of several images from an element of ``Y`` or an array of its shape.

    Examples
    --------
    >>> from odl_genreg.evaluation.data_stack import is_several
    >>> Y = odl.rn(2)
    >>> is_several(Y.zero(), Y), is_several(np.zeros(2), Y), is_several([Y.zero()], Y)
    (False, False, True)
    """
    shape = getattr(data, "shape", None)
    return data not in data_space and (shape is None or shape != data_space.shape)


def data_stack(data, data_space) -> torch.Tensor:
    """Return data of several images as a tensor ``(batch, *Y.shape)``.

    Examples
    --------
    >>> from odl_genreg.evaluation.data_stack import data_stack
    >>> data_stack([[1.0, 2.0]], odl.rn(2))
    tensor([[1., 2.]], dtype=torch.float64)
    """
    if not is_several(data, data_space) or len(data) == 0:
        received = "an empty one" if len(data) == 0 else "one element"
        raise ValueError(
            "`data` must be a sequence of elements of Y or an array (B, *Y.shape), "
            f"got {received}; put a single one in brackets."
        )
    return torch.stack([as_tensor(checked_data(y, data_space)) for y in data])
