# SPDX-License-Identifier: MPL-2.0
"""Every error of the core: what must hold, what was received, what helps.

Those of checkpoints, forward operators, networks, training and data sets are tested
beside them.
"""

import ast
import re
from pathlib import Path

import odl
import pytest
import torch
from odl import functionals as f

import odl_genreg as ogr
from generators import (
    DenseOperator,
    LatentScaledSquare,
    forward_operator,
    image_space,
    latent_space,
    linear_network,
    make_generator,
    random_element,
)
from odl_genreg import evaluation, latent_prior, solvers, torch_bridge
from odl_genreg.networks import VAE
from odl_genreg.solvers.initial_scaling import InitialScaling
from odl_genreg.solvers.wolfe_line_search import WolfeLineSearch
from simulated_device import simulated_device

X, Z = image_space(), latent_space()
G = make_generator("linear")
A = forward_operator(X)
D = ogr.squared_l2(A, A.range.zero())
R = ogr.soft_constraint(G, 0.1)
SPARSE = ogr.sparse_deviation(G, 0.1)
GRAD = odl.Gradient(X)
FOURIER = odl.trafos.FourierTransform(X)
NAN, INF = float("nan"), float("inf")


class Output(torch.nn.Module):
    """Network that returns a constant of a given shape."""

    def __init__(self, *shape, fill=0.0):
        super().__init__()
        self.shape, self.fill = shape, fill

    def forward(self, z):
        return torch.full((len(z), *self.shape), self.fill, dtype=z.dtype)


class Unmatched(DenseOperator):
    """Operator whose adjoint has the wrong sign."""

    @property
    def adjoint(self):
        return -super().adjoint


def on_meta():
    return torch.nn.Linear(3, 63, dtype=torch.float64, device="meta")


def with_weights():
    return odl.rn(3, weighting=[1.0, 2.0, 3.0])


UNMATCHED = Unmatched(A.matrix, X, A.range)

BRIDGE = [
    (
        lambda: torch_bridge.weight(with_weights()),
        ValueError,
        r"`space` must have a constant weighting, got rn\(3, weighting=.*; use",
    ),
    (
        lambda: torch_bridge.weight(odl.ProductSpace(X, Z)),
        ValueError,
        "`space` must have a constant weighting, got ProductSpace",
    ),
    (
        lambda: torch_bridge.as_element(X, torch.zeros(9, 7, dtype=torch.float64)),
        ValueError,
        r"`tensor` must have .*\(\(7, 9\), torch.float64.*got \(\(9, 7\).*; convert",
    ),
    (
        lambda: torch_bridge.as_element(X, torch.zeros(7, 9)),
        ValueError,
        "`tensor` must have .*torch.float64.*got .*torch.float32.*`to`",
    ),
    (
        lambda: torch_bridge.as_element(
            X, torch.zeros(7, 9, dtype=torch.float64, device="meta")
        ),
        ValueError,
        "`tensor` must have .*'cpu'.*got .*'meta'",
    ),
    (
        lambda: torch_bridge.LinearMap(odl.PowerOperator(X, 2)),
        TypeError,
        "`operator` must be linear, got .*; linearize it with `operator.derivative",
    ),
    (
        lambda: torch_bridge.LinearMap(FOURIER),
        TypeError,
        "`operator` must map between real spaces, got .*; take real and imaginary",
    ),
    (
        lambda: torch_bridge.LinearMap(A)(torch.zeros(2, 63, dtype=torch.float64)),
        ValueError,
        r"`x` must have trailing shape.*\(7, 9\).*got \(\(2, 63\).*; convert it",
    ),
    (
        lambda: torch_bridge.LinearMap(A)(torch.zeros(7, 9)),
        ValueError,
        "`x` must have .*torch.float64.*got .*torch.float32",
    ),
    (
        lambda: torch_bridge.LinearMap(A).T(torch.zeros(7, 9).double()),
        ValueError,
        r"`x` must have trailing shape.*\(10,\)",
    ),
]

GENERATOR = [
    (
        lambda: ogr.Generator(lambda z: z, Z, X),
        TypeError,
        "`network` must be a torch.nn.Module, got function; wrap a function in",
    ),
    (
        lambda: ogr.Generator(linear_network(), Z, X, encoder="mean"),
        TypeError,
        "`encoder` must be a torch.nn.Module, got str",
    ),
    (
        lambda: ogr.Generator(linear_network().float(), Z, X),
        ValueError,
        "`latent_space` must have the dtype of `network`, got float64 and float32; con",
    ),
    (
        lambda: ogr.Generator(linear_network(), Z, image_space(dtype="float32")),
        ValueError,
        "`image_space` must have the dtype of `network`, got float32 and float64",
    ),
    (
        lambda: ogr.Generator(linear_network(), Z, X, encoder=torch.nn.Linear(63, 3)),
        ValueError,
        "`latent_space` must have the dtype of `encoder`, got float64 and float32",
    ),
    (
        lambda: ogr.Generator(on_meta(), Z, X),
        ValueError,
        "`network` and `latent_space` must be on one device, got meta and cpu; move",
    ),
    *(
        (
            lambda intensity=intensity: ogr.Generator(
                linear_network(), Z, X, intensity=intensity
            ),
            ValueError,
            "`intensity` must be a finite offset and a positive .* scale, got .*use",
        )
        for intensity in ((0.0, 0.0), (0.0, -1.0), (INF, 1.0), (0.0, NAN), 1.0)
    ),
    *(
        (
            lambda variance=variance: ogr.Generator(
                linear_network(), Z, X, decoder_variance=variance
            ),
            ValueError,
            "`decoder_variance` must be positive, got .*; leave it out",
        )
        for variance in (0.0, -0.1, INF, NAN)
    ),
    (
        lambda: ogr.Generator(Output(9, 7), Z, X),
        ValueError,
        r"`network` must return images of the shape \(7, 9\) of `image_space` .*"
        r"got \(1, 9, 7\); .*`R @ Resampling",
    ),
    (
        lambda: ogr.Generator(Output(3, 7, 9), Z, X),
        ValueError,
        r"`network` must return images .*got \(1, 3, 7, 9\)",
    ),
    (
        lambda: ogr.Generator(Output(7, 9, fill=NAN), Z, X),
        ValueError,
        "`network` must return finite values, got NaN or inf at z = 0; check",
    ),
    (
        lambda: ogr.Generator(linear_network(), Z, X, encoder=Output(4)),
        ValueError,
        r"`encoder` must return latents of the shape \(3,\) .*got \(1, 4\); return",
    ),
    (
        lambda: ogr.Generator(linear_network(), Z, X, precision=Output(4, 7, 9)),
        ValueError,
        r"`precision` must return factors .*\(7, 9\), got \(1, 4, 7, 9\); see",
    ),
    (
        lambda: G.encode(torch.zeros(1, 7, 9).double()),
        NotImplementedError,
        "`encoder` must be given to encode images, got a generator without; minimize",
    ),
]

FIDELITY = [
    (
        lambda: ogr.squared_l2(FOURIER, FOURIER.range.zero()),
        ValueError,
        "`operator.range` must be real, got .*; take real and imaginary part as two",
    ),
    *(
        (
            lambda noise_std=noise_std: ogr.squared_l2(A, A.range.zero(), noise_std),
            ValueError,
            "`noise_std` must be positive and finite, got .*; give the",
        )
        for noise_std in (0.0, -1.0, INF, NAN)
    ),
    (
        lambda: ogr.squared_l2(A, X.zero()),
        ValueError,
        r"`data` must be an element of `operator.range` .*\(0.0, 2.5, 10\) on cpu, "
        r"got one of "
        r"uniform_discr\(.*\(7, 9\)\) on cpu; use",
    ),
    (
        lambda: ogr.squared_l2(A, [0.0] * 11),
        ValueError,
        r"`data` must have the shape \(10,\) of `operator.range`, got \(11,\); reshape",
    ),
    *(
        (
            lambda make=make, bad=bad: make(A, [0.0] * 9 + [bad]),
            ValueError,
            "`data` must be finite, got NaN or inf; remove or mask",
        )
        for make in (ogr.squared_l2, ogr.kullback_leibler)
        for bad in (NAN, INF)
    ),
    (
        lambda: ogr.kullback_leibler(A, [0.0] * 9 + [-1.0]),
        ValueError,
        "`counts` must be nonnegative, got a negative value; use `squared_l2`",
    ),
    *(
        (
            lambda value=value: ogr.kullback_leibler(A, [1.0] * 10, value),
            ValueError,
            "`background` must be nonnegative and finite, got .*; use 0.0",
        )
        for value in (-1.0, INF, NAN)
    ),
]

PRIOR = [
    *(
        (
            lambda bounds=bounds: latent_prior.box(Z, *bounds),
            ValueError,
            "`lower` must be less than `upper`, got .* and .*; exchange",
        )
        for bounds in ((1.0, -1.0), (0.0, 0.0), (NAN, 1.0))
    ),
    *(
        (
            lambda radius=radius: latent_prior.ball(Z, radius),
            ValueError,
            "`radius` must be positive, got .*; leave it out",
        )
        for radius in (0.0, -1.0, INF, NAN)
    ),
]


def regularizer(**keywords):
    return ogr.GenerativeRegularizer(G, f.L2NormSquared(X), **keywords)


REGULARIZER = [
    (
        lambda: ogr.structured_deviation(G),
        ValueError,
        "`generator` must have a `precision` for a structured covariance, got one",
    ),
    (
        lambda: ogr.GenerativeRegularizer(linear_network(), f.L2NormSquared(X)),
        TypeError,
        "`generator` must be a `Generator`, got Linear; use `odl_genreg.Generator",
    ),
    (
        lambda: ogr.GenerativeRegularizer(G, f.L2NormSquared(Z)),
        ValueError,
        "`deviation` must be a functional on .*got one on rn.*; build it on the",
    ),
    (
        lambda: regularizer(latent_prior=f.L2NormSquared(X)),
        ValueError,
        "`latent_prior` must be a functional on .* got one on uniform_discr.*; build",
    ),
    *(
        (
            lambda mu=mu: regularizer(mu=mu),
            ValueError,
            "`mu` must be nonnegative and finite, .*got .*; it is the weight",
        )
        for mu in (-0.1, INF, NAN)
    ),
    (
        lambda: regularizer(latent_prior=ogr.latent_prior.box(Z), mu=0.0),
        ValueError,
        "`mu` must be .* positive for a latent prior without a gradient, got 0.0;",
    ),
    (
        lambda: (
            ogr.GenerativeRegularizer(
                G, f.SeparableSum(f.L2NormSquared(X), f.L2NormSquared(Z))
            ).separable
        ),
        NotImplementedError,
        "`deviation` must be a functional on X to be separable from z, got .*; use",
    ),
    *(
        (
            lambda make=make: make(G),
            ValueError,
            "`mu` must be given for a generator without `decoder_variance`, got None;",
        )
        for make in (ogr.soft_constraint, ogr.sparse_deviation)
    ),
    *(
        (
            lambda name=name, value=value: regularizer(**{name: value}),
            ValueError,
            f"`{name}` must be positive, got .*; leave it out",
        )
        for name in ("tol", "smoothing")
        for value in (0.0, -1.0, NAN)
    ),
    *(
        (
            lambda name=name: regularizer(**{name: 0}),
            ValueError,
            f"`{name}` must be at least 1, got 0; leave it out",
        )
        for name in ("num_starts", "maxiter")
    ),
    (
        lambda: SPARSE.gradient,
        NotImplementedError,
        "`deviation` must be smooth for a gradient, got L1Norm; use `proximal`",
    ),
    (
        lambda: ogr.GenerativeRegularizer(G, LatentScaledSquare(X, Z)).proximal,
        NotImplementedError,
        "`deviation` must be a functional on X for a proximal, got one on .*; use",
    ),
    (
        lambda: SPARSE.latent_objective(D, 1.0),
        NotImplementedError,
        "must allow the elimination of x, got SquaredL2 and L1Norm; use `joint`",
    ),
]


def reconstruct(data_fidelity=D, regularizer=R, lam=1.0, **keywords):
    return ogr.reconstruct(data_fidelity, regularizer, lam, **keywords)


RECONSTRUCT = [
    (
        lambda: reconstruct(regularizer=f.L2NormSquared(X)),
        TypeError,
        "`regularizer` must be a `GenerativeRegularizer`, got L2NormSquared; give a",
    ),
    (
        lambda: reconstruct(regularizer=R @ odl.IdentityOperator(X)),
        TypeError,
        "`regularizer` must be a `GenerativeRegularizer`, got FunctionalComp",
    ),
    (
        lambda: reconstruct(ogr.squared_l2(odl.IdentityOperator(Z), [0.0] * 3)),
        ValueError,
        "`data_fidelity` must be a functional on the image space .*got rn.*; build it",
    ),
    (
        lambda: reconstruct(A),
        ValueError,
        "`data_fidelity` must be a functional on the image space .*got ",
    ),
    (
        lambda: reconstruct(f.L1Norm(A.range) @ A),
        ValueError,
        "`data_fidelity` must be smooth, got FunctionalComp; give a nonsmooth one as",
    ),
    *(
        (
            lambda lam=lam: reconstruct(lam=lam),
            ValueError,
            "`lam` must be nonnegative and finite, got .*; it is the weight",
        )
        for lam in (-0.1, INF, NAN)
    ),
    *(
        (
            lambda term=term: reconstruct(other_terms=[term]),
            ValueError,
            r"`other_terms` must be pairs \(g, L\) of .*, got .*; for TV take",
        )
        for term in (
            (f.GroupL1Norm(GRAD.range), A),
            (f.GroupL1Norm(GRAD.range),) * 2,
            (GRAD, f.GroupL1Norm(GRAD.range)),
            (f.L2NormSquared(X), odl.PowerOperator(X, 2)),
            (f.L2NormSquared(Z), odl.IdentityOperator(Z)),
            (f.L2NormSquared(X), odl.IdentityOperator(X), 1.0),
            f.L2NormSquared(X),
        )
    ),
    *(
        (
            lambda bounds=bounds: reconstruct(bounds=bounds),
            ValueError,
            r"`bounds` must be a pair \(lower, upper\) with lower < upper, got .*; use",
        )
        for bounds in ((1.0, 0.0), (0.0, 0.0), (0.0, 0.5, 1.0), (NAN, 1.0), 1.0)
    ),
    (
        lambda: reconstruct(
            lam=0.0, regularizer=regularizer(latent_prior=ogr.latent_prior.box(Z))
        ),
        ValueError,
        "`lam` must be positive for a latent prior without a gradient, got 0; use",
    ),
    (
        lambda: reconstruct(solver="adam"),
        ValueError,
        r"`solver` must be one of \('auto', 'gauss_newton', .*\), got 'adam'; leave it",
    ),
    *(
        (
            lambda keywords=keywords: reconstruct(solver="lbfgs", **keywords),
            ValueError,
            "`solver` must be 'prox_linear', .* for this problem, got 'lbfgs', which",
        )
        for keywords in (
            {"regularizer": SPARSE},
            {"bounds": (0, 1)},
            {"other_terms": [(f.GroupL1Norm(GRAD.range), GRAD)]},
        )
    ),
    (
        lambda: reconstruct(
            regularizer=regularizer(latent_prior=latent_prior.ball(Z)),
            bounds=(0, 1),
            solver="continuation",
        ),
        ValueError,
        "`solver` must be 'primal_dual'.* for this problem, got 'continuation', which",
    ),
    *(
        (
            lambda name=name: reconstruct(**{name: 0}),
            ValueError,
            f"`{name}` must be at least 1, got 0; leave it out",
        )
        for name in ("restarts", "maxiter")
    ),
    *(
        (
            lambda tol=tol: reconstruct(tol=tol),
            ValueError,
            "`tol` must be positive, got .*; 1e-4 is the default",
        )
        for tol in (0.0, -1.0, NAN)
    ),
    *(
        (
            lambda start=start: reconstruct(start=start),
            ValueError,
            "`start` must be an element of Z, or one for each of 1 images, got .*; use",
        )
        for start in ([Z.zero(), Z.zero()], [X.zero()], [])
    ),
    *(
        (
            lambda data=data: reconstruct(data=data),
            ValueError,
            r"`data` must be a sequence of elements of Y or an array .*, got .*; put",
        )
        for data in (A.range.zero(), [])
    ),
    (
        lambda: reconstruct(data_fidelity=f.L2NormSquared(X), data=[A.range.zero()]),
        TypeError,
        "`data_fidelity` must be a `DataFidelity` to take other `data`, got .*; build",
    ),
    (
        lambda: ogr.data_fidelity.DataFidelity(
            A, A.range.zero(), f.L2NormSquared(A.range)
        ).with_data(A.range.one()),
        NotImplementedError,
        "`rebuild` must be given to exchange the data, got a DataFidelity without",
    ),
]


def composite(noise_std=None, in_range=False):
    identity = torch_bridge.LinearMap(odl.IdentityOperator(X))
    return solvers.CompositeProblem(
        G,
        identity,
        torch.zeros(2, *X.shape).double(),
        torch.ones(2) if noise_std is None else noise_std,
        [solvers.LinearTerm(f.L1Norm(X), identity, of_deviation=True)],
        1.0,
        in_range=in_range,
    )


def palm(smooth=lambda v, *y: (v**2).sum(1), functionals=(None,), **options):
    return solvers.palm(smooth, [torch.zeros(2, 3)], functionals, **options)


SOLVERS = [
    (
        lambda: R.latent_objective(ogr.squared_l2(UNMATCHED, D.data, 0.01), 1.0),
        ValueError,
        "`operator` must have an exact adjoint for the soft constraint.*got one with "
        "which .* negative eigenvalues; use another, such as",
    ),
    *(
        (
            lambda discount=discount: solvers.BacktrackingLineSearch(
                f.L2NormSquared(X), discount=discount
            ),
            ValueError,
            "`discount` must be between 0 and 1, got .*; use 1e-4",
        )
        for discount in (0.0, 1.0, NAN)
    ),
    (
        lambda: WolfeLineSearch(f.L2NormSquared(X), curvature=1.5),
        ValueError,
        "`curvature` must be between `discount` = .* and 1, got 1.5; use 0.9",
    ),
    (
        lambda: InitialScaling(solvers.BacktrackingLineSearch(f.L2NormSquared(X))),
        TypeError,
        "`line_search` must be a `WolfeLineSearch`, got BacktrackingLineSearch; use",
    ),
    (
        lambda: InitialScaling(WolfeLineSearch(f.L2NormSquared(X)), num_store=-1),
        ValueError,
        "`num_store` must be nonnegative, got -1; use 0",
    ),
    (
        lambda: InitialScaling(
            WolfeLineSearch(f.L2NormSquared(odl.ProductSpace(X, X, weighting=[1, 2])))
        ),
        ValueError,
        "`line_search.function` must be defined on a product with a constant weighting",
    ),
    (
        lambda: composite(noise_std=torch.ones(3)),
        ValueError,
        r"`noise_std` must have the shape \(2,\) of the batch of `data`, got \(3,\)",
    ),
    (
        lambda: composite(noise_std=torch.tensor([1.0, 0.0])),
        ValueError,
        "`noise_std` must be positive, got .*; give the standard deviation",
    ),
    (
        lambda: composite(in_range=True),
        ValueError,
        "`terms` must not be of the deviation for `in_range=True`, where it is 0, got",
    ),
    (
        lambda: palm(functionals=[]),
        ValueError,
        "`functionals` must have one entry for each block, got 0 for 1 blocks; use",
    ),
    (
        lambda: palm(functionals=[f.L1Norm(odl.rn(5))]),
        ValueError,
        "`starts` must have a batch axis and then the shape of the functional, got",
    ),
    (
        lambda: palm(parameters=[torch.zeros(3)]),
        ValueError,
        "`starts` and `parameters` must have as many rows as each other, got",
    ),
    (
        lambda: palm(inertia=2.0),
        ValueError,
        r"`inertia` must be in \[0, 1\], got 2.0; 0 is without",
    ),
    *(
        (
            lambda options=options: palm(**options),
            ValueError,
            "`constant` must be positive, `decrease` at most 1 and `increase` above 1",
        )
        for options in ({"constant": 0.0}, {"decrease": 2.0}, {"increase": 1.0})
    ),
    (
        lambda: palm(smooth=lambda v, *y: v.sum()),
        ValueError,
        r"`smooth` must return one value for each row, \(2,\), got \(\); sum over",
    ),
]

HALF = [
    (
        lambda: ogr.half_precision(linear_network()),
        TypeError,
        "`generator` must be a `Generator`, got Linear; make",
    ),
    (
        lambda: ogr.half_precision(make_generator("conv"), "float8"),
        ValueError,
        "`dtype` must be one of 'float16', 'bfloat16', got 'float8'; use",
    ),
    (
        lambda: ogr.half_precision(G),
        ValueError,
        "`generator` must have dtype float32, got float64; build",
    ),
    (
        lambda: ogr.half_precision(make_generator("conv"), tolerance=0.0),
        ValueError,
        "`tolerance` must be positive, got 0.0; leave",
    ),
    (
        lambda: ogr.half_precision(make_generator("conv"), "bfloat16", tolerance=1e-5),
        ValueError,
        r"`tolerance` must bound .*, got 0.00\d+ > 1e-05 in G\(z\); give a larger",
    ),
]


class Doubles(torch.nn.Module):
    """Network without parameters, with a buffer where it is given one."""

    def __init__(self, buffer=None):
        super().__init__()
        self.register_buffer("buffer", buffer)

    def forward(self, z):
        return 2 * z


def mixed(call):
    """Call a function with a device beside the host, and parts of a problem on it."""

    def run():
        with simulated_device() as device:
            there = make_generator("linear", "pytorch", device=device)
            call(device, there)

    return run


def data_on(generator):
    return ogr.squared_l2(odl.IdentityOperator(generator.range), generator.range.zero())


HOST = make_generator("linear", "pytorch")
BOTH = "'?simulated(:0|', index=0)"
DEVICES = [
    (
        lambda device, there: ogr.Generator(linear_network(), there.domain, X),
        f"`network` and `latent_space` must be on one device, got cpu and {BOTH}; move",
    ),
    (
        lambda device, there: ogr.Generator(there.module, there.domain, HOST.range),
        f"`network` and `image_space` must be on one device, got {BOTH} and cpu; move",
    ),
    (
        lambda device, there: ogr.Generator(
            Doubles(torch.ones(1)), there.domain, there.domain
        ),
        f"`network` and `latent_space` must be on one device, got cpu and {BOTH}; move",
    ),
    (
        lambda device, there: ogr.Generator(Doubles(), there.domain, HOST.domain),
        f"`latent_space` and `image_space` must be on one device, got {BOTH} and cpu; "
        "build",
    ),
    (
        lambda device, there: ogr.Generator(
            there.module,
            there.domain,
            there.range,
            encoder=torch.nn.Linear(63, 3, dtype=torch.float64),
        ),
        f"`encoder` and `latent_space` must be on one device, got cpu and {BOTH}; move",
    ),
    (
        lambda device, there: torch_bridge.TorchOperator(
            linear_network(), there.domain, there.range
        ),
        f"`module` and `domain` must be on one device, got cpu and {BOTH}; move",
    ),
    (
        lambda device, there: torch_bridge.as_element(
            there.range, torch.zeros(7, 9, dtype=torch.float64)
        ),
        f"`tensor` must have .*{BOTH}.*got .*'cpu'.*; convert",
    ),
    (
        lambda device, there: torch_bridge.LinearMap(odl.IdentityOperator(there.range))(
            torch.zeros(7, 9, dtype=torch.float64)
        ),
        f"`x` must have .*{BOTH}.*got .*'cpu'.*; convert",
    ),
    (
        lambda device, there: ogr.squared_l2(
            odl.IdentityOperator(there.range), HOST.range.zero()
        ),
        f"`data` must be an element of .* on {BOTH}, got one of .* on cpu; use",
    ),
    (
        lambda device, there: ogr.squared_l2(
            odl.IdentityOperator(there.range), torch.zeros(7, 9)
        ),
        f"`data` must be on the device {BOTH} of `operator.range`, got .* on cpu; move",
    ),
    (
        lambda device, there: ogr.GenerativeRegularizer(
            there, f.L2NormSquared(HOST.range)
        ),
        f"`deviation` must be .* on {BOTH}, got one on .* on cpu; build",
    ),
    (
        lambda device, there: ogr.soft_constraint(
            there, 0.1, latent_prior=f.L2NormSquared(HOST.domain)
        ),
        f"`latent_prior` must be .* on {BOTH}, got one on .* on cpu; build",
    ),
    (
        lambda device, there: ogr.reconstruct(
            data_on(HOST), ogr.soft_constraint(there, 0.1), 1.0
        ),
        f"`data_fidelity` must be .* on {BOTH} of the generator, got .* on cpu; build",
    ),
    (
        lambda device, there: ogr.reconstruct(
            data_on(there),
            ogr.soft_constraint(there, 0.1),
            1.0,
            other_terms=[(f.L1Norm(HOST.range), odl.IdentityOperator(HOST.range))],
        ),
        f"`other_terms` must be .* on {BOTH} and a functional on its range, got a "
        "functional on .* on cpu and an operator on .* on cpu; for TV",
    ),
    (
        lambda device, there: ogr.reconstruct(
            data_on(there),
            ogr.soft_constraint(there, 0.1),
            1.0,
            start=HOST.domain.one(),
        ),
        f"`start` must be .* got 1 of .* on cpu where Z is .* on {BOTH}; use",
    ),
    (
        lambda device, there: ogr.reconstruct(
            data_on(there),
            ogr.soft_constraint(there, 0.1),
            1.0,
            data=torch.zeros(2, 7, 9),
        ),
        f"`data` must be on the device {BOTH} of `operator.range`, got .* on cpu; move",
    ),
    (
        lambda device, there: ogr.reconstruct(
            data_on(there),
            ogr.soft_constraint(there, 0.1),
            1.0,
            bounds=(there.range.zero(), there.range.one()),
        ),
        r"`bounds` must be a pair \(lower, upper\) .*; use numbers",
    ),
    (
        lambda device, there: evaluation.project_onto_range(
            there, torch.zeros(2, 7, 9, dtype=torch.float64)
        ),
        f"`images` must be on the device {BOTH} of `generator.range`, got cpu; move",
    ),
]
DEVICES = [(mixed(call), ValueError, message) for call, message in DEVICES]

CASES = [
    *HALF,
    *BRIDGE,
    *GENERATOR,
    *FIDELITY,
    *PRIOR,
    *REGULARIZER,
    *RECONSTRUCT,
    *SOLVERS,
    *DEVICES,
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_error(call, error, message):
    with pytest.raises(error, match=re.compile(message, re.DOTALL)) as caught:
        call()
    assert re.match(r"`[\w.]+`.* must .* got .*[;.] ?.*", str(caught.value), re.DOTALL)


def test_errors_come_before_any_work(monkeypatch):
    """No argument is found wrong after the first pass through the network."""

    def pass_through(self, z):
        pytest.fail("the network was called")

    monkeypatch.setattr(ogr.Generator, "batch", pass_through)
    for call, error, _ in RECONSTRUCT:
        with pytest.raises(error):
            call()


MODULES = (
    "torch_bridge",
    "generator.py",
    "half_precision.py",
    "structured_gaussian.py",
    "data_fidelity.py",
    "latent_prior.py",
    "generative_regularizer.py",
    "regularizer.py",
    "projection.py",
    "arguments.py",
    "convex_terms.py",
    "image_elimination.py",
    "image_quadratic.py",
    "latent_objective.py",
    "reconstruction.py",
    "solver_choice.py",
    "variational_problem.py",
    "solvers",
)


def test_every_message_is_tested():
    """Each ``raise X(text)`` of the core begins with a contract that a test matches."""
    package = Path(ogr.__file__).parent
    files = [
        file
        for name in MODULES
        for file in (sorted((package / name).glob("*.py")) or [package / name])
    ]
    raised = [
        ast.unparse(node.exc.args[0])
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    ]
    assert len(raised) > 25
    received = set()
    for call, error, _ in CASES:
        try:
            call()
        except error as caught:
            received.add(str(caught))
    for text in raised:
        # An f-string, its values replaced by what they may be.
        value = ast.literal_eval(re.sub(r"\{[^{}]*\}", "<>", text.removeprefix("f")))
        pattern = ".*".join(re.escape(part) for part in value.split("<>"))
        assert any(re.fullmatch(pattern, one, re.DOTALL) for one in received), value


# --- What is not accepted silently --- #


def test_network_that_breaks_later():
    """NaN away from z = 0: no start converges, and the result says so."""

    class Broken(torch.nn.Module):
        def forward(self, z):
            return (z.sum(1, keepdim=True) * 0).log().expand(-1, 63) + 0 * z[:, :1]

    with pytest.raises(ValueError, match="finite values"):
        ogr.Generator(Broken(), Z, X)


def test_trained_network_of_another_size():
    vae = VAE((8, 12), latent_dim=3, channels=(4, 5), hidden=6)
    message = r"\(7, 9\) of `image_space` .*got \(1, 1, 8, 12\); .*Resampling"
    with pytest.raises(ValueError, match=message):
        ogr.Generator(
            vae.decoder, latent_space(dtype="float32"), image_space(dtype="float32")
        )


def test_element_of_another_space():
    """ODL's own errors where ODL's own spaces do not fit."""
    with pytest.raises(odl.core.operator.operator.OpDomainError):
        R(random_element(Z))
    with pytest.raises(odl.core.operator.operator.OpDomainError):
        G(random_element(X))
