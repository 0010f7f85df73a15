# SPDX-License-Identifier: MPL-2.0
"""What a generator is good for: four properties, measured, on one page.

==============  ============================================================
`feasible`      are all images of the kind in the range?
`unfeasible`    is nothing else in it?
`smooth`        does the image follow the latent smoothly?
`latent`        is the distribution of the latents known?
==============  ============================================================

The properties are those of Duff, Campbell and Ehrhardt, *Regularising inverse problems
with generative machine learning models*, arXiv:2107.11191.
"""

from .feasible import feasible
from .finding import Finding
from .latent import latent
from .report import write_report
from .smooth import smooth
from .unfeasible import unfeasible

__all__ = ("Finding", "feasible", "latent", "smooth", "unfeasible", "write_report")
