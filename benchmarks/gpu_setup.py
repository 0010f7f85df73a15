# SPDX-License-Identifier: MPL-2.0
"""What the parts of `bench_gpu` share: device, clock, problems of any size."""

import contextlib
import dataclasses
import functools
import math

import astra
import odl
import torch
from harness import alternate

import odl_genreg as ogr
from odl_genreg.networks import VAE
from odl_genreg.torch_bridge import as_element

__all__ = (
    "LATENTS",
    "DeviceProblem",
    "Options",
    "draw",
    "full_float32",
    "guarded",
    "image_space",
    "synchronized",
    "timed",
)

LATENTS, CHANNELS, HIDDEN = 64, (16, 32, 64, 64, 64, 64), 256
NOISE_STD = 0.05
# Pixels of a batch up to which it is measured.
MAX_PIXELS = 2**26


@dataclasses.dataclass
class Options:
    """What the command line says."""

    device: torch.device
    quick: bool = False
    mr_generator: str | None = None
    mr_images: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def has_astra(self) -> bool:
        """Whether ASTRA computes on a GPU."""
        return astra.use_cuda()

    @property
    def backends(self) -> tuple[str, ...]:
        """Backends of the ray transform that can be measured."""
        return ("cuda", "matrix") if self.has_astra else ("matrix",)

    @property
    def seconds(self) -> float:
        """How long one case is measured, at least three rounds."""
        return 0.05 if self.quick else 0.3

    def sizes(self, *pixels: int) -> list[int]:
        """Those numbers of pixels that can be measured: matrices grow."""
        if self.quick:
            return [32]
        return [n for n in pixels if self.has_astra or n <= 128]

    def batches(self, pixels: int) -> list[int]:
        """Sizes of batches for images of some pixels."""
        sizes = (1, 4) if self.quick else (1, 4, 16, 64, 256)
        return [size for size in sizes if size * pixels**2 <= MAX_PIXELS]


# --- The clock --- #


def synchronized(call, device: torch.device):
    """Return a function that ends when the device has done what ``call`` asks for."""
    if device.type != "cuda":
        return call

    def run(point):
        result = call(point)
        torch.cuda.synchronize(device)
        return result

    return run


def timed(calls: dict, fresh, options: Options, iterations=None):
    """Time functions alternately, the device synchronized after each call.

    Each runs twice before the clock starts. Returns `Times`, or None where memory does
    not suffice.
    """
    calls = {name: synchronized(call, options.device) for name, call in calls.items()}
    return guarded(
        lambda: alternate(calls, fresh, seconds=options.seconds, iterations=iterations)
    )


def guarded(call):
    """Return ``call()``, or None if the memory of the device does not suffice."""
    try:
        return call()
    except (torch.OutOfMemoryError, astra.log.AstraError) as error:
        print(f"left out: {str(error).splitlines()[0]}", flush=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


# --- Spaces, networks, problems --- #


def image_space(pixels: int, device: torch.device):
    """Return the square [-1, 1]^2 with elements on a device."""
    shape = (pixels, pixels)
    keywords = {"dtype": "float32", "impl": "pytorch", "device": str(device)}
    return odl.uniform_discr([-1, -1], [1, 1], shape, **keywords)


def decoder(pixels: int) -> torch.nn.Module:
    """Return an untrained seeded decoder, from 16 x 16 pixels by doubling."""
    levels = max(1, round(math.log2(pixels / 16)))
    channels = CHANNELS[:levels]
    return VAE((pixels, pixels), LATENTS, channels=channels, hidden=HIDDEN).decoder


def draw(shape, seed: int, device: torch.device) -> torch.Tensor:
    """Return normal numbers, drawn on the device."""
    source = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=source, device=device)


class DeviceProblem:
    """``y = A G(z) + noise`` on a device, with an untrained generator."""

    lam = 0.5

    def __init__(self, pixels: int, num_angles: int, backend: str, device):
        self.pixels, self.num_angles, self.device = pixels, num_angles, device
        self.X = image_space(pixels, device)
        self.A = ogr.ray_transform(self.X, num_angles=num_angles, backend=backend)

    @functools.cached_property
    def G(self) -> ogr.Generator:
        """The generator."""
        Z = odl.rn(LATENTS, dtype="float32", impl="pytorch", device=str(self.device))
        network = decoder(self.pixels).to(self.device)
        return ogr.Generator(network, Z, self.X, decoder_variance=0.01)

    @functools.cached_property
    def D(self):
        """Data fidelity of one image."""
        with torch.no_grad():
            x = self.G.batch(self.latents(1, seed=1))[0]
        y = self.A(as_element(self.X, x))
        noise = NOISE_STD * draw(self.A.range.shape, 2, self.device)
        return ogr.squared_l2(
            self.A, y + as_element(self.A.range, noise), noise_std=NOISE_STD
        )

    def latents(self, count: int, seed: int) -> torch.Tensor:
        """Return ``z ~ N(0, I)``."""
        return draw((count, LATENTS), seed, self.device)

    def images(self, count: int, seed: int) -> torch.Tensor:
        """Return images of noise."""
        return draw((count, self.pixels, self.pixels), seed, self.device)


@contextlib.contextmanager
def full_float32():
    """Let cuDNN and cuBLAS compute in float32, as on the CPU, rather than in TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
