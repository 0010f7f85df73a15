# SPDX-License-Identifier: MPL-2.0
"""The repairs find their defects, mend them, and leave a healthy ODL alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import odl
import pytest
import torch
from odl.core.array_API_support import utils as array_utils

from odl_genreg import odl_repairs
from odl_genreg.odl_repairs import REPAIRS, apply_repairs
from tolerance import tolerance

NAMES = ("backend_lookup", "numpy_scalar_product")
PROBE = """
import json, os
from odl_genreg.odl_repairs import REPAIRS, apply_repairs
def needed():
    return [repair.name for repair in REPAIRS if repair.is_needed()]
report = {"stock": needed()}
for setting in ("0", "backend_lookup", "1"):
    os.environ["ODL_GENREG_REPAIRS"] = setting
    report[setting] = [list(apply_repairs()), needed()]
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report():
    """Report of a fresh process that starts with all repairs switched off."""
    process = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"ODL_GENREG_REPAIRS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


@pytest.fixture
def repaired(monkeypatch):
    monkeypatch.delenv(odl_repairs.VARIABLE, raising=False)
    apply_repairs()


@pytest.fixture(params=["numpy", "pytorch"])
def space(request, repaired):
    return odl.uniform_discr([0, 0], [1, 2], (7, 9), impl=request.param)


@pytest.mark.parametrize("name", NAMES)
def test_probe_finds_the_defect(report, name):
    if name not in report["stock"]:
        pytest.skip(f"the installed ODL {odl.__version__} does not need {name}")
    assert name not in report["1"][1]


def test_environment_variable(report):
    stock = report["stock"]
    first = [name for name in stock if name == "backend_lookup"]
    rest = [name for name in stock if name != "backend_lookup"]
    assert report["0"] == [[], stock]
    assert report["backend_lookup"] == [first, rest]
    assert report["1"] == [stock, []]


@pytest.mark.parametrize("setting", ["none", "backend_lookup,fast_math", "2"])
def test_unknown_name_is_an_error(monkeypatch, setting):
    monkeypatch.setenv(odl_repairs.VARIABLE, setting)
    message = f"`ODL_GENREG_REPAIRS` must be 0, 1 or .* got '{setting}'; unset it"
    with pytest.raises(ValueError, match=message):
        apply_repairs()


def test_names_and_idempotence(repaired):
    assert tuple(repair.name for repair in REPAIRS) == NAMES
    lookup = array_utils.get_array_and_backend
    assert apply_repairs() == apply_repairs()
    assert array_utils.get_array_and_backend is lookup


def test_healthy_odl_is_left_alone(repaired, monkeypatch):
    # After the repairs the probes see what they would see on a healthy ODL.
    monkeypatch.setattr(odl_repairs, "_applied", [])
    for repair in REPAIRS:
        monkeypatch.setattr(repair, "apply", lambda: pytest.fail("changed ODL"))
    assert apply_repairs() == ()


def test_defective_odl_is_repaired(repaired, monkeypatch):
    def get_array_and_backend(x, must_be_contiguous=False):
        repr(x)
        return x, odl.lookup_array_backend("pytorch")

    monkeypatch.setattr(odl_repairs, "_applied", [])
    monkeypatch.setattr(array_utils, "get_array_and_backend", get_array_and_backend)
    assert apply_repairs() == ("backend_lookup",)
    assert array_utils.get_array_and_backend is not get_array_and_backend


def test_lookup_agrees_with_stock(space):
    x = space.one()
    array, backend = array_utils.get_array_and_backend(x.data)
    assert array is x.data
    assert backend == space.array_backend
    assert array_utils.get_array_and_backend(x)[1] == space.array_backend
    transposed = x.data.T
    contiguous, _ = array_utils.get_array_and_backend(transposed, True)
    assert contiguous.shape == (9, 7)
    with pytest.raises(ValueError, match="registered array backends"):
        array_utils.get_array_and_backend([1.0, 2.0])


def test_inner_product_prints_no_tensor(repaired, monkeypatch):
    X = odl.uniform_discr([0, 0], [1, 2], (7, 9), impl="pytorch")
    x = X.one()
    prints = []
    monkeypatch.setattr(torch.Tensor, "__repr__", lambda t: prints.append(t) or "")
    assert x.inner(x) == pytest.approx(2.0, rel=tolerance["float64"])
    assert x.norm() == pytest.approx(np.sqrt(2.0), rel=tolerance["float64"])
    assert prints == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_scalar_times_element(space, dtype):
    X = space.astype(dtype)
    for V in (X, odl.ProductSpace(X, 2), odl.ProductSpace(X, odl.rn(3))):
        product = np.float64(2.0) * V.one()
        assert product in V
        assert (product - 2.0 * V.one()).norm() == 0.0


def soft_thresholding(space):
    """``argmin_x ||x||_1 + ||x - y||^2``: the entries shrink by 1/2."""
    y = np.linspace(-2, 2, 63).reshape(7, 9)
    solution = np.sign(y) * np.maximum(np.abs(y) - 0.5, 0)
    distance = odl.functionals.L2NormSquared(space).translated(space.element(y))
    return odl.functionals.L1Norm(space), distance, space.element(solution)


def test_accelerated_proximal_gradient(space):
    norm, distance, solution = soft_thresholding(space)
    x = space.zero()
    odl.solvers.accelerated_proximal_gradient(x, norm, distance, gamma=0.2, niter=100)
    assert (x - solution).norm() < tolerance["float32"] * solution.norm()


def test_automatic_step_sizes(space):
    norm, distance, solution = soft_thresholding(space)
    L = odl.IdentityOperator(space)
    x = space.zero()
    odl.solvers.pdhg(x, distance, norm, L, niter=200)
    assert (x - solution).norm() < tolerance["float32"] * solution.norm()
    x = space.zero()
    odl.solvers.douglas_rachford_pd(x, distance, [norm], [L], niter=200)
    assert (x - solution).norm() < tolerance["float32"] * solution.norm()
