# SPDX-License-Identifier: MPL-2.0
"""A pair of projectors that is not adjoint, and how far it is from one.

What `unmatched_adjoint` needs; this file is no study.
"""

import numpy as np
import torch

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.torch_bridge import LinearMap, as_tensor, torch_device

NUMBER = 100  # of random pairs
STEP = 1e-2  # of central differences


class VoxelDriven(ogr.forward_operators.BatchOperator):
    """A ray transform in parallel beam with a voxel-driven back-projector.

        ``(A^T y)(x) = (h^2 / d) sum_a y_a(theta_a . x)``

    with pixels of side ``h``, detector cells of length ``d`` and data that are
    interpolated linearly, 0 outside: the adjoint up to discretization, not exactly.
    """

    def __init__(self, ray_trafo):
        """Initialize a new instance with the forward projector of a ray transform."""
        super().__init__(ray_trafo.domain, ray_trafo.range)
        self._forward = LinearMap(ray_trafo)
        geometry, X = ray_trafo.geometry, ray_trafo.domain
        detector = geometry.det_partition
        cell = float(detector.cell_sides[0])
        place = geometry.det_axis(geometry.angles) @ X.points().T
        place = torch.from_numpy((place - detector.min_pt[0]) / cell + 0.5)
        place = place.clamp(0, detector.size + 1)
        # Cells are counted from 1, with zeros at 0 and at the end.
        self._cells = place.floor().clamp(max=detector.size).long()
        self._shares = (place - self._cells).float()
        self._scale = X.cell_volume / cell

    def batch(self, x):
        """Map images to data."""
        return self._forward(x)

    def batch_transpose(self, y):
        """Map data to images, and not by the transpose of `batch`."""
        image = y.new_zeros(len(y), self.domain.size)
        padded = torch.nn.functional.pad(y, (1, 1))
        for angle, (cell, share) in enumerate(
            zip(self._cells, self._shares, strict=True)
        ):
            data = padded[:, angle]
            image += (1 - share) * data[:, cell] + share * data[:, cell + 1]
        return self._scale * image.reshape(-1, *self.domain.shape)


def mismatches(A, B):
    """How far the pair ``B`` is from adjoint, on noise and on digits.

    Returns
    -------
    measures : dict
        ``|<B x, y> - <x, B^* y>| / (|B x| |y|)``, root of the mean square, for white
        noise and for digits and the data of others; and the least real part of the
        eigenvalues of ``B^* B`` over the largest.
    """
    forward, source = LinearMap(B), torch.Generator().manual_seed(0)
    device = torch_device(B.domain)
    x = torch.randn(NUMBER, *A.domain.shape, generator=source).to(device)
    y = torch.randn(NUMBER, *A.range.shape, generator=source).to(device)
    digits = torch.from_numpy(demo_digits()).to(device)
    data = forward(digits.roll(1, 0))
    eye = torch.eye(A.domain.size, device=device).reshape(-1, *A.domain.shape)
    normal = forward.T(forward(eye)).flatten(1).double().cpu().numpy()
    eigenvalues = np.linalg.eigvals(normal).real
    return {
        "random": _mismatch(forward, x, y),
        "digits": _mismatch(forward, digits, data),
        "eigenvalue": float(eigenvalues.min() / eigenvalues.max()),
    }


def _mismatch(forward, x, y):
    images, data = forward(x).flatten(1).double(), y.flatten(1).double()
    back = forward.T(y).flatten(1).double()
    difference = (images * data).sum(1) - (x.flatten(1).double() * back).sum(1)
    relative = difference / (images.norm(dim=1) * data.norm(dim=1))
    return float(relative.square().mean().sqrt())


def gradient_errors(problem, B, latents, prior):
    """Errors of the gradients of the range objective by both pairs.

    Returns
    -------
    rows : list of dict
        For each image and pair: ``error``, that of the gradient against central
        differences at a draw of N(0, I); and ``remaining``, the norm of the gradient
        at ``latents``, the minima of the exact pair, over that at 0.
    """
    rows = []
    for pair, operator in (("exact", problem.operator), ("unmatched", B)):
        G = ogr.load_generator("mnist-vae", image_space=operator.domain)
        forward, device = LinearMap(operator), torch_device(operator.domain)
        source = torch.Generator().manual_seed(0)
        for number, y in enumerate(problem.reported_data):
            data = as_tensor(y).to(device)

            def objective(z, data=data, G=G, forward=forward):
                misfit = (forward(G.batch(z)) - data).double().square().flatten(1)
                misfit = misfit.sum(1) / (2 * problem.noise_std**2)
                return misfit + prior * z.double().square().sum(1)

            z = torch.randn(1, *G.domain.shape, generator=source).to(device)
            shift = STEP * torch.eye(z.shape[1], device=device)
            with torch.no_grad():
                differences = objective(z + shift) - objective(z - shift)
            differences /= 2 * STEP
            error = _gradient(objective, z)[0].double() - differences
            minimum = torch.from_numpy(latents[number]).to(device)
            last = _gradient(objective, minimum[None]).norm()
            first = _gradient(objective, torch.zeros_like(z)).norm()
            head = {"problem": problem.name, "method": f"gradient, {pair}"}
            rows.append(
                head
                | {
                    "image": number,
                    "error": float(error.norm() / differences.norm()),
                    "remaining": float(last / first),
                }
            )
    return rows


def _gradient(objective, z):
    z = z.detach().clone().requires_grad_()
    return torch.autograd.grad(objective(z).sum(), z)[0]
