# SPDX-License-Identifier: MPL-2.0
"""Where ODL meets torch, both ways.

===================  ======================================================
ODL element          `as_tensor`, `as_element` (shared memory)
torch module         `TorchOperator`, an ODL operator; `push_forward`
ODL operator         `LinearMap`, a batched torch function; `gram_matrix`,
                     `normal_spectrum`
torch function       `TorchFunctional`, an ODL functional
ODL functional       `batch_value`, `batch_proximal`, batched torch functions
===================  ======================================================

The weights of the inner products stand here and nowhere else.
"""

from .batching import takes_batches
from .elements import (
    as_element,
    as_tensor,
    space_name,
    torch_device,
    torch_dtype,
    weight,
)
from .forward_mode import push_forward
from .functional_map import batch_value
from .gram import gram_matrix
from .linear_map import LinearMap, batch_products
from .normal_spectrum import NormalSpectrum, normal_spectrum
from .proximal_map import batch_proximal
from .torch_functional import TorchFunctional
from .torch_operator import TorchOperator, check_device, frozen

__all__ = (
    "LinearMap",
    "NormalSpectrum",
    "TorchFunctional",
    "TorchOperator",
    "as_element",
    "as_tensor",
    "batch_products",
    "batch_proximal",
    "batch_value",
    "check_device",
    "frozen",
    "gram_matrix",
    "normal_spectrum",
    "push_forward",
    "space_name",
    "takes_batches",
    "torch_device",
    "torch_dtype",
    "weight",
)
