# SPDX-License-Identifier: MPL-2.0
"""``odl-genreg demo``."""

from .failure import needs_extra

__all__ = ("add", "run")


def add(commands):
    """Add the command to the parser."""
    demo = commands.add_parser(
        "demo",
        help="reconstruct digits from a few projections by several methods",
        description="Reconstruct 30 digits from 3, 5, 10 and 30 noisy projections by "
        "FBP, TV and generative regularizers; print PSNR and SSIM, save the figure.",
    )
    demo.add_argument("--output", default="demo_output", help="folder for the results")
    demo.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    try:
        from ..demo import run_demo
    except ImportError as error:
        return needs_extra("demo", "demo", error)
    run_demo(options.output)
    print(f"\nThe figure and the numbers are in {options.output}.")
    return 0
