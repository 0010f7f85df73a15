# SPDX-License-Identifier: MPL-2.0
"""Tomography with a network of your own, in physical units.

Solves the optimization problem

    min_{a <= x <= b}  ||A x - y||^2 / (2 sigma^2) + lam R(x)

    R(x) = min_z ||x - G(z)||_X^2 + mu ||z||^2,    G(z) = 0.02 + 0.03 network(z)

for a plate of 28 mm x 28 mm with attenuation a = 0.02 / mm and a digit of b = 0.05 / mm
in it. The network is trained here, in seconds, on 80 digits with values in [0, 1];
``intensity`` brings its output to 1 / mm. The generator is saved and loaded again.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import odl
import torch
from torch import nn

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import psnr, total_variation

quick = os.environ.get("GENREG_QUICK") == "1"  # a short run, for the tests

# --- Train a network: an autoencoder with 10 latents --- #


def autoencoder():
    encoder = [nn.Flatten(), nn.Linear(784, 128), nn.SiLU(), nn.Linear(128, 10)]
    network = [nn.Linear(10, 128), nn.SiLU(), nn.Linear(128, 784), nn.Sigmoid()]
    return nn.Sequential(*encoder), nn.Sequential(*network)


digits = torch.from_numpy(demo_digits())
rolls = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
images = torch.cat([digits[10:90].roll(roll, (1, 2)) for roll in rolls])
torch.manual_seed(0)
encoder, network = autoencoder()
both = [*encoder.parameters(), *network.parameters()]
optimizer = torch.optim.Adam(both, lr=2e-3)
for _ in range(5 if quick else 600):
    batch = images[torch.randint(len(images), (64,))]
    z = encoder(batch)
    x = network(z + 0.3 * torch.randn_like(z))
    error = (x - batch.flatten(1)).square().sum(1) + 0.1 * z.square().sum(1)
    optimizer.zero_grad()
    error.mean().backward()
    optimizer.step()
with torch.no_grad():
    deviations = network(encoder(digits[90:])) - digits[90:].flatten(1)

# --- Set up the generator: from (batch, 10) to images in 1 / mm --- #

X = odl.uniform_discr([-14, -14], [14, 14], (28, 28), dtype="float32")  # mm
Z = odl.rn(10, dtype="float32")
offset, scale = 0.02, 0.03
units = {
    "intensity": (offset, scale),
    "decoder_variance": float(deviations.var()) * scale**2,
}
G = ogr.Generator(network, Z, X, encoder=encoder, **units)
ogr.save_generator("own_network", G, description={"training_data": "80 digits"})
encoder, network = autoencoder()  # untrained ones, to take the weights of the file
G = ogr.load_generator("own_network", X, network=network, encoder=encoder)

# --- Generate data: another digit, noise of 5 % of the rms of the data --- #

A = ogr.ray_transform(X, num_angles=5)
x_true = X.element(offset + scale * demo_digits()[0])
y = A(x_true)
noise_std = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
noise = np.random.default_rng(0).standard_normal(y.shape)
y += A.range.element(noise_std * noise)

# --- Solve --- #

D = ogr.squared_l2(A, y, noise_std=noise_std)
R = ogr.soft_constraint(G)
bounds = (offset, offset + scale)
result = ogr.reconstruct(D, R, lam=1 / (2 * R.mu), bounds=bounds)
print(result)

# --- Show --- #

x_tv = total_variation(D, 25.0, bounds=bounds).x
images = {"TV": x_tv, "soft": result.x, "G(z)": G(result.z), "true image": x_true}
figure, axes = plt.subplots(1, len(images), figsize=(12, 3.3), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    if image is not x_true:
        name += f", {psnr(image, x_true, data_range=scale):.2f} dB"
        print(name)
    axis.imshow(image.asarray(), vmin=offset, vmax=offset + scale, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
figure.savefig("own_network.png")
