# SPDX-License-Identifier: MPL-2.0
"""The emulation of ASTRA's CUDA projectors, against integrals and ASTRA on the CPU."""

import astra
import astra.experimental
import numpy as np
import pytest
import torch

import astra_emulation

emulated_astra = astra_emulation.emulated_astra

WINDOWS = {
    "cubes": (-4.0, 4.0, -4.5, 4.5, -3.5, 3.5),
    "anisotropic, off-center": (1.0, 5.0, -3.0, 6.0, 0.5, 6.1),
}


def volume_geometry(window, shape=(7, 9, 8)):
    """Geometry of a volume ``(z, y, x)`` on ``(x, x, y, y, z, z)``."""
    return astra.create_vol_geom(shape[1], shape[2], shape[0], *window)


def projector(volume, projection, kernel="default"):
    config = astra.astra_dict("cuda3d")
    config["VolumeGeometry"], config["ProjectionGeometry"] = volume, projection
    config["ProjectionKernel"] = kernel
    return astra.projector3d.create(config)


def center(window):
    return np.array(window).reshape(3, 2).mean(1)


def turned(kind, angles, middle, *, cell=0.8, count=(17, 23), tilt=0.0, distance=40):
    """Circular trajectory about a point, detector rows along z."""
    vectors = []
    for angle in angles:
        ray = np.array([np.sin(angle), -np.cos(angle), tilt])
        u = cell * np.array([np.cos(angle), np.sin(angle), 0])
        v = cell * np.array([0, 0, 1.0])
        source = ray if kind == "parallel3d_vec" else middle - distance * ray
        vectors.append([*source, *(middle + distance / 2 * ray), *u, *v])
    return astra.create_proj_geom(kind, *count, np.array(vectors))


def project(volume, projection, x, name="direct_FP3D", **keywords):
    data = np.full(astra.geom_size(projection), 9.0, "float32")
    number = projector(volume, projection, **keywords)
    getattr(astra.experimental, name)(number, x, data)
    return data


def back_project(volume, projection, y, **keywords):
    image = np.full(astra.geom_size(volume), 9.0, "float32")
    number = projector(volume, projection, **keywords)
    astra.experimental.direct_BP3D(number, image, y)
    return image


def smooth(shape, place=0.1, width=0.35):
    """Gaussian bell, in the middle of an array but for ``place``."""
    axes = [np.linspace(-1, 1, n) - place if n > 1 else np.zeros(1) for n in shape]
    squares = sum(c**2 for c in np.meshgrid(*axes, indexing="ij"))
    return np.exp(-squares / (2 * width**2)).astype("float32")


def inner(x, y):
    return float(np.vdot(x.astype(float), y.astype(float)))


def mismatch(volume, projection, forward, backward, place=0.0):
    """``<A x, y> / <x, A^T y> - 1`` for smooth x and y."""
    x = smooth(astra.geom_size(volume), place)
    y = smooth(astra.geom_size(projection), -place, 0.5)
    return inner(forward(x), y) / inner(x, backward(y)) - 1


each_window = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


@each_window
@pytest.mark.parametrize("axis", [0, 1, 2], ids="xyz")
def test_box_along_an_axis(emulated_astra, window, axis):
    """A ray parallel to an axis through the box has the length of the box."""
    ray, u, v = np.roll(np.eye(3), -axis, axis=0)
    geometry = astra.create_proj_geom(
        "parallel3d_vec", 1, 3, np.array([[*ray, *center(window), *(3 * u), *v]])
    )
    volume = volume_geometry(window)
    data = project(volume, geometry, np.ones((7, 9, 8), "float32"))
    length = window[2 * axis + 1] - window[2 * axis]
    assert data[0, 0, 1] == pytest.approx(length, rel=1e-6)
    far = astra.create_proj_geom(
        "parallel3d_vec", 1, 1, np.array([[*ray, *(center(window) + 9 * u), *u, *v]])
    )
    assert project(volume, far, np.ones((7, 9, 8), "float32")).max() == 0.0


@pytest.mark.parametrize("kind", ["parallel3d_vec", "cone_vec"])
def test_ball(emulated_astra, kind):
    n, radius = 28, 0.8
    axis = (np.arange(n) + 0.5) * 2 / n - 1
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = (x**2 + y**2 + z**2 < radius**2).astype("float32")
    volume = volume_geometry((-1, 1, -1, 1, -1, 1), (n, n, n))
    options = {"cell": 0.15, "count": (15, 17), "tilt": 0.3, "distance": 6}
    geometry = turned(kind, np.linspace(0, 3, 5), np.zeros(3), **options)
    data = project(volume, geometry, ball)
    expected = np.empty_like(data)
    for k, vectors in enumerate(geometry["Vectors"]):
        source, middle, u, v = vectors.reshape(4, 3)
        i, j = np.mgrid[0:15, 0:17]
        points = middle + (i - 7)[..., None] * v + (j - 8)[..., None] * u
        ray = points - source if kind == "cone_vec" else source + 0 * points
        ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
        squares = np.sum(np.cross(points, ray) ** 2, axis=-1)
        expected[:, k] = 2 * np.sqrt(np.maximum(radius**2 - squares, 0))
    error = np.linalg.norm(data - expected) / np.linalg.norm(expected)
    assert error < 0.05


@each_window
@pytest.mark.parametrize("kind", ["parallel3d_vec", "cone_vec"])
def test_back_projection_is_nearly_the_transpose(emulated_astra, window, kind):
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    geometry = turned(kind, angles, center(window), count=(27, 31))
    volume = volume_geometry(window)
    error = mismatch(
        volume,
        geometry,
        lambda x: project(volume, geometry, x),
        lambda y: back_project(volume, geometry, y),
    )
    # 1.8e-2 and 2.5e-3 with cubes, 2.5e-3 and 4e-5 else: the voxels are coarse.
    assert abs(error) < 0.025


@pytest.mark.parametrize("kind", ["parallel3d_vec", "cone_vec"])
def test_weighting_of_one_slice(emulated_astra, kind):
    """With '2d_weighting' neither v nor the thickness of the slice matters."""
    shape, angles = (1, 24, 22), np.linspace(0, 6, 14)
    for thickness, height in ((1.0, 1.0), (2.0, 0.3)):
        window = (-1.1, 1.1, -1.2, 1.2, -thickness / 2, thickness / 2)
        volume = volume_geometry(window, shape)
        geometry = turned(
            kind, angles, np.zeros(3), cell=0.09, count=(1, 51), distance=5
        )
        geometry["Vectors"][:, 11] = height
        error = mismatch(
            volume,
            geometry,
            lambda x, v=volume, g=geometry: project(v, g, x),
            lambda y, v=volume, g=geometry: back_project(
                v, g, y, kernel="2d_weighting"
            ),
        )
        assert abs(error) < 0.01


def test_slices_are_independent(emulated_astra):
    """A stack with v = e_z and slices of thickness 1 is the projection of each."""
    n, angles = 16, np.linspace(0, np.pi, 9, endpoint=False) + 0.05
    source = np.random.default_rng(0)
    x = source.random((4, n, n), dtype="float32")
    cell, extent = 2 / n, (-1, 1, -1, 1)
    vectors = [
        [np.sin(a), -np.cos(a), 0, 0, 0, 0, cell * np.cos(a), cell * np.sin(a), 0]
        for a in angles
    ]
    vectors = np.hstack([vectors, np.tile([0, 0, 1.0], (9, 1))])
    whole = volume_geometry((*extent, -2, 2), (4, n, n))
    data = project(whole, astra.create_proj_geom("parallel3d_vec", 4, 25, vectors), x)
    one = volume_geometry((*extent, -0.5, 0.5), (1, n, n))
    geometry = astra.create_proj_geom("parallel3d_vec", 1, 25, vectors)
    singles = [project(one, geometry, x[k : k + 1]) for k in range(4)]
    np.testing.assert_allclose(data, np.concatenate(singles), rtol=1e-6)
    # ASTRA's own matrix of the plane, whose rows go down.
    plane = astra.create_vol_geom(n, n, *extent)
    lines = astra.create_proj_geom("parallel", cell, 25, angles)
    linear = astra.create_projector("linear", lines, plane)
    expected = np.empty((9, 25), "float32")
    for k in range(4):
        flipped = np.ascontiguousarray(x[k, ::-1])
        astra.experimental.direct_FP2D(linear, flipped, expected)
        np.testing.assert_allclose(data[k], expected, rtol=1e-5, atol=1e-5)


def test_length_of_oblique_rays_has_the_error_of_astra(emulated_astra):
    """par3d_fp.cu takes y for z in rays of main axis y: only cubes are right."""
    window = (-4, 4, -9, 9, -3.5, 3.5)  # voxels of 1 x 2 x 1
    vectors = np.array([[0, 1.0, 0.25, 0, 0, 0, 1, 0, 0, 0, 0, 1]])
    geometry = astra.create_proj_geom("parallel3d_vec", 1, 1, vectors)
    x = np.ones((7, 9, 8), "float32")
    wrong = project(volume_geometry(window), geometry, x)[0, 0, 0]
    vectors[:, :3] *= -40  # nearly the same ray of a cone
    geometry = astra.create_proj_geom("cone_vec", 1, 1, vectors)
    right = project(volume_geometry(window), geometry, x)[0, 0, 0]
    slope = 0.25 * 2  # in voxels
    assert wrong / right == pytest.approx(
        (1 + slope**2) ** 0.5 / (1 + (slope / 2) ** 2) ** 0.5, rel=1e-5
    )


def fan_or_parallel(kind, cell, middle=(0.0, 0.0)):
    """Geometries in the plane, and the projectors of ASTRA on the CPU."""
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False) + 0.1
    if kind.startswith("parallel"):
        geometry = astra.create_proj_geom("parallel", 0.8 * cell, 61, angles)
        name = "linear"
    else:
        distances = 60 * cell, 40 * cell
        geometry = astra.create_proj_geom("fanflat", cell, 91, angles, *distances)
        name = "line_fanflat"
    if kind.endswith("_vec"):
        geometry = astra.geom_2vec(geometry)
        first = 2 if kind.startswith("parallel") else 0
        for k in range(first, 4):
            geometry["Vectors"][:, k] += middle[k % 2]
    return geometry, name


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        ("parallel", (-12, 12, -11, 11)),
        ("parallel_vec", (1.0, 3.4, -3.0, -0.8)),
        ("fanflat", (-12, 12, -11, 11)),
        ("fanflat_vec", (1.0, 3.4, -3.0, -0.8)),
    ],
)
def test_plane_against_astra_on_the_cpu(emulated_astra, kind, window):
    cell = (window[1] - window[0]) / 24
    middle = (window[0] + window[1]) / 2, (window[2] + window[3]) / 2
    geometry, name = fan_or_parallel(kind, cell, middle)
    volume = astra.create_vol_geom(22, 24, *window)
    shape = len(astra.geom_2vec(geometry)["Vectors"]), geometry["DetectorCount"]
    cuda = astra.create_projector("cuda", geometry, volume)
    cpu = astra.create_projector(name, geometry, volume)
    x, data = smooth((22, 24)), []
    for number in (cuda, cpu):
        data.append(np.full(shape, 9.0, "float32"))
        astra.experimental.direct_FP2D(number, x, data[-1])
    error = np.linalg.norm(data[0] - data[1]) / np.linalg.norm(data[1])
    # The 'linear' projector is Joseph's, 'line_fanflat' takes lengths in pixels.
    assert error < (1e-5 if kind.startswith("parallel") else 0.02)
    y, images = smooth(shape, -0.1, 0.5), []
    for number in (cuda, cpu):
        images.append(np.full((22, 24), 9.0, "float32"))
        astra.experimental.direct_BP2D(number, images[-1], y)
    error = np.linalg.norm(images[0] - images[1]) / np.linalg.norm(images[1])
    # 4.6 % in the fan, most of it from the lengths.
    assert error < (0.02 if kind.startswith("parallel") else 0.06)
    assert inner(data[0], y) / inner(x, images[0]) == pytest.approx(1, abs=0.01)


def test_what_astra_does_not_take(emulated_astra):
    window = WINDOWS["cubes"]
    volume = volume_geometry(window)
    geometry = turned("parallel3d_vec", [0.0, 1.0], np.zeros(3))
    number = projector(volume, geometry)
    data = torch.zeros(17, 2, 23)
    for wrong, message in (
        (torch.zeros(7, 9, 8, dtype=torch.float64), "must be float32"),
        (torch.zeros(1, 7, 9, 8), "must be three-dimensional"),
        (torch.zeros(7, 8, 9), "does not match geometry"),
        (torch.zeros(7, 9, 16)[..., ::2], "must be contiguous"),
        (np.zeros((7, 8, 9), "float32").swapaxes(1, 2), "must be contiguous"),
    ):
        for name in ("direct_FP3D", "direct_BP3D"):
            with pytest.raises(ValueError, match=message):
                getattr(astra.experimental, name)(number, wrong, data)
    plane = astra.create_projector(
        "cuda", fan_or_parallel("fanflat", 1.0)[0], astra.create_vol_geom(4, 4)
    )
    with pytest.raises(ValueError, match="do not match those specified"):
        astra.experimental.direct_FP2D(plane, torch.zeros(1, 4, 4), torch.zeros(14, 91))


def test_arrays_and_tensors_in_place_and_counted(emulated_astra):
    volume = volume_geometry(WINDOWS["cubes"])
    geometry = turned("cone_vec", [0.0, 1.0], np.zeros(3))
    number = projector(volume, geometry)
    x = smooth((7, 9, 8))
    array, tensor = np.full((17, 2, 23), 3.0, "float32"), torch.ones(17, 2, 23)
    astra.experimental.direct_FP3D(number, x, array)
    astra.experimental.direct_FP3D(number, torch.from_numpy(x), tensor)
    assert np.array_equal(array, tensor.numpy())
    assert array.max() > 1
    call = emulated_astra.calls[0]
    assert (call.name, call.projector) == ("direct_FP3D", number)
    assert (call.volume, call.data) == ((7, 9, 8), (17, 2, 23))
    assert emulated_astra.count("direct_FP3D") == 2
    assert emulated_astra.count("direct_BP3D") == 0
    assert astra.use_cuda()
    assert astra.astra.use_cuda()
    astra.set_gpu_index(1)
    assert emulated_astra.gpu_indices == [1]
