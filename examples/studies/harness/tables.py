# SPDX-License-Identifier: MPL-2.0
"""Tables: all rows as CSV, means with standard errors as Markdown."""

import csv
import os
import statistics
from pathlib import Path


def write_rows(path: Path, rows: list[dict]):
    """Write all rows as CSV."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


def write_table(
    path: Path,
    rows: list[dict],
    *,
    index: str = "method",
    columns: str = "problem",
    values: dict[str, int] | None = None,
    note: str = "",
) -> str:
    """Write a Markdown table of means and standard errors, and return it.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    rows : list of dict
        One for each image, with ``index``, ``columns`` and ``values``.
    values : dict, optional
        Names of the values and their digits; one table for each. Default: PSNR.
    note : str, optional
        Lines before the first table.
    """
    text = [note, ""] if note else []
    names = list(dict.fromkeys(row[index] for row in rows))
    heads = list(dict.fromkeys(row[columns] for row in rows))
    for value, digits in (values or {"psnr": 2}).items():
        text += [f"| {value} | " + " | ".join(map(str, heads)) + " |"]
        text += ["|---" * (len(heads) + 1) + "|"]
        for name in names:
            cells = [
                mean_and_error(_of(rows, value, {index: name, columns: head}), digits)
                for head in heads
            ]
            text.append(f"| {name} | " + " | ".join(cells) + " |")
        text.append("")
    text = "\n".join(text)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return text


def paired_differences(
    rows: list[dict], first: str, second: str, *, value="psnr", digits=2
) -> dict[str, str]:
    """Return mean and standard error of ``first - second``, image by image."""
    problems = dict.fromkeys(row["problem"] for row in rows)
    result = {}
    for problem in problems:
        one, other = (
            _of(rows, value, {"problem": problem, "method": method})
            for method in (first, second)
        )
        differences = [a - b for a, b in zip(one, other, strict=True)]
        result[problem] = mean_and_error(differences, digits)
    return result


def mean_and_error(values, digits) -> str:
    """Return ``mean +- standard error`` as text; the mean alone of a single value."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {error:.{digits}f}"


def _of(rows, value, conditions):
    return [
        row[value]
        for row in rows
        if all(row[name] == wanted for name, wanted in conditions.items())
    ]
