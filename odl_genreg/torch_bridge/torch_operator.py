# SPDX-License-Identifier: MPL-2.0
"""A torch module as a nonlinear ODL operator."""

import copy

import torch
from odl import Operator

from .elements import as_element, as_tensor, torch_device, weight
from .forward_mode import push_forward

__all__ = ("TorchOperator", "check_device", "frozen")


def check_device(name: str, module: torch.nn.Module, **spaces) -> None:
    """Raise an error unless a module and its spaces are on one device.

    Parameters
    ----------
    name : str
        Name of the module in the error.
    module : torch.nn.Module
        Module whose parameters and buffers are looked at.
    **spaces : `TensorSpace` or `DiscretizedSpace`
        Spaces by their names.

    Raises
    ------
    ValueError
        If a parameter, a buffer or a space is on another device than the rest.
    """
    found = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
    (first, one), *rest = spaces.items()
    for space_name, space in spaces.items():
        if found - {torch_device(space)}:
            names = ", ".join(sorted(map(str, found)))
            raise ValueError(
                f"`{name}` and `{space_name}` must be on one device, got {names} and "
                f"{space.device}; move the module with `to`."
            )
    for space_name, space in rest:
        if torch_device(space) != torch_device(one):
            raise ValueError(
                f"`{first}` and `{space_name}` must be on one device, got "
                f"{one.device} and {space.device}; build both with the same `device`."
            )


def frozen(module: torch.nn.Module) -> torch.nn.Module:
    """Return a twin of ``module`` in evaluation mode that needs no gradients.

    The twin shares the memory of parameters and buffers; mode, ``requires_grad``
    and ``.grad`` of ``module`` stay as they are. Of a module that `torch.compile` has
    made it is a twin of the one that was compiled.

    Examples
    --------
    >>> module = torch.nn.Linear(2, 3)
    >>> twin = ogr.torch_bridge.frozen(module)
    >>> twin.weight.data_ptr() == module.weight.data_ptr()
    True
    >>> twin.training, twin.weight.requires_grad
    (False, False)
    >>> module.training, module.weight.requires_grad
    (True, True)
    """
    # What `torch.compile` made is neither differentiated twice nor from a kept graph.
    module = getattr(module, "_orig_mod", module)
    shared = {
        id(p): torch.nn.Parameter(p.detach(), requires_grad=False)
        for p in module.parameters()
    }
    shared |= {id(b): b.detach() for b in module.buffers()}
    return copy.deepcopy(module, shared).eval()


class TorchOperator(Operator):
    """Nonlinear operator given by a torch module.

    The operator ``G : Z -> X`` given by ``G(z) = module(z)``, with the derivative

        ``G'(z) h = J h``,    ``G'(z)^* y = (w_X / w_Z) J^T y``,

    ``J`` the Jacobian of the module, ``w`` the weights of the inner products.

    Notes
    -----
    The forward pass of the last point is kept: value and adjoint at one point cost
    one forward pass. Parameters changed in place are noticed, except through
    ``.data``.
    """

    def __init__(self, module: torch.nn.Module, domain, range):
        """Initialize a new instance.

        Parameters
        ----------
        module : torch.nn.Module
            Module that maps tensors ``(batch, *domain.shape)`` to tensors of
            ``batch * range.size`` entries. It is left as it is; see `frozen`.
        domain, range : `TensorSpace` or `DiscretizedSpace`
            Spaces with constant weightings and the dtype and device of ``module``.

        Raises
        ------
        ValueError
            If the three are not on one device.

        Examples
        --------
        >>> module = torch.nn.Linear(1, 2, bias=False, dtype=torch.float64)
        >>> _ = module.weight.data.copy_(torch.tensor([[1.0], [2.0]]))
        >>> X = odl.uniform_discr(0, 1, 2)
        >>> G = ogr.torch_bridge.TorchOperator(module, odl.rn(1), X)
        >>> z = G.domain.element([3.0])
        >>> G(z).asarray()
        array([ 3.,  6.])

        The adjoint carries the cell volume 1/2: ``(1 * 1 + 2 * 1) / 2``

        >>> G.derivative(z).adjoint(X.one())
        rn(1).element([ 1.5])
        """
        check_device("module", module, domain=domain, range=range)
        super().__init__(domain, range, linear=False)
        self.module = frozen(module)
        #: Parameters and buffers of the twin; they share the memory of the module's.
        self.tensors = (*self.module.parameters(), *self.module.buffers())
        self._weight_ratio = weight(range) / weight(domain)
        self._pass = None

    def batch(self, z: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, *domain.shape)`` to ``(batch, *range.shape)``."""
        return self.module(z).reshape(len(z), *self.range.shape)

    def push_forward(self, z: torch.Tensor, h: torch.Tensor):
        """Return ``G(z_b)`` and ``J h_bk``, see `torch_bridge.push_forward`."""
        x, tangents = push_forward(self.module, z, h)
        shape = self.range.shape
        return x.reshape(len(z), *shape), tangents.reshape(*h.shape[:2], *shape)

    def linearize(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``G(z)`` and the columns of ``J``, ``(batch, Z.size, *X.shape)``."""
        d = self.domain.size
        eye = torch.eye(d, dtype=z.dtype, device=z.device)
        columns = eye.reshape(d, *self.domain.shape).expand(len(z), d, *z.shape[1:])
        return self.push_forward(z, columns)

    def versions(self) -> list[int]:
        """Return counters of the changes in place of parameters and buffers."""
        return [tensor._version for tensor in self.tensors]

    def forward_pass(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``z`` as a leaf and ``G(z)`` with its graph, both of batch size 1."""
        versions, last = self.versions(), self._pass
        if last is None or last[0] != versions or not torch.equal(last[1][0], z):
            leaf = z.detach().clone()[None].requires_grad_()
            with torch.enable_grad():
                last = self._pass = (versions, leaf, self.batch(leaf))
        return last[1:]

    def _call(self, z):
        _, x = self.forward_pass(as_tensor(z))
        return as_element(self.range, x[0].detach().clone())

    def derivative(self, point):
        """Return the linear operator ``h -> J h`` at ``point``."""
        return TorchDerivative(self, self.domain.element(point).copy())


class TorchDerivative(Operator):
    """Derivative of a `TorchOperator`, ``h -> J h`` by forward mode."""

    def __init__(self, operator: TorchOperator, point):
        """Initialize a new instance: the derivative of ``operator`` at ``point``."""
        super().__init__(operator.domain, operator.range, linear=True)
        self.operator, self.point = operator, point

    def _call(self, h):
        z, h = as_tensor(self.point)[None], as_tensor(h)[None, None]
        _, tangents = self.operator.push_forward(z, h)
        return as_element(self.range, tangents[0, 0])

    @property
    def adjoint(self):
        """The operator ``y -> (w_X / w_Z) J^T y`` by reverse mode."""
        return TorchDerivativeAdjoint(self)


class TorchDerivativeAdjoint(Operator):
    """Adjoint of a `TorchDerivative`, ``y -> (w_X / w_Z) J^T y``."""

    def __init__(self, derivative: TorchDerivative):
        """Initialize a new instance: the adjoint of ``derivative``."""
        super().__init__(derivative.range, derivative.domain, linear=True)
        self._derivative = derivative

    def _call(self, y):
        operator, point = self._derivative.operator, self._derivative.point
        z, x = operator.forward_pass(as_tensor(point))
        (gradient,) = torch.autograd.grad(
            x, z, as_tensor(y)[None], retain_graph=True, materialize_grads=True
        )
        return as_element(self.range, gradient[0] * operator._weight_ratio)

    @property
    def adjoint(self):
        """The derivative itself."""
        return self._derivative
