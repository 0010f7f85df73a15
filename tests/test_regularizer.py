# SPDX-License-Identifier: MPL-2.0
"""The contract of every generative regularizer, and what each has of its own."""

import functools

import numpy as np
import odl
import pytest
import torch
from odl.functionals import Huber, IndicatorZero
from scipy.optimize import lsq_linear, minimize

import odl_genreg as ogr
from checks import adjoint_error, finite_difference_error, taylor_order
from generators import (
    LatentScaledSquare,
    array,
    conv_network,
    image_space,
    latent_space,
    linear_network,
    linear_parts,
    make_generator,
    random_element,
)
from odl_genreg import GenerativeRegularizer, Generator
from odl_genreg.latent_prior import ball, box, gaussian
from odl_genreg.torch_bridge import as_tensor, weight
from tolerance import finite_difference_tolerance, tolerance
from tolerance import taylor_order as least_order

MU = 0.1
KINDS = {
    "range": lambda G, tol: ogr.range_constraint(G),
    "soft": lambda G, tol: ogr.soft_constraint(G, MU, tol=tol),
    "sparse": lambda G, tol: ogr.sparse_deviation(G, MU),
    "tv": lambda G, tol: ogr.tv_deviation(G, MU),
    "huber": lambda G, tol: GenerativeRegularizer(
        G, Huber(G.range, 0.1), mu=MU, tol=tol
    ),
    "of (u, z)": lambda G, tol: GenerativeRegularizer(
        G, LatentScaledSquare(G.range, G.domain), mu=MU, tol=tol
    ),
}
SMOOTH = ("soft", "huber", "of (u, z)")
# The gradient of Huber's function has kinks, 0.1 from 0.
STEPS = {"soft": (1e-1, 1e-2, 1e-3), "huber": (1e-2, 1e-3, 1e-4)}
SETTINGS = (
    ("linear", "numpy", None),
    ("linear", "numpy", 1.0),
    ("mlp", "numpy", None),
    ("mlp", "pytorch", None),
    ("conv", "numpy", None),
)
# The proximal of TV within the search for z takes a second; Huber's function and that
# of (u, z) go through ODL one by one.
COUNT = {"tv": slice(0, 1), "huber": slice(2, 4), "of (u, z)": slice(2, None)}
CASES = [
    pytest.param(kind, *setting, id=" ".join(map(str, (kind, *setting))))
    for kind in KINDS
    for setting in SETTINGS[COUNT.get(kind, slice(None))]
]


def cases(kinds):
    chosen = [case for case in CASES if case.values[0] in kinds]
    return pytest.mark.parametrize(("kind", "name", "impl", "weighting"), chosen)


each_case = cases(KINDS)
smooth_cases = pytest.mark.parametrize(
    ("kind", "name", "impl", "weighting"),
    [case for case in CASES if case.values[0] in SMOOTH and case.values[1] != "conv"],
)


def regularizer(kind, name, impl="numpy", weighting=None, tol=1e-5):
    return KINDS[kind](make_generator(name, impl, weighting), tol)


def near_range(R, seed=0, scale=0.3):
    """Image ``G(z)`` plus noise."""
    G = R.generator
    z = random_element(G.domain, seed)
    return G(z) + random_element(G.range, seed + 100, scale)


# --- Contract: values --- #


@each_case
def test_value_in_the_range_is_at_most_that_of_the_latent(kind, name, impl, weighting):
    """``0 <= R(G(z)) <= mu R_Z(z)``; a nonsmooth F adds its smoothing."""
    R = regularizer(kind, name, impl, weighting)
    z = random_element(R.generator.domain, 4)
    value, bound = R(R.generator(z)), R.mu * R.latent_prior(z)
    slack = 1e-2 if kind in ("sparse", "tv") else 1e-4
    assert 0 <= value <= bound * (1 + slack)
    if kind == "range":
        assert value == pytest.approx(bound, rel=slack)


@each_case
def test_value_is_the_joint_one_at_the_best_latent(kind, name, impl, weighting):
    R = regularizer(kind, name, impl, weighting)
    x = R.generator(random_element(R.generator.domain)) if kind == "range" else None
    x = near_range(R) if x is None else x
    info = R.info(x)
    assert R(x) == info.value == min(info.starts)
    assert info.converged or (kind == "tv" and info.gradient_norm < 1e-3)
    if kind == "range":
        expected = R.mu * R.latent_prior(info.z)
    else:
        expected = R.joint(R.joint.domain.element([x, info.z]))
    assert info.value == pytest.approx(expected, rel=1e-5)
    for seed in range(5):
        other = info.z + 0.1 * random_element(info.z.space, seed)
        worse = R.joint(R.joint.domain.element([x, other]))
        assert info.value <= worse * (1 + 1e-3)


@each_case
def test_nothing_is_remembered(kind, name, impl, weighting):
    """The same bits whatever was called before, and from a new instance."""
    R = regularizer(kind, name, impl, weighting)
    x = near_range(R)
    first, latent = R(x), R.latent(x).copy()
    if kind != "tv":
        R(near_range(R, 1))
        if kind in SMOOTH:
            R.gradient(near_range(R, 2))
        if kind != "of (u, z)":
            R.proximal(0.3)(near_range(R, 3))
        assert R(x) == first
    again = regularizer(kind, name, impl, weighting)
    assert again.latent(x) == latent


@each_case
def test_callers_things_stay_as_they_are(
    kind, name, impl, weighting, global_state_untouched
):
    R = regularizer(kind, name, impl, weighting)
    x = near_range(R)
    before = x.copy()
    with global_state_untouched():
        calls = [R.latent]
        if kind in SMOOTH:
            calls.append(R.gradient)
        if kind not in ("of (u, z)", "tv"):
            calls.append(R.proximal(0.5))
        for call in calls:
            call(x)
            assert x == before
    parameters = list(R.generator.module.parameters())
    assert all(p.grad is None for p in parameters)


# --- Contract: gradient --- #


@smooth_cases
def test_gradient_order(kind, name, impl, weighting):
    R = regularizer(kind, name, impl, weighting, tol=1e-10)
    x, h = near_range(R), random_element(R.domain, 9)
    assert taylor_order(R, x, h, STEPS.get(kind, STEPS["soft"])) >= least_order


@smooth_cases
def test_derivative_is_the_inner_product_with_the_gradient(kind, name, impl, weighting):
    R = regularizer(kind, name, impl, weighting)
    x, h = near_range(R), random_element(R.domain, 9)
    gradient = R.gradient(x)
    assert R.derivative(x)(h) == pytest.approx(gradient.inner(h))
    out = R.domain.element()
    R.gradient(x, out=out)
    assert out == gradient


@smooth_cases
def test_joint_gradient_order(kind, name, impl, weighting):
    R = regularizer(kind, name, impl, weighting)
    joint = R.joint
    v, h = random_element(joint.domain), random_element(joint.domain, 7)
    assert taylor_order(joint, v, h, STEPS.get(kind, STEPS["soft"])) >= least_order


@pytest.mark.parametrize("kind", ["range", "sparse", "tv"])
def test_no_gradient_where_there_is_none(kind):
    R = regularizer(kind, "linear")
    message = "`deviation` must be smooth for a gradient, got .*; use `proximal`"
    with pytest.raises(NotImplementedError, match=message):
        _ = R.gradient


def test_no_joint_gradient_where_there_is_none():
    R = regularizer("sparse", "linear")
    message = "`deviation` must be smooth for a gradient, got L1Norm; use `separable`"
    with pytest.raises(NotImplementedError, match=message):
        _ = R.joint.gradient
    R = ogr.soft_constraint(R.generator, 1.0, latent_prior=box(R.generator.domain))
    with pytest.raises(NotImplementedError, match="`latent_prior` must be smooth"):
        _ = R.joint.gradient


@pytest.mark.parametrize("kind", SMOOTH)
def test_float32_gradient_with_astra(kind):
    X = odl.uniform_discr([0, 0], [1.4, 1.8], (7, 9), dtype="float32")
    G = Generator(conv_network(), latent_space(dtype="float32"), X)
    A = ogr.ray_transform(X, num_angles=4)
    D = ogr.squared_l2(A, 0.7 * A(X.one()), noise_std=0.2)
    J = D + 10 * KINDS[kind](G, 1e-5)
    x = G(random_element(G.domain)) + random_element(X, 3, 0.3)
    h = random_element(X, 4)
    assert finite_difference_error(J, x, h) <= finite_difference_tolerance


# --- Contract: proximal --- #


@cases(set(KINDS) - {"of (u, z)"})
def test_proximal_is_not_beaten(kind, name, impl, weighting):
    """By none of many pairs ``(x, z)`` about it, nor by the point itself."""
    # The inner search of TV takes seconds for some steps.
    R, s = regularizer(kind, name, impl, weighting), 1.0 if kind == "tv" else 0.1
    v = near_range(R, 5)
    p = R.proximal(s)(v)
    info = R.info(p)
    value = info.value + (p - v).norm() ** 2 / (2 * s)
    assert np.isfinite(value)

    def competitor(x, z):
        if kind == "range":
            x = R.generator(z)
            distance, cost = (x - v).norm() ** 2, R.mu * R.latent_prior(z)
        else:
            distance = (x - v).norm() ** 2
            cost = R.joint(R.joint.domain.element([x, z]))
        return cost + distance / (2 * s)

    slack = 1e-2 if kind in ("sparse", "tv") else 1e-4
    assert value <= competitor(v, R.latent(v) if kind != "tv" else info.z) * (1 + slack)
    for seed in range(6):
        for scale in (1e-3, 1e-2, 1e-1, 1.0):
            x = p + scale * random_element(R.domain, seed)
            z = info.z + scale * random_element(info.z.space, seed + 50)
            for pair in ((x, z), (x, info.z), (p, z)):
                assert value <= competitor(*pair) * (1 + slack)


@pytest.mark.parametrize("weighting", [None, 1.0])
@pytest.mark.parametrize("kind", ["range", "soft", "sparse", "huber"])
def test_proximal_against_nelder_mead(kind, weighting):
    """``min_z env_{s F}(v - G(z)) + mu R_Z(z)`` in numpy, without derivatives."""
    R = regularizer(kind, "mlp", weighting=weighting, tol=1e-8)
    G, s = R.generator, 0.4
    w, w_Z = weight(G.range), weight(G.domain)
    v = near_range(R, 5)
    first, _, last = G.module
    W, c, V, d = (t.numpy() for t in (first.weight, first.bias, last.weight, last.bias))

    def G_numpy(z):
        return V @ np.tanh(W @ z + c) + d

    def shrink(u, t):
        return np.sign(u) * np.maximum(np.abs(u) - t, 0)

    proximal = {
        "range": np.zeros_like,
        "soft": lambda u: u / (1 + 2 * s),
        "sparse": lambda u: shrink(u, s),
        "huber": lambda u: u - s * np.clip(u / (0.1 + s), -1, 1),
    }[kind]
    F = {
        "range": lambda p: 0.0,
        "soft": lambda p: w * (p**2).sum(),
        "sparse": lambda p: w * np.abs(p).sum(),
        "huber": lambda p: (
            w * np.where(np.abs(p) <= 0.1, p**2 / 0.2, np.abs(p) - 0.05).sum()
        ),
    }[kind]

    def objective(z):
        u = array(v) - G_numpy(z)
        p = proximal(u)
        return F(p) + w * ((u - p) ** 2).sum() / (2 * s) + R.mu * w_Z * (z**2).sum()

    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 4000}
    best = min(
        (
            minimize(objective, start, method="Nelder-Mead", options=options)
            for start in np.random.default_rng(0).standard_normal((4, 3))
        ),
        key=lambda result: result.fun,
    )
    expected = G_numpy(best.x) + proximal(array(v) - G_numpy(best.x))
    assert array(R.proximal(s)(v)) == pytest.approx(expected, abs=1e-4)


def test_no_proximal_for_a_deviation_of_the_latent():
    R = regularizer("of (u, z)", "linear")
    message = "functional on X for a proximal, got one on ProductSpace"
    with pytest.raises(NotImplementedError, match=message):
        _ = R.proximal


# --- Views --- #


@cases(set(KINDS) - {"of (u, z)", "range"})
def test_separable_and_synthesis_make_the_joint(kind, name, impl, weighting):
    R = regularizer(kind, name, impl, weighting)
    v = random_element(R.joint.domain)
    u, z = v
    x = R.synthesis(v)
    assert (x - u - R.generator(z)).norm() <= 1e-5 * x.norm()
    pair = R.joint.domain.element([x, z])
    assert R.separable(v) == pytest.approx(R.joint(pair), rel=1e-4)


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
def test_synthesis_has_its_derivative(impl):
    R = regularizer("soft", "mlp", impl)
    v = random_element(R.synthesis.domain)
    assert adjoint_error(R.synthesis.derivative(v)) <= tolerance["float64"]
    f = odl.functionals.L2NormSquared(R.domain) @ R.synthesis
    assert taylor_order(f, v, random_element(v.space, 5)) >= least_order


def test_separable_has_the_proximals_of_its_parts():
    R = regularizer("sparse", "mlp")
    v = random_element(R.separable.domain)
    p = R.separable.proximal(0.3)(v)
    assert p[0] == R.deviation.proximal(0.3)(v[0])
    assert array(p[1]) == pytest.approx(array(v[1]) / (1 + 2 * 0.3 * MU))


def test_joint_of_the_range_constraint():
    R = regularizer("range", "linear")
    z = random_element(R.generator.domain)
    inside = R.joint.domain.element([R.generator(z), z])
    assert R.joint(inside) == pytest.approx(R.latent_prior(z))
    outside = R.joint.domain.element([R.generator(z) + R.domain.one(), z])
    assert R.joint(outside) == np.inf


# --- Range --- #


def test_range_constraint_is_infinite_outside():
    R = regularizer("range", "mlp")
    x = near_range(R)
    assert R(x) == np.inf
    assert R(R.generator(R.latent(x))) < np.inf


def test_range_tolerance():
    """Finite up to ``||x - G(z)|| = tol (1 + ||x||)``."""
    G = make_generator("linear")
    B, _ = linear_parts(G)
    normal = np.linalg.svd(B)[0][:, -1].reshape(7, 9)  # orthogonal to the range
    x = G(random_element(G.domain))
    n = G.range.element(normal)
    step = 1e-2 * (1 + x.norm()) / n.norm()
    R = ogr.range_constraint(G, tol=1e-2)
    assert R(x + 0.9 * step * n) < np.inf
    assert R(x + 1.1 * step * n) == np.inf
    distance = np.linalg.norm(array(G(R.latent(x + 1.1 * step * n))) - array(x))
    assert distance < 1e-3


# --- Soft --- #


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_soft_constraint_is_semiconcave(name):
    """``R(x + h) <= R(x) + <grad R(x), h> + ||h||^2``, also for large ``h``."""
    R = regularizer("soft", name, tol=1e-8)
    x = near_range(R)
    value, gradient = R(x), R.gradient(x)
    for seed in range(6):
        for scale in (0.1, 1.0, 10.0):
            h = random_element(R.domain, seed, scale)
            bound = value + gradient.inner(h) + h.norm() ** 2
            assert R(x + h) <= bound * (1 + 1e-8)


def test_riesz_rescaling():
    """A cell volume three times as large, and mu: R is threefold, grad R the same."""
    X, Y = image_space(), image_space(weighting=0.18)
    R, S = (
        ogr.soft_constraint(Generator(linear_network(), latent_space(), space), mu)
        for space, mu in ((X, 0.1), (Y, 0.3))
    )
    x = near_range(R)
    y = Y.element(x.asarray())
    assert S(y) == pytest.approx(3 * R(x))
    assert array(S.gradient(y)) == pytest.approx(array(R.gradient(x)), abs=1e-4)


def test_default_mu_comes_from_the_decoder_variance():
    G = make_generator("linear", decoder_variance=0.04)
    assert ogr.soft_constraint(G).mu == pytest.approx(0.06 * 0.04 / 2)
    expected = 0.06 * np.sqrt(0.04 / 8) / 2
    assert ogr.sparse_deviation(G).mu == pytest.approx(expected)


def test_mu_zero_is_the_distance_to_the_range():
    G = make_generator("linear")
    B, b = linear_parts(G)
    x = random_element(G.range)
    residual = np.linalg.lstsq(B, array(x) - b, rcond=None)[1]
    assert ogr.soft_constraint(G, 0.0)(x) == pytest.approx(0.06 * residual[0])


# --- Latent priors --- #


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
def test_box_prior_against_bounded_least_squares(impl):
    G = make_generator("linear", impl)
    B, b = linear_parts(G)
    x = G(3 * G.domain.one()) + random_element(G.range, scale=0.1)
    R = ogr.soft_constraint(G, 1.0, latent_prior=box(G.domain, -1.0, 0.7), tol=1e-9)
    expected = lsq_linear(B, array(x) - b, (-1.0, 0.7), tol=1e-14)
    assert array(R.latent(x)) == pytest.approx(expected.x, abs=1e-6)
    assert R(x) == pytest.approx(0.06 * 2 * expected.cost)
    assert taylor_order(R, x, random_element(G.range, 4)) >= least_order


def test_ball_prior_is_kept():
    G = make_generator("mlp")
    R = ogr.soft_constraint(G, 1.0, latent_prior=ball(G.domain, 0.8), tol=1e-8)
    x = G(2 * G.domain.one())
    info = R.info(x)
    assert info.converged
    assert np.linalg.norm(array(info.z)) == pytest.approx(0.8)
    for seed in range(30):
        z = array(random_element(G.domain, seed))
        other = G.domain.element(0.8 * z / np.linalg.norm(z))
        assert info.value <= (x - G(other)).norm() ** 2 * (1 + 1e-8)


@pytest.mark.parametrize("prior", [box, ball])
def test_range_constraint_with_an_indicator(prior):
    G = make_generator("linear")
    R = ogr.range_constraint(G, latent_prior=prior(G.domain))
    assert R(G(0.5 * G.domain.one())) == 0.0
    assert R(G(3.0 * G.domain.one())) == np.inf
    p = R.proximal(1.0)(G(3.0 * G.domain.one()))
    assert R(p) == 0.0


@pytest.mark.parametrize("kind", ["soft", "sparse"])
def test_float32_with_an_indicator_stays_finite(kind):
    G = make_generator("conv")
    maker = {"soft": ogr.soft_constraint, "sparse": ogr.sparse_deviation}[kind]
    R = maker(G, 1.0, latent_prior=ball(G.domain, 0.5))
    assert np.isfinite(R(near_range(R)))
    assert np.isfinite(R(R.proximal(0.3)(near_range(R))))


# --- Inner problem --- #


def test_starts_begin_with_the_code_of_the_image():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 2

    G = make_generator("linear", encoder=Mean())
    x = random_element(G.range)
    starts = ogr.soft_constraint(G, MU, num_starts=4).inner.starts(x)
    assert starts.shape == (4, 3)
    assert starts[0].tolist() == pytest.approx((2 * array(x)[:3]).tolist())
    assert not starts[1].any()
    plain = ogr.soft_constraint(make_generator("linear"), MU).inner.starts(x)
    assert not plain[0].any()
    assert torch.equal(plain[1:3], starts[2:4])


def test_warm_start_only_when_asked_for():
    """From the second image on the search starts at the last latent alone."""
    G = make_generator("mlp")
    cold = ogr.soft_constraint(G, MU, tol=1e-8)
    warm = GenerativeRegularizer(G, cold.deviation, mu=MU, tol=1e-8, warm_start=True)
    x = near_range(cold)
    first = warm.info(x)
    assert len(first.starts) == len(cold.info(x).starts) == 4
    nearby = x + random_element(G.range, 8, 0.01)
    second = warm.info(nearby)
    assert len(second.starts) == 1
    assert second.niter < first.niter
    assert second.value == pytest.approx(cold(nearby))
    assert len(cold.info(nearby).starts) == 4


@pytest.mark.parametrize("kind", ["range", "soft", "sparse"])
def test_weights_changed_in_place_are_noticed(kind):
    R = regularizer(kind, "mlp")
    network = R.generator.module
    x = near_range(R)
    before = R.latent(x).copy()
    with torch.no_grad():
        network[2].bias.add_(0.5)
    fresh = KINDS[kind](R.generator, 1e-5)
    assert R.latent(x) == fresh.latent(x)
    assert (R.latent(x) - before).norm() > 1e-3


def test_solution_belongs_to_the_caller():
    R = regularizer("soft", "mlp")
    x = near_range(R)
    z, value = R.latent(x), R(x)
    kept = z.copy()
    z *= 0
    assert R.latent(x) == kept
    x += R.domain.one()  # in place, as solvers do
    assert R(x) != value
    assert R(x) == regularizer("soft", "mlp")(x)


def test_seed_decides_the_starts():
    G = make_generator("linear")
    starts = [
        ogr.soft_constraint(G, MU, seed=seed).inner.starts(G.range.zero())
        for seed in (0, 0, 1)
    ]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("num_starts", [1, 2, 5])
def test_info_tells_of_all_starts(num_starts):
    R = ogr.soft_constraint(make_generator("mlp"), MU, num_starts=num_starts)
    info = R.info(near_range(R))
    assert len(info.starts) == num_starts
    assert info.value == min(info.starts)
    assert info.gradient_norm <= R.inner.tol
    assert info.niter > 0
    stopped = GenerativeRegularizer(R.generator, R.deviation, mu=MU, maxiter=1)
    assert not stopped.info(near_range(R)).converged
    assert stopped.info(near_range(R)).niter == 1


def test_more_starts_find_a_better_minimum():
    """``G(z) = (cos z, sin 2 z, ...)``: from z = 0 alone the search ends elsewhere."""

    class Waves(torch.nn.Module):
        def forward(self, z):
            return torch.sin(3 * z + torch.arange(63).double() / 63).reshape(-1, 7, 9)

    G = Generator(Waves(), odl.rn(1), image_space())
    x = G(G.domain.element([2.3]))
    values = [ogr.soft_constraint(G, 1e-3, num_starts=n)(x) for n in (1, 8)]
    assert values[1] <= values[0]


def test_smoothing_bounds_from_above():
    """The value of a nonsmooth F decreases to the minimum with the smoothing."""
    G = make_generator("linear")
    F = odl.functionals.L1Norm(G.range)
    x = near_range(ogr.sparse_deviation(G, MU))
    make = functools.partial(GenerativeRegularizer, G, F, mu=MU, tol=1e-7)
    values = [make(smoothing=s)(x) for s in (1.0, 1e-1, 1e-2, 1e-3)]
    assert values == sorted(values, reverse=True)
    B, b = linear_parts(G)
    w, w_Z = weight(G.range), weight(G.domain)

    def exact(z):
        u = array(x) - b - B @ z
        return w * np.abs(u).sum() + MU * w_Z * (z**2).sum()

    start = array(make(smoothing=1e-3).latent(x))
    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000}
    best = minimize(exact, start, method="Nelder-Mead", options=options)
    assert best.fun <= values[-1] <= best.fun * (1 + 1e-4)
    assert values[2] <= best.fun * (1 + 5e-3)


def test_default_prior_and_any_functional():
    G = make_generator("mlp")
    R = GenerativeRegularizer(G, IndicatorZero(G.range))
    assert R.latent_prior.domain == gaussian(G.domain).domain
    assert type(R.latent_prior) is type(gaussian(G.domain))
    z = random_element(G.domain)
    assert R(G(z)) == pytest.approx(R.latent_prior(z), rel=1e-3)


def test_regularizer_composes_like_any_functional():
    """``R @ op``, sums and multiples are ODL's, with their gradients."""
    R = regularizer("soft", "linear", tol=1e-10)
    X = R.domain
    J = 3 * (R @ (2 * odl.IdentityOperator(X))) + odl.functionals.L2NormSquared(X)
    x, h = random_element(X), random_element(X, 1)
    assert J(x) == pytest.approx(3 * R(2 * x) + x.norm() ** 2)
    assert taylor_order(J, x, h) >= least_order
    gradient = 6 * R.gradient(2 * x) + 2 * x
    assert (J.gradient(x) - gradient).norm() <= 1e-8 * gradient.norm()
    assert as_tensor(J.gradient(x)).dtype == torch.float64
