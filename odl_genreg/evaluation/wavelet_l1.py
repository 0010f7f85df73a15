# SPDX-License-Identifier: MPL-2.0
"""Sparse wavelet details, solved to a certified gap: a baseline beside TV."""

from collections.abc import Sequence

from ..torch_bridge import torch_device
from .certified_minima import certified_minima, checked_fidelities
from .periodic_wavelets import PeriodicWavelets
from .primal_dual_batch import SparsifyingMap

__all__ = ("wavelet_l1",)


def wavelet_l1(
    data_fidelity,
    beta: float,
    *,
    data: Sequence | None = None,
    bounds=None,
    wavelet: str = "db4",
    level: int | None = None,
    gap_tol: float = 1e-4,
    maxiter: int = 10000,
):
    """Minimize a data fidelity plus the sum of the wavelet details' sizes.

        ``min_x D(x) + beta w_X sum_i |(W x)_i|``,  ``lower <= x <= upper``

    The second term is that of `WaveletL1`: ``W`` is orthonormal, the averages of the
    last level are free. The method, its certified gap and the batches are those of
    `total_variation`.

    Parameters
    ----------
    data_fidelity : `Functional`, or sequence of them
        ``D(x) = on_data(A x)``, convex, as for `total_variation`.
    beta : positive float
        Weight of the details.
    data : sequence of ``A.range`` `element-like`, or array, optional
        Data of several images, which replace those of ``D``: elements, or an array
        ``(B, *Y.shape)``.
    bounds : pair, optional
        ``(lower, upper)``, floats or None; without it, images are not constrained.
    wavelet, level : optional
        Orthogonal wavelet and number of levels, see `WaveletL1`.
    gap_tol : positive float, optional
        Stop at this relative primal-dual gap. In float32, less than 1e-5 may not be
        reached.
    maxiter : positive int, optional
        Stop after this number of iterations, with a warning.

    Returns
    -------
    x : ``A.domain`` element or list of them
        Reconstruction; a list for several images.

    Raises
    ------
    ImportError
        If PyWavelets is not installed.
    TypeError
        If ``data_fidelity`` lacks an attribute, or its operator is not linear.
    ValueError
        If ``data_fidelity`` has several operators, or if one of the other arguments
        makes no sense.

    Notes
    -----
    Nothing but data and bounds holds the averages. Where the data are too few for that,
    as a few projections are, give bounds: without them the images are poor, and many
    times as many iterations are needed.

    Examples
    --------
    The difference of a pair, ``4 / sqrt(2)``, shrinks by ``beta w_X = sqrt(2)``:

    >>> X = odl.uniform_discr(0, 2, 2)
    >>> D = ogr.squared_l2(odl.IdentityOperator(X), [1, 5])
    >>> x = ogr.evaluation.wavelet_l1(D, 2**0.5, wavelet="haar", gap_tol=1e-8)
    >>> x.asarray().round(3)
    array([ 2.,  4.])
    """
    fidelities, several = checked_fidelities(data_fidelity, data)
    X = fidelities[0].operator.domain
    W = PeriodicWavelets(X.shape, wavelet, level, torch_device(X))

    def forward(x):
        return W.details(W.forward(x.reshape(-1, *X.shape))).flatten(1)

    def transpose(p):
        return W.inverse(W.details(p.reshape(-1, *X.shape))).flatten(1)

    sparse = SparsifyingMap(forward, transpose, norm=1.0)
    minima = certified_minima(fidelities, sparse, beta, bounds, gap_tol, maxiter)
    images = [minimum.x for minimum in minima]
    return images if several else images[0]
