# SPDX-License-Identifier: MPL-2.0
"""What `reconstruct` accepts."""

import math
import numbers

import odl
from odl.functionals import Functional

from .data_fidelity import DataFidelity, checked_data
from .generative_regularizer import GenerativeRegularizer
from .projection import sample_latents
from .solvers import is_smooth
from .torch_bridge import as_tensor, space_name

__all__ = (
    "check_options",
    "check_problem",
    "data_list",
    "latent_starts",
)


def check_problem(data_fidelity, regularizer, lam, other_terms, bounds):
    """Raise an error if parts of a problem do not fit each other."""
    if not isinstance(regularizer, GenerativeRegularizer):
        raise TypeError(
            "`regularizer` must be a `GenerativeRegularizer`, got "
            f"{type(regularizer).__name__}; give a composition such as `R @ op` to one "
            "of ODL's solvers."
        )
    X = regularizer.domain
    if not isinstance(data_fidelity, Functional) or data_fidelity.domain != X:
        received = type(data_fidelity).__name__
        if hasattr(data_fidelity, "domain"):
            received = space_name(data_fidelity.domain)
        raise ValueError(
            "`data_fidelity` must be a functional on the image space "
            f"{space_name(X)} of the generator, got {received}; build it by "
            "`squared_l2(A, y, noise_std)` with an operator on that space."
        )
    if not is_smooth(data_fidelity):
        raise ValueError(
            "`data_fidelity` must be smooth, got "
            f"{type(data_fidelity).__name__}; give a nonsmooth one as "
            "`other_terms=[(g, A)]`, beside `odl.functionals.ZeroFunctional(X)`."
        )
    if not 0 <= lam < math.inf:
        raise ValueError(
            f"`lam` must be nonnegative and finite, got {lam}; it is the weight of the "
            "regularizer."
        )
    if lam == 0 and not is_smooth(regularizer.latent_prior):
        raise ValueError(
            "`lam` must be positive for a latent prior without a gradient, got 0; use "
            "a small one."
        )
    for term in other_terms:
        pair = isinstance(term, (tuple, list)) and len(term) == 2
        functional, operator = term if pair else (None, None)
        fits = isinstance(functional, Functional) and isinstance(operator, odl.Operator)
        fits = fits and operator.is_linear and operator.domain == X
        if not fits or functional.domain != operator.range:
            raise ValueError(
                "`other_terms` must be pairs (g, L) of a linear operator on the image "
                f"space {space_name(X)} and a functional on its range, got "
                f"{_domains(functional, operator) or repr(term)}; for TV take (beta * "
                "odl.functionals.GroupL1Norm(grad.range), grad)."
            )
    pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    pair = pair and all(isinstance(bound, numbers.Real) for bound in bounds)
    if bounds is not None and not (pair and bounds[0] < bounds[1]):
        raise ValueError(
            f"`bounds` must be a pair (lower, upper) with lower < upper, got {bounds}; "
            "use numbers, -inf or inf for none."
        )


def _domains(functional, operator):
    """Where a functional and an operator are defined; None if they are none."""
    if not isinstance(functional, Functional) or not isinstance(operator, odl.Operator):
        return None
    return (
        f"a functional on {space_name(functional.domain)} and an operator on "
        f"{space_name(operator.domain)}"
    )


def check_options(restarts, tol, maxiter):
    """Raise an error if options of `reconstruct` make no sense."""
    for name, number in (("restarts", restarts), ("maxiter", maxiter)):
        if not number >= 1:
            raise ValueError(
                f"`{name}` must be at least 1, got {number}; leave it out for the "
                "default."
            )
    if not tol > 0:
        raise ValueError(f"`tol` must be positive, got {tol}; 1e-4 is the default.")


def data_list(data_fidelity, data) -> list | None:
    """Return data as elements of ``Y``, one for each image; None for those of ``D``."""
    if data is None:
        return None
    if not isinstance(data_fidelity, DataFidelity):
        raise TypeError(
            "`data_fidelity` must be a `DataFidelity` to take other `data`, got "
            f"{type(data_fidelity).__name__}; build it by `squared_l2`, or call "
            "`reconstruct` once for each."
        )
    Y = data_fidelity.operator.range
    if data in Y or len(data) == 0:
        received = "one element" if data in Y else "an empty one"
        raise ValueError(
            f"`data` must be a sequence of elements of Y or an array (B, *Y.shape), "
            f"got {received}; put a single one in brackets."
        )
    return [checked_data(y, Y) for y in data]


def latent_starts(generator, images: int, restarts: int, seed: int, start):
    """Return starts ``(images * restarts, *Z.shape)``: ``start`` or 0, and samples."""
    Z = generator.domain
    samples = sample_latents(Z, restarts, seed)
    samples[0] = 0
    starts = samples.repeat(images, *[1] * len(Z.shape))
    if start is not None:
        given = [start] if hasattr(start, "space") else list(start)
        if len(given) not in (1, images) or not all(z in Z for z in given):
            received = {
                space_name(z.space) if hasattr(z, "space") else type(z).__name__
                for z in given
            }
            raise ValueError(
                f"`start` must be an element of Z, or one for each of {images} images, "
                f"got {len(given)} of {' and '.join(sorted(received))} where Z is "
                f"{space_name(Z)}; use `G.domain.element`."
            )
        for image in range(images):
            starts[image * restarts] = as_tensor(given[image % len(given)])
    return starts
