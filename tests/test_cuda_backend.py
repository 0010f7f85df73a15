# SPDX-License-Identifier: MPL-2.0
"""ASTRA's GPU kernels behind the ray transform: on a GPU, and emulated on the CPU.

Without a GPU the kernels are those of `astra_emulation`; geometries, projectors, memory
and weights are those of the package and of ASTRA.
"""

import gc
import pickle
import runpy
from pathlib import Path

import astra
import numpy as np
import odl
import pytest
import torch
from odl.applications.tomo import (
    ConeBeamGeometry,
    FanBeamGeometry,
    Parallel3dAxisGeometry,
    RayTransform,
    parallel_beam_geometry,
)

import astra_emulation
from odl_genreg.forward_operators import CudaBackend, ray_transform
from odl_genreg.torch_bridge import (
    LinearMap,
    as_element,
    as_tensor,
    takes_batches,
    torch_device,
    weight,
)

emulated_astra = astra_emulation.emulated_astra

EXAMPLE = Path(__file__).parents[1] / "examples" / "volume_cone_beam.py"
# Bounds of the mismatch of constants; fan and cone need the angle at the detector.
MISMATCH = {"parallel": 1e-3, "fan": 2e-3, "parallel 3d": 2e-2, "cone": 8e-3}
BEAMS = tuple(MISMATCH)

each_beam = pytest.mark.parametrize("beam", BEAMS)
each_weighting = pytest.mark.parametrize("weighting", ["cell volume", 1.0])


ON_GPU = pytest.param(
    {"impl": "pytorch", "device": "cuda:0"},
    id="cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
EMULATED = [
    pytest.param({"impl": impl, "device": "cpu"}, id=f"emulated-{impl}")
    for impl in ("numpy", "pytorch")
]


@pytest.fixture(params=[*EMULATED, ON_GPU])
def place(request):
    """Implementation and device of spaces, and kernels that go with it."""
    if request.param["device"] == "cpu":
        request.getfixturevalue("emulated_astra")
    return request.param


def space(beam="parallel", place=None, weighting="cell volume"):
    """Space away from the origin; in 3D its cells are no cubes."""
    keywords = {} if weighting == "cell volume" else {"weighting": weighting}
    keywords |= {"dtype": "float32"} | (place or {"impl": "pytorch"})
    if "3d" in beam or beam == "cone":
        low = np.array([-0.9, -1.0, -0.8])
        side_y = 0.15 if "3d" in beam else 0.22
        high = low + np.array([12 * 0.15, 10 * side_y, 1.5])
        return odl.uniform_discr(low, high, (12, 10, 11), **keywords)
    extent = 0.2 * np.array([16, 19])
    low = -0.5 * extent + [0.06, -0.04]
    return odl.uniform_discr(low, low + extent, (16, 19), **keywords)


def geometry_for(X, beam, num_angles=6, cells=(30, 36)):
    if beam == "parallel":
        return parallel_beam_geometry(X, num_angles)
    radius = 0.5 * float(np.linalg.norm(X.partition.extent))
    full = odl.uniform_partition(0, 2 * np.pi, num_angles)
    if beam == "fan":
        detector = odl.uniform_partition(-3 * radius, 3 * radius, 53)
        return FanBeamGeometry(full, detector, 3 * radius, 2 * radius)
    if beam == "cone":
        detector = odl.uniform_partition([-3 * radius] * 2, [3 * radius] * 2, cells)
        return ConeBeamGeometry(full, detector, 3 * radius, 2 * radius)
    half = odl.uniform_partition(0, np.pi, num_angles)
    detector = odl.uniform_partition([-1.8, -1.5], [1.8, 1.5], cells)
    return Parallel3dAxisGeometry(half, detector)


def transform(beam="parallel", place=None, weighting="cell volume"):
    X = space(beam, place, weighting)
    return ray_transform(X, geometry=geometry_for(X, beam), backend="cuda")


def element(space, values):
    tensor = torch.from_numpy(np.ascontiguousarray(values, "float32"))
    return as_element(space, tensor.to(torch_device(space)))


def smooth_element(space, seed=0):
    """Sum of waves with some periods along each axis."""
    source = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in space.shape), indexing="ij")
    values = sum(
        np.cos(2 * np.pi * sum(f * t for f, t in zip(k, axes, strict=True)) + phase)
        for k, phase in zip(
            source.uniform(-1.5, 1.5, (4, len(axes))), range(4), strict=True
        )
    )
    return element(space, values)


def random_element(space, seed=0):
    values = np.random.default_rng(seed).standard_normal(space.shape)
    return element(space, values)


def relative(x, y):
    x, y = as_tensor(x).double(), as_tensor(y).double()
    return float((x - y).norm() / y.norm())


@pytest.mark.parametrize(("beam", "bound"), [("parallel", 1e-5), ("fan", 0.05)])
def test_projections_are_those_of_the_matrix(beam, bound, place):
    """With a parallel beam both interpolate alike; a fan has another discretization.

    The textures of a GPU interpolate with weights of 8 bits.
    """
    if place["device"] != "cpu":
        bound += 2e-3
    A = transform(beam, place)
    B = ray_transform(A.domain, geometry=A.geometry, backend="matrix")
    x = smooth_element(A.domain)
    y = A(A.domain.one())
    assert isinstance(A, RayTransform)
    assert (A.impl, A.domain, A.range) == ("CudaBackend", B.domain, B.range)
    assert relative(A(x), B(x)) < bound
    assert relative(A.adjoint(y), B.adjoint(y)) < 0.1


@each_weighting
@each_beam
def test_adjoint_up_to_discretization(beam, weighting, place):
    A = transform(beam, place, weighting)
    x, y = smooth_element(A.domain), smooth_element(A.range, 1)
    Ax = A(x)
    difference = abs(Ax.inner(y) - x.inner(A.adjoint(y)))
    assert difference <= 2e-3 * Ax.norm() * y.norm()
    constant = A.domain.one(), A(A.domain.one())
    ratio = constant[1].inner(constant[1]) / constant[0].inner(A.adjoint(constant[1]))
    assert ratio == pytest.approx(1, rel=MISMATCH[beam])


@pytest.mark.parametrize("beam", ["parallel 3d", "cone"])
def test_ball(beam, place):
    """The integral along a line at distance d is ``2 sqrt(r^2 - d^2)``."""
    X = odl.uniform_discr(
        [-1, -1.2, -0.8], [1, 1.2, 0.8], (30, 36, 24), dtype="float32", **place
    )
    center, radius = np.array([0.25, -0.3, 0.1]), 0.4
    fine = odl.uniform_discr(X.min_pt, X.max_pt, (90, 108, 72))
    inside = sum((p - c) ** 2 for p, c in zip(fine.meshgrid, center, strict=True))
    ball = (inside <= radius**2).reshape(30, 3, 36, 3, 24, 3).mean((1, 3, 5))
    A = ray_transform(X, geometry=geometry_for(X, beam, 3, (14, 17)), backend="cuda")
    geometry = A.geometry
    u, v = geometry.det_partition.coord_vectors
    expected = np.empty(A.range.shape)
    for i, angle in enumerate(geometry.angles):
        for j, k in np.ndindex(len(u), len(v)):
            point = u[j], v[k]
            direction = geometry.det_to_src(angle, point)
            offset = geometry.det_point_position(angle, point) - center
            distance = np.linalg.norm(np.cross(direction, offset))
            expected[i, j, k] = 2 * np.sqrt(max(radius**2 - distance**2, 0))
    result = as_tensor(A(element(X, ball))).numpy(force=True)
    error = np.linalg.norm(result - expected)
    assert error <= 0.1 * np.linalg.norm(expected)


@each_beam
def test_batch_equals_single(beam, place):
    A = transform(beam, place)
    linear_map = LinearMap(A)
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(3, *space.shape, generator=generator).to(place["device"])
        for space in (A.domain, A.range)
    )
    before = x.clone(), y.clone()
    Ax, ATy = linear_map(x), linear_map.T(y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    ratio = weight(A.domain) / weight(A.range)
    for i in range(3):
        single = A(as_element(A.domain, x[i]))
        torch.testing.assert_close(Ax[i], as_tensor(single), rtol=1e-5, atol=1e-5)
        single = ratio * as_tensor(A.adjoint(as_element(A.range, y[i])))
        torch.testing.assert_close(ATy[i], single, rtol=1e-5, atol=1e-5)


@each_beam
def test_calls_for_a_batch(beam, emulated_astra):
    """One for parallel beams in the plane, one for each image of others."""
    A = transform(beam)
    linear_map = LinearMap(A)
    linear_map.T(linear_map(torch.zeros(3, *A.domain.shape)))
    assert len(emulated_astra.calls) == (2 if beam == "parallel" else 6)
    assert takes_batches(A) == (beam == "parallel")


@each_beam
def test_elements_are_linked_and_not_copied(beam, place, monkeypatch):
    """ASTRA gets the memory of ``x`` and of ``out``; in 3D data have another order."""
    A = transform(beam, place)
    project, pointers = astra.experimental.direct_FP3D, []

    def recorded(projector, x, y):
        pointers.extend([x.data_ptr(), y.data_ptr()])
        return project(projector, x, y)

    monkeypatch.setattr(astra.experimental, "direct_FP3D", recorded)
    x, out = random_element(A.domain), random_element(A.range, 1)
    expected = A(x)
    pointers.clear()
    assert A(x, out=out) is out
    assert relative(out, expected) == 0
    assert pointers[0] == as_tensor(x).data_ptr()
    assert (pointers[1] == as_tensor(out).data_ptr()) == (A.domain.ndim == 2)


@each_beam
def test_out_and_input(beam, place):
    A = transform(beam, place)
    for operator in (A, A.adjoint):
        x = random_element(operator.domain)
        before, out = x.copy(), random_element(operator.range, 2)
        assert operator(x, out=out) is out
        assert relative(out, operator(x)) == 0
        assert x == before


@pytest.mark.parametrize("place", [*EMULATED[1:], ON_GPU], indirect=True)
def test_memory_that_is_not_contiguous(place):
    A = transform("parallel", place)
    x = random_element(A.domain)
    same = as_element(A.domain, as_tensor(x).T.contiguous().T)
    zeros = torch.zeros(A.range.shape[::-1], device=place["device"])
    out = as_element(A.range, zeros.T)
    assert relative(A(same), A(x)) == 0
    assert relative(A(same, out=out), A(x)) == 0


@pytest.mark.parametrize("place", EMULATED[:1], indirect=True)
def test_arrays_that_are_not_contiguous(place):
    A = transform("parallel", place)
    x = random_element(A.domain)
    out = A.range.element(np.zeros(A.range.shape, "float32", order="F"))
    assert relative(A(x, out=out), A(x)) == 0


def projectors(capsys):
    astra.projector3d.info()
    return capsys.readouterr().out


@each_beam
def test_projectors_are_made_once_and_deleted(beam, place, capsys):
    gc.collect()
    before = projectors(capsys)
    A = transform(beam, place)
    x = random_element(A.domain)
    A.adjoint(A(x))
    one = projectors(capsys)
    A.adjoint(A(x))
    assert projectors(capsys) == one != before
    del A, x
    gc.collect()
    assert projectors(capsys) == before


@pytest.mark.usefixtures("emulated_astra")
def test_projectors_of_many_batch_sizes_are_few(capsys):
    gc.collect()
    before = len(projectors(capsys))
    A = transform()
    linear_map = LinearMap(A)
    sizes = []
    for batch in (*range(1, 31),):
        linear_map(torch.zeros(batch, *A.domain.shape))
        sizes.append(len(projectors(capsys)) - before)
    assert max(sizes) < 10 * sizes[0]


@pytest.mark.usefixtures("emulated_astra")
def test_pickle():
    A = transform()
    x = random_element(A.domain)
    assert relative(pickle.loads(pickle.dumps(A))(x), A(x)) == 0


@pytest.mark.usefixtures("emulated_astra")
def test_backend_class_of_odl():
    X = space()
    A = RayTransform(X, geometry_for(X, "parallel"), impl=CudaBackend)
    assert relative(A(X.one()), transform()(X.one())) == 0


@pytest.mark.usefixtures("emulated_astra")
def test_auto_takes_what_there_is():
    X = space()
    assert ray_transform(X, num_angles=3).impl == "SparseMatrixBackend"
    assert ray_transform(X, num_angles=3, max_bytes=1).impl == "CudaBackend"
    X = space("cone")
    A = ray_transform(X, geometry=geometry_for(X, "cone"))
    assert A.impl == "CudaBackend"


def test_cpu_backend_wants_the_cpu(monkeypatch):
    backend = odl.lookup_array_backend("pytorch")
    devices = [*backend.available_devices, "meta"]
    monkeypatch.setattr(backend, "available_devices", devices)
    X = odl.uniform_discr(
        [-1, -1], [1, 1], (8, 8), dtype="float32", impl="pytorch", device="meta"
    )
    with pytest.raises(ValueError, match="must be on the CPU for backend 'cpu'.*meta"):
        ray_transform(X, num_angles=3, backend="cpu")


@pytest.mark.usefixtures("emulated_astra")
def test_parallel_beam_in_3d_wants_equal_sides():
    X = space("cone")
    with pytest.raises(ValueError, match="equal sides.*got 0.15 and 0.22; resample"):
        ray_transform(X, geometry=geometry_for(X, "parallel 3d"))


@pytest.mark.parametrize("place", [EMULATED[1], ON_GPU], indirect=True)
def test_example_of_a_volume(place, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GENREG_QUICK", "1")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert (tmp_path / "volume_cone_beam.png").exists()
    assert "range, " in capsys.readouterr().out
