# SPDX-License-Identifier: MPL-2.0
"""Latent priors: values, gradient, projections."""

import numpy as np
import pytest

from checks import taylor_order
from generators import array, latent_space, random_element
from odl_genreg.latent_prior import ball, box, gaussian
from odl_genreg.solvers import is_smooth
from odl_genreg.torch_bridge import as_tensor, batch_proximal, batch_value
from tolerance import taylor_order as least_order

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_weighting = pytest.mark.parametrize("weighting", [1.0, 2.0])
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@each_impl
@each_weighting
def test_gaussian(impl, weighting):
    Z = latent_space(impl, weighting=weighting)
    R_Z, z = gaussian(Z), random_element(Z)
    assert R_Z(z) == pytest.approx(weighting * (array(z) ** 2).sum())
    assert array(R_Z.gradient(z)) == pytest.approx(2 * array(z))
    assert taylor_order(R_Z, z, random_element(Z, 1)) >= least_order
    assert array(R_Z.proximal(0.5)(z)) == pytest.approx(array(z) / 2)


@each_impl
@each_weighting
def test_box(impl, weighting):
    Z = latent_space(impl, weighting=weighting)
    R_Z = box(Z, -0.5, 2.0)
    assert R_Z(Z.element([-0.5, 0.0, 2.0])) == 0
    assert R_Z(Z.element([-0.6, 0.0, 2.0])) == np.inf
    projected = R_Z.proximal(3.0)(Z.element([-7.0, 0.3, 2.5]))
    assert array(projected).tolist() == [-0.5, 0.3, 2.0]
    assert not is_smooth(R_Z)


@each_impl
@each_weighting
def test_ball_is_that_of_the_unweighted_norm(impl, weighting):
    Z = latent_space(impl, weighting=weighting)
    R_Z = ball(Z, radius=5.0)
    assert R_Z(Z.element([3.0, 3.9, 0.0])) == 0
    assert R_Z(Z.element([3.0, 4.1, 0.0])) == np.inf
    projected = R_Z.proximal(0.1)(Z.element([6.0, 8.0, 0.0]))
    assert array(projected) == pytest.approx([3.0, 4.0, 0.0], abs=1e-12)
    inside = Z.element([1.0, -2.0, 0.5])
    assert array(R_Z.proximal(0.1)(inside)) == pytest.approx(array(inside))
    assert not is_smooth(R_Z)


def test_default_radius():
    Z = latent_space()
    side = np.sqrt(3.0)
    assert ball(Z)(Z.element([0.99 * side, 0, 0])) == 0
    assert ball(Z)(Z.element([1.01 * side, 0, 0])) == np.inf


@each_dtype
@each_weighting
def test_projections_lie_inside_up_to_rounding(dtype, weighting):
    """So that a projected latent has a finite prior, also in float32."""
    Z = latent_space("numpy", dtype, weighting)
    for R_Z in (ball(Z, 1.3), box(Z, -0.1, 0.3), 2.5 * ball(Z)):
        value, project = batch_value(R_Z), batch_proximal(R_Z)
        for seed in range(50):
            z = random_element(Z, seed, scale=5.0)
            assert value(project(1.0, as_tensor(z)[None])).tolist() == [0.0]
