# SPDX-License-Identifier: MPL-2.0
"""Fixtures of the tests."""

import pytest

from simulated_device import simulated_device


@pytest.fixture
def device():
    """Name of a device that torch and ODL take for an accelerator during the test."""
    with simulated_device() as name:
        yield name
