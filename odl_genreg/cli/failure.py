# SPDX-License-Identifier: MPL-2.0
"""What a command says when it cannot do its work."""

import sys

__all__ = ("failed", "needs_extra")


def failed(command: str, message) -> int:
    """Print what is wrong, and return the exit status."""
    print(f"odl-genreg {command}: {message}", file=sys.stderr)
    return 1


def needs_extra(command: str, extra: str, error: ImportError) -> int:
    """Print which packages are missing, and return the exit status."""
    return failed(
        command,
        f"needs the packages of the extra `{extra}` ({error}); install them with "
        f"`pip install odl_genreg[{extra}]`.",
    )
