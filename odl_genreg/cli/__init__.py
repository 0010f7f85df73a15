# SPDX-License-Identifier: MPL-2.0
"""The command ``odl-genreg``: each module of this package is one of its commands."""

import argparse

from .. import __version__
from . import demo, download, models, report, train

__all__ = ("main",)


def main(arguments: list[str] | None = None) -> int:
    """Run ``odl-genreg`` with the given arguments, those of the process by default."""
    parser = argparse.ArgumentParser(
        prog="odl-genreg", description="Generative regularizers for ODL."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (demo, download, train, report, models):
        command.add(commands)
    options = parser.parse_args(arguments)
    return options.run(options)
