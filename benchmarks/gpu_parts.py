# SPDX-License-Identifier: MPL-2.0
"""Parts of `bench_gpu`: value and gradient against a bare loop, batches of images.

Each takes `Options` and returns rows, what must hold, and a text.
"""

import torch
from gpu_projectors import bare_projector
from gpu_setup import DeviceProblem, draw, guarded, timed
from harness import claim

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap, as_element, weight
from odl_genreg.variational_problem import VariationalProblem

__all__ = ("NUM_ANGLES", "batches", "differentiated", "latent", "objectives")

NUM_ANGLES = 180
SINGLE = 8  # images that stand for all that go one by one
LATENT_TEXT = """
Value and gradient, 180 angles, an untrained seeded decoder. *bare*: the same network,
ASTRA's `direct_FP3D` and `direct_BP3D` on CUDA tensors in a `torch.autograd.Function`
(without ASTRA's CUDA the stored matrix), one `torch.autograd.grad`. *range*:
`D(G(z)) + lam ||z||^2`. *soft*: `D(x) + lam (||x - G(z)||^2 + mu ||z||^2)` in `(x, z)`.
Milliseconds for the batch.
"""
BATCH_TEXT = """
`A` and `A^T` of a batch as one product against one image after the other through ODL,
180 angles; milliseconds for an image.
"""


# --- Value and gradient against the bare loop --- #


def objectives(problem, batch):
    """Pairs of ours and bare, functions of ``z`` or of ``(x, z)``."""
    D, G, lam, w = problem.D, problem.G, problem.lam, weight(problem.X)
    soft = ogr.soft_constraint(G)
    J = ogr.range_constraint(G).latent_objective(D, lam)
    smooth = VariationalProblem(D, soft, lam, (), None).smooth
    project, y = bare_projector(problem.A, batch), D.data.data
    network = G.module

    def misfit(x):
        return (project(x) - y).square().flatten(1).sum(1) / (2 * D.noise_std**2)

    def bare_range(z):
        x = network(z).reshape(-1, *problem.X.shape)
        return misfit(x) + lam * z.square().sum(1)

    def bare_soft(x, z):
        u = x - network(z).reshape(x.shape)
        deviation = w * u.square().flatten(1).sum(1)
        return misfit(x) + lam * (deviation + soft.mu * z.square().sum(1))

    return {"range": (J.batch, bare_range), "soft": (smooth, bare_soft)}


def differentiated(objective):
    """Return value and gradients of a function of a tuple of points."""

    def call(blocks):
        blocks = [block.detach().requires_grad_() for block in blocks]
        values = objective(*blocks)
        return values, torch.autograd.grad(values.sum(), blocks)

    return call


def latent(options):
    """Part a."""
    rows, claims = [], []
    for pixels in options.sizes(128, 256, 512, 1024):
        backend = options.backends[0]
        problem = DeviceProblem(pixels, NUM_ANGLES, backend, options.device)
        for batch in options.batches(pixels):
            for kind, pair in objectives(problem, batch).items():
                row = {"pixels": pixels, "batch": batch, "problem": kind}
                rows.append(row | latent_row(problem, batch, kind, pair, options))
                if pixels == 512:
                    text = f"{kind}, 512 pixels, batch {batch}: ours / bare"
                    claims.append(claim(text, rows[-1]["ours / bare"], 1.1))
        print({"latent": pixels}, flush=True)
    return rows, claims, LATENT_TEXT


def latent_row(problem, batch, kind, pair, options):
    """Columns of one case."""
    calls = {
        name: differentiated(objective)
        for name, objective in zip(("ours", "bare"), pair, strict=True)
    }

    def fresh(i):
        z = problem.latents(batch, seed=10 + i)
        if kind == "range":
            return dict.fromkeys(calls, (z,))
        return dict.fromkeys(calls, (problem.images(batch, seed=10 + i), z))

    values = guarded(lambda: [calls[name](fresh(0)[name])[0] for name in calls])
    if values is not None and not torch.allclose(*values, rtol=1e-2):
        raise ValueError(f"{kind} must be {values[1]}, got {values[0]}")
    times = None if values is None else timed(calls, fresh, options)
    return {
        "bare, ms": times and times.milliseconds("bare"),
        "ours, ms": times and times.milliseconds("ours"),
        "ours / bare": times and times.ratio("ours", "bare"),
    }


# --- Batches of images --- #


def batches(options):
    """Part b."""
    rows, claims = [], []
    cases = [(128, name) for name in options.backends] + [(512, "cuda")]
    if options.quick:
        cases = [(32, name) for name in options.backends]
    for pixels, backend in cases:
        if backend not in options.backends:
            continue
        problem = DeviceProblem(pixels, NUM_ANGLES, backend, options.device)
        A, linear = problem.A, LinearMap(problem.A)
        for name, one, many in (("A", A, linear), ("A^T", A.adjoint, linear.T)):
            for size in options.batches(pixels):
                times = timed_images(one, many, size, options)
                ratio = times and times.ratio("one by one", "batch")
                case = {"pixels": pixels, "backend": backend, "operator": name}
                rows.append(
                    case
                    | {
                        "batch": size,
                        "one by one, ms": times and times.milliseconds("one by one"),
                        "batch, ms": times and times.milliseconds("batch"),
                        "one by one / batch": ratio,
                    }
                )
                if (pixels, size) == (128, 64):
                    text = f"{name}, {backend}, 64 images of 128 pixels: one by one"
                    claims.append(claim(f"{text} / batch", ratio, 10, at_least=True))
        print({"batches": pixels, "backend": backend}, flush=True)
    return rows, claims, BATCH_TEXT


def timed_images(one, many, size, options):
    """Time a batch against some single images."""
    singles = min(size, SINGLE)

    def one_by_one(elements):
        for x in elements:
            one(x)

    def fresh(i):
        x = draw((size, *one.domain.shape), i, options.device)
        elements = [as_element(one.domain, row.clone()) for row in x[:singles]]
        return {"batch": x, "one by one": elements}

    calls = {"batch": many.product, "one by one": one_by_one}
    iterations = {"batch": size, "one by one": singles}
    return timed(calls, fresh, options, iterations)
