# SPDX-License-Identifier: MPL-2.0
"""Other solvers than ours, from one start, with the objective over time.

They minimize plain torch functions, see `BareLoop`, in ``z`` for the range constraint
and in ``(x, z)`` for the others.
"""

import contextlib
import time

import numpy as np
import odl
import scipy.optimize
import torch
from bare_loop import evaluate

from odl_genreg.solvers.initial_scaling import InitialScaling
from odl_genreg.solvers.palm import palm
from odl_genreg.solvers.wolfe_line_search import WolfeLineSearch
from odl_genreg.torch_bridge import as_element, as_tensor

__all__ = (
    "RATES",
    "Trajectory",
    "adam",
    "odl_lbfgs",
    "paper_palm",
    "scipy_lbfgsb",
    "torch_lbfgs",
)

RATES = (0.3, 0.1, 0.03, 0.01)


class Finished(Exception):
    """Ends a solver that has no other way out."""


class Trajectory:
    """Seconds and least objective so far of one run.

    The run ends when its seconds are spent; or when it has come to within 1e-4 of the
    best that is known, and gains no more than 1e-3 in 20 records: it goes on while it
    may still become the best.
    """

    def __init__(self, budget: float = np.inf, known: float = -np.inf):
        self.budget, self.known = budget, known
        self.seconds, self.values = [], []
        self._clock = time.perf_counter()

    def record(self, value: float):
        """Note the objective of now."""
        now = time.perf_counter() - self._clock
        value = value if np.isfinite(value) else np.inf
        self.seconds.append(now)
        self.values.append(min([value, *self.values[-1:]]))
        arrived = self.values[-1] <= (1 + 1e-4) * self.known
        settled = arrived and self.values[-20:][0] <= (1 + 1e-3) * self.values[-1]
        if now > self.budget or (settled and len(self.values) > 20):
            raise Finished

    @contextlib.contextmanager
    def paused(self):
        """Stop the clock, for work that is not the solver's."""
        start = time.perf_counter()
        yield
        self._clock += time.perf_counter() - start

    @property
    def out_of_time(self) -> bool:
        """Whether the seconds were spent."""
        return self.seconds[-1] > self.budget

    @property
    def best(self) -> float:
        """The least objective."""
        return self.values[-1]

    def arrival(self, level: float) -> float:
        """Seconds after which the objective is at most ``level``."""
        index = np.searchsorted(-np.asarray(self.values), -level)
        return self.seconds[index] if index < len(self.values) else np.inf


def _run(trajectory, solve):
    with contextlib.suppress(Finished):
        solve()
    return trajectory


def adam(case, z, rate: float, trajectory: Trajectory) -> Trajectory:
    """Adam, until the seconds are spent."""

    def solve():
        blocks = case.start(z)
        optimizer = torch.optim.Adam(blocks, lr=rate)
        while True:
            value, gradients = evaluate(case.objective, *blocks)
            trajectory.record(value)
            for block, gradient in zip(blocks, gradients, strict=True):
                block.grad = gradient
            optimizer.step()

    return _run(trajectory, solve)


def torch_lbfgs(case, z, trajectory: Trajectory) -> Trajectory:
    """L-BFGS of torch with strong Wolfe conditions, all iterations in one step."""

    def solve():
        blocks = case.start(z)
        optimizer = torch.optim.LBFGS(
            blocks,
            max_iter=10**6,
            max_eval=10**6,
            history_size=10,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure():
            value, gradients = evaluate(case.objective, *blocks)
            trajectory.record(value)
            for block, gradient in zip(blocks, gradients, strict=True):
                block.grad = gradient
            return value

        optimizer.step(closure)

    return _run(trajectory, solve)


def scipy_lbfgsb(case, z, trajectory: Trajectory) -> Trajectory:
    """L-BFGS-B of SciPy, in float64 outside the network."""

    def solve():
        start = case.start(z)
        shapes = [block.shape for block in start]
        ends = np.cumsum([block.numel() for block in start])[:-1]

        def function(vector):
            parts = zip(np.split(vector.astype("float32"), ends), shapes, strict=True)
            blocks = [torch.from_numpy(part).reshape(shape) for part, shape in parts]
            value, gradients = evaluate(case.objective, *blocks)
            trajectory.record(value)
            flat = [gradient.reshape(-1) for gradient in gradients]
            return value, torch.cat(flat).double().numpy()

        first = torch.cat([block.detach().reshape(-1) for block in start])
        scipy.optimize.minimize(
            function,
            first.double().numpy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 10**6, "maxfun": 10**6, "ftol": 0.0, "gtol": 0.0},
        )

    return _run(trajectory, solve)


def paper_palm(case, z, trajectory: Trajectory) -> Trajectory:
    """PALM as in the paper: latent first, no inertia, its factors of the constants."""
    if case.in_range:
        smooth, functionals = lambda z: case.objective(z)[None], [None]
    elif case.separable is not None:

        def smooth(z, u):
            return case.misfit(u[0] + case.decode(z))[None]

        functionals = list(reversed(case.separable))
    else:
        functionals = [None, None]

        def smooth(z, x):
            return case.objective(x[0], z)[None]

    def solve():
        *x, latent = case.start(z)
        images = x if case.separable is None else [torch.zeros_like(x[0])]
        starts = [latent, *(image[None] for image in images)]
        palm(
            smooth,
            starts,
            functionals,
            inertia=0.0,
            tol=1e-12,
            maxiter=10**6,
            callback=lambda blocks, values: trajectory.record(values.item()),
        )

    return _run(trajectory, solve)


class _Search(WolfeLineSearch):
    """Our line search; it ends a solver that would go on without a step."""

    def __call__(self, x, direction, dir_derivative):
        if self.stalled:
            raise Finished
        return super().__call__(x, direction, dir_derivative)


def odl_lbfgs(case, z, trajectory: Trajectory) -> Trajectory:
    """L-BFGS of ODL with our line search and scaling, on the functional of a user."""
    D, R, lam, spaces = case.D, case.R, case.lam, [case.R.generator.domain]
    if case.in_range:
        J = R.latent_objective(D, lam)
    else:
        spaces.insert(0, R.domain)
        P = odl.ProductSpace(*spaces)
        J = D @ odl.ComponentProjection(P, 0) + lam * R.joint

    def callback(point):
        with trajectory.paused(), torch.no_grad():
            parts = [point] if case.in_range else point
            *x, z = [as_tensor(part) for part in parts]
            value = case.objective(*x, z[None]).item()
        trajectory.record(value)

    def solve():
        start = [block.detach() for block in case.start(z)]
        start[-1] = start[-1][0]
        parts = [as_element(*pair) for pair in zip(spaces, start, strict=True)]
        point = parts[0] if case.in_range else P.element(parts)
        callback(point)
        search = _Search(J)
        odl.solvers.bfgs_method(
            J,
            point,
            line_search=search,
            hessinv_estimate=InitialScaling(search, num_store=10),
            num_store=1,
            maxiter=10**4,
            callback=callback,
        )

    return _run(trajectory, solve)
