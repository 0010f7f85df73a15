# SPDX-License-Identifier: MPL-2.0
"""The command ``odl-genreg``."""

import argparse
import sys

from . import __version__

__all__ = ("main",)


def main(arguments: list[str] | None = None) -> int:
    """Run ``odl-genreg`` with the given arguments, those of the process by default."""
    parser = argparse.ArgumentParser(
        prog="odl-genreg", description="Generative regularizers for ODL."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="reconstruct digits from a few projections by several methods",
        description="Reconstruct 30 digits from 3, 5, 10 and 30 noisy projections by "
        "FBP, TV and generative regularizers; print PSNR and SSIM, save the figure.",
    )
    demo.add_argument("--output", default="demo_output", help="folder for the results")
    options = parser.parse_args(arguments)
    try:
        from .demo import run_demo
    except ImportError as error:
        print(
            f"odl-genreg demo needs the packages of the extra `demo` ({error}); "
            "install them with `pip install odl_genreg[demo]`.",
            file=sys.stderr,
        )
        return 1
    run_demo(options.output)
    print(f"\nThe figure and the numbers are in {options.output}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
