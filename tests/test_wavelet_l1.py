# SPDX-License-Identifier: MPL-2.0
"""Wavelet details: orthonormal, a proximal that nothing beats, minima of solvers."""

import sys

import numpy as np
import odl
import pytest
import pywt
import torch

import odl_genreg as ogr
from generators import array, forward_operator, latent_space, random_element, seeded
from odl_genreg.evaluation import WaveletL1, total_variation, wavelet_l1
from odl_genreg.evaluation.periodic_wavelets import PeriodicWavelets
from odl_genreg.torch_bridge import as_tensor, batch_proximal, batch_value
from tolerance import tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPE, VOLUME = (8, 12), 0.06


def space(impl="numpy", dtype="float64"):
    """Space of 8 x 12 cells of 0.2 x 0.3."""
    return odl.uniform_discr([0, -1], [1.6, 2.6], SHAPE, dtype=dtype, impl=impl)


def problem(impl="numpy", dtype="float64", size=40, noise_std=0.5):
    A = forward_operator(space(impl, dtype), size)
    return ogr.squared_l2(A, random_element(A.range), noise_std)


def coefficients(x, wavelet="db4", level=2):
    """Details and averages by PyWavelets alone, in numpy."""
    image = array(x).reshape(SHAPE)
    details, averages = [], image
    for _ in range(level):
        parts = pywt.dwtn(averages, wavelet, mode="periodization")
        averages = parts.pop("aa")
        details += [part.ravel() for part in parts.values()]
    return np.concatenate(details), averages.ravel()


# --- The transform --- #


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8", "coif3"])
@pytest.mark.parametrize("shape", [(12,), (8, 12), (4, 8, 2)])
def test_wavelets_are_orthonormal(wavelet, shape):
    """Also where the filter is longer than the image."""
    W = PeriodicWavelets(shape, wavelet)
    size = int(np.prod(shape))
    images = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    rows = W.forward(images).reshape(size, size)
    torch.testing.assert_close(rows @ rows.T, torch.eye(size, dtype=torch.float64))
    torch.testing.assert_close(W.inverse(W.forward(images)), images)
    assert images.reshape(size, size).equal(torch.eye(size, dtype=torch.float64))


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_wavelets_are_those_of_pywavelets(wavelet):
    x = random_element(space())
    W = PeriodicWavelets(SHAPE, wavelet, level=2)
    mine = W.forward(as_tensor(x)[None])
    expected, _ = pywt.coeffs_to_array(
        pywt.wavedecn(array(x).reshape(SHAPE), "haar", "periodization", level=2)
    )
    if wavelet == "haar":
        np.testing.assert_allclose(mine[0].numpy(), expected, atol=1e-12)
    details, averages = coefficients(x, wavelet)
    np.testing.assert_allclose(np.sort(mine[:, :2, :3].ravel()), np.sort(averages))
    sizes = np.sort(W.details(mine).abs().ravel())[averages.size :]
    np.testing.assert_allclose(sizes, np.sort(np.abs(details)))


def test_wavelets_have_derivatives():
    W = PeriodicWavelets((4, 4), "haar")
    x = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: W.details(W.forward(x)), x)
    assert torch.autograd.gradcheck(W.inverse, x)


@pytest.mark.parametrize(
    ("shape", "wavelet", "level"),
    [
        ((28, 28), "db4", 2),
        ((256, 256), "db4", 5),
        ((256, 64), "db4", 3),
        ((8, 8), "db4", 1),
        ((8, 8), "haar", 3),
        ((2, 6), "db4", 1),
    ],
)
def test_default_level(shape, wavelet, level):
    assert PeriodicWavelets(shape, wavelet).level == level


@pytest.mark.parametrize(
    ("shape", "keywords", "message"),
    [
        ((8, 8), {"wavelet": "bior2.2"}, "`wavelet` must be .* got 'bior2.2'"),
        ((8, 8), {"wavelet": "dmey"}, "`wavelet` must be .* got 'dmey'"),
        ((8, 8), {"wavelet": "mexh"}, "`wavelet` must be .* got 'mexh'; use 'haar'"),
        ((7, 8), {}, r"`level` must be .* got shape \(7, 8\); pad to even sizes"),
        ((7, 8), {"level": 1}, r"got shape \(7, 8\) and 1 levels; pad to even sizes"),
        ((28, 28), {"level": 3}, r"got shape \(28, 28\) and 3 levels; at most 2"),
        ((28, 28), {"level": 0}, r"got shape \(28, 28\) and 0 levels; at most 2"),
    ],
)
def test_wavelet_errors(shape, keywords, message):
    with pytest.raises(ValueError, match=message):
        PeriodicWavelets(shape, **keywords)


def test_error_without_pywavelets(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    with pytest.raises(ImportError, match=r"must be installed.*odl_genreg\[wavelets\]"):
        WaveletL1(space())


# --- The functional --- #


@each_impl
@each_dtype
def test_value(impl, dtype):
    X = space(impl, dtype)
    f, x = WaveletL1(X, level=2), random_element(X)
    details, _ = coefficients(x)
    assert f(x) == pytest.approx(VOLUME * np.abs(details).sum(), rel=tolerance[dtype])
    assert f(3 * X.one()) == pytest.approx(0, abs=10 * tolerance[dtype])
    assert (f.wavelet, f.level) == ("db4", 2)
    assert repr(f) == f"WaveletL1({X!r}, 'db4', level=2)"


@each_impl
def test_proximal_is_not_beaten(impl):
    """``f(u) + ||u - x||_X^2 / (2 sigma)`` is least at ``prox_{sigma f}(x)``."""
    X = space(impl)
    f, x, sigma = WaveletL1(X), random_element(X), 0.4

    def moreau(u):
        return f(u) + (u - x).norm() ** 2 / (2 * sigma)

    u = f.proximal(sigma)(x)
    assert u in X
    least = moreau(u)
    assert least < min(moreau(x), moreau(X.zero()))
    for seed in range(20):
        for size in (1e-4, 1e-2, 1.0):
            near = u + random_element(X, seed, size)
            assert moreau(near) > least
        on_the_way = u + 0.01 * (random_element(X, seed) - u)
        assert moreau(on_the_way) > least


def test_proximal_thresholds_by_its_step():
    """Whatever the cells; averages stay."""
    x = random_element(space())
    details, averages = coefficients(x)
    u = WaveletL1(space(), level=2).proximal(0.4)(x)
    new_details, new_averages = coefficients(u)
    expected = np.sign(details) * np.maximum(np.abs(details) - 0.4, 0)
    np.testing.assert_allclose(new_details, expected, atol=1e-12)
    np.testing.assert_allclose(new_averages, averages, atol=1e-12)


def test_convex_conjugate_has_the_proximal_of_moreau():
    f, x = WaveletL1(space()), random_element(space())
    dual = f.convex_conj.proximal(0.5)(x)
    expected = x - 0.5 * f.proximal(2.0)(x / 0.5)
    np.testing.assert_allclose(array(dual), array(expected), atol=1e-12)


@each_impl
@each_dtype
def test_batches(impl, dtype):
    X = space(impl, dtype)
    f = 2.0 * WaveletL1(X)
    elements = [random_element(X, seed) for seed in range(3)]
    batch = torch.stack([as_tensor(x) for x in elements])
    close = {"rtol": tolerance[dtype], "atol": tolerance[dtype]}
    values = batch_value(f)(batch)
    expected = torch.tensor([f(x) for x in elements], dtype=values.dtype)
    torch.testing.assert_close(values, expected, **close)
    proximals = torch.stack([as_tensor(f.proximal(0.3)(x)) for x in elements])
    torch.testing.assert_close(batch_proximal(f)(0.3, batch), proximals, **close)


def test_space_errors():
    with pytest.raises(TypeError, match="`space` must be a real space of images"):
        WaveletL1(odl.uniform_discr(0, 1, 4, dtype="complex128"))
    with pytest.raises(TypeError, match="`space` must be a real space of images"):
        WaveletL1(odl.rn(2) ** 2)


@each_impl
def test_reconstruct_takes_it_as_another_term(impl):
    """With a generator that makes 0 alone, soft is ``D + lam ||x||^2 + beta f``."""
    D, beta, lam = problem(impl), 1.5, 0.7
    network = seeded(torch.nn.Linear(3, 96)).double()
    with torch.no_grad():
        network.weight.mul_(1e-6)
        network.bias.zero_()
    G = ogr.Generator(network, latent_space(impl), D.domain)
    R = ogr.soft_constraint(G, mu=1.0)
    f = WaveletL1(D.domain)
    other = [(beta * f, odl.IdentityOperator(D.domain))]
    result = ogr.reconstruct(D, R, lam, other_terms=other, tol=1e-8, maxiter=10000)

    def objective(x):
        return D(x) + lam * x.norm() ** 2 + beta * f(x)

    assert result.objective == pytest.approx(objective(result.x), rel=1e-4)
    x = D.domain.zero()
    smooth = D + lam * odl.functionals.L2NormSquared(D.domain)
    size = np.linalg.norm(D.operator.matrix, 2) ** 2 / D.noise_std**2 / VOLUME
    gamma = float(1 / (size + 2 * lam))
    odl.solvers.proximal_gradient(x, f=beta * f, g=smooth, gamma=gamma, niter=1500)
    assert objective(result.x) == pytest.approx(objective(x), rel=1e-4)


# --- The reconstruction --- #


@each_impl
@each_dtype
def test_reconstruction_by_the_identity_is_the_proximal(impl, dtype):
    """``sum (x - y)^2 / (2 sigma^2)`` is ``||x - y||_X^2 / (2 sigma^2 w_X)``."""
    X = space(impl, dtype)
    D = ogr.squared_l2(odl.IdentityOperator(X), random_element(X), noise_std=0.5)
    x = wavelet_l1(D, 20.0, gap_tol=1e-5 if dtype == "float32" else 1e-9)
    assert x in X
    expected = WaveletL1(X).proximal(20.0 * 0.25 * VOLUME)(D.data)
    np.testing.assert_allclose(array(x), array(expected), atol=1e-2)
    if dtype == "float64":
        np.testing.assert_allclose(array(x), array(expected), atol=1e-4)


@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_reconstruction_against_odl(beta):
    """Proximal gradient with more data than cells."""
    D = problem(size=150)
    f = WaveletL1(D.domain)
    x = D.domain.zero()
    gamma = float(VOLUME * 0.25 / np.linalg.norm(D.operator.matrix, 2) ** 2)
    odl.solvers.proximal_gradient(x, f=beta * f, g=D, gamma=gamma, niter=2000)
    mine = wavelet_l1(D, beta, gap_tol=1e-8)
    assert D(mine) + beta * f(mine) == pytest.approx(D(x) + beta * f(x), rel=2e-8)
    np.testing.assert_allclose(array(mine), array(x), atol=1e-3)


def test_reconstruction_is_optimal():
    """``-W A^T (A x - y) / sigma^2`` is a subgradient of ``beta w |.|_1``."""
    beta, D = 10.0, problem(size=150)
    x = wavelet_l1(D, beta, level=2, gap_tol=1e-10)
    details, averages = coefficients(x)
    pulls, free = coefficients(-VOLUME * D.gradient(x), level=2)
    threshold = beta * VOLUME
    assert np.abs(pulls).max() <= threshold * 1.01
    active = np.abs(details) > 1e-3
    assert 0 < active.sum() < active.size
    np.testing.assert_allclose(
        pulls[active], threshold * np.sign(details[active]), atol=0.02 * threshold
    )
    np.testing.assert_allclose(free, 0, atol=0.02 * threshold)


def test_reconstruction_within_bounds_against_odl():
    D, beta, bounds = problem(), 5.0, (-0.3, 0.4)
    X = D.domain
    f, x = WaveletL1(X), X.zero()
    norm = float(np.linalg.norm(D.operator.matrix, 2) ** 2 / D.noise_std**2 / VOLUME)
    odl.solvers.forward_backward_pd(
        x,
        f=odl.functionals.IndicatorBox(X, *bounds),
        g=[beta * f],
        L=[odl.IdentityOperator(X)],
        h=D,
        tau=1 / norm,
        sigma=[norm / 4],
        niter=1500,
    )
    mine = wavelet_l1(D, beta, bounds=bounds, gap_tol=1e-7)
    assert array(mine).min() == pytest.approx(-0.3)
    assert array(mine).max() == pytest.approx(0.4)
    assert D(mine) + beta * f(mine) == pytest.approx(D(x) + beta * f(x), rel=1e-5)


@each_impl
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
def test_reconstruction_of_a_batch(impl, bounds):
    D = problem(impl, size=150)
    data = [D.data, 0.5 * D.data, 0 * D.data]
    options = {"bounds": bounds, "wavelet": "haar", "level": 1, "gap_tol": 1e-7}
    f = 3.0 * WaveletL1(D.domain, "haar", 1)
    stacked = torch.stack([as_tensor(y) for y in data]).numpy()
    fidelities = [D.with_data(y) for y in data]
    for results in (
        wavelet_l1(D, 3.0, data=data, **options),
        wavelet_l1(D, 3.0, data=stacked, **options),
        wavelet_l1(fidelities, 3.0, **options),
    ):
        for D_b, x in zip(fidelities, results, strict=True):
            assert x in D.domain
            alone = wavelet_l1(D_b, 3.0, **options)
            value = D_b(alone) + f(alone)
            assert D_b(x) + f(x) == pytest.approx(value, rel=1e-6, abs=1e-12)


def test_reconstruction_from_counts():
    """Any convex data term will do: the objective is not beaten nearby."""
    X = space()
    counts = np.random.default_rng(0).poisson(20.0, X.shape)
    D = ogr.kullback_leibler(odl.IdentityOperator(X), counts, background=1.0)
    x, f = wavelet_l1(D, 10.0, bounds=(0, None), gap_tol=1e-6), 10.0 * WaveletL1(X)
    value = D(x) + f(x)
    for seed in range(10):
        for size in (1e-3, 1e-1, 1.0):
            near = x + random_element(X, seed, size)
            assert D(near) + f(near) >= value * (1 - 1e-6)


def test_reconstruction_warns_if_it_stops_early():
    with pytest.warns(RuntimeWarning, match="`maxiter` must suffice .* 20 iter") as w:
        wavelet_l1(problem(), 5.0, bounds=(0, 1), gap_tol=1e-9, maxiter=20)
    with pytest.warns(RuntimeWarning, match="`maxiter` must suffice") as v:
        total_variation(problem(), 5.0, bounds=(0, 1), gap_tol=1e-9, maxiter=20)
    assert w[0].filename == v[0].filename == __file__


def test_reconstruction_is_deterministic(global_state_untouched):
    with global_state_untouched():
        first = wavelet_l1(problem(), 5.0, bounds=(0, 1))
    assert wavelet_l1(problem(), 5.0, bounds=(0, 1)) == first


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"beta": 0.0}, "`beta` must be positive and finite, got 0.0"),
        ({"gap_tol": -1.0}, "`gap_tol` must be positive and finite, got -1.0"),
        ({"bounds": (1, 0)}, r"`bounds` must be .*lower < upper, got \(1, 0\)"),
        ({"maxiter": 0}, "`maxiter` must be at least 1, got 0"),
        ({"data": []}, "`data` must be a sequence .* got an empty one"),
        ({"level": 3}, r"`level` must be .* got shape \(8, 12\) and 3 levels"),
        ({"wavelet": "bior2.2"}, "`wavelet` must be .* got 'bior2.2'"),
    ],
)
def test_reconstruction_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        wavelet_l1(problem(), **({"beta": 1.0} | keywords))
