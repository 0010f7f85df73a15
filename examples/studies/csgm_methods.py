# SPDX-License-Identifier: MPL-2.0
"""Methods of the CSGM protocol: Lasso, and the range by its objective and its Adam."""

import warnings

import torch
from harness import Method, in_range, soft

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap, as_element, as_tensor, weight

WEIGHT = 0.1  # of ||z||^2 beside the mean squared residual
ALPHA = 0.1  # of Lasso


def protocol_prior(problem) -> float:
    """Return the weight of ``||z||^2`` beside ``D`` that the protocol means.

    ``mean (y - A G(z))^2 + 0.1 ||z||^2`` is ``2 sigma^2 / m`` times ``D(G(z)) + prior
    ||z||^2`` with ``prior = 0.1 m / (2 sigma^2)``, 5 m for ``sigma = 0.1``.
    """
    return WEIGHT * problem.operator.range.size / (2 * problem.noise_std**2)


def protocol_range(generator, reported: int) -> Method:
    """``x = G(z)`` by the objective of the protocol; nothing to choose."""

    def solve(problem, data):
        method = in_range(generator, restarts=reported)
        return method.solve(problem, data, prior=protocol_prior(problem))

    return Method(solve)


def tuned_range(generator, search: int, reported: int) -> Method:
    """``x = G(z)``, with the prior tuned."""
    solve, _ = _from_starts(in_range, generator, search, reported)
    return Method(solve, lambda problem, _: {"prior": _prior(problem, generator)})


def tuned_soft(generator, search: int, reported: int) -> Method:
    """``x`` near ``G(z)``, clipped to the bounds as Lasso is."""
    method_solve, start = _from_starts(soft, generator, search, reported)

    def solve(problem, data, **weights):
        return [_clipped(problem, x) for x in method_solve(problem, data, **weights)]

    return Method(solve, start)


def _from_starts(make, generator, search, reported):
    """Search the weights from fewer starts than results are reported from."""
    few, many = (make(generator, restarts=number) for number in (search, reported))

    def solve(problem, data, **weights):
        method = few if data is problem.selection_data else many
        return method.solve(problem, data, **weights)

    return solve, many.start


def untuned(method: Method) -> Method:
    """The method with the weights that its search would start from."""
    return Method(
        lambda problem, data: method.solve(problem, data, **method.start(problem, {}))
    )


def lasso(alpha: float | None = None) -> Method:
    """Lasso of scikit-learn in the basis of pixels, clipped to the bounds.

    It minimizes ``|y - A x - c|^2 / (2 m) + alpha |x|_1`` over images and an intercept
    ``c``, as the protocol does. Without ``alpha``, it is tuned.
    """

    def solve(problem, data, *, alpha=alpha):
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import Lasso
        except ImportError as error:
            raise ImportError(
                "`sklearn` must be installed for the Lasso of this study; "
                "`pip install scikit-learn`."
            ) from error
        matrix = problem.operator.matrix.double().numpy()
        y = torch.stack([as_tensor(b) for b in data]).double().numpy()
        with warnings.catch_warnings():  # small weights, far from the best
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = Lasso(alpha=alpha).fit(matrix, y.T).coef_
        X = problem.operator.domain
        found = torch.from_numpy(found.reshape(len(y), *X.shape)).float()
        return [_clipped(problem, as_element(X, x)) for x in found]

    if alpha is not None:
        return Method(lambda problem, data: solve(problem, data))
    return Method(solve, lambda problem, chosen: {"alpha": ALPHA})


def compare_with_adam(problem, generator, images, restarts, iterations) -> list[dict]:
    """Minimize the objective of the protocol by its Adam and by Gauss-Newton.

    Returns the objective of the protocol and the error per pixel of both, for the
    first ``images`` of the reported images; both have as many restarts.
    """
    data = problem.reported_data[:images]
    y = torch.stack([as_tensor(b) for b in data]).repeat_interleave(restarts, 0)
    A, Z = LinearMap(problem.operator), generator.domain
    source = torch.Generator().manual_seed(0)
    z = torch.randn(len(y), *Z.shape, generator=source).requires_grad_()

    def objective():
        x = generator.batch(z)
        fit = (A(x) - y).square().mean(1)
        return x, fit + WEIGHT * z.square().sum(1)

    optimizer = torch.optim.Adam([z], lr=0.01)
    for _ in range(iterations):
        optimizer.zero_grad()
        objective()[1].sum().backward()
        optimizer.step()
    with torch.no_grad():
        x, values = objective()
    values = values.reshape(images, restarts)
    x = x.reshape(images, restarts, *x.shape[1:])[range(images), values.argmin(1)]
    results = ogr.reconstruct(
        problem.fidelity,
        ogr.range_constraint(generator),
        protocol_prior(problem) / weight(Z),
        data=data,
        restarts=restarts,
    )
    scale = 2 * problem.noise_std**2 / problem.operator.range.size
    truth = torch.from_numpy(problem.reported[:images])
    return [
        {
            "image": number,
            "adam": values[number].min().item(),
            "gauss_newton": scale * result.objective,
            "adam_error": (x[number] - truth[number]).square().mean().item(),
            "gauss_newton_error": (as_tensor(result.x) - truth[number])
            .square()
            .mean()
            .item(),
        }
        for number, result in enumerate(results)
    ]


def _prior(problem, generator):
    """``1/2`` of the variance that an image beside the range adds to each datum."""
    variance = problem.noise_std**2
    deviation = generator.decoder_variance * generator.range.size
    return 0.5 * (variance + deviation) / variance


def _clipped(problem, x):
    return as_element(problem.operator.domain, as_tensor(x).clamp(*problem.bounds))
