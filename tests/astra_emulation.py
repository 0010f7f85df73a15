# SPDX-License-Identifier: MPL-2.0
"""ASTRA's CUDA projectors on the CPU, for tests of code that calls them.

`emulated_astra` puts the functions below in the place of ``astra.experimental``'s:
what they compute is that of ASTRA 2.5's sources in float64, see `astra_kernels`, and
the arrays are held to what ASTRA's linking of DLPack tensors asks of them. Not
emulated: the 8 bit interpolation weights of the texture units, rounding to float32,
supersampling, and volumes so large that ASTRA splits them.
"""

import dataclasses

import astra
import astra.experimental
import numpy as np
import pytest
import torch

from astra_kernels import Rays, backward, forward

REAL_2D = {
    "direct_FP2D": astra.experimental.direct_FP2D,
    "direct_BP2D": astra.experimental.direct_BP2D,
}


@dataclasses.dataclass
class Call:
    """One call of a kernel."""

    name: str
    projector: int
    volume: tuple[int, ...]
    data: tuple[int, ...]


@dataclasses.dataclass
class Record:
    """What code under test asked of the emulated ASTRA."""

    calls: list[Call] = dataclasses.field(default_factory=list)
    gpu_indices: list[int] = dataclasses.field(default_factory=list)
    weightings: dict[int, str] = dataclasses.field(default_factory=dict)

    def count(self, name):
        """Return the number of calls of a function."""
        return sum(call.name == name for call in self.calls)


@pytest.fixture
def emulated_astra(monkeypatch):
    """ASTRA with a GPU that is emulated; returns the `Record`."""
    record = Record()

    def recorded(function):
        def call(projector_id, vol, proj):
            shapes = tuple(np.shape(vol)), tuple(np.shape(proj))
            record.calls.append(Call(function.__name__, projector_id, *shapes))
            keywords = {}
            if function.__name__ == "direct_BP3D":
                keywords["weighting"] = record.weightings.get(projector_id, "default")
            function(projector_id, vol, proj, **keywords)

        return call

    def create(config):
        projector = stock_create(config)
        record.weightings[projector] = config.get("ProjectionKernel", "default")
        return projector

    stock_create = astra.projector3d.create
    monkeypatch.setattr(astra.projector3d, "create", create)
    for function in (direct_FP2D, direct_BP2D, direct_FP3D, direct_BP3D):
        name = function.__name__
        monkeypatch.setattr(astra.experimental, name, recorded(function))
    for module in (astra, astra.astra):
        monkeypatch.setattr(module, "use_cuda", lambda: True)
        monkeypatch.setattr(
            module, "set_gpu_index", lambda i, memory=0: record.gpu_indices.append(i)
        )
    return record


def direct_FP3D(projector_id, vol, proj):  # noqa: N802
    """Write the projections of ``vol`` to ``proj``."""
    x, y, rays = _linked_3d(projector_id, vol, proj)
    y[...] = forward(x.double(), rays)


def direct_BP3D(projector_id, vol, proj, weighting="default"):  # noqa: N802
    """Write the back-projection of ``proj`` to ``vol``."""
    x, y, rays = _linked_3d(projector_id, vol, proj)
    x[...] = backward(y.double(), rays, weighting)


def direct_FP2D(projector_id, vol, proj):  # noqa: N802
    """Write the projections of ``vol`` to ``proj``.

    ``FP_simple`` in cuda/2d/par_fp.cu, ``FanFP`` in cuda/2d/fan_fp.cu; the real ASTRA
    where the projector is one of the CPU.
    """
    if not astra.projector.is_cuda(projector_id):
        REAL_2D["direct_FP2D"](projector_id, vol, proj)
        return
    x, y, rays = _linked_2d(projector_id, vol, proj)
    main = None if rays.cone else _vertical(rays.source)[:, None, None]
    if rays.cone:
        detector = torch.arange(rays.detector[1])[:, None]
        # Of each ray; by a point half a unit from the start of its detector cell.
        edge = rays.corner[:, None] + detector * rays.u[:, None]
        half = torch.tensor([0, -0.5, 0.5], dtype=edge.dtype)
        main = _vertical(edge + half - rays.source[:, None], strict=True)[:, None]
    main = main.expand(len(rays.source), *rays.detector)
    y[...] = forward(x.double()[None], rays, main)[0]


def direct_BP2D(projector_id, vol, proj):  # noqa: N802
    """Write the back-projection of ``proj`` to ``vol``.

    ``devBP`` in cuda/2d/par_bp.cu with the weight ``h^2 |r| / |u x r|`` of rays ``r``
    and pixels of side ``h``; ``devFanBP`` in cuda/2d/fan_bp.cu with ``h^2 m(x) / |u|``;
    the real ASTRA where the projector is one of the CPU.
    """
    if not astra.projector.is_cuda(projector_id):
        REAL_2D["direct_BP2D"](projector_id, vol, proj)
        return
    x, y, rays = _linked_2d(projector_id, vol, proj)
    y = y.double()
    if not rays.cone:
        # From the density along u to the one across the rays.
        r, u = rays.source, rays.u
        sine = torch.linalg.cross(u, r).norm(dim=1) / u.norm(dim=1) / r.norm(dim=1)
        y = y / sine[:, None]
    x[...] = backward(y[None], rays, "2d_weighting")[0]


def _vertical(directions, strict=False):
    """Main axis 1 where rays are vertical rather than horizontal, else 2."""
    y, x = directions[..., 1].abs(), directions[..., 2].abs()
    return torch.where(y > x if strict else y >= x, 1, 2)


def _linked_3d(projector_id, vol, proj):
    if not astra.projector3d.is_cuda(projector_id):
        raise NotImplementedError("the projector must be of type 'cuda3d'")
    volume = astra.projector3d.volume_geometry(projector_id)
    projection = astra.projector3d.projection_geometry(projector_id)
    x = _link(astra.data3d, "-vol", volume, vol)
    y = _link(astra.data3d, "-proj3d", projection, proj)
    kinds = {"parallel3d_vec": False, "cone_vec": True}
    if projection["type"] not in kinds:
        projection = astra.geom_2vec(projection)
    vectors = torch.from_numpy(np.array(projection["Vectors"], dtype=float))
    # (x, y, z) of ASTRA to the axes (z, y, x) of volumes.
    vectors = vectors.reshape(-1, 4, 3).flip(2)
    window = volume["options"]
    corners = [[window[f"Window{end}{k}"] for k in "ZYX"] for end in ("Min", "Max")]
    shape = tuple(volume[f"Grid{name}Count"] for name in ("Slice", "Row", "Col"))
    detector = tuple(projection[f"Detector{name}Count"] for name in ("Row", "Col"))
    cone = kinds[projection["type"]]
    return x, y, _rays(shape, torch.tensor(corners), vectors, cone, detector)


def _linked_2d(projector_id, vol, proj):
    """Return a one-slice volume in the plane z = 0, with y downwards as the rows."""
    volume = astra.projector.volume_geometry(projector_id)
    projection = astra.projector.projection_geometry(projector_id)
    x = _link(astra.data2d, "-vol", volume, vol)
    y = _link(astra.data2d, "-sino", projection, proj)
    if not projection["type"].endswith("_vec"):
        projection = astra.geom_2vec(projection)
    flat = torch.from_numpy(np.array(projection["Vectors"], dtype=float))
    flat = flat.reshape(-1, 3, 2).flip(2) * torch.tensor([-1.0, 1.0])
    vectors = torch.zeros(len(flat), 4, 3, dtype=flat.dtype)
    vectors[:, :3, 1:], vectors[:, 3, 0] = flat, 1.0
    w = {k: float(value) for k, value in volume["options"].items()}
    rows, columns = volume["GridRowCount"], volume["GridColCount"]
    side = (w["WindowMaxX"] - w["WindowMinX"]) / columns
    if not np.isclose((w["WindowMaxY"] - w["WindowMinY"]) / rows, side):
        raise NotImplementedError("pixels must be squares")
    corners = [[-0.5, -w["WindowMaxY"], w["WindowMinX"]]]
    corners += [[0.5, -w["WindowMinY"], w["WindowMaxX"]]]
    cone = projection["type"] == "fanflat_vec"
    detector = (1, projection["DetectorCount"])
    shape = (1, rows, columns)
    return x, y, _rays(shape, torch.tensor(corners), vectors, cone, detector)


def _rays(shape, corners, vectors, cone, detector):
    """Move the center of the volume to 0, and scale its voxels to unit cubes.

    ``convertAstraGeometry`` in src/GeometryUtil3D.cpp and src/GeometryUtil2D.cpp.
    """
    corners = corners.double()
    sides = (corners[1] - corners[0]) / torch.tensor(shape)
    center = corners.mean(0)
    source, middle, u, v = vectors.unbind(1)
    corner = (middle - detector[0] * v / 2 - detector[1] * u / 2 - center) / sides
    source = (source - center if cone else source) / sides
    return Rays(shape, sides, source, corner, u / sides, v / sides, cone, detector)


def _link(module, kind, geometry, array):
    """Return an array as a tensor on the same memory, if ASTRA itself takes it.

    ASTRA links the memory, here of the CPU alone: float32, as many dimensions and the
    shape that the geometry has, contiguous, writable; else it raises a `ValueError`.
    """
    module.delete(module.link(kind, geometry, array))
    return array if isinstance(array, torch.Tensor) else torch.from_numpy(array)
