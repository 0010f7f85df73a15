# SPDX-License-Identifier: MPL-2.0
"""``python -m odl_genreg.cli``, the same as ``odl-genreg``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
