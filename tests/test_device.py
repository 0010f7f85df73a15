# SPDX-License-Identifier: MPL-2.0
"""The package on a simulated device: the results of the host, and nothing moved.

`test_gpu` runs the same on a real one.
"""

import warnings

import pytest
import torch

from device_cases import (
    CASES,
    FAST,
    SLOW,
    SOLVERS,
    assert_moves_no_array,
    assert_same,
    transfers_of_an_iteration,
)
from simulated_device import Transfers


@pytest.mark.parametrize("name", CASES)
def test_same_as_on_the_host(device, tmp_path, name):
    assert_same(CASES[name], device, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_same_as_on_the_host_slow(device, tmp_path, name):
    assert_same(SLOW[name], device, tmp_path)


@pytest.mark.parametrize("name", FAST)
def test_an_iteration_moves_no_array(device, name):
    assert_moves_no_array(device, name, batch=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SOLVERS.keys() - {"continuation"}))
def test_an_iteration_moves_no_array_slow(device, name):
    assert_moves_no_array(device, name, batch=False)
    assert_moves_no_array(device, name, batch=True)


@pytest.mark.slow
def test_continuation_moves_points_and_gradients(device):
    """Its L-BFGS-B is that of scipy, on the host: blocks of 63 and 3 entries."""
    assert set(transfers_of_an_iteration(device, "continuation")) == {1, 3, 63}


# --- The simulation itself --- #


def test_mixed_devices_raise(device):
    there, here = torch.ones(3, device=device), torch.ones(3)
    for mix in (
        lambda: there + here,
        lambda: torch.stack([there, here]),
        lambda: here.add_(there),
        lambda: here[here > 0].dot(there),
    ):
        with pytest.raises(RuntimeError, match="same device.*simulated:0 and cpu"):
            mix()
    assert (there + torch.tensor(1.0)).device == torch.device(device)
    with pytest.raises(TypeError, match="can't convert simulated:0"):
        there.numpy()
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.randn(3, device=device, generator=torch.Generator())


def test_transfers_are_counted(device):
    with Transfers() as transfers:
        x = torch.tensor([1.0, 2.0, 3.0], device=device)
        y = x[torch.tensor([0, 1])]
        y.tolist()
        float(x.sum())
        x.cpu().copy_(x)
        x[x > 1]
    assert transfers.to_device == [3, 2]
    assert transfers.to_host == [2, 1, 3, 3, 1]


def test_derivatives(device):
    x = torch.tensor([1.0, 2.0], device=device)
    values, tangents = torch.func.jvp(torch.exp, (x,), (x,))
    jacobian = torch.func.jacfwd(torch.square)(x)
    rows = torch.func.vmap(torch.sum)(jacobian)
    assert values.device == tangents.device == torch.device(device)
    assert rows.tolist() == [2.0, 4.0]


def test_shapes_in_place(device):
    x = torch.ones(1, 3, device=device)
    assert x.squeeze_(0).shape == (3,)
    assert x.quantile(0.5).item() == 1.0


def test_sparse_product(device):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # once in a process, of CSR
        matrix = torch.eye(2).to_sparse_csr()
    x = torch.tensor([[1.0], [2.0]], device=device)
    assert (matrix.to(device) @ x).tolist() == [[1.0], [2.0]]
