# SPDX-License-Identifier: MPL-2.0
"""The tolerances of the tests, by dtype, in one place."""

#: Relative error of a value that a formula gives.
tolerance = {"float32": 1e-4, "float64": 1e-10}

#: ``|<A x, y> - <x, A^* y>| / (||A x|| ||y||)``.
adjoint_tolerance = {"float32": 1e-5, "float64": 1e-10}

#: Relative error of a gradient against a finite difference in float32 with ASTRA.
finite_difference_tolerance = 1e-3

#: Least order of ``|f(x + e h) - f(x) - e <grad f(x), h>|`` in e; 2 in theory.
taylor_order = 1.9
