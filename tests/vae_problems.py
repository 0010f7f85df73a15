# SPDX-License-Identifier: MPL-2.0
"""Tomography of the shipped digits with the shipped generator, and a yardstick."""

import functools

import numpy as np
import odl
import torch

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.torch_bridge import as_element, as_tensor, weight
from solver_pairs import Problem

NUM_ANGLES, NOISE = 10, 0.05


@functools.cache
def operators():
    """Return the generator and the ray transform, with their norms."""
    X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    G = ogr.load_generator("mnist-vae", image_space=X)
    A = ogr.ray_transform(X, num_angles=NUM_ANGLES)
    source = torch.Generator().manual_seed(0)
    samples = torch.randn(8, *G.domain.shape, generator=source)
    norm_A = odl.power_method_opnorm(A, xstart=X.one(), maxiter=50)
    norms_G = [
        odl.power_method_opnorm(
            G.derivative(as_element(G.domain, z)), xstart=G.domain.one(), maxiter=20
        )
        for z in samples
    ]
    return A, G, 1.05 * float(norm_A), 1.2 * float(max(norms_G))


def vae_problem(regularizer, seed) -> Problem:
    """Return the problem of a digit with noise of 5 % of the rms of its data.

    The weights are those of the probabilistic model, the start is the code of the
    filtered back-projection. The inner problem has one start and a tolerance of 1e-4.
    """
    A, G, norm_A, norm_G = operators()
    X = A.domain
    images = demo_digits()
    clean = A(X.element(images[seed])).asarray()
    noise_std = NOISE * float(np.sqrt(np.mean(clean**2)))
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    y = A.range.element((clean + noise_std * noise).astype(np.float32))
    fbp = odl.applications.tomo.fbp_op(A, filter_type="Hann", frequency_scaling=0.5)
    z = G.encode(as_tensor(fbp(y))[None].clamp(0, 1))[0]
    mu = weight(X) * G.decoder_variance
    options = {"num_starts": 1, "tol": 1e-4}
    R = {
        "range": lambda: ogr.range_constraint(G, **options),
        "soft": lambda: ogr.soft_constraint(G, mu, **options),
        "sparse": lambda: ogr.sparse_deviation(G, num_starts=1),
    }[regularizer]()
    lam = 1 / (2 * mu)
    if regularizer == "range":
        lam = 0.5  # lam mu of the soft constraint
    if regularizer == "sparse":
        lam = 0.5 / R.mu
    D = ogr.squared_l2(A, y, noise_std=noise_std)
    return Problem(D, R, lam, norm_A, norm_G, as_element(G.domain, z.clone()))


def torch_lbfgs(functional, start, niter=300):
    """Return the value that torch's L-BFGS (strong Wolfe) reaches on a functional."""
    product = isinstance(start.space, odl.ProductSpace)
    leaves = [as_tensor(part).clone() for part in (start if product else [start])]
    spaces = start.space if product else [start.space]
    optimizer = torch.optim.LBFGS(
        leaves,
        max_iter=niter,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_change=0.0,
    )

    def closure():
        parts = [as_element(s, t.clone()) for s, t in zip(spaces, leaves, strict=True)]
        point = start.space.element(parts) if product else parts[0]
        gradient = functional.gradient(point)
        rows = gradient if product else [gradient]
        for space, leaf, row in zip(spaces, leaves, rows, strict=True):
            leaf.grad = weight(space) * as_tensor(row)  # plain sums
        return torch.tensor(float(functional(point)))

    optimizer.step(closure)
    return float(closure())
