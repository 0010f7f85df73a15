# SPDX-License-Identifier: MPL-2.0
"""Readers of files of images, each by the library of its format."""

import dataclasses
import re
from pathlib import Path

import numpy as np

__all__ = ("READERS", "Volume", "read_dicom_series", "reader_of", "rescaled")


@dataclasses.dataclass(frozen=True)
class Volume:
    """Slices of one file or series, and the subject that they are of.

    Parameters
    ----------
    slices : `numpy.ndarray`
        Array ``(number, c, n, m)`` with values in [0, 1], dtype float32.
    subject : str, optional
        Name in the file or its path.
    """

    slices: np.ndarray
    subject: str | None = None


def rescaled(values: np.ndarray) -> np.ndarray:
    """Return ``(v - min v) / (max v - min v)``, or zeros for constant ``v``.

    Examples
    --------
    >>> from odl_genreg.datasets.volumes import rescaled
    >>> rescaled(np.array([-1.0, 0.0, 3.0])).tolist()
    [0.0, 0.25, 1.0]
    """
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite")
    span = np.ptp(values)
    return (values - values.min()) / (span if span > 0 else np.float32(1))


def reader_of(path: Path):
    """Return the reader for a file by its name, None for files of other kinds."""
    name = path.name.lower()
    return next((READERS[end] for end in READERS if name.endswith(end)), None)


def read_png(path: Path) -> Volume:
    """Read a gray or color picture; its integers are divided by the largest one."""
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode in ("1", "L", "LA"):
            values = np.asarray(picture.convert("L"))[None] / np.float32(255)
        elif picture.mode.startswith("I"):
            values = np.asarray(picture)[None] / np.float32(65535)
        else:
            values = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
            values = values / np.float32(255)
    return Volume(values.astype(np.float32)[None])


def read_array(path: Path) -> Volume:
    """Read an array ``(n, m)`` or ``(number, n, m)`` of bytes, or in [0, 1]."""
    values = np.load(path, allow_pickle=False)
    if values.ndim not in (2, 3) or values.dtype.kind not in "uf":
        raise ValueError(f"{values.dtype} of shape {values.shape}")
    if values.dtype.kind == "u":
        values = values / np.float32(np.iinfo(values.dtype).max)
    elif not (values.min() >= 0 and values.max() <= 1):  # False for nan as well
        raise ValueError(f"values in [{values.min()}, {values.max()}]")
    return Volume(values.reshape(-1, 1, *values.shape[-2:]).astype(np.float32))


def read_nifti(path: Path) -> Volume:
    """Read the axial slices of a volume, feet to head, anterior side up.

    Rescaled as one. The subject is that of the name, ``sub-...``, if it has one.
    """
    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    values = np.asarray(image.dataobj, dtype=np.float32).squeeze()
    if values.ndim != 3:
        raise ValueError(f"an array of shape {values.shape}, not a volume")
    # Axes to the right, to the front, and up: rows go to the back.
    slices = values.transpose(2, 1, 0)[:, ::-1]
    subject = re.search(r"(?:^|/)(sub-[A-Za-z0-9]+)", str(path))
    return Volume(rescaled(slices)[:, None], subject and subject[1])


def read_dicom_series(paths: list[Path]) -> list[Volume]:
    """Read DICOM files: one volume for each series, rescaled as one.

    Slices are ordered by their instance number, values are those of the modality
    (Hounsfield units for example). The subject is the patient.
    """
    import pydicom
    from pydicom.pixels import apply_modality_lut

    series = {}
    for path in paths:
        dataset = pydicom.dcmread(path)
        values = apply_modality_lut(dataset.pixel_array, dataset)
        if dataset.get("SamplesPerPixel", 1) != 1:
            raise ValueError(f"{path} with colors")
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            values = -values  # bright means small
        part = dataset.get("InstanceNumber") or 0, str(path), values
        key = str(dataset.get("SeriesInstanceUID", path.parent)), *values.shape[-2:]
        patient = str(dataset.get("PatientID", "")) or None
        series.setdefault(key, (patient, []))[1].append(part)
    volumes = []
    for patient, parts in series.values():
        parts.sort(key=lambda part: part[:2])
        frames = [values.reshape(-1, *values.shape[-2:]) for *_, values in parts]
        volumes.append(Volume(rescaled(np.concatenate(frames))[:, None], patient))
    return volumes


READERS = {
    ".png": read_png,
    ".npy": read_array,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
}
