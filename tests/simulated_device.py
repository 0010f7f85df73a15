# SPDX-License-Identifier: MPL-2.0
"""A device that is none: tensors on the host that behave as if on an accelerator.

Without a GPU it shows the same errors as one: of operations that mix devices, of
``numpy()``, of random numbers from a generator on the host. `Transfers` counts what
moves between host and device, here and on a real GPU alike.

The device is called ``simulated:0``. It takes the place that torch keeps for a backend
of one's own, so that autograd, forward mode and `torch.func` treat it as a real one.
"""

import contextlib
import functools

import odl
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

__all__ = ("NAME", "Transfers", "simulated_device")

NAME = "simulated:0"
aten = torch.ops.aten
#: Indices may lie on the host; they are moved.
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
#: The shape of the result depends on the values, which the host has to learn.
SHAPED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
}
#: What marks its result as to be conjugated, where torch no longer heeds the mark.
AT_ONCE = {
    aten._conj.default: aten._conj_physical.default,
    aten._neg_view.default: aten.neg.default,
}


class _Mode(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls):
        # Else the first call imports the compiler, for seconds.
        return False


class Transfers(_Mode):
    """Sizes of what moves between host and device, while active.

    An index or a mask whose length the host has to learn counts as one number.
    """

    def __init__(self):
        super().__init__()
        #: Numbers of entries, a transfer each.
        self.to_host, self.to_device = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is aten._to_copy.default:
            self._note(args[0], result)
        elif func is aten.copy_.default:
            self._note(args[1], args[0])
        elif func in INDEXED and _on_device(args[0]):
            for index in filter(_is_tensor, args[1]):
                self._note(index, args[0])
                if index.dtype in (torch.bool, torch.uint8):
                    self.to_host.append(1)
        elif any(map(_on_device, _leaves(args))) and (
            func in SHAPED_BY_VALUES or isinstance(result, (bool, int, float))
        ):
            self.to_host.append(1)
        return result

    def _note(self, source, target):
        if _on_device(source) and not _on_device(target):
            self.to_host.append(source.numel())
        elif _on_device(target) and not _on_device(source):
            self.to_device.append(source.numel())


class SimulatedTensor(torch.Tensor):
    """Tensor that says it is on the device and holds one on the host."""

    @staticmethod
    def __new__(cls, held):
        strided = held.layout == torch.strided
        layout = {
            "strides": held.stride() if strided else None,
            "storage_offset": held.storage_offset() if strided else None,
        }
        self = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, dtype=held.dtype, layout=held.layout, device=NAME, **layout
        )
        self.held = held
        return self

    def __repr__(self, *, tensor_contents=None):
        return f"simulated({self.held!r})"

    def __format__(self, spec):
        return format(repr(self) if self.ndim else self.item(), spec)

    def tolist(self):
        """Return nested lists, after a transfer."""
        return self.cpu().tolist()

    def numpy(self, *, force=False):
        """Raise the error of a tensor on an accelerator."""
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use "
            "Tensor.cpu() to copy the tensor to host memory first."
        )

    __array__ = numpy

    def __reduce_ex__(self, protocol):
        # What is read back lies on the host.
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class _Simulation(_Mode):
    """Factory functions with ``device="simulated:0"`` make simulated tensors."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _call(func, args, kwargs):
    """Run an operation on what is held; wrap what lies on the device."""
    leaves = [*_leaves(args), *_leaves(list(kwargs.values()))]
    simulated = [leaf for leaf in leaves if isinstance(leaf, SimulatedTensor)]
    device = kwargs.get("device")
    target = bool(simulated) if device is None else torch.device(device).type != "cpu"
    if simulated:
        _check_one_device(func, args, leaves)
    if target and kwargs.get("generator") is not None:
        raise RuntimeError(
            f"Expected a '{NAME}' device type for generator but found 'cpu'"
        )
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    held = {name: _map(_held, value) for name, value in kwargs.items()}
    result = AT_ONCE.get(func, func)(*_map(_held, args), **held)
    if torch.Tag.inplace_view in func.tags and simulated:
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)  # the same for the shape of the wrapper
        return args[0]
    if func is aten.copy_.default:
        return args[0]
    wrappers = {id(leaf.held): leaf for leaf in simulated}

    def wrap(value):
        if not isinstance(value, torch.Tensor):
            return value
        return wrappers[id(value)] if id(value) in wrappers else SimulatedTensor(value)

    return _map(wrap, result) if target else result


def _check_one_device(func, args, leaves):
    """Raise what a real device raises if tensors of the host are among those on it."""
    host = [leaf for leaf in leaves if _is_tensor(leaf) and not _on_device(leaf)]
    if not host or func is aten.copy_.default:
        return
    if func in INDEXED and _on_device(args[0]):
        return
    written = [
        value
        for argument, value in zip(func._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if any(leaf.ndim for leaf in host) or any(
        part is value for part in host for value in written
    ):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two "
            f"devices, {NAME} and cpu! ({func})"
        )


def _held(value):
    return value.held if isinstance(value, SimulatedTensor) else value


def _map(function, value):
    """Map the leaves of nested sequences."""
    if isinstance(value, (tuple, list)):
        return type(value)([_map(function, part) for part in value])
    return function(value)


def _leaves(value):
    if not isinstance(value, (tuple, list)):
        return [value]
    return [leaf for part in value for leaf in _leaves(part)]


def _is_tensor(value):
    return isinstance(value, torch.Tensor)


def _on_device(value):
    return _is_tensor(value) and value.device.type != "cpu"


@functools.cache
def _register():
    """Tell torch of the device, once in a process: it cannot be undone."""
    _setup_privateuseone_for_python_backend(NAME.partition(":")[0])


@contextlib.contextmanager
def simulated_device():
    """Context in which torch and ODL know the device; gives its name."""
    _register()
    devices = odl.lookup_array_backend("pytorch").available_devices
    lifts = torch._C._only_lift_cpu_tensors()
    devices.append(NAME)
    # `torch.tensor(..., device=...)` builds on the host and moves.
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        # The thread of a device starts with the first backward pass of a process.
        with torch.autograd.set_multithreading_enabled(False), _Simulation():
            yield NAME
    finally:
        torch._C._set_only_lift_cpu_tensors(lifts)
        devices.remove(NAME)
