# SPDX-License-Identifier: MPL-2.0
"""The table of ODL's solvers on generative regularizers, and the calls that it lists.

A pair is (regularizer, solver, view). ``PAIRS`` has for each of them the function that
runs it, a plain call of ODL, or the reason why there is none.

    ========  ==================  ================================================
    view      variable            objective
    ========  ==================  ================================================
    X         x                   ``D(x) + lam R(x)``
    X x Z     (x, z), smooth      ``D(x) + lam (F(x - G(z)) + mu R_Z(z))``
    X x Z     (u, z), proximal    ``D(u + G(z)) + lam (F(u) + mu R_Z(z))``
    Z         z                   ``min_x D(x) + lam (F(x - G(z)) + mu R_Z(z))``
    ========  ==================  ================================================
"""

import dataclasses
from collections.abc import Callable

import odl

import odl_genreg as ogr
from odl_genreg.torch_bridge import as_element, as_tensor, weight

REGULARIZERS = ("range", "soft", "sparse", "tv")
VIEWS = ("X", "X x Z", "Z")
SMOOTH_SOLVERS = (
    "steepest_descent",
    "adam",
    "bfgs_method",
    "conjugate_gradient_nonlinear",
)
PROXIMAL_SOLVERS = (
    "proximal_gradient",
    "accelerated_proximal_gradient",
    "pdhg",
    "forward_backward_pd",
    "douglas_rachford_pd",
    "admm_linearized",
)
SOLVERS = SMOOTH_SOLVERS + PROXIMAL_SOLVERS


# --- The problem --- #


@dataclasses.dataclass
class Problem:
    """The problem ``min_x D(x) + lam R(x)`` with what step sizes need.

    Parameters
    ----------
    D : `SquaredL2`
        Data fidelity.
    R : `GenerativeRegularizer`
        Regularizer.
    lam : positive float
        Weight of ``R``.
    norm_A, norm_G : positive float
        Norms of ``A`` and of ``G'``, upper bounds, in the norms of the spaces.
    z : `LinearSpaceElement`
        Start in ``Z``; that in ``X`` is ``G(z)``.
    """

    D: odl.functionals.Functional
    R: odl.functionals.Functional
    lam: float
    norm_A: float
    norm_G: float
    z: odl.core.set.space.LinearSpaceElement

    @property
    def A(self):
        return self.D.operator

    @property
    def G(self):
        return self.R.generator

    @property
    def lipschitz_D(self) -> float:
        """Lipschitz constant ``||A||^2 / (noise_std^2 w_Y)`` of the gradient of D."""
        return self.norm_A**2 / (self.D.noise_std**2 * weight(self.A.range))

    @property
    def tau(self) -> float:
        """Primal step on X of primal-dual solvers.

        ``0.1 / lam`` for the soft constraint, whose curvature is ``2 lam``; a few times
        ``1 / lipschitz_D`` for the others, which have none.
        """
        if isinstance(self.R.deviation, odl.functionals.L2NormSquared):
            return 0.1 / self.lam
        return 4 / self.lipschitz_D


@dataclasses.dataclass
class Formulation:
    """A problem in the variable of one view, as the solvers take it.

    Smooth solvers get ``objective``; the others ``f + g`` or ``f + on_data @ L``.

    Parameters
    ----------
    start : `LinearSpaceElement`
        The start, which solvers update in place.
    objective : `Functional`
        The whole objective.
    image : callable
        Function from the variable to the image in ``X``.
    f, g : `Functional`
        The part with a proximal and the smooth part.
    lipschitz : positive float
        Lipschitz constant of the gradient of ``g``, for a linear ``G``.
    on_data, L, norm_L :
        Functional on ``Y``, operator to ``Y``, which is nonlinear with ``G``, and the
        norm of its derivative.
    tau : positive float
        Primal step of primal-dual solvers.
    """

    start: odl.core.set.space.LinearSpaceElement
    objective: odl.functionals.Functional
    image: Callable
    f: odl.functionals.Functional = None
    g: odl.functionals.Functional = None
    lipschitz: float = None
    on_data: odl.functionals.Functional = None
    L: odl.Operator = None
    norm_L: float = None
    tau: float = None


def formulation(problem, solver, view) -> Formulation:
    """Return the problem as ``solver`` takes it in ``view``."""
    if view == "X":
        return in_image(problem)
    if view == "Z":
        return in_latent(problem, solver in SMOOTH_SOLVERS)
    if solver in SMOOTH_SOLVERS:
        return in_image_and_latent(problem)
    return in_deviation_and_latent(problem)


def in_image(p) -> Formulation:
    return Formulation(
        start=p.G(p.z),
        objective=p.D + p.lam * p.R,
        image=lambda x: x,
        f=p.lam * p.R,
        g=p.D,
        lipschitz=p.lipschitz_D,
        on_data=p.D.on_data,
        L=p.A,
        norm_L=p.norm_A,
        tau=p.tau,
    )


def in_image_and_latent(p) -> Formulation:
    P = odl.ProductSpace(p.R.domain, p.G.domain)
    J = p.D @ odl.ComponentProjection(P, 0) + p.lam * p.R.joint
    # Riesz gradients in X and Z differ by w_X in size; with x = scale * x' both blocks
    # of the Hessian have the same norm.
    norm_in_x = p.lipschitz_D + 2 * p.lam
    norm_in_z = 2 * p.lam * (p.norm_G**2 + p.R.mu)
    scale = float((norm_in_z / norm_in_x) ** 0.5)
    scaling = odl.DiagonalOperator(
        odl.ScalingOperator(P[0], scale), odl.IdentityOperator(P[1])
    )
    return Formulation(
        start=P.element([p.G(p.z) / scale, p.z.copy()]),
        objective=J @ scaling,
        image=lambda v: scaling(v)[0],
    )


def in_deviation_and_latent(p) -> Formulation:
    P = odl.ProductSpace(p.R.domain, p.G.domain)
    f, g = p.lam * p.R.separable, p.D @ p.R.synthesis
    return Formulation(
        start=P.element([P[0].zero(), p.z.copy()]),
        objective=f + g,
        image=p.R.synthesis,
        f=f,
        g=g,
        lipschitz=p.lipschitz_D * (1 + p.norm_G**2),
        on_data=p.D.on_data,
        L=p.A @ p.R.synthesis,
        norm_L=p.norm_A * (1 + p.norm_G**2) ** 0.5,
        tau=p.tau,
    )


def in_latent(p, smooth) -> Formulation:
    f = p.lam * p.R.mu * p.R.latent_prior
    if isinstance(p.R.deviation, odl.functionals.IndicatorZero):
        g, lipschitz, image = p.D @ p.G, p.lipschitz_D, p.G
    else:
        eliminated = p.R.latent_objective(p.D, p.lam)
        # mu = 0 leaves the smooth part, without lam mu R_Z.
        g = ogr.soft_constraint(p.G, mu=0.0).latent_objective(p.D, p.lam)
        lipschitz = min(p.lipschitz_D, 2 * p.lam)

        def image(z):
            images = eliminated.images(as_tensor(z)[None])
            return as_element(p.R.domain, images[0])

    return Formulation(
        start=p.z.copy(),
        objective=p.R.latent_objective(p.D, p.lam) if smooth else f + g,
        image=image,
        f=f,
        g=g,
        lipschitz=lipschitz * p.norm_G**2,
        on_data=p.D.on_data,
        L=p.A @ p.G,
        norm_L=p.norm_A * p.norm_G,
        tau=p.tau / p.norm_G**2,
    )


# --- The calls --- #


def steepest_descent(v, niter):
    J, x = v.objective, v.start
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.steepest_descent(J, x, line_search=line_search, maxiter=niter)


def adam(v, niter):
    # ODL's Adam has a constant step: end with smaller ones.
    for learning_rate in (0.1, 0.01, 0.001):
        odl.solvers.adam(
            v.objective, v.start, learning_rate=learning_rate, maxiter=niter // 3
        )


def bfgs_method(v, niter):
    J, x = v.objective, v.start
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.bfgs_method(J, x, line_search=line_search, num_store=10, maxiter=niter)


def conjugate_gradient_nonlinear(v, niter):
    # 'HS' and 'DY' divide by 0 after a step of 0.
    J, x = v.objective, v.start
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.conjugate_gradient_nonlinear(
        J, x, line_search=line_search, beta_method="PR", maxiter=niter
    )


def proximal_gradient(v, niter):
    gamma = 1 / v.lipschitz
    odl.solvers.proximal_gradient(v.start, v.f, v.g, gamma=gamma, niter=niter)


def accelerated_proximal_gradient(v, niter):
    gamma = 1 / v.lipschitz
    odl.solvers.accelerated_proximal_gradient(
        v.start, v.f, v.g, gamma=gamma, niter=niter
    )


def pdhg(v, niter):
    sigma = 0.9 / (v.tau * v.norm_L**2)
    odl.solvers.pdhg(v.start, v.f, v.on_data, v.L, tau=v.tau, sigma=sigma, niter=niter)


def forward_backward_pd(v, niter):
    tau = 1 / v.lipschitz
    odl.solvers.forward_backward_pd(
        v.start, v.f, [], [], v.g, tau=tau, sigma=[], niter=niter
    )


def douglas_rachford_pd(v, niter):
    sigma = 2 / (v.tau * v.norm_L**2)
    odl.solvers.douglas_rachford_pd(
        v.start, v.f, [v.on_data], [v.L], tau=v.tau, sigma=[sigma], niter=niter
    )


def admm_linearized(v, niter):
    sigma = v.tau * v.norm_L**2 / 0.9
    odl.solvers.admm_linearized(
        v.start, v.f, v.on_data, v.L, tau=v.tau, sigma=sigma, niter=niter
    )


# --- The table --- #

NO_GRADIENT = "R has no gradient, as F is not smooth"
NOT_SMOOTH = "F is not smooth"
NO_SMOOTH_SLOT = "takes g only as on_data of a linear operator, and G is nonlinear"
NOT_ON_DATA = "with x eliminated, g is not on_data of an operator"
NO_ELIMINATION = "the minimum over x has no closed form"

#: (solver, view): what there is for each of REGULARIZERS.
ROWS = {}
for solver in (steepest_descent, adam, bfgs_method, conjugate_gradient_nonlinear):
    ROWS[solver, "X"] = NO_GRADIENT, solver, NO_GRADIENT, NO_GRADIENT
    ROWS[solver, "X x Z"] = NOT_SMOOTH, solver, NOT_SMOOTH, NOT_SMOOTH
    ROWS[solver, "Z"] = solver, solver, NO_ELIMINATION, NO_ELIMINATION
for solver in (proximal_gradient, accelerated_proximal_gradient):
    ROWS[solver, "X"] = ROWS[solver, "X x Z"] = (solver,) * 4
    ROWS[solver, "Z"] = solver, solver, NO_ELIMINATION, NO_ELIMINATION
ROWS[pdhg, "X"] = ROWS[pdhg, "X x Z"] = (pdhg,) * 4
ROWS[pdhg, "Z"] = pdhg, NOT_ON_DATA, NO_ELIMINATION, NO_ELIMINATION
solver = forward_backward_pd
ROWS[solver, "X"] = ROWS[solver, "X x Z"] = (solver,) * 4
ROWS[solver, "Z"] = solver, solver, NO_ELIMINATION, NO_ELIMINATION
for solver in (douglas_rachford_pd, admm_linearized):
    ROWS[solver, "X"] = (solver,) * 4
    ROWS[solver, "X x Z"] = (NO_SMOOTH_SLOT,) * 4
    ROWS[solver, "Z"] = NO_SMOOTH_SLOT, NOT_ON_DATA, NO_ELIMINATION, NO_ELIMINATION

PAIRS = {
    (regularizer, solver.__name__, view): pair
    for (solver, view), row in ROWS.items()
    for regularizer, pair in zip(REGULARIZERS, row, strict=True)
}


def pairs(allowed=True):
    """Return the keys of the pairs that there are, or of the others."""
    return [key for key, pair in PAIRS.items() if callable(pair) == allowed]


def rst_table():
    """Return the table of docs/solvers.rst."""
    reasons = sorted({pair for pair in PAIRS.values() if isinstance(pair, str)})
    letters = {
        reason: f"({letter})" for reason, letter in zip(reasons, "abcde", strict=True)
    }
    widths = [31, 6, 6, 6, 7, 6]
    rule = "  ".join("=" * width for width in widths)
    rows = [("solver", "view", *REGULARIZERS)]
    for (solver, view), row in ROWS.items():
        cells = ["yes" if callable(pair) else letters[pair] for pair in row]
        rows.append((solver.__name__, view, *cells))
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    legend = [f"* {letters[reason]} {reason}" for reason in reasons]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, "", *legend])
