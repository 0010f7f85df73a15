# SPDX-License-Identifier: MPL-2.0
"""Which weights were chosen, and what was tried on the way."""

import dataclasses
import itertools

from ..torch_bridge import as_tensor
from .path import WeightTrial

__all__ = ("WeightChoice",)


@dataclasses.dataclass
class WeightChoice:
    """What `choose_weights` chose, and all that it tried.

    Parameters
    ----------
    method : str
        'discrepancy', 'l_curve' or 'validation'.
    chosen : `WeightTrial`
        What the chosen weights give.
    path : list of `WeightTrial`
        All tried weights, by ``mu`` and ``beta``, the largest ``lam`` first.
    target : float or None
        Residual that the discrepancy principle asks for.
    warning : str or None
        Why the criterion of the method is not met, if it is not.
    """

    method: str
    chosen: WeightTrial
    path: list
    target: float | None = None
    warning: str | None = None

    @property
    def lam(self) -> float:
        """Weight of the regularizer."""
        return self.chosen.lam

    @property
    def mu(self) -> float:
        """Weight of the latent prior inside the regularizer."""
        return self.chosen.mu

    @property
    def beta(self) -> float:
        """Common factor of the other terms."""
        return self.chosen.beta

    @property
    def reconstruction(self):
        """The `Reconstruction` with the chosen weights; None of a validation."""
        return self.chosen.reconstruction

    @property
    def attainable(self) -> bool:
        """Whether the weights meet the criterion of the method."""
        return self.warning is None

    def __str__(self):
        """Return the weights, what is wrong with them, and the path as a table."""
        searched = [
            name
            for name in ("lam", "mu", "beta")
            if name == "lam" or len({getattr(trial, name) for trial in self.path}) > 1
        ]
        weights = ", ".join(f"{name} = {getattr(self, name):.4g}" for name in searched)
        lines = [f"{weights} by {self.method}, {len(self.path)} trials"]
        if self.warning is not None:
            lines.append(self.warning)
        columns = {
            **{
                name: [getattr(trial, name) for trial in self.path] for name in searched
            },
            "objective": [trial.objective for trial in self.path],
            "R": [trial.regularizer_value for trial in self.path],
            "residual": [_relative_residual(trial) for trial in self.path],
            "score": [trial.score for trial in self.path],
            "seconds": [trial.seconds for trial in self.path],
        }
        columns = {
            name: values for name, values in columns.items() if None not in values
        }
        lines.append("".join(f"{name:>11}" for name in columns))
        for trial, *row in zip(self.path, *columns.values(), strict=True):
            mark = " *" if trial is self.chosen else ""
            lines.append("".join(f"{value:11.4g}" for value in row) + mark)
        return "\n".join(lines)

    def show(self):
        """Show the criterion along the path, and the chosen image (matplotlib).

        The residual over ``m sigma^2`` against ``lam``, the L-curve, or the score
        against ``lam``, a line for each ``mu`` and ``beta``.
        """
        import matplotlib.pyplot as plt

        x = None if self.reconstruction is None else as_tensor(self.reconstruction.x)
        flat = x is None or x.ndim != 2
        size = (5, 4) if flat else (9, 4)
        figure, axes = plt.subplots(
            1, 1 if flat else 2, figsize=size, layout="constrained", squeeze=False
        )
        axis = axes[0, 0]
        {
            "discrepancy": self._show_residuals,
            "l_curve": self._show_l_curve,
            "validation": self._show_scores,
        }[self.method](axis)
        axis.set_title(f"lam = {self.lam:.3g}, mu = {self.mu:.3g}")
        if not flat:
            axis = axes[0, 1]
            shown = axis.imshow(x.cpu().numpy().T, origin="lower")
            axis.set(title="x", xticks=[], yticks=[])
            figure.colorbar(shown, ax=axis, shrink=0.8)
        return figure

    def _show_residuals(self, axis):
        lams = [trial.lam for trial in self.path]
        axis.loglog(lams, [_relative_residual(trial) for trial in self.path], ".-")
        axis.axhline(self.target / self.chosen.expected_residual, color="gray")
        axis.loglog(self.lam, _relative_residual(self.chosen), "o", color="C3")
        axis.set(xlabel="lam", ylabel="residual / (m sigma^2)")

    def _show_l_curve(self, axis):
        fidelities = [trial.fidelity for trial in self.path]
        axis.loglog(fidelities, [t.regularizer_value for t in self.path], ".-")
        axis.loglog(
            self.chosen.fidelity, self.chosen.regularizer_value, "o", color="C3"
        )
        axis.set(xlabel="D(x)", ylabel="R(x)")

    def _show_scores(self, axis):
        several = len({(trial.mu, trial.beta) for trial in self.path}) > 1
        lines = itertools.groupby(self.path, key=lambda trial: (trial.mu, trial.beta))
        for (mu, beta), trials in lines:
            trials = list(trials)
            label = f"mu = {mu:.3g}, beta = {beta:.3g}"
            scores = [trial.score for trial in trials]
            axis.semilogx([t.lam for t in trials], scores, ".-", label=label)
        axis.semilogx(self.lam, self.chosen.score, "o", color="C3")
        axis.set(xlabel="lam", ylabel="score")
        if several:
            axis.legend(fontsize="small")


def _relative_residual(trial):
    if trial.residual is None or trial.expected_residual is None:
        return None
    return trial.residual / trial.expected_residual
