# SPDX-License-Identifier: MPL-2.0
"""Classical reconstructions by one linear map: back-projections."""

from odl.applications.tomo import fbp_op

from ..torch_bridge import LinearMap, as_element, as_tensor
from .data_stack import data_stack, is_several

__all__ = ("fbp", "zero_filled")


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


def zero_filled(operator, data, *, bounds=None):
    """Return the back-projection of data, as if all that is not measured were zero.

        ``x = A^T y = (w_X / w_Y) A^* y``

    The transpose in plain sums. Of a Fourier transform that is orthonormal and masked,
    it is the inverse with zeros for the frequencies that are missing.

    Parameters
    ----------
    operator : `Operator`
        Linear operator ``A : X -> Y``.
    data : ``operator.range`` element, array, or sequence of `element-like`
        Data ``y`` of one image, an element or an array ``Y.shape``; or of several, an
        array ``(B, *Y.shape)`` or a sequence.
    bounds : pair of float, optional
        Cut the values of the result off at ``(lower, upper)``.

    Returns
    -------
    x : ``operator.domain`` element or list of them
        Reconstruction; a list for several images.

    Raises
    ------
    TypeError
        If ``operator`` is not linear.
    ValueError
        If ``data`` have a wrong shape or a value that is not finite.

    Examples
    --------
    >>> A = odl.MatrixOperator([[1.0, 2.0]])
    >>> ogr.evaluation.zero_filled(A, A.range.element([3.0]))
    rn(2).element([ 3.,  6.])
    """
    transpose = LinearMap(operator).T
    several = is_several(data, operator.range)
    images = transpose.product(data_stack(data if several else [data], operator.range))
    if bounds is not None:
        images = images.clamp(*bounds)
    elements = [as_element(operator.domain, image.clone()) for image in images]
    return elements if several else elements[0]
