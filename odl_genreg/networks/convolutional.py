# SPDX-License-Identifier: MPL-2.0
"""Convolutional encoders and decoders, from which the networks are built."""

import torch
from torch import nn

__all__ = ("architecture", "decoder", "features", "initialize")


def architecture(image_shape, latent_dim, channels, hidden) -> dict:
    """Return the checked arguments of a network, as JSON takes them.

    Parameters
    ----------
    image_shape : sequence of two or three positive ints
        Numbers of rows and columns, or of channels, rows and columns.
    latent_dim : positive int
        Number of latent variables.
    channels : sequence of positive ints
        Numbers of channels at half, a quarter, an eighth, ... of the resolution.
    hidden : positive int
        Width of the dense layer between the latent and the convolutional layers.

    Raises
    ------
    ValueError
        If one is not as said, or if images are smaller than the last resolution.

    Examples
    --------
    >>> from odl_genreg.networks.convolutional import architecture
    >>> architecture((28, 28), 16, (32, 48), 192)["channels"]
    [32, 48]
    """
    image_shape, channels = tuple(image_shape), tuple(channels)
    _check("image_shape", image_shape, (2, 3))
    _check("channels", channels, range(1, 9))
    _check("latent_dim", (latent_dim,), (1,))
    _check("hidden", (hidden,), (1,))
    if min(image_shape[-2:]) < 2 ** len(channels):
        raise ValueError(
            f"`channels` must halve images of {image_shape[-2:]} pixels no more often "
            f"than to one pixel, got {len(channels)} entries; give fewer."
        )
    return {
        "image_shape": list(image_shape),
        "latent_dim": latent_dim,
        "channels": list(channels),
        "hidden": hidden,
    }


def features(image_shape, channels, hidden) -> nn.Sequential:
    """Return strided convolutions and a dense layer, to ``(batch, hidden)``.

    Images ``(batch, c, n, m)`` whose sides are no multiples of ``2^len(channels)`` are
    padded by zeros.
    """
    layers, (coarse, pad), widths = [], _grid(image_shape, channels), [*channels]
    if any(pad):
        layers.append(nn.ZeroPad2d(pad))
    for inputs, outputs in zip([_depth(image_shape), *widths], widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.SiLU()]
    size = widths[-1] * coarse[0] * coarse[1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, hidden), nn.SiLU())


def decoder(
    image_shape, latent_dim, channels, hidden, output: nn.Module | None = None
) -> nn.Sequential:
    """Return dense layers and transposed convolutions, with a sigmoid at the end.

    ``(batch, latent_dim)`` to ``(batch, c, n, m)``. All activations are analytic;
    ``output`` replaces the sigmoid.
    """
    coarse, pad = _grid(image_shape, channels)
    widths = [*reversed(channels), _depth(image_shape)]
    layers = [
        nn.Linear(latent_dim, hidden),
        nn.SiLU(),
        nn.Linear(hidden, widths[0] * coarse[0] * coarse[1]),
        nn.SiLU(),
        nn.Unflatten(1, (widths[0], *coarse)),
    ]
    for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
        layers += [
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1),
            nn.SiLU(),
        ]
    layers[-1] = nn.Sigmoid() if output is None else output
    if any(pad):
        layers.append(nn.ZeroPad2d([-side for side in pad]))  # crops
    return nn.Sequential(*layers)


@torch.no_grad()
def initialize(module: nn.Module, seed: int):
    """Draw weights of variance 1 / (number of inputs), set the biases to zero.

    The module may have been built without storage, on the device "meta", so that the
    global random state is not touched.
    """
    module.to_empty(device="cpu")
    source = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if not hasattr(layer, "weight"):
            continue
        inputs = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            # Of a 4 x 4 kernel with stride 2, each output pixel meets a quarter.
            inputs = layer.in_channels * layer.weight[0, 0].numel() / 4
        layer.weight.normal_(0, inputs**-0.5, generator=source)
        layer.bias.zero_()


def _depth(image_shape):
    return image_shape[0] if len(image_shape) == 3 else 1


def _grid(image_shape, channels):
    """Return rows and columns of the coarsest grid, and the padding that leads there.

    The padding as torch wants it: left, right, top, bottom.
    """
    factor, rows, columns = 2 ** len(channels), *image_shape[-2:]
    coarse = -(-rows // factor), -(-columns // factor)
    down, right = coarse[0] * factor - rows, coarse[1] * factor - columns
    return coarse, (right // 2, right - right // 2, down // 2, down - down // 2)


def _check(name, values, numbers):
    if len(values) not in numbers or not all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in values
    ):
        wanted = {1: "1", 3: "2 or 3", 8: "1 to 8"}[max(numbers)]
        several = "s" if max(numbers) > 1 else ""
        raise ValueError(
            f"`{name}` must be {wanted} positive int{several}, got {values}; "
            "give for example `VAE((28, 28), 16, channels=(32, 48))`."
        )
