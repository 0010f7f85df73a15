# SPDX-License-Identifier: MPL-2.0
"""The table of ODL's solvers on generative regularizers, and the calls that it lists.

A pair is (regularizer, solver, view). ``PAIRS`` tells for each of them the function that
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
import functools
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

    @functools.cached_property
    def product(self):
        return odl.ProductSpace(self.R.domain, self.G.domain)

    @functools.cached_property
    def misfit_in_z(self):
        """The smooth part of the problem in z, without ``lam mu R_Z``."""
        if isinstance(self.R.deviation, odl.functionals.IndicatorZero):
            return self.D @ self.G
        without_prior = ogr.soft_constraint(self.G, mu=0.0)
        return without_prior.latent_objective(self.D, self.lam)

    def best_image(self, z):
        """Return the minimizer over x for a given z, for the soft constraint."""
        eliminated = self.R.latent_objective(self.D, self.lam)
        images = eliminated.images(as_tensor(z)[None])
        return as_element(self.R.domain, images[0])

    @property
    def lipschitz_z(self) -> float:
        """Lipschitz constant of its gradient, for a linear ``G``."""
        bound = self.lipschitz_D
        if isinstance(self.R.deviation, odl.functionals.L2NormSquared):
            bound = min(bound, 2 * self.lam)
        return bound * self.norm_G**2


@dataclasses.dataclass
class Formulation:
    """A problem in the variable of one view.

    Parameters
    ----------
    start : `LinearSpaceElement`
        The start.
    objective : `Functional`
        The whole objective, smooth or not.
    image : callable
        Function from the variable to the image in ``X``.
    """

    start: odl.core.set.space.LinearSpaceElement
    objective: odl.functionals.Functional
    image: Callable


def formulation(problem, solver, view) -> Formulation:
    """Return the problem as ``solver`` takes it in ``view``."""
    p, G, P = problem, problem.G, problem.product
    if view == "X":
        return Formulation(G(p.z), p.D + p.lam * p.R, lambda x: x)
    if view == "Z":
        J = p.misfit_in_z + p.lam * p.R.mu * p.R.latent_prior
        if solver in SMOOTH_SOLVERS:
            J = p.R.latent_objective(p.D, p.lam)
        soft = isinstance(p.R.deviation, odl.functionals.L2NormSquared)
        return Formulation(p.z.copy(), J, p.best_image if soft else G)
    if solver in PROXIMAL_SOLVERS:
        start = P.element([G.range.zero(), p.z])
        J = p.D @ p.R.synthesis + p.lam * p.R.separable
        return Formulation(start, J, p.R.synthesis)
    # Riesz gradients in X and Z differ by w_X in size; with x = scale * x' both blocks
    # of the Hessian have the same norm.
    in_x = p.lipschitz_D + 2 * p.lam
    in_z = 2 * p.lam * (p.norm_G**2 + p.R.mu)
    scale = float((in_z / in_x) ** 0.5)
    scaling = odl.DiagonalOperator(
        odl.ScalingOperator(P[0], scale), odl.IdentityOperator(P[1])
    )
    J = p.D @ odl.ComponentProjection(P, 0) + p.lam * p.R.joint
    start = P.element([G(p.z) / scale, p.z])
    return Formulation(start, J @ scaling, lambda v: scaling(v)[0])


# --- Smooth solvers: the same call in every view --- #


def steepest_descent(p, J, x, niter):
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.steepest_descent(J, x, line_search=line_search, maxiter=niter)


def adam(p, J, x, niter):
    # ODL's Adam keeps its step: end with smaller ones.
    for learning_rate in (0.1, 0.01, 0.001):
        odl.solvers.adam(J, x, learning_rate=learning_rate, maxiter=niter // 3)


def bfgs_method(p, J, x, niter):
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.bfgs_method(
        J, x, line_search=line_search, num_store=10, maxiter=niter
    )


def conjugate_gradient_nonlinear(p, J, x, niter):
    line_search = ogr.BacktrackingLineSearch(J)
    odl.solvers.conjugate_gradient_nonlinear(
        J, x, line_search=line_search, beta_method="PR", maxiter=niter
    )


# --- Proximal solvers on X --- #


def proximal_gradient_on_x(p, J, x, niter):
    gamma = 1 / p.lipschitz_D
    odl.solvers.proximal_gradient(x, p.lam * p.R, p.D, gamma=gamma, niter=niter)


def accelerated_proximal_gradient_on_x(p, J, x, niter):
    gamma = 1 / p.lipschitz_D
    odl.solvers.accelerated_proximal_gradient(
        x, p.lam * p.R, p.D, gamma=gamma, niter=niter
    )


def pdhg_on_x(p, J, x, niter):
    tau = 0.1 / p.lam
    sigma = 0.9 / (tau * p.norm_A**2)
    odl.solvers.pdhg(
        x, p.lam * p.R, p.D.on_data, p.A, tau=tau, sigma=sigma, niter=niter
    )


def forward_backward_pd_on_x(p, J, x, niter):
    tau = 1 / p.lipschitz_D
    odl.solvers.forward_backward_pd(
        x, p.lam * p.R, [], [], p.D, tau=tau, sigma=[], niter=niter
    )


def douglas_rachford_pd_on_x(p, J, x, niter):
    tau = 0.1 / p.lam
    sigma = 2 / (tau * p.norm_A**2)
    odl.solvers.douglas_rachford_pd(
        x, p.lam * p.R, [p.D.on_data], [p.A], tau=tau, sigma=[sigma], niter=niter
    )


def admm_linearized_on_x(p, J, x, niter):
    tau = 0.1 / p.lam
    sigma = tau * p.norm_A**2 / 0.9
    odl.solvers.admm_linearized(
        x, p.lam * p.R, p.D.on_data, p.A, tau=tau, sigma=sigma, niter=niter
    )


# --- Proximal solvers on X x Z, in the deviation u and the latent z --- #


def proximal_gradient_on_uz(p, J, v, niter):
    f, g = p.lam * p.R.separable, p.D @ p.R.synthesis
    gamma = 1 / (p.lipschitz_D * (1 + p.norm_G**2))
    odl.solvers.proximal_gradient(v, f, g, gamma=gamma, niter=niter)


def accelerated_proximal_gradient_on_uz(p, J, v, niter):
    f, g = p.lam * p.R.separable, p.D @ p.R.synthesis
    gamma = 1 / (p.lipschitz_D * (1 + p.norm_G**2))
    odl.solvers.accelerated_proximal_gradient(v, f, g, gamma=gamma, niter=niter)


def pdhg_on_uz(p, J, v, niter):
    f, L = p.lam * p.R.separable, p.A @ p.R.synthesis
    tau = 0.1 / p.lam
    sigma = 0.9 / (tau * p.norm_A**2 * (1 + p.norm_G**2))
    odl.solvers.pdhg(v, f, p.D.on_data, L, tau=tau, sigma=sigma, niter=niter)


def forward_backward_pd_on_uz(p, J, v, niter):
    f, h = p.lam * p.R.separable, p.D @ p.R.synthesis
    tau = 1 / (p.lipschitz_D * (1 + p.norm_G**2))
    odl.solvers.forward_backward_pd(v, f, [], [], h, tau=tau, sigma=[], niter=niter)


# --- Proximal solvers on Z --- #


def proximal_gradient_on_z(p, J, z, niter):
    f, g = p.lam * p.R.mu * p.R.latent_prior, p.misfit_in_z
    gamma = 1 / p.lipschitz_z
    odl.solvers.proximal_gradient(z, f, g, gamma=gamma, niter=niter)


def accelerated_proximal_gradient_on_z(p, J, z, niter):
    f, g = p.lam * p.R.mu * p.R.latent_prior, p.misfit_in_z
    gamma = 1 / p.lipschitz_z
    odl.solvers.accelerated_proximal_gradient(z, f, g, gamma=gamma, niter=niter)


def pdhg_on_z(p, J, z, niter):
    f, L = p.lam * p.R.mu * p.R.latent_prior, p.A @ p.G
    tau = 0.1 / (p.lam * p.R.mu)
    sigma = 0.9 / (tau * p.norm_A**2 * p.norm_G**2)
    odl.solvers.pdhg(z, f, p.D.on_data, L, tau=tau, sigma=sigma, niter=niter)


def forward_backward_pd_on_z(p, J, z, niter):
    f, h = p.lam * p.R.mu * p.R.latent_prior, p.misfit_in_z
    tau = 1 / p.lipschitz_z
    odl.solvers.forward_backward_pd(z, f, [], [], h, tau=tau, sigma=[], niter=niter)


# --- The table --- #

NO_GRADIENT = "R has no gradient, as F is not smooth"
NOT_SMOOTH = "F is not smooth"
NONLINEAR = "takes D @ R.synthesis by linear operators only, and G is not linear"
NONLINEAR_Z = "takes D @ G by linear operators only, and G is not linear"
NO_OPERATOR = "once x is eliminated, D is no functional of an operator that ODL sees"
NO_ELIMINATION = "min over x has no closed form for this F"

PAIRS = {}


def _add(solver, view, *, range, soft, sparse, tv):
    columns = {"range": range, "soft": soft, "sparse": sparse, "tv": tv}
    PAIRS.update({(name, solver, view): pair for name, pair in columns.items()})


for run in (
    steepest_descent,
    adam,
    bfgs_method,
    conjugate_gradient_nonlinear,
):
    _add(
        run.__name__,
        "X",
        range=NO_GRADIENT,
        soft=run,
        sparse=NO_GRADIENT,
        tv=NO_GRADIENT,
    )
    _add(
        run.__name__,
        "X x Z",
        range=NOT_SMOOTH,
        soft=run,
        sparse=NOT_SMOOTH,
        tv=NOT_SMOOTH,
    )
    _add(
        run.__name__,
        "Z",
        range=run,
        soft=run,
        sparse=NO_ELIMINATION,
        tv=NO_ELIMINATION,
    )

for solver, run in {
    "proximal_gradient": proximal_gradient_on_x,
    "accelerated_proximal_gradient": accelerated_proximal_gradient_on_x,
    "pdhg": pdhg_on_x,
    "forward_backward_pd": forward_backward_pd_on_x,
    "douglas_rachford_pd": douglas_rachford_pd_on_x,
    "admm_linearized": admm_linearized_on_x,
}.items():
    _add(solver, "X", range=run, soft=run, sparse=run, tv=run)

for solver, run in {
    "proximal_gradient": proximal_gradient_on_uz,
    "accelerated_proximal_gradient": accelerated_proximal_gradient_on_uz,
    "pdhg": pdhg_on_uz,
    "forward_backward_pd": forward_backward_pd_on_uz,
    "douglas_rachford_pd": NONLINEAR,
    "admm_linearized": NONLINEAR,
}.items():
    _add(solver, "X x Z", range=run, soft=run, sparse=run, tv=run)

for solver, in_range, soft in (
    ("proximal_gradient", proximal_gradient_on_z, proximal_gradient_on_z),
    (
        "accelerated_proximal_gradient",
        accelerated_proximal_gradient_on_z,
        accelerated_proximal_gradient_on_z,
    ),
    ("pdhg", pdhg_on_z, NO_OPERATOR),
    ("forward_backward_pd", forward_backward_pd_on_z, forward_backward_pd_on_z),
    ("douglas_rachford_pd", NONLINEAR_Z, NO_OPERATOR),
    ("admm_linearized", NONLINEAR_Z, NO_OPERATOR),
):
    _add(
        solver,
        "Z",
        range=in_range,
        soft=soft,
        sparse=NO_ELIMINATION,
        tv=NO_ELIMINATION,
    )


def pairs(allowed=True):
    """Return the keys of the pairs that there are, or of the others."""
    return [key for key, pair in PAIRS.items() if callable(pair) == allowed]
