# SPDX-License-Identifier: MPL-2.0
"""The ray transform: adjoint, backends against each other, a disc, errors."""

import pickle

import astra
import numpy as np
import odl
import pytest
import torch
from odl.applications.tomo import (
    ConeBeamGeometry,
    FanBeamGeometry,
    Parallel2dGeometry,
    RayTransform,
)

from odl_genreg.forward_operators import (
    SparseMatrixBackend,
    matrix_bytes,
    ray_transform,
)
from odl_genreg.torch_bridge import LinearMap, as_element, as_tensor, weight
from tolerance import adjoint_tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", ["cell volume", 1.0])
each_beam = pytest.mark.parametrize("beam", ["parallel", "fan"])
each_shape = pytest.mark.parametrize("shape", [(64, 64), (7, 9)])
each_backend = pytest.mark.parametrize("backend", ["matrix", "cpu"])


def space(shape=(7, 9), impl="numpy", weighting="cell volume"):
    """Space with cells of 0.2 x 0.2, away from the origin."""
    extent = 0.2 * np.array(shape)
    low = -0.5 * extent + [0.06, -0.04]
    keywords = {} if weighting == "cell volume" else {"weighting": weighting}
    return odl.uniform_discr(
        low, low + extent, shape, dtype="float32", impl=impl, **keywords
    )


def geometry_for(X, beam="parallel", num_angles=5):
    """Geometry of two kinds that sees all of ``X``."""
    radius = float(np.linalg.norm(X.partition.extent))
    if beam == "parallel":
        return odl.applications.tomo.parallel_beam_geometry(X, num_angles)
    angles = odl.uniform_partition(0, 2 * np.pi, num_angles)
    detector = odl.uniform_partition(-radius, radius, sum(X.shape))
    return FanBeamGeometry(angles, detector, src_radius=2 * radius, det_radius=radius)


def random_element(space, seed=0):
    values = np.random.default_rng(seed).standard_normal(space.shape)
    return space.element(values.astype(space.dtype_identifier))


def array(x):
    return as_tensor(x).numpy()


def assert_close(x, y):
    error = np.linalg.norm(array(x) - array(y))
    assert error <= 1e-5 * np.linalg.norm(array(y))


@each_backend
@each_impl
@each_weighting
@each_beam
@each_shape
def test_adjoint(backend, impl, weighting, beam, shape):
    X = space(shape, impl, weighting)
    A = ray_transform(X, geometry=geometry_for(X, beam), backend=backend)
    x, y = random_element(X), random_element(A.range, 1)
    Ax = A(x)
    assert Ax.norm() > 0
    difference = abs(Ax.inner(y) - x.inner(A.adjoint(y)))
    assert difference <= adjoint_tolerance["float32"] * Ax.norm() * y.norm()


@each_impl
@each_weighting
@each_beam
@each_shape
def test_matrix_equals_astra(impl, weighting, beam, shape):
    X = space(shape, impl, weighting)
    geometry = geometry_for(X, beam)
    A = ray_transform(X, geometry=geometry, backend="matrix")
    B = ray_transform(X, geometry=geometry, backend="cpu")
    assert isinstance(A, RayTransform)
    assert (A.impl, B.impl) == ("SparseMatrixBackend", "astra_cpu")
    assert A.domain == B.domain
    assert A.range == B.range
    x, y = random_element(X), random_element(A.range, 1)
    assert_close(A(x), B(x))
    assert_close(A.adjoint(y), B.adjoint(y))


@each_backend
@each_impl
def test_out_and_input(backend, impl):
    X = space(impl=impl)
    A = ray_transform(X, num_angles=4, backend=backend)
    for operator in (A, A.adjoint):
        x = random_element(operator.domain)
        before, out = x.copy(), random_element(operator.range, 2)
        assert operator(x, out=out) is out
        assert_close(out, operator(x))
        assert x == before


def test_data_that_are_not_contiguous_or_read_only():
    X = space()
    A = ray_transform(X, num_angles=4)
    values = random_element(X).data
    read_only = values.copy()
    read_only.flags.writeable = False
    expected = A(X.element(values))
    for same in (read_only, np.asfortranarray(values), values[::-1].copy()[::-1]):
        assert_close(A(X.element(same)), expected)


@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_batch_equals_single(beam):
    X = space(impl="pytorch")
    A = ray_transform(X, geometry=geometry_for(X, beam), backend="matrix")
    linear_map = LinearMap(A)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *X.shape, generator=generator)
    y = torch.randn(3, *A.range.shape, generator=generator)
    ratio = weight(X) / weight(A.range)
    Ax, ATy = linear_map(x), linear_map.T(y)
    for i in range(3):
        single = A(as_element(X, x[i]))
        assert_close(as_element(A.range, Ax[i].contiguous()), single)
        single = ratio * A.adjoint(as_element(A.range, y[i]))
        assert_close(as_element(X, ATy[i].contiguous()), single)


def test_batch_of_other_backends():
    X = space(impl="pytorch")
    x = torch.randn(2, *X.shape, generator=torch.Generator().manual_seed(0))
    matrix, cpu = (
        LinearMap(ray_transform(X, num_angles=4, backend=backend))(x)
        for backend in ("matrix", "cpu")
    )
    torch.testing.assert_close(matrix, cpu, rtol=1e-5, atol=1e-5)


def test_batch_shares_memory_with_the_matrix():
    backend = ray_transform(space(), num_angles=4).get_impl()
    forward, _ = backend.batch_products
    before = forward(torch.ones(1, 63))
    backend.matrix.data *= 2
    torch.testing.assert_close(forward(torch.ones(1, 63)), 2 * before)


@each_beam
def test_disc(beam):
    """The integral along a line at distance d is ``2 sqrt(r^2 - d^2)``."""
    X = odl.uniform_discr([-1.0, -1.2], [1.0, 1.2], (100, 120), dtype="float32")
    center, radius = np.array([0.3, -0.4]), 0.5
    fine = odl.uniform_discr([-1.0, -1.2], [1.0, 1.2], (400, 480))
    inside = sum((p - c) ** 2 for p, c in zip(fine.meshgrid, center, strict=True))
    disc = (inside <= radius**2).reshape(100, 4, 120, 4).mean((1, 3))
    A = ray_transform(X, geometry=geometry_for(X, beam, 7))
    geometry = A.geometry
    expected = np.empty(A.range.shape)
    for i, angle in enumerate(geometry.angles):
        for j, s in enumerate(geometry.det_partition.coord_vectors[0]):
            direction = geometry.det_to_src(angle, s)
            offset = geometry.det_point_position(angle, s) - center
            distance = direction[0] * offset[1] - direction[1] * offset[0]
            expected[i, j] = 2 * np.sqrt(max(radius**2 - distance**2, 0))
    error = np.linalg.norm(array(A(X.element(disc))) - expected)
    assert error <= 0.02 * np.linalg.norm(expected)


def test_default_geometry_of_the_demo():
    X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    A = ray_transform(X, num_angles=5)
    assert A.range.shape == (5, 41)
    np.testing.assert_allclose(A.geometry.angles, np.pi * (np.arange(5) + 0.5) / 5)


@each_beam
@each_shape
def test_memory_bound(beam, shape):
    X = space(shape)
    geometry = geometry_for(X, beam)
    bound = matrix_bytes(geometry, X)
    A = ray_transform(X, geometry=geometry, max_bytes=bound)
    assert bound / 4 < A.get_impl().nbytes <= bound
    fallback = ray_transform(X, geometry=geometry, max_bytes=bound - 1)
    assert fallback.impl == "astra_cpu"
    message = f"must give a system matrix of at most.*{bound - 1} .*up to {bound} bytes"
    with pytest.raises(ValueError, match=message):
        ray_transform(X, geometry=geometry, backend="matrix", max_bytes=bound - 1)


def test_astra_objects_are_deleted(capsys):
    def objects():
        astra.matrix.info()
        astra.projector.info()
        astra.data2d.info()
        return capsys.readouterr().out

    before = objects()
    A = ray_transform(space(), num_angles=4, backend="matrix")
    A.adjoint(A(A.domain.one()))
    assert objects() == before


def test_pickle():
    A = ray_transform(space(), num_angles=4)
    x = random_element(A.domain)
    assert_close(pickle.loads(pickle.dumps(A))(x), A(x))


def test_adjoint_in_float64():
    """ASTRA's numbers have single precision; the adjoint of the matrix is exact."""
    X = space().astype("float64")
    A = RayTransform(X, geometry_for(X), impl=SparseMatrixBackend)
    x, y = random_element(X), random_element(A.range, 1)
    difference = abs(A(x).inner(y) - x.inner(A.adjoint(y)))
    assert difference <= adjoint_tolerance["float64"] * A(x).norm() * y.norm()


# --- Errors --- #


def square(shape=(8, 8), **keywords):
    keywords = {"dtype": "float32"} | keywords
    return odl.uniform_discr([-1] * len(shape), [1] * len(shape), shape, **keywords)


def cone_beam():
    angles = odl.uniform_partition(0, 2 * np.pi, 5)
    detector = odl.uniform_partition([-3, -3], [3, 3], (9, 9))
    return ConeBeamGeometry(angles, detector, src_radius=4, det_radius=4)


def curved():
    angles = odl.uniform_partition(0, 2 * np.pi, 5)
    detector = odl.uniform_partition(-3, 3, 9)
    return FanBeamGeometry(angles, detector, 4, 4, det_curvature_radius=8)


def nonuniform():
    angles = odl.uniform_partition(0, np.pi, 5)
    return Parallel2dGeometry(angles, odl.nonuniform_partition([-1, 0, 0.1, 1]))


@pytest.mark.parametrize(
    ("image_space", "keywords", "error", "message"),
    [
        (odl.rn(4), {"num_angles": 3}, TypeError, "must be a discretized space"),
        (
            square(dtype="float64"),
            {"num_angles": 3},
            ValueError,
            "ASTRA needs float32 data.*got float64.*dtype='float32'",
        ),
        (square((8,)), {"num_angles": 3}, ValueError, "in 2 or 3 dimensions"),
        (
            square((8, 4)),
            {"num_angles": 3},
            ValueError,
            "must have square cells.*got 0.25 x 0.5",
        ),
        (
            square(weighting=2.0),
            {"num_angles": 3},
            ValueError,
            "must be weighted by its cell volume or by 1",
        ),
        (square(), {}, ValueError, "must be given, one of them, got none"),
        (
            square(),
            {"num_angles": 3, "geometry": nonuniform()},
            ValueError,
            "must be given, one of them, got both",
        ),
        (square(), {"num_angles": 0}, ValueError, "must be a positive integer, got 0"),
        (square(), {"num_angles": 2.5}, ValueError, "positive integer, got 2.5"),
        (square(), {"geometry": "fan"}, TypeError, "must be a geometry of.*got str"),
        (square(), {"geometry": cone_beam()}, ValueError, "dimension of.*2, got 3"),
        (square(), {"geometry": curved()}, ValueError, "flat detector.*got a curved"),
        (
            square(),
            {"geometry": nonuniform()},
            ValueError,
            "flat detector.*got a nonuniform",
        ),
        (
            square(),
            {"num_angles": 3, "backend": "gpu"},
            ValueError,
            "must be one of 'auto', 'cuda', 'cpu', 'matrix', got 'gpu'",
        ),
        (
            square(),
            {"num_angles": 3, "backend": "cuda"},
            ValueError,
            "got 'cuda' while `astra.use_cuda\\(\\)` is False",
        ),
        (
            square((8, 8, 8)),
            {"geometry": cone_beam()},
            ValueError,
            "must have 2 dimensions on the CPU .*got 3",
        ),
        (
            square((8, 8, 8)),
            {"num_angles": 3, "backend": "matrix"},
            ValueError,
            "must have 2 dimensions on the CPU .*got 3",
        ),
    ],
)
def test_errors(image_space, keywords, error, message, monkeypatch):
    monkeypatch.setattr(astra, "use_cuda", lambda: False)
    with pytest.raises(error, match=message):
        ray_transform(image_space, **keywords)
