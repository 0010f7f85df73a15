# SPDX-License-Identifier: MPL-2.0
"""Tomography with a weight that the data choose, in three ways.

Solves the optimization problem

    min_x  ||A x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z ||x - G(z)||_X^2 + mu ||z||^2

with the ray transform ``A`` of 10 angles, noisy data ``y``, the decoder ``G`` of a VAE
and ``mu`` from its decoder variance. ``lam`` is chosen by the discrepancy principle, at
the corner of the L-curve, and by the PSNR of other digits with simulated data; beside
them stands the best ``lam`` for this very digit, which only the true image tells.
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

# --- Generate data: a digit, noise of 5 % of the rms of the data --- #

digits = demo_digits()
x_true = X.element(digits[0])
y = A(x_true)
noise_std = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
noise = np.random.default_rng(0).standard_normal(y.shape)
y += A.range.element(noise_std * noise)

# --- Set up the objective --- #

D = ogr.squared_l2(A, y, noise_std=noise_std)
G = ogr.load_generator("mnist-vae", image_space=X)
R = ogr.soft_constraint(G)
options = {"bounds": (0, 1), "maxiter": 3 if quick else 1000}

# --- Choose the weight --- #

others = digits[50 : 51 if quick else 58]
choices = {
    "discrepancy": ogr.choose_weights(D, R, "discrepancy", **options),
    "L-curve": ogr.choose_weights(D, R, "l_curve", **options),
    "validation": ogr.choose_weights(D, R, "validation", images=others, **options),
    "best": ogr.choose_weights(
        D, R, "validation", images=[x_true], data=[y], **options
    ),
}

# --- Solve --- #

images = {"TV": total_variation(D, 8.0, bounds=(0, 1)).x}
for name, choice in choices.items():
    result = choice.reconstruction or ogr.reconstruct(D, R, choice.lam, **options)
    images[name] = result.x
    print(f"{name}: lam = {choice.lam:.3g}, objective {result.objective:.2f}")
print(choices["discrepancy"])

# --- Show --- #

figure, axes = plt.subplots(1, len(images), figsize=(15, 3.3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    title = f"{name}, {psnr(image, x_true):.2f} dB"
    print(title)
    axis.imshow(image.asarray(), vmin=0, vmax=1, cmap="gray")
    axis.set_title(title)
    axis.axis("off")
figure.savefig("choose_weights.png")
