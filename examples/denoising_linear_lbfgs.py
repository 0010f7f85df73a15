# SPDX-License-Identifier: MPL-2.0
"""Denoising with a linear generator by ODL's L-BFGS: nothing is trained.

Solves the optimization problem

    min_x  ||x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z ||x - G(z)||_X^2 + mu ||z||^2

with an image ``y`` with noise of standard deviation ``sigma``, and the principal
components of other images as a generator, ``G(z) = mean + sum_k z_k s_k c_k`` with
``z ~ N(0, I)``. All weights follow from the variances (probabilistic PCA), and the
minimizer has a closed form: the distance to it is printed.
"""

import matplotlib.pyplot as plt
import numpy as np
import odl
import torch

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import psnr, total_variation

# --- Set up the generator: principal components of 80 digits --- #

X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
Z = odl.rn(30, dtype="float32")
digits = demo_digits().reshape(100, X.size)
mean = digits[:80].mean(0)
_, singular_values, components = np.linalg.svd(digits[:80] - mean, full_matrices=False)
variances = singular_values**2 / 80
rest = float(variances[Z.size :].sum() / (X.size - Z.size))  # per pixel
directions = np.sqrt(variances[: Z.size] - rest)[:, None] * components[: Z.size]

network = torch.nn.Linear(Z.size, X.size)
with torch.no_grad():
    network.weight.copy_(torch.from_numpy(directions.T))
    network.bias.copy_(torch.from_numpy(mean))
G = ogr.Generator(network, Z, X, decoder_variance=rest)

# --- Generate data: another digit with noise --- #

x_true = X.element(digits[80].reshape(X.shape))
noise_std = 0.8
noise = np.random.default_rng(0).standard_normal(X.shape)
y = x_true + X.element(noise_std * noise)

# --- Set up the objective --- #

D = ogr.squared_l2(odl.IdentityOperator(X), y, noise_std=noise_std)
R = ogr.soft_constraint(G)  # mu from the decoder variance
lam = 1 / (2 * R.mu)  # lam mu = 1/2: z ~ N(0, I)
J = D + lam * R  # a plain odl Functional

# --- Solve --- #

x = y.copy()
line_search = ogr.BacktrackingLineSearch(J)
odl.solvers.bfgs_method(J, x, num_store=10, line_search=line_search, maxiter=20)

# --- Compare with the closed form and with total variation --- #

covariance = directions.T @ directions + rest * np.eye(X.size)
gain = np.linalg.solve(covariance + noise_std**2 * np.eye(X.size), covariance)
x_closed = X.element((mean + gain.T @ (y.asarray().ravel() - mean)).reshape(X.shape))
print(f"objective: {J(x):.6g}, that of the closed form {J(x_closed):.6g}")
print(f"relative distance to the closed form: {(x - x_closed).norm() / x.norm():.1e}")

# --- Show --- #

x_tv = total_variation(D, 16.0).x
images = {"data": y, "TV": x_tv, "soft, PCA": x, "true image": x_true}
figure, axes = plt.subplots(1, len(images), figsize=(12, 3.3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    if image is not x_true:
        name += f", {psnr(image, x_true):.2f} dB"
        print(name)
    axis.imshow(image.asarray(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
figure.savefig("denoising_linear_lbfgs.png")
