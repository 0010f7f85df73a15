# SPDX-License-Identifier: MPL-2.0
"""Files of MNIST and Fashion-MNIST from their sources."""

from pathlib import Path

__all__ = ("download",)

SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
FILES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
MD5 = {
    ("mnist", "train"): "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ("mnist", "test"): "9fb629c4189551a2d022fa330f9573f3",
    ("fashion-mnist", "train"): "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    ("fashion-mnist", "test"): "bef4ecab320f06d8554ea6380940ec79",
}


def download(name: str, folder, *, split: str = "train") -> Path:
    """Download images of MNIST [LCB1998] or Fashion-MNIST [XRV2017], once.

    With a progress bar, and compared with the known checksum; a file in ``folder`` that
    has it is not downloaded again.

    Parameters
    ----------
    name : {'mnist', 'fashion-mnist'}
        Which images, all of 28 x 28 pixels.
    folder : path
        Where to keep the file. It is made if need be.
    split : {'train', 'test'}, optional
        60000 images to train on, or 10000 others.

    Returns
    -------
    path : `pathlib.Path`
        File for `read_mnist`.

    Raises
    ------
    ValueError
        If there is no such name or split, or if the file has another checksum.
    OSError
        If the source cannot be reached.
    ImportError
        If the package `pooch` is not installed; it is in the extra ``data``.

    References
    ----------
    [LCB1998] LeCun Y, Cortes C, and Burges C. *The MNIST database of handwritten
    digits.*

    [XRV2017] Xiao H, Rasul K, and Vollgraf R. *Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms.* arXiv:1708.07747.
    """
    if (name, split) not in MD5:
        raise ValueError(
            f"`name` and `split` must be of {tuple(SOURCES)} and {tuple(FILES)}, got "
            f"{name!r} and {split!r}; choose one of each."
        )
    import pooch

    file = FILES[split]
    pooch.retrieve(
        SOURCES[name] + file,
        known_hash=f"md5:{MD5[name, split]}",
        fname=f"{name}-{file}",
        path=Path(folder),
        progressbar=True,
    )
    return Path(folder) / f"{name}-{file}"
