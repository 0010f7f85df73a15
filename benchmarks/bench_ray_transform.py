# SPDX-License-Identifier: MPL-2.0
"""The ray transform: ODL on ASTRA, ASTRA alone, its stored matrix, and deepinv.

Run it as ``python benchmarks/bench_ray_transform.py [--quick]``.
"""

import itertools
import time
import warnings

import astra
import numpy as np
import odl
import torch
from deepinv_peer import deepinv, tomography
from harness import alternate, arguments, claim, peak_memory, publish, table, threads
from odl.applications.tomo.backends.astra_setup import (
    astra_projection_geometry,
    astra_projector,
    astra_volume_geometry,
)

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap, as_element

PIXELS, ANGLES, BATCH = (28, 64, 128, 256, 512), (5, 30, 180), 16
# deepinv holds the image rotated to every angle, and the grids that it samples.
MAX_DEEPINV_BYTES = 2 * 2**30
METHODS = ("odl", "astra", "matrix", "deepinv", "matrix, 16", "deepinv, 16")


class OdlAstra:
    """ODL's ray transform with the backend 'cpu' or 'matrix'."""

    def __init__(self, X, num_angles, backend):
        self.A = ogr.ray_transform(
            X, num_angles=num_angles, backend=backend, max_bytes=2**32
        )
        self.adjoint = self.A.adjoint

    def __call__(self, x):
        return self.A(x)


class Astra:
    """ASTRA without ODL, on arrays that are there already."""

    def __init__(self, A):
        geometry, X = A.geometry, A.domain
        self.projector = astra_projector(
            "linear",
            astra_volume_geometry(X, "cpu"),
            astra_projection_geometry(geometry, "cpu"),
            ndim=2,
        )
        self.x = np.empty(X.shape, "float32")
        self.y = np.empty(A.range.shape, "float32")

    def __call__(self, x):
        astra.experimental.direct_FP2D(self.projector, x, self.y)
        return self.y

    def adjoint(self, y):
        astra.experimental.direct_BP2D(self.projector, self.x, y)
        return self.x


def points(space, peer_shape):
    """New images or data, in the form of each method."""

    def fresh(i):
        source = np.random.default_rng(i)
        batch = torch.from_numpy(source.random((BATCH, *space.shape), dtype="float32"))
        made = {
            "odl": as_element(space, batch[0]),
            "astra": batch[0].numpy(),
            "matrix": as_element(space, batch[0].clone()),
            "matrix, 16": batch,
        }
        if peer_shape is not None:
            shape = (BATCH, 1, *peer_shape)
            batch = torch.from_numpy(source.random(shape, dtype="float32"))
            made |= {"deepinv": batch[:1], "deepinv, 16": batch}
        return made

    return fresh


def measure(pixels, num_angles, seconds):
    """Set up all methods, and time forward and adjoint."""
    X = odl.uniform_discr([-1, -1], [1, 1], (pixels, pixels), dtype="float32")
    setup, made = {"pixels": pixels, "angles": num_angles}, {}
    diagonal = int(np.ceil(np.sqrt(2) * pixels))
    needed = 36 * num_angles * diagonal**2

    def prepare(name, make):
        made[name], spent, memory = peak_memory(make)
        setup[f"{name}, ms"], setup[f"{name}, MB"] = 1e3 * spent, memory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "may be too slow"
        prepare("odl", lambda: OdlAstra(X, num_angles, "cpu"))
    prepare("matrix", lambda: OdlAstra(X, num_angles, "matrix"))
    A, A_odl = made["matrix"].A, made["odl"].A
    backend = A.get_impl(A.use_cache)
    setup["matrix, MB kept"] = backend.nbytes / 1e6
    setup["nonzeros, M"] = backend.matrix.nnz / 1e6
    x = X.element(np.random.default_rng(0).random(X.shape, dtype="float32"))
    if not np.allclose(A(x).asarray(), A_odl(x).asarray(), rtol=1e-3, atol=1e-4):
        raise ValueError("the matrix must give what ASTRA gives")
    direct, batch = Astra(A), LinearMap(A)
    calls = {"odl": (A_odl, A_odl.adjoint), "astra": (direct, direct.adjoint)}
    calls |= {"matrix": (A, A.adjoint), "matrix, 16": (batch, batch.T)}
    shapes = [None, None]
    if deepinv is not None and needed <= MAX_DEEPINV_BYTES:
        prepare("deepinv", lambda: tomography(pixels, num_angles))
        physics = made["deepinv"]
        calls["deepinv"] = (physics.A, physics.A_adjoint)
        shapes = [X.shape, physics.A(torch.zeros(1, 1, *X.shape)).shape[2:]]
        if BATCH * needed <= MAX_DEEPINV_BYTES:
            calls["deepinv, 16"] = calls["deepinv"]
    iterations = {name: BATCH for name in calls if name.endswith("16")}
    directions = []
    with torch.no_grad():
        for direction, space in enumerate((A.domain, A.range)):
            fresh = points(space, shapes[direction])
            functions = {name: pair[direction] for name, pair in calls.items()}
            options = {"seconds": seconds, "iterations": iterations}
            directions.append(alternate(functions, fresh, **options))
    return setup, directions


def main():
    quick, start = arguments(__doc__).quick, time.perf_counter()
    cases = [(n, angles, 1) for n, angles in itertools.product(PIXELS, ANGLES)]
    cases.insert(5, (64, 30, 2))
    if quick:
        cases = [(28, 5, 1), (64, 30, 1), (64, 30, 2)]
    setups, rows, claims = [], {"A": [], "A^*": []}, []
    for pixels, num_angles, number in cases:
        with threads(number):
            setup, directions = measure(pixels, num_angles, 0.3 if quick else 1.0)
        case = {"pixels": pixels, "angles": num_angles, "threads": number}
        if number == 1:
            setups.append(setup)
        for direction, times in zip(rows, directions, strict=True):
            rows[direction].append(case | row_of(times))
            if case == {"pixels": 64, "angles": 30, "threads": 1}:
                claims += what_must_hold(direction, times)
        print(case, flush=True)
    results = {"setup": setups, "rows": rows, "claims": claims}
    seconds = time.perf_counter() - start
    text = report(setups, rows, claims)
    publish("ray_transform", text, results, quick=quick, seconds=seconds)


def row_of(times):
    """Milliseconds of one image, and how much faster the matrix is."""
    row = {f"{name}": times.milliseconds(name) for name in METHODS}
    row["odl / matrix"] = times.ratio("odl", "matrix")
    row["odl / matrix, 16"] = times.ratio("odl", "matrix, 16")
    return row


def what_must_hold(direction, times):
    """The bounds at 64 pixels and 30 angles, one thread."""
    where = f"{direction} at 64 pixels, 30 angles"
    single, batch = times.ratio("odl", "matrix"), times.ratio("odl", "matrix, 16")
    return [
        claim(f"{where}: odl / matrix", single, 4, at_least=True),
        claim(f"{where}: odl / matrix, 16, per image", batch, 20, at_least=True),
    ]


def report(setups, rows, claims):
    """The section of README.md."""
    reason = "would need more than 2 GB" if deepinv else "is not installed"
    parts = [
        table(claims, "not measured"),
        f"""
*odl*: ODL's `astra_cpu`, `ray_transform(X, backend="cpu")`. *astra*: `direct_FP2D` and
`direct_BP2D` of ASTRA, on arrays. *matrix*: `ray_transform(X, backend="matrix")`.
*deepinv*: `Tomography`, whose discretization is another. *16*: {BATCH} images in one
batch, per image; ASTRA takes none on the CPU. A dash: deepinv {reason}.
""",
        "`A x`, milliseconds for an image:\n",
        table(rows["A"]),
        "\n`A^* y`, milliseconds for an image:\n",
        table(rows["A^*"]),
        "\nSet-up: milliseconds, and memory at its peak. By default `ray_transform`"
        "\ntakes no matrix that might need more than 1 GiB.\n",
        table(setups),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    main()
