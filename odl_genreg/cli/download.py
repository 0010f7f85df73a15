# SPDX-License-Identifier: MPL-2.0
"""``odl-genreg download``."""

from pathlib import Path

from ..datasets import download
from .failure import failed, needs_extra

__all__ = ("add", "run")


def add(commands):
    """Add the command to the parser."""
    parser = commands.add_parser(
        "download",
        help="download images to train on",
        description="Download the images of MNIST or Fashion-MNIST from their source, "
        "compare them with the known checksum, and print the path of the file.",
    )
    parser.add_argument("name", choices=("mnist", "fashion-mnist"))
    parser.add_argument("--split", choices=("train", "test"), default="train")
    parser.add_argument("--out", default="data", type=Path, help="folder to write to")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    try:
        print(download(options.name, options.out, split=options.split))
    except ImportError as error:
        return needs_extra("download", "data", error)
    except (ValueError, OSError) as error:
        return failed("download", error)
    return 0
