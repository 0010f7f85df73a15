# SPDX-License-Identifier: MPL-2.0
"""The command line of a study."""

import argparse
import os
import sys
from pathlib import Path


def study_options(description: str, *, generator=None, images=None, more=None):
    """Return the options of a study: its size, ``--output``, and what it wants more.

    The attribute ``size`` is 'full' with ``--full``, else 'small', or 'quick' where
    ``GENREG_QUICK`` is set in the environment, as tests do.

    Parameters
    ----------
    description : str
        Docstring of the script.
    generator : str, optional
        Default checkpoint of a study that takes any.
    images : str, optional
        What the file of images holds, for a study that takes one.
    more : dict of str, optional
        Other options and their help: paths.
    """
    study = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="at full size; long")
    parser.add_argument(
        "--output", type=Path, help=f"run directory; default: runs/{study}-SIZE"
    )
    if generator is not None:
        parser.add_argument(
            "--generator",
            default=generator,
            help="checkpoint, or name of a shipped one",
        )
    if images is not None:
        parser.add_argument("--images", type=Path, help=images)
    for name, text in (more or {}).items():
        parser.add_argument(name, type=Path, help=text)
    options = parser.parse_args()
    quick = bool(os.environ.get("GENREG_QUICK"))
    options.size = "full" if options.full else "quick" if quick else "small"
    # What the results depend on.
    options.settings = {k: str(v) for k, v in vars(options).items() if k != "output"}
    if options.output is None:
        options.output = Path("runs") / f"{study}-{options.size}"
    command = ["python", f"examples/studies/{study}.py", *sys.argv[1:]]
    options.command = " ".join(command)
    return options
