# SPDX-License-Identifier: MPL-2.0
"""Reader of the HDF5 files of fastMRI."""

from pathlib import Path

import numpy as np

from .volumes import Volume

__all__ = ("read_fastmri",)


def read_fastmri(path: Path, acquisition: str | None = None) -> Volume | None:
    """Read the images ``reconstruction_rss`` of a file of fastMRI [KZS2018].

    Parameters
    ----------
    path : path
        File in the layout of fastMRI, training or validation.
    acquisition : str, optional
        Wanted value of the attribute ``acquisition``, ``"CORPD_FBK"`` for example.

    Returns
    -------
    volume : `Volume`
        Slices as they are, in the unit of the file, and the patient; None for another
        acquisition.

    Raises
    ------
    ValueError
        If there are no such images.

    References
    ----------
    [KZS2018] Knoll F, Zbontar J, Sriram A, et al. *fastMRI: a publicly available raw
    k-space and DICOM dataset of knee images for accelerated MR image reconstruction
    using machine learning*. Radiol Artif Intell, 2020. arXiv:1811.08839.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if acquisition not in (None, file.attrs.get("acquisition")):
            return None
        if "reconstruction_rss" not in file:
            raise ValueError(f"the arrays {sorted(file)}, not 'reconstruction_rss'")
        slices = np.asarray(file["reconstruction_rss"], dtype=np.float32)
        subject = str(file.attrs.get("patient_id", path.stem))
    if slices.ndim != 3 or not np.isfinite(slices).all() or slices.min() < 0:
        raise ValueError(f"magnitudes of shape {slices.shape} with a fault")
    return Volume(slices[:, None], subject)
