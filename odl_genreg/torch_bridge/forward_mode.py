# SPDX-License-Identifier: MPL-2.0
"""Directional derivatives of torch modules, layer by layer."""

import functools

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ("push_forward",)


@functools.singledispatch
def push_forward(layer, x: torch.Tensor, tangents: torch.Tensor):
    """Return ``f(x_b)`` and ``f'(x_b) t_bk`` of a torch module ``f``.

    A generic function (`functools.singledispatch`). The usual layers carry all tangents
    of a point through one product, without a graph; any other module is
    differentiated twice in reverse mode, ``d/du <f'(x)^T u, t>``, which is about three
    times as dear.

    Parameters
    ----------
    layer : torch.nn.Module
        Module ``f`` in evaluation mode, each row of the batch on its own.
    x : torch.Tensor
        Points ``(batch, ...)``.
    tangents : torch.Tensor
        Directions ``(batch, number, ...)``.

    Returns
    -------
    value, tangents : torch.Tensor
        ``(batch, ...)`` and ``(batch, number, ...)``, without a graph.

    Notes
    -----
    `torch.func.jvp` gives the same; it costs more in each call, and its first call in
    a process some seconds.

    Examples
    --------
    The derivative of ``x1 x2`` at (3, 4) along (1, 0) and (1, 1):

    >>> class Product(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.prod(1, keepdim=True)
    >>> tangents = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    >>> ogr.torch_bridge.push_forward(Product(), torch.tensor([[3.0, 4.0]]), tangents)
    (tensor([[12.]]), tensor([[[4.],
             [7.]]]))
    """
    number = tangents.shape[1]
    points = x.detach().repeat_interleave(number, 0).requires_grad_()
    # Of attention only the plain form can be differentiated twice.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        values = layer(points)
        pushed = torch.zeros_like(values, requires_grad=True)
        if values.requires_grad:
            (pulled_back,) = torch.autograd.grad(
                values, points, pushed, create_graph=True, materialize_grads=True
            )
            if pulled_back.requires_grad:
                (pushed,) = torch.autograd.grad(
                    pulled_back, pushed, tangents.flatten(0, 1), materialize_grads=True
                )
    return values.detach()[::number], pushed.detach().unflatten(0, (-1, number))


@push_forward.register
def _(layer: nn.Sequential, x, tangents):
    for part in layer:
        x, tangents = push_forward(part, x, tangents)
    return x, tangents


@push_forward.register(nn.Identity)
@push_forward.register(nn.Dropout)
def _(layer, x, tangents):
    return x, tangents


# --- Affine layers: f'(x) t = f(t) without the bias --- #


@push_forward.register
def _(layer: nn.Linear, x, tangents):
    return layer(x).detach(), F.linear(tangents, layer.weight.detach())


@push_forward.register(nn.ConvTranspose1d)
@push_forward.register(nn.ConvTranspose2d)
@push_forward.register(nn.ConvTranspose3d)
def _(layer, x, tangents):
    transposed = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}
    weight = layer.weight.detach()
    in_plane, few = weight.ndim == 4, weight[0].numel() <= weight.shape[0]

    def folded(t):
        columns = weight.flatten(1).T @ t.flatten(2)
        window = {"stride": layer.stride, "padding": layer.padding}
        shape = layer(x[:1]).shape[2:]
        return F.fold(columns, shape, layer.kernel_size, layer.dilation, **window)

    def linear(t):
        return transposed[weight.ndim](
            t,
            weight,
            None,
            layer.stride,
            layer.padding,
            layer.output_padding,
            layer.groups,
            layer.dilation,
        )

    # With few output channels it is one product, several times faster.
    fold = in_plane and few and layer.groups == 1
    return _affine(layer, folded if fold else linear, x, tangents)


@push_forward.register(nn.Conv1d)
@push_forward.register(nn.Conv2d)
@push_forward.register(nn.Conv3d)
@push_forward.register(nn.BatchNorm1d)
@push_forward.register(nn.BatchNorm2d)
@push_forward.register(nn.BatchNorm3d)
def _(layer, x, tangents):
    def linear(t):
        return layer(t) - layer(torch.zeros_like(t[:1]))

    return _affine(layer, linear, x, tangents)


@push_forward.register(nn.Flatten)
@push_forward.register(nn.Unflatten)
@push_forward.register(nn.Upsample)
@push_forward.register(nn.UpsamplingNearest2d)
@push_forward.register(nn.UpsamplingBilinear2d)
@push_forward.register(nn.PixelShuffle)
@push_forward.register(nn.AvgPool2d)
@push_forward.register(nn.ZeroPad2d)
@push_forward.register(nn.ReflectionPad2d)
@push_forward.register(nn.ReplicationPad2d)
def _(layer, x, tangents):
    return _affine(layer, layer, x, tangents)


@torch.no_grad()
def _affine(layer, linear, x, tangents):
    pushed = linear(tangents.flatten(0, 1))
    return layer(x), pushed.unflatten(0, tangents.shape[:2])


# --- Entry by entry: f'(x) t is a product --- #


@push_forward.register(nn.CELU)
@push_forward.register(nn.ELU)
@push_forward.register(nn.GELU)
@push_forward.register(nn.Hardtanh)
@push_forward.register(nn.LeakyReLU)
@push_forward.register(nn.LogSigmoid)
@push_forward.register(nn.Mish)
@push_forward.register(nn.ReLU)
@push_forward.register(nn.SELU)
@push_forward.register(nn.Sigmoid)
@push_forward.register(nn.SiLU)
@push_forward.register(nn.Softplus)
@push_forward.register(nn.Softsign)
@push_forward.register(nn.Tanh)
def _(layer, x, tangents):
    x = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        # The clone: a layer may work in place.
        value = layer(x.clone())
    (derivative,) = torch.autograd.grad(value, x, torch.ones_like(value))
    return value.detach(), derivative[:, None] * tangents
