# SPDX-License-Identifier: MPL-2.0
"""Tomography with a soft generative constraint by three solvers.

Solves the optimization problem

    min_x  ||A x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z ||x - G(z)||_X^2 + mu ||z||^2

with the ray transform ``A`` at 5 angles and the decoder ``G`` of a VAE, by

    bfgs_method   ODL's L-BFGS: takes the gradient of D + lam R
    pdhg          ODL's primal-dual method: takes the proximal of lam R
    reconstruct   ours: eliminates x and searches z from several starts

No constraint on ``x``, in TV neither.
"""

import os
import time

import matplotlib.pyplot as plt
import numpy as np
import odl

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import psnr, total_variation

quick = os.environ.get("GENREG_QUICK") == "1"  # a short run, for the tests

# --- Set up the forward operator (ray transform) --- #

X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
A = ogr.ray_transform(X, num_angles=5)

# --- Generate data: a digit, noise of 5 % of the rms of the data --- #

x_true = X.element(demo_digits()[0])
y = A(x_true)
noise_std = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
noise = np.random.default_rng(0).standard_normal(y.shape)
y += A.range.element(noise_std * noise)

# --- Set up the objective --- #

D = ogr.squared_l2(A, y, noise_std=noise_std)
G = ogr.load_generator("mnist-vae", image_space=X)
R = ogr.soft_constraint(G)
lam = 1 / (2 * R.mu)  # lam mu = 1/2: z ~ N(0, I)
J = D + lam * R

# --- Solve, three ways --- #

images, times = {}, [time.perf_counter()]

x = X.zero()
search = ogr.BacktrackingLineSearch(J)
maxiter = 1 if quick else 60
odl.solvers.bfgs_method(J, x, num_store=10, line_search=search, maxiter=maxiter)
images["bfgs_method"] = x
times.append(time.perf_counter())

x = X.zero()
A_norm = 1.1 * float(odl.power_method_opnorm(A, X.one(), maxiter=50))
tau = 0.5 / lam  # a safe step for lam R alone
sigma = 1 / (tau * A_norm**2)
niter = 2 if quick else 60
odl.solvers.pdhg(x, lam * R, D.on_data, A, niter=niter, tau=tau, sigma=sigma)
images["pdhg"] = x
times.append(time.perf_counter())

images["reconstruct"] = ogr.reconstruct(D, R, lam, restarts=8, seed=0).x
times.append(time.perf_counter())

for (name, x), seconds in zip(images.items(), np.diff(times), strict=True):
    print(f"{name}: objective {J(x):.2f}, {seconds:.1f} s")

# --- Show --- #

images |= {"TV": total_variation(D, 6.0).x, "true image": x_true}
figure, axes = plt.subplots(1, len(images), figsize=(15, 3.3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    if image is not x_true:
        name += f", {psnr(image, x_true):.2f} dB"
        print(name)
    axis.imshow(image.asarray(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
figure.savefig("tomography_soft_three_solvers.png")
