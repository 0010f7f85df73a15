# SPDX-License-Identifier: MPL-2.0
"""``odl-genreg report``."""

from pathlib import Path

import torch

from ..datasets import hold_out
from .failure import failed, needs_extra
from .images import KINDS, add_choices, chosen_images

__all__ = ("add", "run")


def add(commands):
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="measure what a generator is good for",
        description="Measure four properties of a generator on images that it was not "
        "trained on, and write one HTML page and a JSON file.",
    )
    report.add_argument("checkpoint", help="name of a shipped generator, or a path")
    report.add_argument(
        "--data",
        required=True,
        help=f"images it was not trained on: {KINDS}; half of them where --others is "
        "not given",
    )
    report.add_argument("--others", help="other images of the kind, as for --data")
    report.add_argument(
        "--out", type=Path, default=Path("report"), help="where to write, no suffix"
    )
    report.add_argument("--seed", type=int, default=0)
    add_choices(report)
    report.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    try:
        from ..report import write_report
    except ImportError as error:
        return needs_extra("report", "demo", error)
    from ..checkpoint import load_generator

    try:
        generator = load_generator(options.checkpoint)
        offset, scale = generator.intensity
        images = chosen_images(options, options.data)
        if options.others is None:
            half = hold_out(len(images), len(images) // 2, subjects=images.subjects)
            images, others = (images[part] for part in half)
        else:
            others = chosen_images(options, options.others)
        images, others = (
            torch.from_numpy(part.images).squeeze(1) * scale + offset
            for part in (images, others)
        )
        findings = write_report(
            generator,
            images,
            others,
            options.out,
            name=Path(options.checkpoint).name,
            seed=options.seed,
        )
    except (ValueError, OSError, ImportError) as error:
        return failed("report", error)
    for finding in findings.values():
        print(f"{finding.question}\n  {finding.sentence}")
    print(f"\nThe page is {options.out}.html.")
    return 0
