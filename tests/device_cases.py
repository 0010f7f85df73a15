# SPDX-License-Identifier: MPL-2.0
"""What the package does on a device: functions of its name that return numbers.

A case builds all it needs on the device; what it returns has to be the same as on the
host. `test_device` runs them on a simulated device, `test_gpu` on a real one.
"""

import collections
import contextlib

import numpy as np
import odl
import torch
from odl import functionals as f

import odl_genreg as ogr
from generators import make_generator, precision_network, random_element
from odl_genreg import evaluation, torch_bridge
from odl_genreg.forward_operators import (
    equispaced_mask,
    gaussian_kernel,
    operator_norm,
    random_mask,
)
from odl_genreg.generator_training import train_generator
from odl_genreg.latent_prior import box
from odl_genreg.networks import VAE
from odl_genreg.projection import sample_latents
from odl_genreg.report import write_report
from odl_genreg.torch_bridge import as_element, as_tensor
from simulated_device import Transfers

__all__ = (
    "CASES",
    "FAST",
    "SLOW",
    "SOLVERS",
    "assert_moves_no_array",
    "assert_same",
    "transfers_of_an_iteration",
)

CASES, SLOW = {}, {}
LAM, MU, NOISE = 3.0, 0.2, 0.3


def assert_same(case, device, tmp_path, tolerance=1e-5):
    """Fail unless a case gives on the device what it gives on the host."""
    expected = case("cpu", tmp_path / "host")
    found = case(device, tmp_path / "device")
    assert len(found) == len(expected) > 0
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        one, other = array(one), array(other)
        scale = tolerance * max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, tolerance, scale, err_msg=str(number))


def array(value):
    value = as_tensor(value) if hasattr(value, "space") else value
    value = value.detach().cpu() if isinstance(value, torch.Tensor) else value
    return np.asarray(value, dtype="float64")


def case(function):
    CASES[function.__name__] = function
    return function


def slow(function):
    SLOW[function.__name__] = function
    return function


def place(device):
    """Keywords of a space on a device."""
    return {"impl": "numpy" if device == "cpu" else "pytorch", "device": device}


def generator(device, name="mlp", **keywords):
    return make_generator(name, **place(device), **keywords)


def square(device, size=8, dtype="float64"):
    return odl.uniform_discr([0, 0], [1, 2], (size, size), dtype, **place(device))


def near(G, noise=0.1):
    """An image near the range."""
    return G(random_element(G.domain, 4)) + random_element(G.range, 5, noise)


def problem(device, operator=lambda X: ogr.gaussian_sensing(X, 10)):
    G = generator(device)
    A = operator(G.range)
    y = A(near(G)) + random_element(A.range, 6, NOISE)
    return ogr.squared_l2(A, y, NOISE), G


def quick(regularizer):
    """Let inner problems end early: the comparison needs no minimum."""
    regularizer.inner.num_starts, regularizer.inner.maxiter = 2, 2
    return regularizer


def soft(G, **keywords):
    return quick(ogr.soft_constraint(G, MU, **keywords))


def huber(G):
    return quick(ogr.GenerativeRegularizer(G, f.Huber(G.range, 0.1), mu=MU))


def sparse(G):
    return quick(ogr.sparse_deviation(G, MU))


def tv_term(X, beta=0.5):
    grad = odl.Gradient(X, pad_mode="symmetric")
    return (beta * f.GroupL1Norm(grad.range), grad)


# --- Spaces, networks, operators, functionals --- #


@case
def elements(device, path):
    X = generator(device).range
    x = random_element(X)
    as_tensor(as_element(X, as_tensor(x)))[0, 0] = 5  # one memory
    return [x, x.norm(), x.inner(X.one()), as_tensor((X**2).one()), 2 * x - X.one()]


@case
def networks(device, path):
    found = []
    for name in ("linear", "mlp", "conv"):
        G = generator(device, name)
        z, h = random_element(G.domain, 1), random_element(G.domain, 2)
        derivative = G.derivative(z)
        x = G(z)
        found += [x, derivative(h), derivative.adjoint(x)]
        found += G.linearize(as_tensor(z)[None])
    return found


@case
def shipped_generators(device, path):
    found = []
    for name in ("mnist-vae", "mnist-gan", "shapes-vae"):
        size = ogr.load_generator(name).range.shape[0]
        G = ogr.load_generator(name, square(device, size, "float32"))
        x = G(random_element(G.domain))
        found += [x, G.derivative(G.domain.zero()).adjoint(x)]
        found += [] if G.encoder is None else [G.encode(as_tensor(x)[None])]
    return found


@case
def checkpoint(device, path):
    G, architecture = small_vae(device)
    ogr.save_generator(path, G, architecture=architecture)
    return [ogr.load_generator(path, G.range)(random_element(G.domain))]


@case
def functionals(device, path):
    X = generator(device).range
    y = random_element(X, 2)
    batch = torch.stack([as_tensor(random_element(X, i)).abs() for i in range(2)])
    pairs, found = torch.stack([batch, -batch], 1), []
    for F in (
        f.L1Norm(X) + f.L2NormSquared(X),
        2 * f.L1Norm(X),
        f.L2NormSquared(X).translated(y),
        f.L2Norm(X),
        f.Huber(X, 0.1),
        f.IndicatorBox(X, -0.1, 0.1),
        f.KullbackLeibler(X, prior=X.element(as_tensor(y).abs())),
        f.GroupL1Norm(X**2),
    ):
        points = pairs if isinstance(F.domain, odl.ProductSpace) else batch
        if not isinstance(F, f.IndicatorBox):
            found.append(torch_bridge.batch_value(F)(points))
        with contextlib.suppress(NotImplementedError):
            found.append(torch_bridge.batch_proximal(F)(0.3, points))
    L = torch_bridge.LinearMap(odl.Gradient(X))
    return [*found, L(batch), L.T(L(batch))]


OPERATORS = {
    "Fourier": lambda X: ogr.MaskedFourier(X, equispaced_mask(X.shape, 2, 0.2)),
    "coils": lambda X: ogr.MaskedFourier(
        X,
        equispaced_mask(X.shape, 2, 0.2),
        np.array([1, 1j])[:, None, None] * np.ones(X.shape),
    ),
    "complex": lambda X: ogr.MaskedFourier(X**2, equispaced_mask(X.shape, 2, 0.2)),
    "blur": lambda X: ogr.Convolution(X, gaussian_kernel(0.5)),
    "periodic": lambda X: ogr.Convolution(X, gaussian_kernel(0.5), boundary="periodic"),
    "Gaussian": lambda X: ogr.normalized(ogr.gaussian_sensing(X, 10)),
    "cosines": lambda X: ogr.sampled_dct(X, 10),
    "Hadamard": lambda X: ogr.sampled_hadamard(X, 10),
    "inpainting": lambda X: ogr.inpainting(X, random_mask(X.shape, 0.5)),
    "downsampling": lambda X: ogr.downsampling(X, 2),
    "gradient": odl.Gradient,
}


@case
def forward_operators(device, path):
    found = []
    for make in OPERATORS.values():
        A = make(square(device))
        x = random_element(A.domain)
        found += [A(x), A.adjoint(A(x)), operator_norm(A)]
        if spectrum := torch_bridge.normal_spectrum(A):
            found.append(spectrum.apply(torch.sqrt, as_tensor(x)[None]))
    return found


@case
def matrix_operator(device, path):
    matrix = torch.arange(6.0, dtype=torch.float64).reshape(2, 3).to(device)
    matrix = matrix.numpy() if device == "cpu" else matrix
    A = odl.MatrixOperator(matrix, odl.rn(3, **place(device)))
    x = random_element(A.domain)
    batch = torch_bridge.LinearMap(A)(as_tensor(x)[None])
    return [A(x), A.adjoint(A(x)), batch, torch_bridge.gram_matrix(A)]


@case
def ray_transform_by_matrix(device, path):
    """One matrix on both devices, and what it reconstructs from the same start."""
    X = odl.uniform_discr([0, 0], [28, 28], (28, 28), "float32", **place(device))
    A, G = ogr.ray_transform(X, num_angles=5), ogr.load_generator("mnist-vae", X)
    assert A.impl == "SparseMatrixBackend"
    x, y = (random_element(space) for space in (X, A.range))
    linear_map = torch_bridge.LinearMap(A)
    batch = torch.stack([as_tensor(x), as_tensor(X.one())])
    found = [A(x), A.adjoint(y), A(x, out=y), torch_bridge.gram_matrix(A)]
    found += [linear_map(batch), linear_map.T(linear_map(batch))]
    D = ogr.squared_l2(A, A(G(G.domain.zero())), NOISE)
    for R in (ogr.range_constraint(G), ogr.soft_constraint(G, MU)):
        start = G.domain.one()
        found.append(ogr.reconstruct(D, R, LAM, start=start, maxiter=3).objective)
    return found


@case
def data_fidelities(device, path):
    D, G = problem(device)
    x = random_element(G.range)
    counts = G.range.element(as_tensor(x).abs().mul(5).round())
    K = ogr.kullback_leibler(odl.IdentityOperator(G.range), counts, background=0.5)
    found = [D(x), D.gradient(x), D.gradient.derivative(x)(x)]
    x = G.range.element(as_tensor(x).abs() + 0.1)
    found += [D.on_data.proximal(0.3)(D.data), K.on_data.proximal(0.3)(x)]
    return [*found, K(x), K.gradient(x)]


@case
def regularizers(device, path):
    G = generator(device)
    x, found = near(G), []
    precision = precision_network(torch.float64).to(device)
    correlated = ogr.structured_deviation(generator(device, precision=precision), MU)
    smooth = soft(G), huber(G), quick(correlated)
    proximable = soft(G, latent_prior=box(G.domain)), sparse(G)
    for R in (*smooth, *proximable, quick(ogr.tv_deviation(G, MU))):
        z = R.latent(x)
        found += [z, R(x), R.joint(R.joint.domain.element([x, z]))]
        found += [R.gradient(x)] if R in smooth else []
        found += [R.proximal(0.3)(x)] if R in proximable else []
    return found


# --- Solvers --- #


@slow
def solvers_of_odl(device, path):
    D, G = problem(device)
    R, found = soft(G), []
    J = D + LAM * R
    searches = ogr.BacktrackingLineSearch(J), ogr.WolfeLineSearch(J)
    for search in searches:
        x = G.range.zero()
        odl.solvers.bfgs_method(J, x, search, maxiter=2)
        found.append(x)
    x = G.range.zero()
    odl.solvers.steepest_descent(J, x, searches[0], maxiter=2)
    g, L = tv_term(G.range)
    primal = G.range.zero()
    odl.solvers.pdhg(
        primal,
        LAM * R,
        f.SeparableSum(D.on_data, g),
        odl.BroadcastOperator(D.operator, L),
        niter=2,
        tau=0.1,
        sigma=0.1,
    )
    J = D @ odl.ComponentProjection(R.joint.domain, 0) + LAM * R.joint
    p = J.domain.zero()
    odl.solvers.steepest_descent(J, p, ogr.BacktrackingLineSearch(J), maxiter=2)
    return [*found, x, primal, *p]


#: The solvers of `reconstruct`: a regularizer each, and what makes them the choice.
SOLVERS = {
    "gauss_newton": lambda G: (soft(G), {}),
    "lbfgs": lambda G: (huber(G), {}),
    "lbfgs in z": lambda G: (ogr.range_constraint(G), {"solver": "lbfgs"}),
    "spectral_gradient": lambda G: (soft(G, latent_prior=box(G.domain)), {}),
    "transform": lambda G: (soft(G), {"bounds": (0, 1), "solver": "transform"}),
    "prox_linear": lambda G: (
        sparse(G),
        {"other_terms": [tv_term(G.range)], "bounds": (0, 1)},
    ),
    "palm": lambda G: (sparse(G), {"solver": "palm"}),
    "continuation": lambda G: (sparse(G), {"solver": "continuation"}),
    "primal_dual": lambda G: (ogr.tv_deviation(G, MU), {"solver": "primal_dual"}),
}


def solve(device, name, batch=False, **options):
    """Reconstruct from the data of one image, or of a batch of two."""
    D, G = problem(device, OPERATORS["Fourier" if name == "transform" else "Gaussian"])
    R, own = SOLVERS[name](G)
    data = {"data": [D.data, 2 * D.data]} if batch else {}
    options = {"restarts": 2, "maxiter": 2} | own | data | options
    return ogr.reconstruct(D, R, LAM, **options)


def _solver_case(name):
    def of_solver(device, path):
        results = [solve(device, name), *solve(device, name, batch=True)]
        rows = [(r.x, r.z, r.objective, r.residual, r.restarts) for r in results]
        return [number for row in rows for number in row]

    return of_solver


#: Solvers that the fast tests run; the others take seconds in the simulation.
FAST = ("gauss_newton", "lbfgs in z", "transform")
for _name in SOLVERS:
    (CASES if _name in FAST else SLOW)[f"reconstruct by {_name}"] = _solver_case(_name)


def transfers_of_an_iteration(device, name, batch=False):
    """Sizes of the transfers of an iteration of a solver.

    Those that runs of 3 iterations make and runs of 2 do not: set-ups are the same.
    """
    few, many = Transfers(), Transfers()
    for transfers, maxiter in ((few, 2), (many, 3)):
        with transfers:
            solve(device, name, batch, maxiter=maxiter, tol=1e-12)
    sizes = [collections.Counter(t.to_host + t.to_device) for t in (many, few)]
    return list((sizes[0] - sizes[1]).elements())


def assert_moves_no_array(device, name, batch):
    """Fail if an iteration moves more at once than a number for each run."""
    runs = 2 * (2 if batch else 1)
    sizes = transfers_of_an_iteration(device, name, batch)
    assert sizes
    assert max(sizes) <= runs, collections.Counter(sizes)


@slow
def poisson(device, path):
    G = generator(device)
    counts = G.range.element(as_tensor(near(G)).abs().mul(20).round())
    D = ogr.kullback_leibler(odl.IdentityOperator(G.range), counts, background=0.5)
    options = {"restarts": 2, "maxiter": 2, "data": [counts, 2 * counts]}
    results = ogr.reconstruct(D, soft(G), LAM, **options)
    return [number for r in results for number in (r.x, r.objective)]


@case
def results(device, path):
    D, G = problem(device)
    store = odl.solvers.CallbackStore()
    result = ogr.reconstruct(
        D, soft(G), LAM, start=G.domain.one(), maxiter=2, callback=store
    )
    result.save(path)
    return [*store, ogr.Reconstruction.load(path, G).x]


@slow
def choice_of_weights(device, path):
    D, G = problem(device)
    options = {"restarts": 1, "maxiter": 3}
    found = ogr.choose_weights(D, soft(G), method="discrepancy", **options)
    return [found.lam, found.reconstruction.x]


# --- Evaluation, report, training --- #


def small_vae(device):
    vae = VAE((8, 8), latent_dim=3, channels=(4, 5), hidden=6)
    Z = odl.rn(3, dtype="float32", **place(device))
    parts = vae.decoder.to(device), vae.mean_encoder.to(device)
    G = ogr.Generator(parts[0], Z, square(device, dtype="float32"), encoder=parts[1])
    return G, {"name": "vae", "arguments": vae.arguments}


@case
def metrics(device, path):
    G = generator(device)
    z = sample_latents(G.domain, 12, 0)
    images, others = G.batch(z[:6]), G.batch(z[6:])
    statistics = evaluation.latent_statistics(z)
    x = as_element(G.range, images[0])
    return [
        evaluation.psnr(x, G.range.zero()),
        evaluation.ssim(images[0], others[0]),
        statistics.effective_dimension,
        statistics.norm_p_value,
        evaluation.earth_movers_distance(images, others),
        *evaluation.precision_and_recall(images, others),
        *evaluation.energy_test(images, others),
        evaluation.jacobian_singular_values(G, z[:2]),
        evaluation.extreme_singular_values(G, z[:1]),
        evaluation.project_onto_range(G, images[:2] + 0.1, restarts=1),
    ]


@slow
def baselines(device, path):
    X = square(device)
    A = ogr.inpainting(X, random_mask(X.shape, 0.7))
    D = ogr.squared_l2(A, random_element(A.range), NOISE)
    norm, x = evaluation.WaveletL1(X, "haar", 1), random_element(X)
    options = {"data": [D.data, 2 * D.data], "bounds": (0, 1), "gap_tol": 0.5}
    F = OPERATORS["Fourier"](X)
    return [
        *evaluation.tikhonov(D, 0.1, data=options["data"]),
        *(r.x for r in evaluation.total_variation(D, 0.1, **options)),
        *evaluation.wavelet_l1(D, 0.1, wavelet="haar", level=1, **options),
        evaluation.zero_filled(F, F(x)),
        norm(x),
        norm.proximal(0.1)(x),
    ]


@slow
def report(device, path):
    images = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0))
    G, _ = small_vae(device)
    findings = write_report(G, images[:20], images[20:], path)
    return [finding.value for finding in findings.values()]


@slow
def training(device, path):
    images = np.random.default_rng(0).random((60, 1, 8, 8)).astype("float32")
    sizes = {"latent_dim": 2, "channels": (4, 4), "hidden": 4, "num_validation": 20}
    found = []
    for family in ("vae", "ae", "gan", "svae"):
        name = path.with_name(f"{path.name}-{family}")
        options = sizes | {"epochs": 1, "batch_size": 16, "device": device}
        G = train_generator(family, images, name, **options)
        found.append(G(random_element(G.domain)))
    return found
