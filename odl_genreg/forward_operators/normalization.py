# SPDX-License-Identifier: MPL-2.0
"""Operators of norm 1, in the inner products of their spaces or in plain sums."""

import math

import numpy as np
import scipy.linalg
import torch

from ..torch_bridge import LinearMap, torch_device, torch_dtype, weight

__all__ = ("normalized", "operator_norm")

NORMS = ("weighted", "plain")

# Accuracy of the square of the norm, and the most products with ``A^T A`` for it.
_TOL, _MAX_PRODUCTS = 1e-4, 300


def operator_norm(operator, norm: str = "weighted") -> float:
    """Return ``||A||``, in the inner products of ``X`` and ``Y`` or in plain sums.

        ``||A||_weighted = max ||A x||_Y / ||x||_X = sqrt(w_Y / w_X) ||A||_plain``,
        ``||A||_plain = max |A x| / |x|``, the largest singular value of the matrix

    as ``||x||_X^2 = w_X |x|^2`` and ``||y||_Y^2 = w_Y |y|^2`` with ``|x|^2`` the plain
    sum of squares. `odl.power_method_opnorm` estimates the weighted one.

    Parameters
    ----------
    operator : linear `Operator`
        Operator ``A : X -> Y`` between spaces with constant weightings ``w``.
    norm : {'weighted', 'plain'}, optional
        Which of the two.

    Returns
    -------
    norm : float
        The norm up to a relative error of about 1e-4, always the same number: Lanczos'
        method for ``A^T A`` from a fixed start. It needs some ten products, or some
        hundred where the largest singular values lie close together.

    Examples
    --------
    Cells of length 1/4, so ``||x||_X = |x| / 2`` while ``||y||_Y = |y|``:

    >>> X = odl.uniform_discr(0, 1, 4)
    >>> A = odl.MatrixOperator(3 * np.eye(4), domain=X, range=odl.rn(4))
    >>> round(ogr.forward_operators.operator_norm(A), 6)
    6.0
    >>> round(ogr.forward_operators.operator_norm(A, norm="plain"), 6)
    3.0
    """
    if norm not in NORMS:
        raise ValueError(
            f"`norm` must be one of {', '.join(map(repr, NORMS))}, got {norm!r}; "
            "use 'weighted' for the norm that ODL means."
        )
    linear_map = LinearMap(operator)
    ratio = weight(linear_map.range) / weight(linear_map.domain)
    plain = math.sqrt(max(_largest_eigenvalue(linear_map), 0.0))
    return plain if norm == "plain" else math.sqrt(ratio) * plain


def normalized(operator, norm: str = "weighted"):
    """Return ``A / ||A||``, an operator of norm 1.

    Parameters
    ----------
    operator : linear `Operator`
        Operator ``A : X -> Y`` between spaces with constant weightings, not zero.
    norm : {'weighted', 'plain'}, optional
        Which norm becomes 1; see `operator_norm`.

    Returns
    -------
    operator : linear `Operator`
        The product ``(1 / ||A||) * A`` between the same spaces.

    Notes
    -----
    A noise level is worth what the norm is: data with noise of standard deviation
    ``sigma`` are as good for ``A / c`` as those with ``c sigma`` for ``A``. The two
    norms differ by ``sqrt(w_X / w_Y)``, so at the same ``sigma`` division by the plain
    norm instead of the weighted one makes the problem noisier by this factor.

    In tomography it is large, as the cells of the data are small: for 56 x 56 pixels of
    side 1, ODL's own parallel beam geometry and data weighted by their cells the
    weighted norm is 13.03 and the plain one 83.13, a factor of 6.4; for 28 x 28 pixels
    9.21 and 41.98, a factor of 4.6. Both depend on the unit of length, as its root and
    in proportion. Say which norm was used where figures are to be compared.

    ODL takes pixels of area exactly 1 for no weighting, and the data of a ray transform
    from there have the weight 1: then both norms are the plain one. Another unit of
    length, or ``proj_space`` of `odl.applications.tomo.RayTransform`, avoids this.

    Examples
    --------
    >>> A = ogr.normalized(5 * odl.IdentityOperator(odl.rn(2)))
    >>> A([1.0, 2.0]).asarray().round(6)
    array([ 1.,  2.])
    """
    value = operator_norm(operator, norm)
    if value == 0:
        raise ValueError(
            "`operator` must not be zero, got norm 0; nothing can be scaled to norm 1."
        )
    return (1 / value) * operator


def _largest_eigenvalue(linear_map):
    """Largest eigenvalue of ``A^T A`` by Lanczos' method, orthogonalized in full."""
    X, dtype = linear_map.domain, torch_dtype(linear_map.domain)
    start = torch.Generator().manual_seed(0)
    v = torch.randn(X.size, generator=start, dtype=torch.float64).to(torch_device(X))
    basis, diagonal, beside = [v / v.norm()], [], []
    while True:
        image = basis[-1].to(dtype).reshape(1, *X.shape)
        product = linear_map.T.product(linear_map.product(image))
        w = product.reshape(-1).double()
        diagonal.append(float(w @ basis[-1]))
        Q = torch.stack(basis)
        for _ in range(2):
            w = w - Q.T @ (Q @ w)
        beside.append(float(w.norm()))
        tridiagonal = (np.array(diagonal), np.array(beside[:-1]))
        eigenvalues, vectors = scipy.linalg.eigh_tridiagonal(*tridiagonal)
        # How far, at most, an eigenvalue of A^T A is from the one found.
        error = beside[-1] * abs(vectors[-1, -1])
        largest = float(eigenvalues[-1])
        if error <= _TOL * abs(largest) or len(basis) == min(_MAX_PRODUCTS, X.size):
            return largest
        basis.append(w / beside[-1])
