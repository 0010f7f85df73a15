# SPDX-License-Identifier: MPL-2.0
"""G in half precision: the same operator up to a tolerance, for GPUs."""

import torch

from .generator import Generator
from .torch_bridge import torch_device, torch_dtype

__all__ = ("half_precision",)

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
COUNT = 4  # latents at which the generators are compared


def half_precision(
    generator: Generator, dtype: str = "float16", *, tolerance: float = 1e-2
) -> Generator:
    """Return a generator that computes ``G`` and ``J^T`` in half precision.

    It is compared with ``G`` first. For some ``z ~ N(0, I)`` and ``r ~ N(0, I)``, with
    the new generator ``H`` and its Jacobian ``K``,

        ``|H(z) - G(z)| <= tolerance |G(z)|``,
        ``|K^T r - J^T r| <= tolerance |J^T r|``

    Parameters
    ----------
    generator : `Generator`
        Generator ``G``, float32. It is left as it is; the new one shares the memory of
        its parameters, its spaces and its encoder.
    dtype : {'float16', 'bfloat16'}, optional
        Type in which `torch.autocast` computes the products; the first has three more
        bits of precision, the second the range of float32. Weights, latents and images
        stay float32.
    tolerance : positive float, optional
        Bound of the differences.

    Raises
    ------
    TypeError
        If ``generator`` is none.
    ValueError
        If ``dtype`` is unknown, if ``generator`` is not of float32, or if the
        generators differ by more than ``tolerance``.

    Notes
    -----
    ``J h``, of which Gauss and Newton make their matrices, stays in float32.

    Examples
    --------
    >>> Z, X = odl.rn(4, dtype="float32"), odl.rn((2, 3), dtype="float32")
    >>> G = ogr.Generator(torch.nn.Linear(4, 6), Z, X)
    >>> H = ogr.half_precision(G)
    >>> H.batch(torch.ones(1, 4)).dtype
    torch.float32
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"`generator` must be a `Generator`, got {type(generator).__name__}; "
            "make one of the network first."
        )
    if dtype not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(map(repr, DTYPES))}, got {dtype!r}; "
            "use the generator itself for float32."
        )
    if torch_dtype(generator.domain) != torch.float32:
        raise ValueError(
            "`generator` must have dtype float32, got "
            f"{generator.domain.dtype_identifier}; build it with spaces and weights of "
            "float32."
        )
    if not tolerance > 0:
        raise ValueError(
            f"`tolerance` must be positive, got {tolerance}; leave it out for 0.01."
        )
    half = _HalfPrecisionGenerator(generator, DTYPES[dtype])
    _compare(generator, half, tolerance)
    return half


class _HalfPrecisionGenerator(Generator):
    """Generator whose `batch` alone runs under autocast."""

    def __init__(self, generator, dtype):
        super().__init__(
            generator.module,
            generator.domain,
            generator.range,
            encoder=generator.encoder,
            intensity=generator.intensity,
            decoder_variance=generator.decoder_variance,
            precision=generator.precision,
        )
        self._half = dtype

    def batch(self, z):
        """Decode latents ``(batch, *Z.shape)`` to images ``(batch, *X.shape)``."""
        with torch.autocast(z.device.type, self._half):
            images = self.module(z)
        offset, scale = self.intensity
        return offset + scale * images.to(z.dtype).reshape(len(z), *self.range.shape)


def _compare(generator, half, tolerance):
    """Raise an error if two generators differ."""
    source = torch.Generator().manual_seed(0)

    def draw(space):
        sample = torch.randn(COUNT, *space.shape, generator=source)
        return sample.to(torch_device(space))

    z, r = draw(generator.domain), draw(generator.range)
    pairs = zip(_pull_back(generator, z, r), _pull_back(half, z, r), strict=True)
    for name, (a, b) in zip(("G(z)", "J^T r"), pairs, strict=True):
        difference = float((a - b).norm() / a.norm().clamp_min(1e-30))
        if not difference <= tolerance:
            raise ValueError(
                f"`tolerance` must bound the relative differences to `generator`, got "
                f"{difference:.2g} > {tolerance:g} in {name}; give a larger one, or "
                "'float16' for more digits or 'bfloat16' for more range."
            )


def _pull_back(generator, z, r):
    """Return ``G(z)`` and ``J^T r``."""
    leaf = z.clone().requires_grad_()
    with torch.enable_grad():
        x = generator.batch(leaf)
        (gradient,) = torch.autograd.grad(x, leaf, r, materialize_grads=True)
    return x.detach(), gradient
