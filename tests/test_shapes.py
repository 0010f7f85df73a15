# SPDX-License-Identifier: MPL-2.0
"""The images of rectangles and circles, measured pixel by pixel."""

import numpy as np
import pytest
import scipy.ndimage

from odl_genreg.datasets import bright_spots, shapes

NUMBER = 400


def parts(image):
    """The connected parts as lists of pixels, rectangle first: it is further up."""
    labels, number = scipy.ndimage.label(image > 0)
    return [np.argwhere(labels == i + 1) for i in range(number)]


def test_one_rectangle_and_one_circle_within_their_limits():
    images = shapes(NUMBER, seed=3)
    apart = [parts(image) for image in images]
    apart = [found for found in apart if len(found) == 2]
    assert len(apart) > NUMBER / 2
    sides, corners, centers, radii = [], [], [], []
    for rectangle, circle in apart:
        low, high = rectangle.min(0), rectangle.max(0)
        assert len(rectangle) == np.prod(high - low + 1)
        sides.append(high - low + 1)
        corners.append(low)
        low, high = circle.min(0), circle.max(0)
        centers.append((low + high) / 2)
        radius = (high - low)[0] / 2
        assert (high - low)[0] == (high - low)[1]
        distance = np.linalg.norm(circle - centers[-1], axis=1)
        assert distance.max() <= radius
        radii.append(radius)
    for values, low, high in (
        (sides, 6, 13),
        (corners, 0, 13),
        (centers, 28, 41),
        (radii, 6, 13),
    ):
        assert np.min(values) == low
        assert np.max(values) == high


def test_all_values_of_a_parameter_are_as_frequent():
    """The areas of the rectangles, against those of independent sides."""
    images = shapes(20_000, seed=5)[:, :14, :14]
    # The first row of the rectangle is uniform in {0, ..., 13}.
    first = (images.any(2)).argmax(1)
    counts = np.bincount(first, minlength=14)
    expected = len(first) / 14
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_first_images_do_not_depend_on_the_number():
    few, many = shapes(5, seed=2), shapes(50, seed=2)
    assert (few == many[:5]).all()
    assert (shapes(5, seed=4) != few).any()
    assert (bright_spots(5, seed=2) == bright_spots(50, seed=2)[:5]).all()


def test_bright_spots_are_in_the_circle():
    plain, masks = shapes(NUMBER, seed=3), bright_spots(NUMBER, seed=3)
    bright = shapes(NUMBER, seed=3, bright_spot=True)
    assert (bright[masks] == 2).all()
    assert (bright[~masks] == plain[~masks]).all()
    assert (masks.sum((1, 2)) == 13).all()
    # The disc may stand over the edge of a small circle by a pixel.
    assert plain[masks].mean() > 0.97
    positions = [np.argwhere(mask).mean(0) for mask in masks]
    assert np.std(positions, axis=0).min() > 3


@pytest.mark.parametrize("number", [0, -1, 2.5, "many"])
def test_number_must_be_positive(number):
    with pytest.raises(ValueError, match="`number` must be a positive int, got"):
        shapes(number)
