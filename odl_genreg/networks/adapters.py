# SPDX-License-Identifier: MPL-2.0
"""Networks of other packages as decoder and encoder; these are not imported."""

from torch import nn

__all__ = ("from_autoencoder_kl", "from_dcgan")


def from_autoencoder_kl(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return decoder and encoder of an ``AutoencoderKL`` of diffusers or MONAI.

    Latents are tensors ``(c, h, w)`` in the scale in which diffusion models take them,

        ``z = (m(x) - shift) * scaling``,    ``x = G(z / scaling + shift)``,

    with the factors of the model's configuration, 1 and 0 where it has none.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is not changed. Its weights stay shared.

    Returns
    -------
    decoder, encoder : torch.nn.Module
        Modules ``(batch, c, h, w)`` to images and back. Images mostly have values in
        [-1, 1]: give ``intensity=(0.5, 0.5)`` to `Generator` to have them in [0, 1].

    Raises
    ------
    TypeError
        If ``model`` has no methods ``encode`` and ``decode``.

    Examples
    --------
    With ``model = diffusers.AutoencoderKL.from_pretrained(...)`` for images of 128 x
    128 pixels and latents of 4 x 16 x 16::

        decoder, encoder = from_autoencoder_kl(model)
        Z = odl.rn((4, 16, 16), dtype="float32")
        G = ogr.Generator(decoder, Z, X, encoder=encoder, intensity=(0.5, 0.5))
    """
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise TypeError(
                f"`model` must have a method `{name}` as an AutoencoderKL has, got "
                f"{type(model).__name__}; give network and encoder to `Generator`."
            )
    return _Decoder(model), _Encoder(model)


def from_dcgan(model: nn.Module) -> nn.Module:
    """Return the generator of a DCGAN, such as deepinv's ``DCGANGenerator``.

    It takes vectors in the place of ``(batch, d, 1, 1)``. Its images have values in
    [-1, 1]: give ``intensity=(0.5, 0.5)`` to `Generator` to have them in [0, 1].

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is not changed. Its weights stay shared.

    Examples
    --------
    >>> from odl_genreg.networks import from_dcgan
    >>> network = from_dcgan(torch.nn.ConvTranspose2d(5, 1, 4))
    >>> network(torch.zeros(2, 5)).shape
    torch.Size([2, 1, 4, 4])
    """
    return nn.Sequential(nn.Unflatten(1, (-1, 1, 1)), model)


class _Decoder(nn.Module):
    """``z -> G(z / scaling + shift)``."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.scaling, self.shift = _factors(model)

    def forward(self, z):
        images = self.model.decode(z / self.scaling + self.shift)
        return getattr(images, "sample", images)  # diffusers returns an object


class _Encoder(nn.Module):
    """``x -> (m(x) - shift) * scaling``."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.scaling, self.shift = _factors(model)

    def forward(self, x):
        code = self.model.encode(x)
        # A distribution in diffusers, mean and standard deviation in MONAI.
        mean = code[0] if isinstance(code, tuple) else code.latent_dist.mean
        return (mean - self.shift) * self.scaling


def _factors(model):
    config = getattr(model, "config", None)
    scaling = getattr(config, "scaling_factor", None)
    shift = getattr(config, "shift_factor", None)
    return 1.0 if scaling is None else scaling, 0.0 if shift is None else shift
