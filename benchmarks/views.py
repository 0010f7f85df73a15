# SPDX-License-Identifier: MPL-2.0
"""The views of a problem as functions that can be timed beside each other.

Each returns functions that give value and gradient, and a function ``i -> point`` with
a new point in the form of each of them.
"""

import functools

import odl
import torch
from bare_loop import BareLoop, evaluate
from problems import latents

from odl_genreg.solvers.minima import value_and_gradient
from odl_genreg.torch_bridge import as_element, as_tensor
from odl_genreg.variational_problem import VariationalProblem

__all__ = ("VIEWS", "reduced")

SEED = 10


def fused(objective):
    """Value and gradient as the solvers of `reconstruct` ask for them."""

    def call(z):
        value, gradient = value_and_gradient(objective, z)
        return value.item(), gradient

    return call


def view(J):
    """Value and gradient as ODL's solvers ask for them: the operator is made once."""
    gradient = J.gradient

    def call(point):
        return J(point), gradient(point)

    return call


def in_range(problem):
    """``D(G(z)) + lam R_Z(z)``."""
    D, R, lam = problem.D, problem.range, 0.5
    J = R.latent_objective(D, lam)
    calls = {
        "bare": functools.partial(evaluate, BareLoop(D, R, lam).range),
        "fused": fused(J.batch),
        "view": view(J),
        "composed": view(D @ problem.G + lam * R.latent_prior),
    }
    return calls, lambda i: latent_points(problem, i)


def eliminated(problem):
    """The soft problem in ``z`` alone."""
    D, R, lam = problem.D, problem.soft, problem.soft_lam
    J, bare = R.latent_objective(D, lam), BareLoop(D, R, lam)
    bare.prepare_elimination()
    calls = {
        "bare": functools.partial(evaluate, bare.eliminated),
        "fused": fused(J.batch),
        "view": view(J),
    }
    return calls, lambda i: latent_points(problem, i)


def latent_points(problem, i):
    """A new latent, in the form of each function."""
    z = latents(1, problem.latent_dim, seed=SEED + i)
    element = as_element(problem.G.domain, z[0].clone())
    return {
        "bare": z.clone(),
        "fused": z.clone(),
        "view": element,
        "composed": element.copy(),
        "CSGM": z.clone(),
        "CSGM frozen": z.clone(),
    }


def joint(problem):
    """The soft problem in ``(x, z)``."""
    D, R, lam = problem.D, problem.soft, problem.soft_lam
    P = odl.ProductSpace(R.domain, problem.G.domain)
    composed = D @ odl.ComponentProjection(P, 0) + lam * R.joint
    smooth, bare = VariationalProblem(D, R, lam, (), None).smooth, BareLoop(D, R, lam)

    def points(i):
        z = latents(1, problem.latent_dim, seed=SEED + i)
        x = problem.image(z[0], seed=SEED + i)
        tensor = as_tensor(x)
        return {
            "bare": (tensor.clone(), z.clone()),
            "fused": (tensor[None].clone(), z.clone()),
            "composed": P.element([x, as_element(P[1], z[0].clone())]),
        }

    calls = {
        "bare": lambda point: evaluate(bare.soft, *point),
        "fused": lambda point: evaluate(smooth, *point),
        "composed": view(composed),
    }
    return calls, points


def reduced(problem):
    """``D + lam R`` on ``X``: a search in the latent for every value."""
    D, R, lam = problem.D, problem.soft, problem.soft_lam
    J, bare = D + lam * R, BareLoop(D, R, lam)
    images = [problem.image(latents(1, problem.latent_dim, i)[0], i) for i in range(4)]
    batches = [decoded(problem.G, lambda x=x: J(x)) for x in images]
    source = torch.Generator().manual_seed(0)

    def passes(point):
        x, batches = point
        for z in batches:
            evaluate(functools.partial(bare.distance, x), z.clone())
        evaluate(bare.misfit, x)

    def points(i):
        x = as_tensor(images[i % 4])
        x = x + 1e-5 * torch.randn(x.shape, generator=source)
        return {"bare": (x, batches[i % 4]), "composed": as_element(J.domain, x)}

    return {"bare": passes, "composed": view(J)}, points


def decoded(G, call):
    """Return the batches of latents that ``G`` decodes during a call."""
    batches, batch = [], G.batch

    def record(z):
        batches.append(z.detach().clone())
        return batch(z)

    G.batch = record
    try:
        call()
    finally:
        del G.batch
    return batches


VIEWS = {"range": in_range, "soft, x eliminated": eliminated, "soft, (x, z)": joint}
