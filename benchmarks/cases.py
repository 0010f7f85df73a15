# SPDX-License-Identifier: MPL-2.0
"""The problems of `bench_solvers`: digits, and shapes of 128 x 128 pixels."""

import numpy as np
import torch
from bare_loop import BareLoop
from shapes import draw_shapes, shapes_generator

import odl_genreg as ogr
from odl_genreg.demo import demo_problem, demo_weights
from odl_genreg.projection import sample_latents
from odl_genreg.torch_bridge import as_element

__all__ = ("Case", "digit", "shape")

MAKERS = {
    "range": lambda G, mu: ogr.range_constraint(G),
    "soft": ogr.soft_constraint,
    "sparse": ogr.sparse_deviation,
}


class Case:
    """``D + lam R`` for one image, also as a function in plain torch."""

    def __init__(self, kind: str, D, G, lam: float, mu: float | None = None):
        self.kind, self.in_range = kind, kind == "range"
        self.D, self.R, self.lam = D, MAKERS[kind](G, mu), lam
        bare = BareLoop(D, self.R, lam)
        #: Function of ``z``, or of ``(x, z)``, without a batch axis for ``x``.
        self.objective = getattr(bare, kind)
        self.misfit = bare.misfit
        #: Functionals of ``(u, z)`` where they have only proximals.
        self.separable = None
        if kind == "sparse":
            self.separable = [
                lam * self.R.deviation,
                lam * self.R.mu * self.R.latent_prior,
            ]

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return ``G(z)`` for one latent ``(1, d)``."""
        return self.R.generator.batch(z)[0]

    def start(self, z: torch.Tensor) -> list[torch.Tensor]:
        """Return the blocks ``[G(z), z]``, or ``[z]`` in the range."""
        z = z.detach().clone()[None]
        with torch.no_grad():
            x = self.decode(z).clone()
        blocks = [z] if self.in_range else [x, z]
        return [block.requires_grad_() for block in blocks]

    def starts(self, count: int) -> torch.Tensor:
        """Return the first starts of `reconstruct`: 0, and samples of N(0, I)."""
        starts = sample_latents(self.R.generator.domain, count, seed=0)
        starts[0] = 0
        return starts


def digit(kind: str, index: int, num_angles: int) -> Case:
    """Return a digit of the demo with the weights of the demo."""
    D, truth = demo_problem(index, num_angles)
    G = ogr.load_generator("mnist-vae", image_space=truth.space)
    return Case(kind, D, G, **demo_weights()[str(num_angles)][kind])


def shape(kind: str, index: int, num_angles: int) -> Case:
    """Return an image of shapes, with noise of 5 % and the Bayesian weights."""
    G = shapes_generator()
    x = as_element(G.range, draw_shapes(index + 1, seed=1)[index, 0])
    A = ogr.ray_transform(G.range, num_angles=num_angles)
    y = A(x).asarray()
    noise_std = 0.05 * float(np.sqrt(np.mean(y**2)))
    noise = np.random.default_rng(index).normal(size=y.shape).astype("float32")
    D = ogr.squared_l2(A, y + noise_std * noise, noise_std)
    if kind == "range":
        return Case(kind, D, G, 0.5)
    mu = MAKERS[kind](G, None).mu
    return Case(kind, D, G, 0.5 / mu)
