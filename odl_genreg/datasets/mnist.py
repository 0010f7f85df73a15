# SPDX-License-Identifier: MPL-2.0
"""Readers of the MNIST digits and their labels."""

import gzip
import math
import struct
import zipfile
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np

__all__ = ("demo_digits", "read_mnist", "read_mnist_labels")

_REMEDY = "download the file again and compare its size with the source"
# Name, magic number and all axes but the first: unsigned bytes with 3 and 1 axes.
_IMAGES, _LABELS = ("images", 0x00000803, (28, 28)), ("labels", 0x00000801, ())


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
    _check_split(split)
    digits = _read(Path(path), _IMAGES, (split, f"x_{split}"))
    return digits.astype(np.float32) / np.float32(255)


def read_mnist_labels(path, *, split="train"):
    """Read the labels of MNIST digits from a file.

    Parameters
    ----------
    path : path
        A label file in IDX format, such as ``train-labels-idx1-ubyte``, as it is or
        compressed by gzip; or an ``.npz`` file with the array ``train_label`` or
        ``y_train`` (``test_label`` or ``y_test``).
    split : {'train', 'test'}, optional
        As for `read_mnist`.

    Returns
    -------
    labels : `numpy.ndarray`
        Array of shape ``(number,)``, dtype uint8, values 0 to 9.

    Raises
    ------
    ValueError
        If the file is truncated, damaged or of another kind.

    Examples
    --------
    >>> import pathlib, struct, tempfile
    >>> from odl_genreg.datasets import read_mnist_labels
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory) / "labels-idx1-ubyte"
    ...     size = path.write_bytes(struct.pack(">2i", 2049, 3) + bytes([5, 0, 4]))
    ...     read_mnist_labels(path).tolist()
    [5, 0, 4]
    """
    _check_split(split)
    return _read(Path(path), _LABELS, (f"{split}_label", f"y_{split}"))


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


def _check_split(split):
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test', got {split!r}; use one.")


def _read(path, kind, names):
    """Return the array of an IDX file, or of an ``.npz`` file by one of its names."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        return _read_npz(path, kind, names)
    if start[:2] != b"\x1f\x8b":
        return _parse_idx(path, path.read_bytes(), kind)
    try:
        with gzip.open(path) as file:
            return _parse_idx(path, file.read(), kind)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"`path` must be a complete gzip file, got {path} with the fault "
            f"'{error}'; {_REMEDY}."
        ) from error


def _parse_idx(path, content, kind):
    """Return what the bytes of an IDX file hold as a uint8 array."""
    name, magic, tail = kind
    length = 4 * (2 + len(tail))
    header = None
    if len(content) >= length:
        header = struct.unpack(f">{length // 4}i", content[:length])
    if header is None or header[0] != magic or header[2:] != tail:
        found = f"{len(content)} bytes" if header is None else f"header {header}"
        wanted = ", ".join(map(str, (magic, "number", *tail)))
        raise ValueError(
            f"`path` must be an IDX file of {name}, with header ({wanted}), got {path} "
            f"with {found}; images and labels are in different files, or {_REMEDY}."
        )
    shape, found = header[1:], len(content) - length
    if found != math.prod(shape):
        raise ValueError(
            f"`path` must hold {math.prod(shape)} bytes after its header, which "
            f"announces {shape[0]} {name}, got {found} in {path}; {_REMEDY}."
        )
    return np.frombuffer(content, np.uint8, offset=length).reshape(shape)


def _read_npz(path, kind, names):
    """Return the first of the named arrays of an ``.npz`` file."""
    kind, _, tail = kind
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = arrays.files
            name = next((name for name in names if name in found), None)
            array = None if name is None else arrays[name]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"`path` must be a complete .npz file of plain arrays, got {path} with the "
            f"fault '{error}'; {_REMEDY}."
        ) from error
    if array is None:
        raise ValueError(
            f"`path` must hold an array '{names[0]}' or '{names[1]}', got {path} with "
            f"{found}; rename the array of the {kind}."
        )
    if array.dtype != np.uint8 or array.shape[1:] != tail or not array.ndim:
        wanted = ", ".join(map(str, ("number", *tail)))
        raise ValueError(
            f"`path` must hold uint8 {kind} of shape ({wanted}), got {path} with "
            f"{array.dtype} and {array.shape}; store the bytes of the original set."
        )
    return array
