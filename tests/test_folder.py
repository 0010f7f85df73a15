# SPDX-License-Identifier: MPL-2.0
"""Images from folders of pictures, arrays and medical volumes."""

import functools
import hashlib
import http.server
import os
import sys
import threading

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from odl_genreg import cli
from odl_genreg.datasets import (
    ImageSet,
    download,
    hold_out,
    read_folder,
    read_images,
)
from odl_genreg.generator_training import train_generator


def values(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype="float32")


def write_dicom(path, pixels, *, patient, series, instance, **tags):
    """Write 16-bit pixels with a slope of 2 and an intercept of -100."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = f"1.2.3.{series}.{instance}"
    dataset.SeriesInstanceUID = f"1.2.3.{series}"
    dataset.PatientID, dataset.InstanceNumber = patient, instance
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -100
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def write_fastmri(path, slices, *, acquisition="CORPD_FBK", patient="P"):
    with h5py.File(path, "w") as file:
        file["reconstruction_rss"] = slices
        file["kspace"] = np.zeros((len(slices), 4, 4), "complex64")
        file.attrs["acquisition"], file.attrs["patient_id"] = acquisition, patient


# --- Pictures and arrays --- #


def test_pictures_of_all_depths(tmp_path):
    gray = (255 * values(5, 6)).astype("uint8")
    deep = (65535 * values(5, 6, seed=1)).astype("uint16")
    Image.fromarray(gray).save(tmp_path / "a.png")
    Image.fromarray(deep).save(tmp_path / "b.PNG")
    (tmp_path / "notes.txt").write_text("not an image")
    found = read_images(tmp_path)
    assert found.images.shape == (2, 1, 5, 6)
    assert found.images.dtype == np.float32
    np.testing.assert_allclose(found.images[0, 0], gray / 255, atol=1e-6)
    np.testing.assert_allclose(found.images[1, 0], deep / 65535, atol=1e-6)
    assert found.subjects.tolist() == ["a.png", "b.PNG"]


def test_color_pictures(tmp_path):
    color = (255 * values(5, 6, 3)).astype("uint8")
    Image.fromarray(color).save(tmp_path / "a.png")
    found = read_folder(tmp_path)
    np.testing.assert_allclose(
        found.images[0], color.transpose(2, 0, 1) / 255, atol=1e-6
    )


def test_arrays_and_slices(tmp_path):
    stack = values(4, 5, 6)
    np.save(tmp_path / "stack.npy", stack)
    np.save(tmp_path / "bytes.npy", (255 * stack[0]).astype("uint8"))
    found = read_folder(tmp_path)
    np.testing.assert_allclose(found.images[1:, 0], stack)
    assert found.subjects.tolist() == ["bytes.npy"] + 4 * ["stack.npy"]
    middle = read_folder(tmp_path, slices=(1, 3))
    np.testing.assert_allclose(middle.images[:, 0], stack[1:3])


def test_subjects_are_folders(tmp_path):
    for subject in "BA":
        (tmp_path / subject / "visit").mkdir(parents=True)
        for k in range(2):
            np.save(tmp_path / subject / "visit" / f"{k}.npy", values(3, 4, seed=k))
    assert read_folder(tmp_path).subjects.tolist() == ["A", "A", "B", "B"]


def test_resampling_sees_all_pixels(tmp_path):
    board = np.indices((8, 12)).sum(0) % 2 * np.float32(1)
    np.save(tmp_path / "board.npy", board)
    found = read_folder(tmp_path, size=(4, 3)).images
    assert found.shape == (1, 1, 4, 3)
    np.testing.assert_allclose(found, 0.5, atol=0.05)


# --- Medical volumes --- #


def test_nifti_slices_are_axial_with_the_front_up(tmp_path):
    """Right is the third row of the last column: axes -x, +y, +z of the file."""
    volume = np.zeros((3, 4, 5), "int16")
    volume[0, 3, 2] = 200  # x = +right after the flip, y = front, z = 2
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    path = tmp_path / "sub-07" / "anat" / "T1.nii.gz"
    path.parent.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    found = read_folder(tmp_path)
    assert found.images.shape == (5, 1, 4, 3)
    assert np.argwhere(found.images).tolist() == [[2, 0, 0, 2]]
    assert found.images.max() == 1
    assert set(found.subjects) == {"sub-07"}


def test_dicom_series_are_ordered_and_scaled_as_one(tmp_path):
    slices = (1000 * values(3, 4, 5)).astype("uint16")
    for name, instance in (("x", 2), ("y.dcm", 0), ("z.dcm", 1)):
        write_dicom(
            tmp_path / name,
            slices[instance],
            patient="Jo",
            series=1,
            instance=instance + 1,
        )
    write_dicom(tmp_path / "w", slices[0], patient="Al", series=2, instance=1)
    found = read_folder(tmp_path)
    whole = slices.astype("float64")
    expected = (whole - whole.min()) / (whole.max() - whole.min())
    jo = found.subjects == "Jo"
    np.testing.assert_allclose(found.images[jo, 0], expected, atol=1e-6)
    assert found.images[~jo].max() == 1
    assert sorted(found.subjects) == ["Al", "Jo", "Jo", "Jo"]


def test_inverted_dicom(tmp_path):
    pixels = np.arange(20).reshape(4, 5)
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    write_dicom(tmp_path / "a", pixels, patient="A", series=1, instance=1, **inverted)
    np.testing.assert_allclose(
        read_folder(tmp_path).images[0, 0], 1 - pixels / 19, atol=1e-6
    )


def test_fastmri(tmp_path):
    slices = 1e-4 * (1 + values(20, 16, 16))
    write_fastmri(tmp_path / "a.h5", slices, patient="one")
    write_fastmri(tmp_path / "b.h5", slices, patient="one", acquisition="CORPDFS_FBK")
    write_fastmri(tmp_path / "c.h5", slices[::-1], patient="two")
    found = read_folder(tmp_path, size=(8, 8), slices=(12, 20), acquisition="CORPD_FBK")
    assert found.images.shape == (16, 1, 8, 8)
    assert found.subjects.tolist() == 8 * ["one"] + 8 * ["two"]
    small = np.asarray(
        Image.fromarray(slices[12]).resize((8, 8), Image.Resampling.LANCZOS)
    )
    expected = (small - small.min()) / small.max()
    np.testing.assert_allclose(found.images[0, 0], expected, atol=1e-6)
    assert len(read_folder(tmp_path)) == 60


# --- What is wrong --- #


def bad_files():
    """Name and content of files that are no images, by what is wrong with them."""
    text = b"these are no images"
    return {
        "text as png": ("a.png", text),
        "empty png": ("a.png", b""),
        "text as npy": ("a.npy", text),
        "text as nifti": ("a.nii", text),
        "text as gzip": ("a.nii.gz", text),
        "text as hdf5": ("a.h5", text),
        "empty hdf5": ("a.h5", b""),
        "text as dicom": ("a.dcm", 128 * b"\0" + b"DICM" + text),
    }


@pytest.mark.parametrize("fault", bad_files())
def test_files_that_are_no_images(tmp_path, fault):
    name, content = bad_files()[fault]
    (tmp_path / name).write_bytes(content)
    message = "`folder` must hold complete files of images, got .* with the fault"
    with pytest.raises(ValueError, match=message):
        read_folder(tmp_path)


def truncated(write, name):
    def make(folder):
        write(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])

    return make


BAD_VALUES = {
    "truncated png": truncated(
        lambda path: Image.fromarray((255 * values(40, 40)).astype("uint8")).save(path),
        "a.png",
    ),
    "truncated npy": truncated(lambda path: np.save(path, values(9, 9)), "a.npy"),
    "truncated nifti": truncated(
        lambda path: nibabel.save(
            nibabel.Nifti1Image(values(9, 9, 9), np.eye(4)), path
        ),
        "a.nii",
    ),
    "truncated hdf5": truncated(
        lambda path: write_fastmri(path, values(3, 30, 30)), "a.h5"
    ),
    "truncated dicom": truncated(
        lambda path: write_dicom(
            path, 99 * values(40, 40), patient="A", series=1, instance=1
        ),
        "a",
    ),
    "nan in npy": lambda folder: np.save(folder / "a.npy", np.full((3, 3), np.nan)),
    "values above 1": lambda folder: np.save(folder / "a.npy", 2 * np.ones((3, 3))),
    "one axis": lambda folder: np.save(folder / "a.npy", np.ones(3)),
    "objects": lambda folder: np.save(folder / "a.npy", np.array([{}, 1])),
    "nan in nifti": lambda folder: nibabel.save(
        nibabel.Nifti1Image(np.full((3, 3, 3), np.nan, "f4"), np.eye(4)),
        folder / "a.nii",
    ),
    "four axes": lambda folder: nibabel.save(
        nibabel.Nifti1Image(np.ones((3, 3, 3, 2), "f4"), np.eye(4)), folder / "a.nii"
    ),
    "another hdf5": lambda folder: h5py.File(folder / "a.h5", "w").close(),
    "negative magnitudes": lambda folder: write_fastmri(
        folder / "a.h5", -np.ones((2, 3, 3), "f4")
    ),
}


@pytest.mark.parametrize("fault", BAD_VALUES)
def test_damaged_files(tmp_path, fault):
    BAD_VALUES[fault](tmp_path)
    with pytest.raises(ValueError, match="must hold complete files .* with the fault"):
        read_folder(tmp_path)


def test_pickled_arrays_run_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "code ran"),)

    np.save(tmp_path / "a.npy", np.array([Evil()]), allow_pickle=True)
    with pytest.raises(ValueError, match="with the fault"):
        read_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_choices_that_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"`folder` must hold images .*, got none"):
        read_folder(tmp_path)
    np.save(tmp_path / "a.npy", values(3, 3))
    with pytest.raises(ValueError, match=r"got none in .* for slices \(5, 9\)"):
        read_folder(tmp_path, slices=(5, 9), size=(2, 2))
    with pytest.raises(ValueError, match="acquisition T1"):
        read_folder(tmp_path, acquisition="T1")
    np.save(tmp_path / "b.npy", values(3, 4))
    with pytest.raises(ValueError, match="`size` must be given for images of several"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="`source` must be a folder for `size`"):
        read_images(tmp_path / "a.npy", size=(2, 2))


def test_library_that_is_not_installed(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"install it with .*odl_genreg\[data\]"):
        read_folder(tmp_path)


# --- Splits --- #


def test_split_keeps_subjects_together():
    subjects = np.repeat([f"S{k}" for k in range(10)], np.arange(1, 11))
    rest, held_out = hold_out(55, 12, seed=3, subjects=subjects)
    assert sorted([*rest, *held_out]) == list(range(55))
    assert not set(subjects[rest]) & set(subjects[held_out])
    assert 12 <= len(held_out) < 12 + 10
    again = hold_out(55, 12, seed=3, subjects=subjects)[1]
    assert np.array_equal(held_out, again)
    assert not np.array_equal(held_out, hold_out(55, 12, seed=4, subjects=subjects)[1])


def test_split_of_few():
    for number in (0, 5):
        with pytest.raises(ValueError, match="`held_out` must leave some of 5 images"):
            hold_out(5, number)
    with pytest.raises(ValueError, match="`held_out` must leave some of 2 subjects"):
        hold_out(3, 2, subjects=["A", "A", "B"], seed=1)


def test_parts_of_a_set():
    images = ImageSet(values(4, 1, 2, 2), np.array(list("ABCD")))
    assert images[1:3].subjects.tolist() == ["B", "C"]
    assert len(images[np.array([0, 3])]) == 2
    assert ImageSet(images.images)[:2].subjects is None


def test_training_holds_out_whole_subjects(tmp_path, monkeypatch):
    """The network sees no image of a subject that it is measured on."""
    for subject in range(6):
        level = np.full((8, 8, 12), subject / 5, "float32")
        np.save(tmp_path / f"{subject}.npy", level)
    seen = []
    from odl_genreg import generator_training

    train = generator_training.train

    def spying(network, images, held_out, **options):
        seen.extend([images, held_out])
        return train(network, images, held_out, **options)

    monkeypatch.setattr(generator_training, "train", spying)
    train_generator(
        "ae",
        read_folder(tmp_path),
        tmp_path / "out",
        latent_dim=2,
        channels=(2, 2),
        hidden=4,
        epochs=1,
        batch_size=8,
        num_validation=10,
    )
    levels = [set(part.unique().tolist()) for part in seen]
    assert not levels[0] & levels[1]
    assert [len(part) for part in seen] == [32, 16]


# --- Downloads --- #


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server in place of the source of MNIST, and the requests that it saw."""
    (tmp_path / "web").mkdir()
    content = b"digits"
    (tmp_path / "web" / "train-images-idx3-ubyte.gz").write_bytes(content)
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, text, *arguments):
            requests.append(arguments[0])

    handler = functools.partial(Handler, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        source = f"http://127.0.0.1:{web.server_port}/"
        module = sys.modules["odl_genreg.datasets.download"]
        monkeypatch.setitem(module.SOURCES, "mnist", source)
        md5 = hashlib.md5(content).hexdigest()
        monkeypatch.setitem(module.MD5, ("mnist", "train"), md5)
        yield tmp_path / "web", requests
        web.shutdown()


def test_download_once(tmp_path, server, capsys):
    _, requests = server
    for _ in range(2):
        assert cli.main(["download", "mnist", "--out", str(tmp_path / "data")]) == 0
    path = tmp_path / "data" / "mnist-train-images-idx3-ubyte.gz"
    assert capsys.readouterr().out.split() == [str(path), str(path)]
    assert path.read_bytes() == b"digits"
    assert len(requests) == 1


def test_download_with_another_checksum(tmp_path, server, capsys):
    web, _ = server
    (web / "train-images-idx3-ubyte.gz").write_bytes(b"other digits")
    assert cli.main(["download", "mnist", "--out", str(tmp_path / "data")]) == 1
    assert "hash" in capsys.readouterr().err.lower()
    assert not list((tmp_path / "data").iterdir())


def test_download_of_what_is_not_known(tmp_path):
    with pytest.raises(ValueError, match="`name` and `split` must be of"):
        download("cifar", tmp_path)
    with pytest.raises(ValueError, match="'mnist' and 'validation'; choose"):
        download("mnist", tmp_path, split="validation")


def test_command_reads_a_folder(tmp_path, capsys):
    for subject in range(4):
        np.save(tmp_path / f"{subject}.npy", values(16, 20, 18, seed=subject))
    command = f"""train ae --data {tmp_path} --size 12 8 --slices 0 12 --latent 2
        --channels 2 2 --hidden 4 --epochs 1 --batch-size 8 --validation 12
        --out {tmp_path / "out" / "ae"}"""
    assert cli.main(command.split()) == 0
    assert (tmp_path / "out" / "ae.safetensors").exists()
    capsys.readouterr()
    assert cli.main([*command.split(), "--acquisition", "T1"]) == 1
    assert "got none" in capsys.readouterr().err
