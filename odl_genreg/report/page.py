# SPDX-License-Identifier: MPL-2.0
"""The findings as one HTML page that needs no other file."""

import base64
import html
import io

import matplotlib
import torch

matplotlib.use("Agg")

from matplotlib.image import imsave  # noqa: E402

from .finding import Finding  # noqa: E402

__all__ = ("html_page",)

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #ccc; padding: 0.2em 0.8em; text-align: left; }
td.number { text-align: right; }
img { width: 100%; image-rendering: pixelated; }
figcaption, small { color: #555; }
"""


def html_page(name: str, findings: dict[str, Finding]) -> str:
    """Return the page: a table of the numbers, then each property with its pictures."""
    rows = "".join(
        f"<tr><td>{html.escape(f.question)}</td><td class='number'>{f.value:.3g}</td>"
        f"<td><small>{html.escape(f.label)}</small></td></tr>"
        for f in findings.values()
    )
    sections = "".join(map(_section, findings.values()))
    title = f"What {name} is good for"
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><table>{rows}</table>{sections}</body></html>\n"
    )


def _section(finding):
    figures = "".join(
        f"<figure><img src='{_png(picture)}' alt='{html.escape(caption)}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, picture in finding.pictures.items()
    )
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{_numbers(value)}</td></tr>"
        for key, value in finding.details.items()
    )
    return (
        f"<h2>{html.escape(finding.question)}</h2><p>{html.escape(finding.sentence)}</p>"
        f"<p>{html.escape(finding.advice)}</p>{figures}"
        f"<details><summary>All numbers</summary><table>{rows}</table></details>"
    )


def _numbers(value):
    if isinstance(value, list):
        return " ".join(f"{number:.3g}" for number in value)
    return f"{value:.4g}"


def _png(picture: torch.Tensor) -> str:
    """Return a picture as the address of an image, black to white over its values."""
    buffer = io.BytesIO()
    imsave(buffer, picture.detach().cpu().numpy(), cmap="gray", format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
