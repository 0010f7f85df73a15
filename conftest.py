# SPDX-License-Identifier: MPL-2.0
"""Names for doctests, and a clean global state around every test.

Doctests print as an ODL user sees it: ``import odl`` chooses numpy's print options.
"""

import contextlib

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    """Let doctests speak of ``odl``, ``np``, ``torch`` and ``ogr``."""
    doctest_namespace.update(odl=odl, np=np, torch=torch, ogr=ogr)


@pytest.fixture(autouse=True)
def fixed_global_state():
    """Seed the global generators, from which torch initializes layers; restore all."""
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    options = np.get_printoptions()
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    np.random.set_state(numpy_state)
    torch.set_rng_state(torch_state)
    np.set_printoptions(**options)


@pytest.fixture
def global_state_untouched():
    """Context that fails if random states, print options or default dtype change.

    Use: ``with global_state_untouched(): reconstruct(D, R, lam=1.0, seed=0)``.
    """

    @contextlib.contextmanager
    def untouched():
        numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
        options, dtype = np.get_printoptions(), torch.get_default_dtype()
        yield
        changed = {
            "random state of numpy": not all(
                np.array_equal(a, b)
                for a, b in zip(numpy_state, np.random.get_state(), strict=True)
            ),
            "random state of torch": not torch.equal(
                torch_state, torch.get_rng_state()
            ),
            "print options of numpy": options != np.get_printoptions(),
            "default dtype of torch": dtype != torch.get_default_dtype(),
        }
        assert not any(changed.values()), [k for k, v in changed.items() if v]

    return untouched
