# SPDX-License-Identifier: MPL-2.0
"""What a reconstruction found."""

import dataclasses
import json
import os
import pathlib

import numpy as np

from .torch_bridge import as_tensor

__all__ = ("Reconstruction",)

ARRAYS = ("x", "z", "deviation")


@dataclasses.dataclass
class Reconstruction:
    """What `reconstruct` found, and what is to be known of it.

    Parameters
    ----------
    x, z, deviation : `LinearSpaceElement`
        Image, latent, and ``x - G(z)``.
    objective : float
        Value of the objective.
    history : list of float
        Best objective of the last stage, the start first.
    residual : float or None
        ``sum_i |(A x - y)_i|^2``, of a `DataFidelity`.
    expected_residual : float or None
        What the noise alone gives, of a `squared_l2`.
    distance_to_range : float
        ``||x - G(z)||_X``.
    restarts : list of float
        Objective that each start ended with, of the stage from many starts: their
        spread tells how much depends on the start.
    solver : str
        Solver of the last stage.
    stop_reason : str
        Why it stopped.
    seconds : float
        Wall time.
    weights : dict
        ``lam`` and ``mu``.
    """

    x: object
    z: object
    deviation: object
    objective: float
    history: list
    residual: float | None
    expected_residual: float | None
    distance_to_range: float
    restarts: list
    solver: str
    stop_reason: str
    seconds: float
    weights: dict

    def __str__(self):
        """Return a summary of one line for each number."""
        lines = [f"objective          {self.objective:.6g} by {self.solver}"]
        if self.expected_residual is not None:
            ratio = self.residual / self.expected_residual
            lines.append(f"residual           {ratio:.3g} times that of the noise")
        lines.append(f"distance to range  {self.distance_to_range:.3g}")
        spread = max(self.restarts) - min(self.restarts)
        lines.append(f"restarts           {len(self.restarts)}, spread {spread:.3g}")
        lines.append(f"stopped            {self.stop_reason}, {self.seconds:.2f} s")
        return "\n".join(lines)

    def save(self, path):
        """Write ``path.npz`` (x, z, deviation) and ``path.json`` (all the rest)."""
        path = pathlib.Path(path)
        arrays = {name: as_tensor(getattr(self, name)).cpu().numpy() for name in ARRAYS}
        rest = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ARRAYS
        }
        part = path.with_name(f".{path.name}.part.npz")
        np.savez_compressed(part, **arrays)
        os.replace(part, path.with_name(f"{path.name}.npz"))
        part = part.with_suffix(".json")
        part.write_text(json.dumps(rest, indent=2) + "\n")
        os.replace(part, path.with_name(f"{path.name}.json"))

    @classmethod
    def load(cls, path, generator):
        """Read what `save` wrote, as elements of the spaces of ``generator``."""
        path = pathlib.Path(path)
        spaces = (generator.range, generator.domain, generator.range)
        with np.load(path.with_name(f"{path.name}.npz")) as arrays:
            elements = {
                name: space.element(arrays[name])
                for name, space in zip(ARRAYS, spaces, strict=True)
            }
        rest = json.loads(path.with_name(f"{path.name}.json").read_text())
        return cls(**elements, **rest)

    def show(self):
        """Show ``x``, ``G(z)`` and the deviation beside each other (matplotlib)."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
        images = {
            "x": self.x,
            "G(z)": self.x - self.deviation,
            "x - G(z)": self.deviation,
        }
        for axis, (title, image) in zip(axes, images.items(), strict=True):
            shown = axis.imshow(as_tensor(image).cpu().numpy().T, origin="lower")
            axis.set(title=title, xticks=[], yticks=[])
            figure.colorbar(shown, ax=axis, shrink=0.8)
        return figure
