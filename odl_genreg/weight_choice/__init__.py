# SPDX-License-Identifier: MPL-2.0
"""Choosing lam, mu and the factor of other terms, in one call."""

from .choice import WeightChoice
from .choose import choose_weights
from .path import WeightTrial

__all__ = ("WeightChoice", "WeightTrial", "choose_weights")
