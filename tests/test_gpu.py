# SPDX-License-Identifier: MPL-2.0
"""The same on the GPU: elements stay on the device, results are those of the CPU.

The cases of `device_cases` are the same that `test_device` runs on a simulated device,
here with the tolerance of convolutions in TF32.
"""

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from device_cases import CASES, SLOW, SOLVERS, assert_moves_no_array, assert_same
from odl_genreg.torch_bridge import as_element, as_tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def device():
    """Name of the device, in place of the simulated one."""
    return "cuda:0"


@pytest.mark.parametrize("name", CASES | SLOW)
def test_same_as_on_the_host(device, tmp_path, name):
    tolerance = 1e-2 if name == "training" else 1e-3
    assert_same((CASES | SLOW)[name], device, tmp_path, tolerance)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("name", sorted(SOLVERS.keys() - {"continuation"}))
def test_an_iteration_moves_no_array(device, name, batch):
    assert_moves_no_array(device, name, batch)


def spaces(device):
    impl = "numpy" if device == "cpu" else "pytorch"
    X = odl.uniform_discr(
        [-1, -1], [1, 1], (28, 28), dtype="float32", impl=impl, device=device
    )
    return X, ogr.load_generator("mnist-vae", image_space=X)


def test_elements_share_device_memory():
    X, G = spaces("cuda:0")
    tensor = torch.rand(28, 28, device="cuda:0")
    assert as_tensor(as_element(X, tensor)).data_ptr() == tensor.data_ptr()
    assert as_tensor(G(G.domain.zero())).device == torch.device("cuda:0")


def test_adjoint_of_the_derivative():
    X, G = spaces("cuda:0")
    z = as_element(G.domain, torch.full((16,), 0.3, device="cuda:0"))
    h = as_element(G.domain, torch.linspace(-1, 1, 16, device="cuda:0"))
    derivative = G.derivative(z)
    y = as_element(X, torch.rand(28, 28, device="cuda:0"))
    left, right = derivative(h).inner(y), h.inner(derivative.adjoint(y))
    assert left == pytest.approx(right, rel=1e-4)


@pytest.mark.parametrize("bounds", [None, (0, 1)])
def test_denoising_agrees_with_the_cpu(bounds):
    noisy = np.random.default_rng(0).random((28, 28)).astype("float32")
    objectives = []
    for device in ("cpu", "cuda:0"):
        X, G = spaces(device)
        data = as_element(X, torch.from_numpy(noisy).to(device))
        D = ogr.squared_l2(odl.IdentityOperator(X), data, noise_std=0.3)
        R = ogr.soft_constraint(G)
        result = ogr.reconstruct(D, R, 1e3, bounds=bounds, restarts=4)
        objectives.append(result.objective)
    assert objectives[1] == pytest.approx(objectives[0], rel=1e-3)


def test_ray_transform_on_the_device():
    X, G = spaces("cuda:0")
    A = ogr.ray_transform(X, num_angles=5, backend="cuda")
    y = A(G(G.domain.zero()))
    assert as_tensor(y).device == torch.device("cuda:0")
    result = ogr.reconstruct(
        ogr.squared_l2(A, y, noise_std=0.01), ogr.range_constraint(G), 0.1, restarts=4
    )
    assert result.residual < 0.05 * float((as_tensor(y) ** 2).sum())
