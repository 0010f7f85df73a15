# SPDX-License-Identifier: MPL-2.0
"""Parts of `bench_gpu`: against deepinv, the network alone, memory.

Each takes `Options` and returns rows, what must hold, and a text.
"""

import functools
import threading
import time

import torch
from gpu_parts import NUM_ANGLES, differentiated, objectives
from gpu_projectors import peer_physics
from gpu_setup import DeviceProblem, guarded, synchronized, timed
from harness import claim

import odl_genreg as ogr
from odl_genreg.solvers.minima import value_and_gradient
from odl_genreg.torch_bridge import LinearMap

__all__ = ("memory", "networks", "peer")

PEER_TEXT = """
deepinv's `TomographyWithAstra`, 180 angles. *objective*: value and gradient of
`|A G(z) - y|^2`. Milliseconds for the batch.
"""
NETWORK_TEXT = """
Value and gradient of `|G(z)|^2`, milliseconds for the batch: `half_precision`, and the
network alone through `torch.compile`, with the seconds of its first calls.
"""
MEMORY_TEXT = """
Value and gradient in the range, MB above what was in use before: the peak of torch's
allocator, and what else of the device was not free, mostly ASTRA's.
"""

# --- deepinv --- #


def peer(options):
    """Part c."""
    rows, claims = [], []
    for pixels in options.sizes(128, 512):
        backend = options.backends[0]
        problem = DeviceProblem(pixels, NUM_ANGLES, backend, options.device)
        linear, network = LinearMap(problem.A), problem.G.module
        project = with_channel(linear)
        physics = attempted(
            functools.partial(peer_physics, pixels, NUM_ANGLES, options.device)
        )
        for batch in [size for size in options.batches(pixels) if size <= 64]:
            z = problem.latents(batch, seed=1)
            with torch.no_grad():
                x = network(z).reshape(-1, 1, pixels, pixels)
            pairs = {
                "A": (project, physics and physics.A, x),
                "A^T": (linear.T, physics and physics.A_adjoint, linear(x[:, 0])),
                "objective": (
                    squared(project, network, x),
                    physics and squared(physics.A, network, x),
                    z,
                ),
            }
            for name, (ours, theirs, point) in pairs.items():
                shape = point.shape
                if name == "A^T" and physics is not None:
                    shape = physics.A(x).shape
                times = timed_peer(ours, theirs, point, shape, options)
                ratio = times and times.ratio("deepinv", "ours")
                case = {"pixels": pixels, "batch": batch, "call": name}
                rows.append(
                    case
                    | {
                        "ours, ms": times and times.milliseconds("ours"),
                        "deepinv, ms": times and times.milliseconds("deepinv"),
                        "deepinv / ours": ratio,
                    }
                )
                if batch == 64:
                    text = f"{name}, {pixels} pixels, batch 64: deepinv / ours"
                    claims.append(claim(text, ratio, 2, at_least=True))
        print({"peer": pixels}, flush=True)
    return rows, claims, PEER_TEXT


def with_channel(linear):
    """Return ``x -> A x`` of images with a channel axis."""
    return lambda x: linear(x[:, 0])


def squared(project, network, x):
    """Value and gradient of ``|A G(z) - y|^2`` with ``y = A x + 1``."""
    with torch.no_grad():
        y = project(x) + 1

    def objective(z):
        residual = project(network(z).reshape(x.shape)) - y
        return residual.square().flatten(1).sum(1)

    return lambda z: value_and_gradient(objective, z)


def timed_peer(ours, theirs, point, shape, options):
    """Time ours and, if it is there, deepinv's, whose data have another shape."""
    calls = {"ours": ours}
    if theirs is not None:
        calls["deepinv"] = theirs

    def fresh(i):
        same = shape == point.shape
        other = point if same else torch.ones(shape, device=options.device)
        return {"ours": point + 1e-3 * i, "deepinv": other + 1e-3 * i}

    return timed(calls, fresh, options)


# --- The network alone --- #


def networks(options):
    """Half precision and compilation."""
    rows = []
    for pixels in options.sizes(128, 512):
        problem = DeviceProblem(pixels, 2, "matrix", options.device)
        G, plain = problem.G, problem.G.module
        functions = {"plain": plain}
        for dtype in ("float16", "bfloat16"):
            half = functools.partial(ogr.half_precision, G, dtype, tolerance=0.1)
            if (H := attempted(half)) is not None:
                functions[dtype] = H.batch
        seconds = None
        if not options.quick:
            compiled = torch.compile(plain, dynamic=True)
            start = time.perf_counter()
            done = [
                attempted(functools.partial(energy(compiled), problem.latents(n, 0)))
                for n in (1, 3)
            ]
            if None not in done:
                functions["compiled"], seconds = compiled, time.perf_counter() - start
        calls = {name: energy(function) for name, function in functions.items()}
        for batch in options.batches(pixels)[:4]:

            def fresh(i, problem=problem, batch=batch, calls=calls):
                return dict.fromkeys(calls, problem.latents(batch, seed=i))

            times = timed(calls, fresh, options)
            row = {"pixels": pixels, "batch": batch}
            row["plain, ms"] = times and times.milliseconds("plain")
            for name in ("float16", "bfloat16", "compiled"):
                row[f"{name} / plain"] = times and times.ratio(name, "plain")
            rows.append(row | {"compilation, s": seconds})
        print({"networks": pixels}, flush=True)
    return rows, [], NETWORK_TEXT


def energy(network):
    """Return value and gradient of ``|G(z)|^2``, a function of latents."""
    return functools.partial(
        value_and_gradient, lambda z: network(z).square().flatten(1).sum(1)
    )


def attempted(call):
    """Return ``call()``, or None where something is missing, such as a compiler."""
    try:
        return call()
    except Exception as error:  # of many kinds, from torch.compile and deepinv
        print(f"left out: {str(error).splitlines()[0]}", flush=True)
    return None


# --- Memory --- #


def memory(options):
    """Part e."""
    rows = []
    for pixels in options.sizes(128, 512, 1024):
        backend = options.backends[0]
        problem = DeviceProblem(pixels, NUM_ANGLES, backend, options.device)
        for batch in options.batches(pixels):
            ours, bare = objectives(problem, batch)["range"]
            z = problem.latents(batch, seed=1)
            row = {"pixels": pixels, "batch": batch}
            for name, objective in (("ours", ours), ("bare", bare)):
                call = synchronized(differentiated(objective), options.device)
                peaks = options.on_gpu and guarded(functools.partial(peak, call, z))
                in_torch, others = peaks or (None, None)
                row[f"{name}, MB in torch"] = in_torch
                row[f"{name}, MB outside torch"] = others
            rows.append(row)
        print({"memory": pixels}, flush=True)
    return rows, [], MEMORY_TEXT


def peak(call, z):
    """Return MB at the peak of torch's allocator, and outside of it."""
    call((z,))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, running = torch.cuda.memory_allocated(), True
    outside, least = outside_torch(), []

    def watch():
        while running:
            least.append(outside_torch())
            time.sleep(2e-4)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3):
            call((z,))
    finally:
        running = False
        watcher.join()
    in_torch = torch.cuda.max_memory_allocated() - before
    return in_torch / 1e6, (max([*least, outside]) - outside) / 1e6


def outside_torch():
    """Bytes of the device that are in use and not torch's."""
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()
