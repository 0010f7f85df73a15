# SPDX-License-Identifier: MPL-2.0
"""Reconstructions along a path of weights, each started from the one before."""

import dataclasses
import math
import statistics
import time

from odl.functionals import IndicatorZero

from ..generative_regularizer import GenerativeRegularizer
from ..reconstruction import reconstruct

__all__ = ("FARTHEST", "WeightPath", "WeightTrial")

#: A search goes no further than this factor from where it starts.
FARTHEST = 1e6


@dataclasses.dataclass
class WeightTrial:
    """What one choice of the weights gives; means where there are several images.

    Parameters
    ----------
    lam, mu, beta : float
        Weights of the regularizer, of the latent prior in it, and of the other terms.
    objective : float
        Value of the objective.
    regularizer_value : float
        ``F(x - G(z)) + mu R_Z(z)``.
    fidelity : float or None
        ``D(x)``, where there is no score.
    residual, expected_residual : float or None
        ``sum_i |(A x - y)_i|^2``, and what the noise alone gives.
    score : float or None
        Score of the images, against the true ones.
    seconds : float
        Wall time.
    latents : list of `LinearSpaceElement`
        Latent of each image.
    reconstruction : `Reconstruction` or None
        All there is, where it is one image without a score.
    """

    lam: float
    mu: float
    beta: float
    objective: float
    regularizer_value: float
    fidelity: float | None
    residual: float | None
    expected_residual: float | None
    score: float | None
    seconds: float
    latents: list = dataclasses.field(repr=False)
    reconstruction: object = dataclasses.field(repr=False)


class WeightPath:
    """The map from weights to a `WeightTrial`; every choice is tried once.

    The first, largest ``lam`` for a ``mu`` and ``beta`` starts from many latents, every
    other one from the latent of the next larger ``lam`` alone.
    """

    def __init__(
        self,
        data_fidelity,
        regularizer,
        other_terms,
        *,
        restarts,
        options,
        validation=None,
        report=None,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        data_fidelity, regularizer, other_terms :
            As for `reconstruct`.
        restarts : int
            Number of starts at the largest ``lam``.
        options : dict
            Further options of `reconstruct`.
        validation : tuple, optional
            True images, data of each, and a score ``(x, image) -> float``. Default:
            the data of ``data_fidelity``, no score.
        report : callable, optional
            Called with each new trial.
        """
        self.data_fidelity, self.regularizer = data_fidelity, regularizer
        self.other_terms, self.validation = list(other_terms), validation
        self.restarts, self.options = restarts, dict(options)
        self.trials: dict[tuple, WeightTrial] = {}
        self.report = report

    @property
    def sorted_trials(self) -> list[WeightTrial]:
        """All trials, by ``mu`` and ``beta``, the largest ``lam`` first."""
        return sorted(self.trials.values(), key=lambda t: (t.mu, t.beta, -t.lam))

    def __call__(
        self, lam: float, mu: float | None = None, beta: float = 1.0
    ) -> WeightTrial:
        """Return the trial of some weights; ``mu`` is that of the regularizer."""
        mu = self.regularizer.mu if mu is None else mu
        key = float(lam), float(mu), float(beta)
        if key not in self.trials:
            self.trials[key] = self._reconstruct(*key)
            if self.report is not None:
                self.report(self.trials[key])
        return self.trials[key]

    def _reconstruct(self, lam, mu, beta):
        start_time = time.perf_counter()
        D, R = self.data_fidelity, self.regularizer
        if mu != R.mu:
            R = GenerativeRegularizer(R.generator, R.deviation, R.latent_prior, mu)
        others = [(g if beta == 1 else beta * g, L) for g, L in self.other_terms]
        arguments = {
            "other_terms": others,
            **self.options,
            **self._start(lam, mu, beta),
        }
        if self.validation is None:
            results, score = [reconstruct(D, R, lam, **arguments)], None
        else:
            images, data, score_of = self.validation
            results = reconstruct(D, R, lam, data=data, **arguments)
            scores = (score_of(r.x, x) for r, x in zip(results, images, strict=True))
            score = statistics.fmean(scores)
        objective = _mean(result.objective for result in results)
        if not math.isfinite(objective):
            raise ValueError(
                "`data_fidelity` and `bounds` must admit an image of a finite "
                f"objective, got {objective} at lam = {lam:.3g}; widen `bounds`, or "
                "look at D(G(0))."
            )
        return WeightTrial(
            lam=lam,
            mu=mu,
            beta=beta,
            objective=objective,
            regularizer_value=_mean(_regularizer_value(R, r) for r in results),
            fidelity=D(results[0].x) if self.validation is None else None,
            residual=_mean(result.residual for result in results),
            expected_residual=results[0].expected_residual,
            score=score,
            seconds=time.perf_counter() - start_time,
            latents=[result.z for result in results],
            reconstruction=results[0] if self.validation is None else None,
        )

    def _start(self, lam, mu, beta):
        """Return the arguments that say where `reconstruct` starts."""
        larger = [
            trial
            for trial in self.trials.values()
            if trial.mu == mu and trial.beta == beta and trial.lam > lam
        ]
        if not larger:
            return {"restarts": self.restarts}
        latents = min(larger, key=lambda trial: trial.lam).latents
        start = latents[0] if self.validation is None else latents
        return {"restarts": 1, "start": start}


def _regularizer_value(R, result):
    prior, F, u = R.mu * R.latent_prior(result.z), R.deviation, result.deviation
    if isinstance(F, IndicatorZero):
        return prior
    return prior + F(u if F.domain == R.domain else F.domain.element([u, result.z]))


def _mean(values):
    values = list(values)
    return None if None in values else math.fsum(values) / len(values)
