# SPDX-License-Identifier: MPL-2.0
"""``odl-genreg models``."""

from .failure import failed

__all__ = ("add", "run")


def add(commands):
    """Add the command to the parser."""
    models = commands.add_parser(
        "models",
        help="list the generators that ship with the package",
        description="List the generators that ship with the package, or show the card "
        "of one: training, figures, limits, license.",
    )
    models.add_argument("name", nargs="?", help="generator whose card to show")
    models.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    from ..checkpoint import shipped_generators
    from ..checkpoint_files import SHIPPED

    names = shipped_generators()
    if options.name is None:
        for name in names:
            card = (SHIPPED / f"{name}.md").read_text(encoding="utf-8")
            text = " ".join(card.partition("\n\n")[2].split())
            print(f"{name}: {text.partition('. ')[0]}.")
    elif options.name in names:
        print((SHIPPED / f"{options.name}.md").read_text(encoding="utf-8"))
    else:
        return failed(
            "models",
            f"`name` must be one of {', '.join(names)}, got {options.name!r}; leave it "
            "out for the list.",
        )
    return 0
