# SPDX-License-Identifier: MPL-2.0
"""Classical reconstructions to compare with: filtered back-projection."""

from odl.applications.tomo import fbp_op

from ..torch_bridge import as_tensor

__all__ = ("fbp",)


def fbp(
    ray_trafo,
    data,
    *,
    filter_type="Ram-Lak",
    frequency_scaling: float = 1.0,
    bounds=None,
):
    """Return the filtered back-projection of data.

        ``x = A^* (h * y)``,  ``h`` a ramp filter, cut off and damped

    Parameters
    ----------
    ray_trafo : `odl.applications.tomo.RayTransform`
        Ray transform ``A : X -> Y`` with a flat detector.
    data : ``ray_trafo.range`` `element-like`
        Data ``y``.
    filter_type : str or callable, optional
        ``'Ram-Lak'``, ``'Shepp-Logan'``, ``'Cosine'``, ``'Hamming'``, ``'Hann'`` (from
        sharp to smooth) or a function; see `odl.applications.tomo.fbp_op`.
    frequency_scaling : float, optional
        Cutoff frequency, relative to the highest of the detector.
    bounds : pair of float, optional
        Cut the values of the result off at ``(lower, upper)``.

    Returns
    -------
    x : ``ray_trafo.domain`` element
        Reconstruction.

    Examples
    --------
    >>> X = odl.uniform_discr([-1, -1], [1, 1], (7, 7), dtype="float32")
    >>> A = ogr.ray_transform(X, num_angles=9)
    >>> ogr.evaluation.fbp(A, A.range.zero()).norm()
    0.0
    """
    filtered_back_projection = fbp_op(
        ray_trafo, filter_type=filter_type, frequency_scaling=frequency_scaling
    )
    x = filtered_back_projection(ray_trafo.range.element(data))
    if bounds is not None:
        as_tensor(x).clamp_(*bounds)
    return x
