# SPDX-License-Identifier: MPL-2.0
"""deepinv, a peer; None where it is not installed.

deepinv imports torchvision, whose wheel from PyPI is built for another torch: its
compiled half does not load beside a CPU build, and two operators are then missing that
it refers to at import. Nothing here computes with torchvision: declarations will do.
"""

import copy
import importlib.util
import sys
import warnings

import torch

__all__ = ("CSGM", "deepinv", "tomography")

_declarations = torch.library.Library("torchvision", "FRAGMENT")


def _import_torchvision():
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            _declarations.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )


deepinv = None
if importlib.util.find_spec("deepinv") and importlib.util.find_spec("torchvision"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _import_torchvision()
        import deepinv


def tomography(pixels: int, num_angles: int):
    """Return deepinv's parallel beam transform for the CPU, scaled to norm 1."""
    return deepinv.physics.Tomography(
        angles=num_angles, img_width=pixels, normalize=True, device="cpu"
    )


class CSGM:
    """Iterations of deepinv's search in the latent, `CSGMGenerator`, as it is.

    Adam on the mean squared error. Its network keeps weights that require gradients,
    as it comes out of training, unless ``frozen``.
    """

    iterations = 5

    def __init__(self, network, latent_dim, pixels, num_angles, frozen=False):
        class Backbone(torch.nn.Module):
            """The network with the shapes that deepinv expects."""

            nz = latent_dim

            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, z):
                return self.network(z.flatten(1)).reshape(-1, 1, pixels, pixels)

        network = copy.deepcopy(network)
        self.physics = tomography(pixels, num_angles)
        backbone = Backbone().requires_grad_(not frozen).eval()
        self._reconstructor = deepinv.models.CSGMGenerator(
            backbone, inf_max_iter=self.iterations, inf_tol=0.0
        ).eval()
        with torch.no_grad():
            self.data = self.physics.A(backbone(torch.ones(1, latent_dim)))

    def __call__(self, z: torch.Tensor):
        """Run some iterations from ``z``."""
        start = z.reshape(1, -1, 1, 1)
        return self._reconstructor.optimize_z(start, self.data, self.physics)
