# SPDX-License-Identifier: MPL-2.0
"""What the deviations are for: a bright spot that the generator has never seen.

Solves the optimization problem

    min_{0 <= x <= 1}  ||A x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z F(x - G(z)) + mu ||z||^2

with the ray transform ``A`` at 10 angles, the decoder ``G`` of a VAE of digits, and

    range   F the indicator of {0}: x = G(z) cannot have the spot
    soft    F = ||.||_X^2: the price of the spot grows with its square
    sparse  F = ||.||_1: few pixels may deviate, at a price that grows linearly
    TV      F = TV: the deviation is piecewise constant

beside plain TV of the image itself.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import odl

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import psnr, total_variation

quick = os.environ.get("GENREG_QUICK") == "1"  # a short run, for the tests

# --- Set up the forward operator (ray transform) --- #

X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
A = ogr.ray_transform(X, num_angles=10)

# --- Generate data: a digit with a spot, noise of 5 % of the rms of the data --- #

digit = demo_digits()[0]
spot = np.s_[5:7, 20:22]
digit[spot] = 1.0
x_true = X.element(digit)
y = A(x_true)
noise_std = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
noise = np.random.default_rng(0).standard_normal(y.shape)
y += A.range.element(noise_std * noise)

# --- Set up the objectives --- #

D = ogr.squared_l2(A, y, noise_std=noise_std)
G = ogr.load_generator("mnist-vae", image_space=X)
regularizers = {
    "range": ogr.range_constraint(G),
    "soft": ogr.soft_constraint(G),
    "sparse": ogr.sparse_deviation(G),
    "TV of x - G(z)": ogr.tv_deviation(G, mu=1 / 24),
}

# --- Solve: lam mu = 1/2, the weight of the latents for z ~ N(0, I) --- #

options = {"bounds": (0, 1), "maxiter": 25 if quick else 1000}
images, deviations = {"TV": total_variation(D, 12.0, bounds=(0, 1)).x}, {}
for name, R in regularizers.items():
    result = ogr.reconstruct(D, R, lam=1 / (2 * R.mu), **options)
    print(f"{name}: objective {result.objective:.4g}, {result.seconds:.1f} s")
    images[name], deviations[name] = result.x, result.deviation
images["true image"] = x_true

# --- Show: images above, deviations below --- #

figure, axes = plt.subplots(2, len(images), figsize=(15, 6), layout="constrained")
for (above, below), (name, image) in zip(axes.T, images.items(), strict=True):
    value = image.asarray()[spot].mean()
    if image is not x_true:
        print(f"{name}: {psnr(image, x_true):.2f} dB, spot {value:.2f} of 1")
    above.imshow(image.asarray(), vmin=0, vmax=1, cmap="gray")
    above.set_title(f"{name}, spot {value:.2f}")
    if name in deviations:
        u = deviations[name].asarray()
        below.imshow(u, vmin=-1, vmax=1, cmap="RdBu_r")
        below.set_title("x - G(z)")
    above.axis("off")
    below.axis("off")
figure.savefig("tomography_bright_spot.png")
