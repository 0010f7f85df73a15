# SPDX-License-Identifier: MPL-2.0
"""Tomography with a soft generative constraint by PDHG, in an ODL pipeline.

Solves the optimization problem

    min_{0 <= x <= 1}  ||A x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z ||x - G(z)||_X^2 + mu ||z||^2

with the ray transform ``A`` at 5 angles, data ``y`` with noise of standard deviation
``sigma``, and the decoder ``G`` of a VAE. It is ``tomography_tv_pdhg.py`` but for the
regularizer, its weight, and step and number of iterations.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import odl

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import fbp, psnr

quick = os.environ.get("GENREG_QUICK") == "1"  # a short run, for the tests

# --- Set up the forward operator (ray transform) --- #

X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
geometry = odl.applications.tomo.parallel_beam_geometry(X, num_angles=5)
A = odl.applications.tomo.RayTransform(X, geometry)

# --- Generate data: a digit, noise of 5 % of the rms of the data --- #

x_true = X.element(demo_digits()[0])
y = A(x_true)
noise_std = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
noise = np.random.default_rng(0).standard_normal(y.shape)
y += A.range.element(noise_std * noise)

# --- Set up the inverse problem --- #

scale = 1 / (2 * noise_std**2 * A.range.weighting.const)  # the norm in plain sums
data_term = scale * odl.functionals.L2NormSquared(A.range).translated(y)

G = ogr.load_generator("mnist-vae", image_space=X)
R = ogr.soft_constraint(G)
lam = 1 / (2 * R.mu)

f = odl.functionals.IndicatorBox(X, 0, 1)
g = odl.functionals.SeparableSum(data_term, lam * R)
L = odl.BroadcastOperator(A, odl.IdentityOperator(X))

# --- Solve --- #

L_norm = 1.1 * float(odl.power_method_opnorm(L, X.one(), maxiter=50))
sigma = 0.5 * lam
tau = 1 / (sigma * L_norm**2)
niter = 5 if quick else 80

x = X.zero()
odl.solvers.pdhg(x, f, g, L, niter=niter, tau=tau, sigma=sigma)

# --- Show --- #

images = {"FBP": fbp(A, y, bounds=(0, 1)), "soft": x, "true image": x_true}
print(f"objective: {g(L(x)):.4g}")
figure, axes = plt.subplots(1, len(images), figsize=(9, 3.3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    if image is not x_true:
        name += f", {psnr(image, x_true):.2f} dB"
        print(name)
    axis.imshow(image.asarray(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
figure.savefig("tomography_soft_pdhg.png")
