# SPDX-License-Identifier: MPL-2.0
"""ASTRA's GPU kernels as a backend of ODL's ray transform."""

import functools

import astra
import torch

from ..torch_bridge import as_element, as_tensor, weight
from .astra_kernels import SliceKernels, kernels_for

__all__ = ("CudaBackend",)


class CudaBackend:
    """Ray transform by ASTRA's GPU kernels, for single images and batches.

    A backend class for ODL's `RayTransform`, in two and three dimensions:

        ``A x = S x``,    ``A^* y = (w_Y / w_X) S^T y``,

    ``w`` the weights of the inner products. ``S`` follows each ray (interpolation
    between cells), ``S^T`` goes from each cell to the detector (interpolation between
    rays): they are transposes of each other up to discretization only. The exact pair
    is `SparseMatrixBackend`.

    Notes
    -----
    Elements of a space on the GPU are handed to ASTRA as they are, without a copy, and
    results are written where they belong, ``out`` or a new element. A batch of a 2D
    parallel beam geometry is one volume; others go image by image. Elements of a space
    on the CPU work as well; ASTRA copies them to the GPU and back.

    ASTRA's kernels run in streams of their own, after the default stream of torch, and
    have ended when a call returns. Work in other streams is waited for.
    """

    def __init__(self, geometry, vol_space, proj_space):
        """Initialize a new instance.

        Parameters
        ----------
        geometry : `Geometry`
            Geometry with a flat detector.
        vol_space : `DiscretizedSpace`
            Space ``X`` of the images, float32; in 2D with square cells.
        proj_space : `DiscretizedSpace`
            Space ``Y`` of the data.
        """
        self.geometry, self.vol_space, self.proj_space = geometry, vol_space, proj_space
        self._kernels = kernels_for(geometry, vol_space)
        self._adjoint_scale = weight(proj_space) / weight(vol_space)

    def __reduce__(self):
        """Pickle the arguments; the projectors of ASTRA belong to a process."""
        return type(self), (self.geometry, self.vol_space, self.proj_space)

    @property
    def takes_batches(self) -> bool:
        """Whether a batch is one call of ASTRA."""
        return isinstance(self._kernels, SliceKernels)

    def call_forward(self, x, out=None):
        """Return ``A x``, written to ``out`` if it is given."""
        return _call(self._kernels.project, 1.0, x, self.proj_space, out)

    def call_backward(self, y, out=None):
        """Return ``A^* y``, written to ``out`` if it is given."""
        ratio = self._adjoint_scale
        return _call(self._kernels.backproject, ratio, y, self.vol_space, out)

    @functools.cached_property
    def batch_products(self):
        """Functions ``x -> S x`` and ``y -> S^T y`` of tensors ``(batch, size)``."""
        X, Y = self.vol_space.shape, self.proj_space.shape

        def forward(x):
            return _apply(self._kernels.project, x.reshape(-1, *X), Y).flatten(1)

        def transpose(y):
            return _apply(self._kernels.backproject, y.reshape(-1, *Y), X).flatten(1)

        return forward, transpose


def _call(kernel, scale, x, space, out):
    """Apply a kernel and a factor to an element."""
    x = as_tensor(x)[None]
    target = None if out is None else _memory(out)
    y = x.new_empty(space.shape) if target is None else target
    _run(kernel, x, y[None])
    if scale != 1:
        y *= scale
    if out is None:
        return as_element(space, y)
    if target is None:
        out.data[:] = y.numpy() if space.impl == "numpy" else y
    return out


def _memory(element):
    """Return the tensor that holds an element, None if ASTRA cannot write to it."""
    data = element.data
    if isinstance(data, torch.Tensor):
        return data.detach() if data.is_contiguous() else None
    writable = data.flags.c_contiguous and data.flags.writeable
    return torch.from_numpy(data) if writable else None


def _apply(kernel, x, shape):
    """Return the result of a kernel, ``(batch, *shape)``."""
    y = x.new_empty(len(x), *shape)
    _run(kernel, x, y)
    return y


def _run(kernel, x, y):
    """Call a kernel of ASTRA on the device of the tensors."""
    x = x.detach().contiguous()
    if x.device.type != "cuda":
        return kernel(x, y)
    stream = torch.cuda.current_stream(x.device)
    if stream != torch.cuda.default_stream(x.device):
        stream.synchronize()
    astra.set_gpu_index(x.device.index)
    with torch.cuda.device(x.device):
        kernel(x, y)
