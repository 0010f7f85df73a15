# SPDX-License-Identifier: MPL-2.0
"""Parts of `bench_gpu` that solve: transfers, reconstructions a second, agreement.

Each takes `Options` and returns rows, what must hold, and a text.
"""

import functools
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
import odl
import torch
from gpu_setup import full_float32, guarded, image_space, synchronized
from harness import claim

import odl_genreg as ogr
from odl_genreg.demo import demo_problem, demo_weights
from odl_genreg.forward_operators import radial_mask
from odl_genreg.torch_bridge import LinearMap, as_element, as_tensor

__all__ = ("agreement", "demos", "transfers")

NUM_ANGLES, LINES = 10, 30
MR_NOISE, MR_OPTIONS = 0.01, {"restarts": 1, "tol": 3e-3, "maxiter": 300}
TRANSFER_TEXT = """
Copies between device and host in one iteration of `reconstruct`, a digit from 10
angles, 4 restarts: the difference of two runs of different length, by `torch.profiler`.
"""
DEMO_TEXT = """
Reconstructions of a second by `reconstruct(..., data=[...])`: digits from 10 angles, 4
restarts; MR images from 30 radial lines, one start, the weight of the noise model.
"""
AGREEMENT_TEXT = """
Digits from 10 angles on the CPU with the backend 'matrix' and on the device, from the
same start, 0, in float32 without TF32; relative differences, the largest of all digits.
*mismatch*: `|<A x, y> - <x, A^* y>| / (|A x| |y|)`.
"""


class Digits:
    """The problem of the demo on a device."""

    def __init__(self, backend: str, device):
        self.X = image_space(28, device)
        self.A = ogr.ray_transform(self.X, num_angles=NUM_ANGLES, backend=backend)
        self.G = ogr.load_generator("mnist-vae", image_space=self.X)
        self.weights = demo_weights()[str(NUM_ANGLES)]
        self.noise_std = demo_problem(0, NUM_ANGLES)[0].noise_std

    def data(self, index: int):
        """Return the data of a digit, which are those of the CPU."""
        y = as_tensor(demo_problem(index, NUM_ANGLES)[0].data)
        return as_element(self.A.range, y.to(as_tensor(self.A.range.zero()).device))

    def reconstruct(self, kind: str, indices, **keywords):
        """Reconstruct some digits in one batch."""
        weights, data = self.weights[kind], [self.data(index) for index in indices]
        R = ogr.range_constraint(self.G)
        if kind == "soft":
            R = ogr.soft_constraint(self.G, weights["mu"])
        D = ogr.squared_l2(self.A, data[0], self.noise_std)
        return ogr.reconstruct(D, R, weights["lam"], data=data, **keywords)


# --- Transfers --- #


def transfers(options):
    """Part d."""
    rows, claims = [], []
    for backend in options.backends:
        digits = Digits(backend, options.device)
        for kind in ("range", "soft"):
            for solver in ("lbfgs", "gauss_newton"):
                run = functools.partial(
                    digits.reconstruct, kind, [0], solver=solver, restarts=4, tol=1e-12
                )
                row = {"backend": backend, "problem": kind, "solver": solver}
                rows.append(row | per_iteration(run, options))
                print(row, flush=True)
    return rows, claims, TRANSFER_TEXT


def per_iteration(run, options):
    """Return events and bytes of an iteration, from runs of 5 and of 15."""
    run(maxiter=2)
    few, many = (counted(lambda n=n: run(maxiter=n), options) for n in (5, 15))
    steps = many["iterations"] - few["iterations"]
    row = {"iterations": steps}
    for name in ("DtoH", "HtoD"):
        for unit in ("events", "bytes"):
            key = f"{name} {unit}"
            known = options.on_gpu and steps > 0
            row[key] = (many[key] - few[key]) / steps if known else None
    return row


def counted(run, options):
    """Return the iterations of a run, and its copies by the trace of the profiler."""
    if not options.on_gpu:
        return {"iterations": len(run()[0].history) - 1}
    activities = [
        torch.profiler.ProfilerActivity.CPU,
        torch.profiler.ProfilerActivity.CUDA,
    ]
    with torch.profiler.profile(activities=activities) as profiler:
        result = run()
        torch.cuda.synchronize(options.device)
    counts = {"iterations": len(result[0].history) - 1}
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    copies = [event for event in events if event.get("cat") == "gpu_memcpy"]
    for name in ("DtoH", "HtoD"):
        found = [event for event in copies if name in event["name"]]
        counts[f"{name} events"] = len(found)
        counts[f"{name} bytes"] = sum(event["args"]["bytes"] for event in found)
    return counts


# --- Reconstructions of a second --- #


def demos(options):
    """Part f."""
    counts, rows = (1, 4) if options.quick else (1, 16, 64), []
    for backend in options.backends:
        digits = Digits(backend, options.device)
        for kind in ("range", "soft"):
            solve = functools.partial(digits.reconstruct, kind, restarts=4)
            case = {"demo": f"digits, {backend}", "problem": kind}
            rows += rates(case, lambda n, solve=solve: solve(range(n)), counts, options)
    if options.mr_generator and options.mr_images:
        for kind in ("range", "soft"):
            solve = mr_demo(kind, options, max(counts))
            rows += rates({"demo": "MR", "problem": kind}, solve, counts, options)
    return rows, [], DEMO_TEXT


def rates(case, solve, counts, options):
    """Time batches of images."""
    rows, solve = [], synchronized(solve, options.device)
    guarded(lambda: solve(1))
    for count in counts:
        seconds = guarded(lambda count=count: median_time(solve, count))
        rows.append(case | {"batch": count, "images / s": seconds and count / seconds})
        print(rows[-1], flush=True)
    return rows


def median_time(solve, count):
    """Return the median of the seconds of three runs, of fewer if they take long."""
    seconds = []
    while not seconds or (len(seconds) < 3 and sum(seconds) < 10):
        start = time.perf_counter()
        solve(count)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def mr_demo(kind, options, count):
    """Return a function that reconstructs some MR images."""
    images = np.load(options.mr_images, mmap_mode="r")[:count].astype("float32")
    shape = images.shape[-2:]
    keywords = {"dtype": "float32", "impl": "pytorch", "device": str(options.device)}
    X = odl.uniform_discr([0, 0], shape, shape, **keywords)
    G = ogr.load_generator(options.mr_generator, image_space=X)
    A = ogr.MaskedFourier(X, radial_mask(shape, LINES))
    x = torch.from_numpy(images.reshape(-1, *shape)).to(options.device)
    y = LinearMap(A)(x)
    source = torch.Generator().manual_seed(0)
    y = y + MR_NOISE * torch.randn(y.shape, generator=source).to(options.device)
    R = ogr.range_constraint(G) if kind == "range" else ogr.soft_constraint(G)
    lam = 0.5 if kind == "range" else 0.5 / R.mu
    D = ogr.squared_l2(A, as_element(A.range, y[0].clone()), MR_NOISE)

    def solve(number):
        data = [as_element(A.range, row.clone()) for row in y[:number]]
        return ogr.reconstruct(D, R, lam, data=data, **MR_OPTIONS)

    return solve


# --- The same on both devices --- #


def agreement(options):
    """Part g."""
    rows, claims = [], []
    indices = range(2) if options.quick else range(8)
    source = torch.Generator().manual_seed(1)
    with full_float32():
        host = Digits("matrix", torch.device("cpu"))
        x = torch.rand(8, 28, 28, generator=source)
        y = torch.rand(8, *host.A.range.shape, generator=source)
        expected = LinearMap(host.A)(x)
        for backend in options.backends:
            digits = Digits(backend, options.device)
            linear = LinearMap(digits.A)
            on_device = x.to(options.device), y.to(options.device)
            Ax, ATy = linear(on_device[0]), linear.T(on_device[1])
            left = (Ax * on_device[1]).flatten(1).sum(1).double()
            right = (ATy * on_device[0]).flatten(1).sum(1).double()
            norms = Ax.flatten(1).norm(dim=1) * on_device[1].flatten(1).norm(dim=1)
            for kind in ("range", "soft"):
                difference = worst_difference(host, digits, kind, indices)
                rows.append(
                    {
                        "backend": backend,
                        "problem": kind,
                        "A x": relative(Ax.cpu(), expected),
                        "reconstruction": difference,
                        "mismatch": float(((left - right).abs() / norms).max()),
                    }
                )
                if backend == "matrix":
                    text = f"{kind}: reconstructions with the same matrix"
                    claims.append(claim(text, difference, 1e-3))
    return rows, claims, AGREEMENT_TEXT


def worst_difference(host, digits, kind, indices):
    """Largest relative difference of the images that both find from the same start."""
    found = [
        [
            as_tensor(result.x).cpu()
            for result in side.reconstruct(kind, indices, restarts=1)
        ]
        for side in (host, digits)
    ]
    return max(relative(b, a) for a, b in zip(*found, strict=True))


def relative(a, b):
    """``|a - b| / |b|``."""
    return float((a - b).norm() / b.norm())
