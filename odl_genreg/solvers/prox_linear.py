# SPDX-License-Identifier: MPL-2.0
"""Convex terms with a generator inside: linearize it, and solve the convex model."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from .composite_problem import CompositeProblem
from .splitting import Linearization, ModelStep, Splitting

__all__ = ("DENSE_SIZE", "ProxLinearResult", "prox_linear")

#: Size of images up to which a matrix is inverted, unless told otherwise.
DENSE_SIZE = 1024

# Damping at first; its factors when the model is good, doubtful, or wrong.
FIRST_DAMPING, SHRINK, GROW, REJECT = 1e-3, 1 / 3, 2.0, 4.0

# Iterations in a row with a small decrease, or without any, that end a run.
QUIET, STUCK = 2, 10


class ProxLinearResult(NamedTuple):
    """What `prox_linear` returns."""

    #: Images and latents, or latents alone in the range; each with a batch axis.
    blocks: list[torch.Tensor]
    #: Objective of each run, ``(batch,)``.
    values: torch.Tensor
    #: Which runs met the stopping rule, ``(batch,)``.
    converged: torch.Tensor
    #: Objectives ``(batch,)`` after each iteration, those of the starts first.
    trace: list[torch.Tensor]
    #: Whether the user interrupted it.
    interrupted: bool


@torch.no_grad()
def prox_linear(
    problem: CompositeProblem,
    starts: Sequence[torch.Tensor],
    *,
    tol: float = 1e-5,
    maxiter: int = 100,
    inner: int = 20,
    dense_size: int = DENSE_SIZE,
    callback: Callable | None = None,
) -> ProxLinearResult:
    r"""Minimize a batch of composite problems by linearizing the generator.

        ``G(z + d) ~ G(z) + J d``

    In each iteration the convex problem with this model of ``G`` is solved
    approximately by `Splitting`, and the step is taken if it decreases the objective.
    Each run is on its own, with its own data and damping; it leaves the batch when it
    is done. No value ever increases, and images satisfy the bounds exactly.

    Notes
    -----
    The prox-linear method [DL2018], a Gauss-Newton method for nonsmooth terms. The
    model is damped by a multiple of ``|d|^2`` that follows the ratio of actual and
    predicted decrease. Of two images the better one is taken: that of the model, and
    ``G(z + d)`` plus its deviation, which keeps a sparse deviation sparse. In the range
    an image that leaves the bounds has the objective infinity; until it satisfies them,
    steps decrease by how much it does not.

    Parameters
    ----------
    problem : CompositeProblem
        The batch of problems.
    starts : sequence of torch.Tensor
        Images and latents, or latents alone in the range, ``(batch, ...)``; left as
        they are. Images are clipped to the bounds.
    tol : positive float, optional
        A run has converged when an iteration decreases it by at most ``tol``,
        relatively, twice in a row, and the model agrees up to ``10 tol``.
    maxiter : int, optional
        Maximal number of iterations, that is of linearizations.
    inner : int, optional
        Iterations of ADMM in each of them.
    dense_size : int, optional
        Images of at most this size are solved for by a dense inverse, larger ones by
        conjugate gradients.
    callback : callable, optional
        Called after each iteration with the blocks and values of all runs.

    Returns
    -------
    result : ProxLinearResult
        A run ends unconverged at ``maxiter``, by an interrupt, or when ten iterations
        in a row do not improve it (rounding).

    References
    ----------
    [DL2018] Drusvyatskiy D, and Lewis A S. *Error bounds, quadratic growth, and linear
    convergence of proximal methods*. Math Oper Res, 2018.

    Examples
    --------
    For ``(x - 2)^2 / 2 + |x - z| + z^2 / 2`` both are 1:

    >>> X = odl.rn(1)
    >>> identity = ogr.torch_bridge.LinearMap(odl.IdentityOperator(X))
    >>> problem = ogr.solvers.CompositeProblem(
    ...     generator=ogr.Generator(torch.nn.Identity(), X, X),
    ...     forward=identity,
    ...     data=torch.tensor([[2.0]], dtype=torch.float64),
    ...     noise_std=torch.ones(1, dtype=torch.float64),
    ...     terms=[ogr.solvers.LinearTerm(odl.functionals.L1Norm(X), identity, True)],
    ...     rho=0.5,
    ... )
    >>> start = torch.zeros(1, 1, dtype=torch.float64)
    >>> result = ogr.solvers.prox_linear(problem, [start, start], tol=1e-8)
    >>> [round(float(block), 4) for block in result.blocks]
    [1.0, 1.0]
    """
    now = _Iterate.start(problem, starts)
    splitting = Splitting(problem, now.image, now.image - now.decoded, dense_size)
    damping = torch.full_like(now.values, FIRST_DAMPING)
    quiet = torch.zeros_like(now.values)
    stuck, running = quiet.clone(), ~now.values.isnan()
    trace, interrupted, at = [now.values], False, None
    try:
        while len(trace) <= maxiter and bool(running.any()):
            rows = running.nonzero()[:, 0]
            old, part = now.take(rows), problem.take(rows)
            if at is None:
                at = _linearize(problem.generator, old.z)
            step = splitting.run(part, rows, at, old.image, damping[rows], inner)
            new = _Iterate.after(part, old, step)
            better = new.better_than(old)
            model = _Iterate.of_model(part, new.z, step).values
            decrease, promise = old.values - new.values, old.values - model
            damping[rows] *= _factor(better, decrease, promise)
            broken = ~step.image.flatten(1).isfinite().all(1)
            anew = old.take(broken)
            splitting.reset(rows[broken], anew.image, anew.image - anew.decoded)
            small = tol * old.values.abs()
            calm = (decrease <= small) & ((promise - decrease).abs() <= 10 * small)
            quiet[rows] = torch.where(calm, quiet[rows] + 1, 0)
            stuck[rows] = torch.where(better, 0, stuck[rows] + 1)
            now = now.put(rows[better], new.take(better))
            running = running & (quiet < QUIET) & (stuck < STUCK)
            if bool(better.any()) or not bool(running[rows].all()):
                at = None
            trace.append(now.values)
            if callback is not None:
                callback(now.blocks(problem), now.values)
    except KeyboardInterrupt:
        interrupted = True
    blocks, values = now.blocks(problem), now.values
    return ProxLinearResult(blocks, values, quiet >= QUIET, trace, interrupted)


@dataclasses.dataclass
class _Iterate:
    """Images, ``G(z)``, latents, objectives and excess over the bounds of each row."""

    image: torch.Tensor
    decoded: torch.Tensor
    z: torch.Tensor
    values: torch.Tensor
    excess: torch.Tensor

    @classmethod
    def at(cls, problem, image, decoded, z):
        """Evaluate the objective; it is infinite beyond the bounds."""
        values = problem.value(image, image - decoded, z)
        excess = problem.excess(image)
        values = torch.where(excess > 0, torch.inf, values)
        return cls(image, decoded, z, values, excess)

    @classmethod
    def start(cls, problem, starts):
        """Return the starts, within the bounds."""
        z = starts[-1].detach().clone()
        decoded = problem.generator.batch(z)
        image = decoded if problem.in_range else starts[0].clamp(*problem.bounds)
        return cls.at(problem, image, decoded, z)

    @classmethod
    def after(cls, problem, old, step: ModelStep):
        """Return where a step of the model leads."""
        z = old.z + step.d.reshape(old.z.shape)
        return cls._best(problem, problem.generator.batch(z), z, step)

    @classmethod
    def of_model(cls, problem, z, step: ModelStep):
        """Return the same as the model sees it."""
        return cls._best(problem, step.image - step.deviation, z, step)

    @classmethod
    def _best(cls, problem, decoded, z, step):
        """Return the better one of two images: the model's, and one near ``G(z)``."""
        if problem.in_range:
            return cls.at(problem, decoded, decoded, z)
        images = (step.image, decoded + step.shrunk)
        first, second = (
            cls.at(problem, image.clamp(*problem.bounds), decoded, z)
            for image in images
        )
        other = second.better_than(first).nonzero()[:, 0]
        return first.put(other, second.take(other))

    def better_than(self, old):
        """Tell which rows have a lower objective, or are nearer to the bounds."""
        nearer = (self.values == old.values) & (self.excess < old.excess)
        return (self.values < old.values) | nearer

    def take(self, rows):
        """Return some rows."""
        return _Iterate(*(tensor[rows] for tensor in self._parts()))

    def put(self, rows, new):
        """Return a copy with some rows replaced."""
        pairs = zip(self._parts(), new._parts(), strict=True)
        return _Iterate(*(old.index_put((rows,), part) for old, part in pairs))

    def blocks(self, problem):
        """Return the variables of the problem."""
        return [self.z] if problem.in_range else [self.image, self.z]

    def _parts(self):
        return self.image, self.decoded, self.z, self.values, self.excess


def _linearize(generator, z):
    image, columns = generator.linearize(z)
    return Linearization(z.flatten(1), image, columns.flatten(2))


def _factor(better, decrease, promise):
    """Factor of the damping; 1 where a step failed for want of iterations."""
    good, doubtful = decrease > 0.75 * promise, decrease < 0.25 * promise
    accepted = torch.where(good, SHRINK, torch.where(doubtful, GROW, 1.0))
    rejected = torch.where(promise <= 0, 1.0, REJECT)
    return torch.where(better, accepted, rejected).to(promise.dtype)
