# SPDX-License-Identifier: MPL-2.0
"""Cone beam tomography of a volume on the GPU, with a generator of volumes.

Solves the optimization problem

    min_z  ||A G(z) - y||^2 / (2 sigma^2) + lam ||z||^2

for ten cone beam projections of three ellipsoids. ``A`` is ASTRA's on the GPU; ``G``, a
torch module without training, maps 21 latents to ellipsoids with smooth boundaries.
With ``device="cuda:0"`` nothing leaves the GPU. ASTRA has no cone beam without one.
"""

import os

import matplotlib.pyplot as plt
import odl
import torch
from torch import nn

import odl_genreg as ogr
from odl_genreg.evaluation import psnr

quick = os.environ.get("GENREG_QUICK") == "1"  # a short run, for the tests
device = "cuda:0" if torch.cuda.is_available() else "cpu"
n = 8 if quick else 64


class Ellipsoids(nn.Module):
    """Sum of ellipsoids: centers, half axes and densities of standard normal latents.

    The density is multiplied by the sigmoid of ``(1 - d) / width``, where ``d`` is the
    distance of the center in half axes.
    """

    def __init__(self, shape, width):
        super().__init__()
        axes = [(2 * torch.arange(k) + 1) / k - 1 for k in shape]
        self.register_buffer(
            "points", torch.stack(torch.meshgrid(*axes, indexing="ij"))
        )
        self.width = width

    def forward(self, z):
        center, axes, density = z.reshape(len(z), -1, 7, 1, 1, 1).split(
            [3, 3, 1], dim=2
        )
        scaled = (self.points - 0.3 * center) / (0.35 * (0.25 * axes).exp())
        distance = (scaled.square().sum(2) + 1e-6).sqrt()
        inside = torch.sigmoid((1 - distance) / self.width)
        return (torch.sigmoid(density[:, :, 0]) * inside).sum(1)


# --- Set up the forward operator: cone beam, ten angles --- #

space = {"dtype": "float32", "impl": "pytorch", "device": device}
X = odl.uniform_discr([-1] * 3, [1] * 3, (n, n, n), **space)
angles = odl.uniform_partition(0, 2 * torch.pi, 10)
detector = odl.uniform_partition([-2.4, -2.4], [2.4, 2.4], (3 * n // 2, 3 * n // 2))
geometry = odl.applications.tomo.ConeBeamGeometry(
    angles, detector, src_radius=6, det_radius=3
)
A = ogr.ray_transform(X, geometry=geometry, backend="cuda")

# --- Set up the generator of volumes --- #

Z = odl.rn(21, **space)
G = ogr.Generator(Ellipsoids(X.shape, width=0.1).to(device), Z, X)

# --- Generate data: a volume of the generator, noise of 5 % of the rms --- #

torch.manual_seed(4)
x_true = G(Z.element(torch.randn(21).to(device)))
y = A(x_true)
noise_std = 0.05 * float(y.data.square().mean().sqrt())
y += A.range.element(noise_std * torch.randn(y.shape).to(device))

# --- Solve --- #

D = ogr.squared_l2(A, y, noise_std=noise_std)
R = ogr.range_constraint(G)
settings = {"restarts": 1, "maxiter": 2} if quick else {"restarts": 16}
result = ogr.reconstruct(D, R, lam=0.5, seed=0, **settings)
print(result)

# --- Show --- #

x_ls = X.zero()
odl.solvers.conjugate_gradient_normal(A, x_ls, y, niter=15)
images = {"least squares": x_ls, "range": result.x, "true volume": x_true}
figure, axes = plt.subplots(1, len(images), figsize=(9, 3.3), layout="constrained")
for axis, (name, volume) in zip(axes, images.items(), strict=True):
    if volume is not x_true:
        name += f", {psnr(volume, x_true):.2f} dB"
        print(name)
    axis.imshow(volume.data[n // 2].numpy(force=True), vmin=0, vmax=1, cmap="gray")
    axis.set_title(name)
    axis.axis("off")
figure.savefig("volume_cone_beam.png")
