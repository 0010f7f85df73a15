# SPDX-License-Identifier: MPL-2.0
"""Images from a folder of pictures, arrays or medical volumes."""

from pathlib import Path

import numpy as np

from .fastmri import read_fastmri
from .image_set import ImageSet
from .volumes import Volume, read_dicom_series, reader_of

__all__ = ("read_folder",)

KNOWN = ".png, .npy, .nii, .nii.gz, .h5 (fastMRI) or DICOM"


def read_folder(
    folder,
    *,
    size: tuple[int, int] | None = None,
    slices: tuple[int, int] | None = None,
    acquisition: str | None = None,
) -> ImageSet:
    """Read all images in a folder and those below it, in the order of their paths.

    Pictures (.png) and arrays (.npy) keep their values: integers are divided by the
    largest of their type, floats are in [0, 1]. Volumes, NIfTI or a series of DICOM
    files, are scaled to [0, 1] each. Images of fastMRI (.h5) are resampled and become
    ``(x - min x) / max x`` one by one.

    The subject of an image is the one that the file names (patient, ``sub-...``); else
    the folder in ``folder`` that holds it, else its file.

    Parameters
    ----------
    folder : path
        Folder with files of these kinds; others are left out.
    size : pair of int, optional
        Rows and columns to which images are resampled (Lanczos, antialiased). Without
        it they must have one size.
    slices : pair of int, optional
        First slice of each volume, from 0, and the one after the last.
    acquisition : str, optional
        Reads only the files of fastMRI with that acquisition.

    Returns
    -------
    images : `ImageSet`
        Images ``(number, c, n, m)`` in [0, 1], and their subjects.

    Raises
    ------
    ValueError
        If a file is damaged, if there is none, or if sizes differ.
    ImportError
        If the library that reads a format is not installed: all are in the extra
        ``data``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from odl_genreg.datasets import read_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in "ab":
    ...         np.save(pathlib.Path(folder) / f"{name}.npy", np.full((2, 3), 0.5))
    ...     images = read_folder(folder)
    >>> images.images.shape, images.subjects.tolist()
    ((2, 1, 2, 3), ['a.npy', 'b.npy'])
    """
    folder, images, subjects = Path(folder), [], []
    for path, volume in _volumes(folder, acquisition):
        below = path.relative_to(folder).parts
        chosen = volume.slices[slice(*(slices or (None,)))]
        if not len(chosen):
            continue
        if size is not None:
            chosen = np.stack([_resampled(image, size) for image in chosen])
        if path.suffix in (".h5", ".hdf5"):
            chosen = _of_positive_maximum(chosen)
        images += list(chosen.clip(0, 1))
        subjects += [volume.subject or below[0]] * len(chosen)
    if not images:
        raise ValueError(
            f"`folder` must hold images ({KNOWN}), got none in {folder} for slices "
            f"{slices} and acquisition {acquisition}; check path and choices."
        )
    if len(shapes := {image.shape for image in images}) > 1:
        raise ValueError(
            f"`size` must be given for images of several shapes, got {sorted(shapes)} "
            f"in {folder}; give rows and columns, and keep gray and color apart."
        )
    return ImageSet(np.stack(images), np.array(subjects))


def _volumes(folder, acquisition):
    """Yield paths and what the files hold; of a DICOM series that of one file."""
    series = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if _is_dicom(path):
            series.append(path)
        elif path.suffix in (".h5", ".hdf5"):
            volume = _read(lambda p: read_fastmri(p, acquisition), path)
            if volume is not None:
                yield path, volume
        elif acquisition is None and (reader := reader_of(path)) is not None:
            yield path, _read(reader, path)
    if series and acquisition is None:
        for volume in _read(read_dicom_series, series):
            yield series[0], volume


def _is_dicom(path):
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read(reader, source) -> Volume | None:
    """Return what a reader makes of a file, or the one error for all its faults."""
    try:
        return reader(source)
    except ImportError as error:
        raise ImportError(
            f"`folder` must hold files whose readers are installed, got one for "
            f"'{error.name}'; install it with `pip install odl_genreg[data]`."
        ) from error
    except Exception as error:  # each library has faults of its own
        where = source if isinstance(source, Path) else f"{source[0].parent}"
        raise ValueError(
            f"`folder` must hold complete files of images, got {where} with the fault "
            f"'{error}'; remove or replace it."
        ) from error


def _resampled(image, size):
    """Return ``(c, *size)`` by Lanczos filters, which see all pixels beneath."""
    from PIL import Image

    rows, columns = size
    channels = [
        Image.fromarray(channel).resize((columns, rows), Image.Resampling.LANCZOS)
        for channel in np.ascontiguousarray(image)
    ]
    return np.stack([np.asarray(channel) for channel in channels])


def _of_positive_maximum(images):
    """Return ``(x - min x) / max x`` of each image."""
    low = images.min((1, 2, 3), keepdims=True)
    high = images.max((1, 2, 3), keepdims=True)
    return (images - low) / np.where(high > 0, high, 1)
