# SPDX-License-Identifier: MPL-2.0
"""Readers: round trips of files that the tests write, and damaged files."""

import gzip
import struct

import numpy as np
import pytest

from odl_genreg.datasets import demo_digits, read_mnist, read_mnist_labels


@pytest.fixture
def digits():
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def idx_bytes(digits, magic=2051):
    return struct.pack(">4i", magic, *digits.shape) + digits.tobytes()


def assert_same(read, digits):
    assert read.dtype == np.float32
    assert read.shape == digits.shape
    np.testing.assert_array_equal(np.rint(255 * read).astype(np.uint8), digits)
    np.testing.assert_allclose(read, digits / 255, rtol=1e-6)


def test_idx_round_trip(tmp_path, digits):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(digits))
    assert_same(read_mnist(path), digits)
    assert_same(read_mnist(str(path)), digits)


def test_gzip_round_trip_whatever_the_name(tmp_path, digits):
    for name in ("images.gz", "images"):
        (tmp_path / name).write_bytes(gzip.compress(idx_bytes(digits)))
        assert_same(read_mnist(tmp_path / name), digits)


@pytest.mark.parametrize("prefix", ["", "x_"])
def test_npz_round_trip(tmp_path, digits, prefix):
    path = tmp_path / "mnist.npz"
    np.savez(path, **{f"{prefix}train": digits, f"{prefix}test": digits[:2]})
    assert_same(read_mnist(path), digits)
    assert_same(read_mnist(path, split="test"), digits[:2])


def test_labels(tmp_path):
    labels = np.array([5, 0, 4], "uint8")
    content = struct.pack(">2i", 2049, 3) + labels.tobytes()
    (tmp_path / "labels").write_bytes(content)
    (tmp_path / "labels.gz").write_bytes(gzip.compress(content))
    np.savez(tmp_path / "a.npz", train_label=labels, y_test=labels[:2])
    for name in ("labels", "labels.gz", "a.npz"):
        assert np.array_equal(read_mnist_labels(tmp_path / name), labels)
    assert len(read_mnist_labels(tmp_path / "a.npz", split="test")) == 2


def test_images_are_no_labels(tmp_path, digits):
    (tmp_path / "images").write_bytes(idx_bytes(digits))
    with pytest.raises(ValueError, match=r"must be an IDX file of labels, with header"):
        read_mnist_labels(tmp_path / "images")
    (tmp_path / "short").write_bytes(struct.pack(">2i", 2049, 3) + b"ab")
    with pytest.raises(ValueError, match="announces 3 labels, got 2"):
        read_mnist_labels(tmp_path / "short")
    np.savez(tmp_path / "a.npz", train_label=digits)
    with pytest.raises(ValueError, match=r"must hold uint8 labels of shape \(number\)"):
        read_mnist_labels(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="`split` must be 'train' or 'test'"):
        read_mnist_labels(tmp_path / "a.npz", split="all")


def test_truncated_idx(tmp_path, digits):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(digits)[:-1])
    with pytest.raises(
        ValueError,
        match=r"`path` must hold 3920 bytes after its header, which announces 5 "
        r"images, got 3919 in .*; download the file again",
    ):
        read_mnist(path)


def test_idx_with_bytes_too_many(tmp_path, digits):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(digits) + b"0")
    with pytest.raises(ValueError, match="must hold 3920 bytes .* got 3921"):
        read_mnist(path)


@pytest.mark.parametrize("size", [0, 3, 15])
def test_idx_shorter_than_its_header(tmp_path, digits, size):
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(digits)[:size])
    with pytest.raises(ValueError, match=f"must be an IDX file .* with {size} bytes"):
        read_mnist(path)


def test_wrong_magic_number(tmp_path, digits):
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(digits, magic=2049))
    with pytest.raises(
        ValueError, match=r"got .* with header \(2049, 5, 28, 28\); images"
    ):
        read_mnist(path)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_gzip(tmp_path, digits, keep):
    content = gzip.compress(idx_bytes(digits))
    path = tmp_path / "images.gz"
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match="`path` must be a complete gzip file, got"):
        read_mnist(path)


def test_damaged_gzip(tmp_path, digits):
    content = bytearray(gzip.compress(idx_bytes(digits)))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="`path` must be a complete gzip file, got"):
        read_mnist(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_truncated_npz(tmp_path, digits, keep):
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, train=digits)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"`path` must be a complete .npz file"):
        read_mnist(path)


def test_damaged_npz(tmp_path, digits):
    path = tmp_path / "mnist.npz"
    np.savez(path, train=digits)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF  # found by the checksum of the archive
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"`path` must be a complete .npz file"):
        read_mnist(path)


def test_npz_without_the_split(tmp_path, digits):
    path = tmp_path / "mnist.npz"
    np.savez(path, images=digits)
    with pytest.raises(ValueError, match=r"'train' or 'x_train', got .* \['images'\]"):
        read_mnist(path)


def test_npz_of_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(path, train=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"must be a complete .npz file of plain"):
        read_mnist(path)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 28, 28)), np.zeros((2, 784), np.uint8)],
    ids=["dtype", "shape"],
)
def test_npz_of_other_arrays(tmp_path, array):
    path = tmp_path / "mnist.npz"
    np.savez(path, train=array)
    with pytest.raises(ValueError, match=f"got .* with {array.dtype} and"):
        read_mnist(path)


def test_unknown_split(tmp_path):
    with pytest.raises(
        ValueError, match="`split` must be 'train' or 'test', got 'all'"
    ):
        read_mnist(tmp_path / "none", split="all")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_mnist(tmp_path / "none")


def test_demo_digits():
    digits = demo_digits()
    assert digits.shape == (100, 28, 28)
    assert digits.dtype == np.float32
    assert digits.min() == 0
    assert digits.max() == 1
    # Ink on black ground: the corners are empty, the mean is that of MNIST (0.13).
    assert digits[:, :2, :2].max() == 0
    assert 0.1 < digits.mean() < 0.16
    assert len(np.unique(digits, axis=0)) == 100
