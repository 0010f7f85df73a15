# SPDX-License-Identifier: MPL-2.0
"""Readers of the MNIST digits."""

import gzip
import math
import struct
import zipfile
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np

__all__ = ("demo_digits", "read_mnist")

_REMEDY = "download the file again and compare its size with the source"
_IMAGE_MAGIC = 2051  # 0x00000803: unsigned bytes, three axes
_SIZE = (28, 28)


def read_mnist(path, *, split="train"):
    """Read MNIST digits from a file.

    Parameters
    ----------
    path : path
        One of

        - an image file in IDX format, such as ``train-images-idx3-ubyte``, as it is or
          compressed by gzip (recognized by the content, not by the name);
        - an ``.npz`` file with the array ``train`` or ``x_train`` (``test`` or
          ``x_test``).
    split : {'train', 'test'}, optional
        Which array of an ``.npz`` file to read. An IDX file holds one split only, and
        its name is not checked.

    Returns
    -------
    digits : `numpy.ndarray`
        Array of shape ``(number, 28, 28)``, dtype float32, values in [0, 1].

    Raises
    ------
    ValueError
        If the file is truncated, damaged or of another kind.

    References
    ----------
    [LCB1998] LeCun Y, Cortes C, and Burges C. *The MNIST database of handwritten
    digits.*

    Examples
    --------
    A file with the header of two images and twice 784 bytes:

    >>> import pathlib, struct, tempfile
    >>> from odl_genreg.datasets import read_mnist
    >>> content = struct.pack(">4i", 2051, 2, 28, 28) + 784 * bytes([0, 255])
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory) / "images-idx3-ubyte"
    ...     size = path.write_bytes(content)
    ...     digits = read_mnist(path)
    >>> digits.shape, float(digits.mean())
    ((2, 28, 28), 0.5)
    """
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test', got {split!r}; use one.")
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        digits = _read_npz(path, split)
    elif start[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                digits = _parse_idx(path, file.read())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"`path` must be a complete gzip file, got {path} with the fault "
                f"'{error}'; {_REMEDY}."
            ) from error
    else:
        digits = _parse_idx(path, path.read_bytes())
    return digits.astype(np.float32) / np.float32(255)


def demo_digits():
    """Return the first 100 digits of the MNIST test set, which ship with the package.

    No shipped generator has seen them in training.

    Returns
    -------
    digits : `numpy.ndarray`
        Array of shape ``(100, 28, 28)``, dtype float32, values in [0, 1].

    Examples
    --------
    >>> from odl_genreg.datasets import demo_digits
    >>> digits = demo_digits()
    >>> digits.shape, float(digits.min()), float(digits.max())
    ((100, 28, 28), 0.0, 1.0)
    """
    with (files("odl_genreg.datasets") / "mnist_test_100.npz").open("rb") as file:
        return np.load(file)["test"].astype(np.float32) / np.float32(255)


def _parse_idx(path, content):
    """Return the images in the bytes of an IDX file as a uint8 array."""
    header = struct.unpack(">4i", content[:16]) if len(content) >= 16 else None
    if header is None or header[0] != _IMAGE_MAGIC or header[2:] != _SIZE:
        found = f"{len(content)} bytes" if header is None else f"header {header}"
        raise ValueError(
            f"`path` must be an IDX file of images, with header ({_IMAGE_MAGIC}, "
            f"number, 28, 28), got {path} with {found}; give the file of the images, "
            f"not of the labels, or {_REMEDY}."
        )
    shape = header[1:]
    found = len(content) - 16
    if found != math.prod(shape):
        raise ValueError(
            f"`path` must hold {math.prod(shape)} bytes after its header, which "
            f"announces {shape[0]} images, got {found} in {path}; {_REMEDY}."
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)


def _read_npz(path, split):
    """Return the images of one split of an ``.npz`` file as a uint8 array."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            name = split if split in arrays.files else f"x_{split}"
            names = arrays.files
            digits = arrays[name] if name in names else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"`path` must be a complete .npz file of plain arrays, got {path} with the "
            f"fault '{error}'; {_REMEDY}."
        ) from error
    if digits is None:
        raise ValueError(
            f"`path` must hold an array '{split}' or 'x_{split}', got {path} with "
            f"{names}; rename the array of the images."
        )
    if digits.dtype != np.uint8 or digits.ndim != 3 or digits.shape[1:] != _SIZE:
        raise ValueError(
            f"`path` must hold uint8 images of shape (number, 28, 28), got {path} with "
            f"{digits.dtype} and {digits.shape}; store the bytes of the original set."
        )
    return digits
