# SPDX-License-Identifier: MPL-2.0
"""G in half precision, or compiled: the same operator, faster on some machines."""

import contextlib

import torch

from .generator import Generator
from .torch_bridge import torch_device, torch_dtype

__all__ = ("accelerated",)

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
# Batches that are compared; torch compiles one of size 1 on its own.
BATCHES = (1, 3)


def accelerated(
    generator: Generator,
    *,
    autocast: str | None = None,
    compiled: bool = False,
    tolerance: float = 1e-2,
) -> Generator:
    """Return a generator that computes ``G`` and ``J^T`` faster, and is checked.

    For a few ``z ~ N(0, I)`` and ``r ~ N(0, I)``, with the new generator ``H`` and its
    Jacobian ``K``,

        ``|H(z) - G(z)| <= tolerance |G(z)|``,
        ``|K^T r - J^T r| <= tolerance |J^T r|``

    Parameters
    ----------
    generator : `Generator`
        Generator ``G``. It is left as it is; the new one shares the memory of its
        parameters, its spaces and its encoder.
    autocast : {'float16', 'bfloat16'}, optional
        Type in which `torch.autocast` computes the products. Weights, latents and
        images stay float32. Default: none.
    compiled : bool, optional
        Whether `torch.compile` makes one program of the network, for batches of any
        size. The first evaluations compile.
    tolerance : positive float, optional
        Bound of the differences.

    Raises
    ------
    TypeError
        If ``generator`` is none.
    ValueError
        If ``autocast`` is unknown or the dtype not float32, or if the generators
        differ by more than ``tolerance``.

    Notes
    -----
    Only ``G(z)`` and ``J^T r`` are computed so. ``J h``, of which Gauss and Newton make
    their matrices, stays with the plain network: torch differentiates no compiled
    module twice.

    Examples
    --------
    >>> X, Z = (odl.rn(shape, dtype="float32") for shape in ((2, 3), 4))
    >>> G = ogr.Generator(torch.nn.Linear(4, 6), Z, X)
    >>> H = ogr.accelerated(G, autocast="bfloat16", tolerance=0.05)
    >>> H.batch(torch.ones(1, 4)).dtype
    torch.float32
    """
    if not isinstance(generator, Generator):
        raise TypeError(
            f"`generator` must be a `Generator`, got {type(generator).__name__}; "
            "make one of the network first."
        )
    if autocast is not None and autocast not in HALVES:
        raise ValueError(
            f"`autocast` must be one of {', '.join(map(repr, HALVES))}, got "
            f"{autocast!r}; leave it out for the precision of the network."
        )
    dtype = torch_dtype(generator.domain)
    if autocast is not None and dtype != torch.float32:
        raise ValueError(
            f"`generator` must have dtype float32 for `autocast`, got "
            f"{generator.domain.dtype_identifier}; leave `autocast` out."
        )
    if not tolerance > 0:
        raise ValueError(
            f"`tolerance` must be positive, got {tolerance}; leave it out for 0.01."
        )
    fast = _AcceleratedGenerator(generator, autocast, compiled)
    for count in BATCHES:
        _compare(generator, fast, count, tolerance)
    return fast


class _AcceleratedGenerator(Generator):
    """Generator whose `batch` alone runs under autocast, or compiled."""

    def __init__(self, generator, autocast, compiled):
        super().__init__(
            generator.module,
            generator.domain,
            generator.range,
            encoder=generator.encoder,
            intensity=generator.intensity,
            decoder_variance=generator.decoder_variance,
            precision=generator.precision,
        )
        self._network, self._half = self.module, HALVES.get(autocast)
        if compiled:
            self._network = torch.compile(self.module, dynamic=True)

    def batch(self, z):
        """Decode latents ``(batch, *Z.shape)`` to images ``(batch, *X.shape)``."""
        context = contextlib.nullcontext()
        if self._half is not None:
            context = torch.autocast(z.device.type, self._half)
        with context:
            images = self._network(z)
        offset, scale = self.intensity
        return offset + scale * images.to(z.dtype).reshape(len(z), *self.range.shape)


def _compare(generator, fast, count, tolerance):
    """Raise an error if two generators differ."""
    source = torch.Generator().manual_seed(count)

    def draw(space):
        sample = torch.randn(count, *space.shape, generator=source)
        return sample.to(torch_device(space), torch_dtype(space))

    z, r = draw(generator.domain), draw(generator.range)
    plain, other = _pull_back(generator, z, r), _pull_back(fast, z, r)
    for name, a, b in zip(("G(z)", "J^T r"), plain, other, strict=True):
        difference = float((a - b).norm() / a.norm().clamp_min(1e-30))
        if not difference <= tolerance:
            raise ValueError(
                f"`tolerance` must bound the relative differences to the plain "
                f"generator, got {difference:.2g} > {tolerance:g} in {name}; give a "
                "larger one, 'float16' for more digits or 'bfloat16' for more range."
            )


def _pull_back(generator, z, r):
    leaf = z.clone().requires_grad_()
    with torch.enable_grad():
        x = generator.batch(leaf)
        (gradient,) = torch.autograd.grad(x, leaf, r, materialize_grads=True)
    return x.detach(), gradient
