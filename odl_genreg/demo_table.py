# SPDX-License-Identifier: MPL-2.0
"""The table of the demo."""

import statistics

__all__ = ("summarize", "table")


def summarize(rows: list[dict], num_angles, methods) -> list[dict]:
    """Return the means over the digits for each number of angles and method.

    Parameters
    ----------
    rows : list of dict
        For each digit ``angles``, ``method``, ``psnr``, ``ssim`` and ``seconds``.
    num_angles, methods : sequence
        What stands in the rows, in the order of the result.
    """
    return [
        {"angles": angles, "method": method}
        | {
            key: statistics.fmean(_of(rows, angles, method, key))
            for key in ("psnr", "ssim", "seconds")
        }
        for angles in num_angles
        for method in methods
    ]


def table(rows: list[dict], num_angles, methods) -> str:
    """Return mean and standard error of PSNR and SSIM, a line for each method.

    Parameters
    ----------
    rows, num_angles, methods :
        As for `summarize`, with at least two digits.
    """
    lines = []
    for key, title, digits in (("psnr", "PSNR in dB", 2), ("ssim", "SSIM", 3)):
        lines += ["", f"{title}, mean +- standard error, by number of angles"]
        lines.append("".join([f"{'':10}", *(f"{n:>18}" for n in num_angles)]))
        for method in methods:
            cells = [
                _mean_and_error(_of(rows, angles, method, key), digits)
                for angles in num_angles
            ]
            lines.append("".join([f"{method:10}", *(f"{cell:>18}" for cell in cells)]))
    return "\n".join(lines)


def _mean_and_error(values, digits):
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.{digits}f} +- {error:.{digits}f}"


def _of(rows, angles, method, key):
    return [r[key] for r in rows if r["angles"] == angles and r["method"] == method]
