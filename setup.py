# SPDX-License-Identifier: MPL-2.0
"""The one source of the package's metadata."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version():
    """Read the version; importing the package would need all it depends on."""
    text = (HERE / "odl_genreg" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


demo = ["matplotlib>=3.9", "scikit-image>=0.25"]
# Readers of image formats, each for `datasets.read_folder` and `datasets.download`.
data = [
    "h5py>=3.12",
    "nibabel>=5.3",
    "pillow>=11",
    "pooch>=1.8",
    "pydicom>=3.0",
]
accelerate = ["accelerate>=1.0"]
wavelets = ["PyWavelets>=1.8"]
mri = ["finufft>=2.3"]
studies = ["scikit-learn>=1.5", *demo, *wavelets, *mri]
test = ["pytest>=9.0.2", *data, *studies]
bench = ["deepinv>=0.5,<0.6"]
docs = ["furo>=2024.8", "numpydoc>=1.8", "sphinx>=8.1"]
dev = ["build>=1.2", "codespell>=2.3", "pre-commit>=4.0", "ruff>=0.14", *test, *docs]

setup(
    name="odl_genreg",
    version=version(),
    description="Generative regularizers for inverse problems in ODL",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The odl_genreg developers",
    license="MPL-2.0",
    license_files=["LICENSE", "NOTICE"],
    keywords=[
        "inverse problems",
        "regularization",
        "generative models",
        "tomography",
        "ODL",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Scientific/Engineering :: Mathematics",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["odl_genreg", "odl_genreg.*"]),
    package_data={
        "odl_genreg": ["py.typed", "*.json", "weights/*", "datasets/*.npz"],
    },
    zip_safe=False,
    install_requires=[
        "odl>=1.0,<1.1",
        "astra-toolbox>=2.5",
        "torch>=2.6",
        "numpy>=2.3",
        "scipy>=1.15",
        "safetensors>=0.4",
        "tqdm>=4.66",
    ],
    extras_require={
        "demo": demo,
        "data": data,
        "accelerate": accelerate,
        "wavelets": wavelets,
        "mri": mri,
        "studies": studies,
        "test": test,
        "bench": bench,
        "docs": docs,
        "dev": dev,
    },
    entry_points={"console_scripts": ["odl-genreg = odl_genreg.cli:main"]},
)
