# SPDX-License-Identifier: MPL-2.0
"""A zoo of generators, spaces and operators for the tests.

``X`` has the shape (7, 9) and cells of 0.2 x 0.3, volume 0.06; ``Z`` has the weight 2:
a mixed-up axis or a forgotten weight shows.
"""

import numpy as np
import odl
import torch
from odl.functionals import Functional

from odl_genreg import Generator
from odl_genreg.torch_bridge import as_element, as_tensor, weight

SHAPE, LATENTS = (7, 9), 3


def image_space(impl="numpy", dtype="float64", weighting=None, device="cpu"):
    """Space ``X``; ``weighting=None`` is the cell volume, 0.06."""
    keywords = {} if weighting is None else {"weighting": weighting}
    keywords |= {"dtype": dtype, "impl": impl, "device": device}
    return odl.uniform_discr([0, -1], [1.4, 1.7], SHAPE, **keywords)


def latent_space(impl="numpy", dtype="float64", weighting=2.0, device="cpu"):
    keywords = {"dtype": dtype, "impl": impl, "device": device}
    return odl.rn(LATENTS, weighting=weighting, **keywords)


def data_space(size=10, impl="numpy", dtype="float64"):
    """Space ``Y``, cells of 0.25."""
    return odl.uniform_discr(0, size / 4, size, dtype=dtype, impl=impl)


def seeded(module, seed=0, scale=0.5):
    """Fill the parameters with normal numbers of their own generator."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=source))
    return module


def linear_network(seed=0):
    """``G(z) = B z + b``: everything has a closed form."""
    return seeded(torch.nn.Linear(LATENTS, 63, dtype=torch.float64), seed)


def mlp_network(seed=0):
    """Smooth and not linear."""
    layers = torch.nn.Linear(LATENTS, 8), torch.nn.Tanh(), torch.nn.Linear(8, 63)
    return seeded(torch.nn.Sequential(*layers), seed).double()


def conv_network(seed=0):
    """Small and convolutional, float32, output ``(batch, 1, 7, 9)`` in [0, 1]."""
    layers = (
        torch.nn.Linear(LATENTS, 80),
        torch.nn.SiLU(),
        torch.nn.Unflatten(1, (4, 4, 5)),
        torch.nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1),
        torch.nn.Sigmoid(),
    )
    return seeded(torch.nn.Sequential(*layers), seed)


def precision_network(dtype, radius=2, seed=1):
    """Cholesky factors ``(batch, 13, 7, 9)`` that depend on the latents."""
    size = 1 + 2 * radius * (radius + 1)
    layers = (
        torch.nn.Linear(LATENTS, size * 63),
        torch.nn.Tanh(),
        torch.nn.Unflatten(1, (size, 7, 9)),
    )
    return seeded(torch.nn.Sequential(*layers), seed, scale=0.3).to(dtype)


NETWORKS = {"linear": linear_network, "mlp": mlp_network, "conv": conv_network}


def make_generator(
    name="linear", impl="numpy", weighting=None, device="cpu", **keywords
):
    """Generator of the zoo; ``weighting=1.0`` for both spaces, or their defaults."""
    dtype = "float32" if name == "conv" else "float64"
    Z = latent_space(impl, dtype, 2.0 if weighting is None else weighting, device)
    X = image_space(impl, dtype, weighting, device)
    return Generator(NETWORKS[name]().to(device), Z, X, **keywords)


def linear_parts(G):
    """Matrix ``B`` and vector ``b`` of the linear generator, as numpy arrays."""
    return G.module.weight.numpy().copy(), G.module.bias.numpy().copy()


def random_element(space, seed=0, scale=1.0):
    source = torch.Generator().manual_seed(seed)
    if isinstance(space, odl.ProductSpace) and not space.is_power_space:
        parts = [random_element(part, seed + i, scale) for i, part in enumerate(space)]
        return space.element(parts)
    tensor = scale * torch.randn(space.shape, generator=source, dtype=torch.float64)
    return as_element(space, tensor.to(as_tensor(space.zero())))


def array(x):
    """Copy of the element as a flat numpy array in double precision."""
    return as_tensor(x).cpu().numpy().astype("float64").ravel()


class DenseOperator(odl.Operator):
    """Linear operator given by a matrix, for spaces of any shape; pure ODL."""

    def __init__(self, matrix, domain, range):
        super().__init__(domain, range, linear=True)
        self.matrix = matrix

    def _call(self, x):
        y = torch.from_numpy(self.matrix @ array(x)).reshape(self.range.shape)
        return as_element(self.range, y.to(as_tensor(self.range.zero()).dtype))

    @property
    def adjoint(self):
        ratio = weight(self.range) / weight(self.domain)
        return DenseOperator(ratio * self.matrix.T, self.range, self.domain)


def forward_operator(X, size=10, seed=0):
    """Random matrix from ``X`` to a space of ``size`` data with cells of 0.25."""
    matrix = np.random.default_rng(seed).standard_normal((size, X.size)) / 8
    return DenseOperator(matrix, X, data_space(size, X.impl, X.dtype_identifier))


class LatentScaledSquare(Functional):
    """``F(u, z) = (1 + ||z||_Z^2 / 10) ||u||_X^2``, which depends on ``z``."""

    def __init__(self, X, Z):
        super().__init__(odl.ProductSpace(X, Z))

    def _call(self, point):
        u, z = point
        return (1 + z.inner(z) / 10) * u.inner(u)

    @property
    def gradient(self):
        functional = self

        class Gradient(odl.Operator):
            def __init__(self):
                super().__init__(functional.domain, functional.domain)

            def _call(self, point):
                u, z = point
                parts = [2 * (1 + z.inner(z) / 10) * u, u.inner(u) / 5 * z]
                return self.range.element(parts)

        return Gradient()


class Counter:
    """Counts; a copy of a network counts on the same."""

    def __init__(self):
        self.forward = self.backward = 0

    def __deepcopy__(self, memo):
        return self

    def __call__(self):
        return self.forward, self.backward


class Counted(torch.nn.Module):
    """Counts the forward and backward passes through a network."""

    def __init__(self, network):
        super().__init__()
        self.network, self.counter = network, Counter()

    def forward(self, z):
        self.counter.forward += 1
        x = self.network(z)
        if x.requires_grad:
            x.register_hook(self._count_backward)
        return x

    def _count_backward(self, gradient):
        self.counter.backward += 1
        return gradient
