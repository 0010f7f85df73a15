# SPDX-License-Identifier: MPL-2.0
"""Images for a command, from its options."""

import argparse

from ..datasets import ImageSet, read_images

__all__ = ("add_choices", "chosen_images")

KINDS = "'shapes', a file of MNIST, a .npy file, or a folder of pictures or volumes"


def add_choices(parser: argparse.ArgumentParser):
    """Add the options that choose images from a folder."""
    group = parser.add_argument_group(
        "images from a folder", "pictures, arrays, NIfTI, DICOM, fastMRI"
    )
    group.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="size to which they are resampled",
    )
    group.add_argument(
        "--slices",
        type=int,
        nargs=2,
        metavar=("FIRST", "END"),
        help="slices of each volume, from 0, the last one not included",
    )
    group.add_argument("--acquisition", help="of fastMRI, for example CORPD_FBK")


def chosen_images(options: argparse.Namespace, source) -> ImageSet:
    """Return the images of a source that the options choose."""
    size, slices = (
        None if pair is None else tuple(pair) for pair in (options.size, options.slices)
    )
    return read_images(
        source, size=size, slices=slices, acquisition=options.acquisition
    )
