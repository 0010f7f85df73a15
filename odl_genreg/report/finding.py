# SPDX-License-Identifier: MPL-2.0
"""What was found of one property of a generator."""

import dataclasses
from collections.abc import Sequence

import torch

__all__ = ("Finding", "deciles", "montage")


@dataclasses.dataclass
class Finding:
    """One property: a number, a sentence, and what follows from it.

    Parameters
    ----------
    question : str
        What the property is.
    label : str
        What the number is, with its unit.
    value : float
        A number that can be compared between generators.
    sentence : str
        What was measured, in words.
    advice : str
        What it means for the choice of range, soft or sparse.
    details : dict
        All numbers, as JSON takes them.
    pictures : dict
        Tensors ``(rows, columns)`` by their captions.
    """

    question: str
    label: str
    value: float
    sentence: str
    advice: str
    details: dict
    pictures: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def deciles(values: torch.Tensor) -> list[float]:
    """Return the 10 %, 20 %, ..., 90 % quantiles."""
    shares = torch.linspace(0.1, 0.9, 9, dtype=torch.float64, device=values.device)
    return values.double().flatten().quantile(shares).tolist()


def montage(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return rows of images, ``(number, n, m)`` each, as one picture.

    Of images with channels the first channel is shown.
    """
    parts = []
    for row in rows:
        flat = row.reshape(len(row), -1, *row.shape[-2:])[:, 0]
        parts.append(torch.cat(list(flat), dim=1))
    return torch.cat(parts)
