# SPDX-License-Identifier: MPL-2.0
"""What all benchmarks share: the clock, the description of the machine, the tables."""

import argparse
import contextlib
import ctypes
import gc
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Callable

import numpy as np
import torch

__all__ = (
    "Times",
    "alternate",
    "arguments",
    "claim",
    "environment",
    "peak_memory",
    "publish",
    "table",
    "threads",
)

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = (
    *("odl_genreg", "odl", "torch", "numpy", "scipy", "astra-toolbox"),
    *("deepinv", "torchvision"),
)


def arguments(description: str) -> argparse.Namespace:
    """Parse the command line, which is the same for all benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a short run, to try it")
    return parser.parse_args()


# --- The clock --- #


class Times:
    """Seconds of one call of each of some functions, by rounds that run alternately."""

    def __init__(self, rounds: dict[str, list[float]]):
        self.rounds = {name: np.asarray(seconds) for name, seconds in rounds.items()}

    def milliseconds(self, name: str) -> float | None:
        """Median over the rounds."""
        return 1e3 * float(np.median(self.rounds[name])) if self._has(name) else None

    def ratio(self, name: str, base: str) -> float | None:
        """Median of the ratios within each round."""
        if not (self._has(name) and self._has(base)):
            return None
        return float(np.median(self.rounds[name] / self.rounds[base]))

    def _has(self, name):
        return name in self.rounds


def alternate(
    calls: dict[str, Callable],
    fresh: Callable[[int], dict],
    *,
    seconds: float,
    block: float = 0.01,
    iterations: dict[str, int] | None = None,
) -> Times:
    """Time functions in turn, A B C, C B A, A B C, ...

    Parameters
    ----------
    calls : dict of callable
        Functions of the arguments that ``fresh`` makes for them.
    fresh : callable
        Function of a counter; returns a dict of the argument for each of ``calls``. It
        runs outside the clock, and no function gets the same point twice: a call
        cannot profit from what one before has cached. In one round all functions get
        the same points.
    seconds : float
        How long to go on; at least three rounds.
    block : float, optional
        Seconds that a function runs, in a number of calls, before the next has its
        turn.
    iterations : dict of int, optional
        How many iterations a call makes, where it makes more than one.
    """
    order, counts, most = list(calls), {}, 20
    iterations = dict.fromkeys(calls, 1) | (iterations or {})
    rounds = {name: [] for name in calls}
    for name, call in calls.items():
        for i in (0, 1):
            point = fresh(i)[name]
            start = time.perf_counter()
            call(point)
            elapsed = time.perf_counter() - start
            if elapsed > 1:
                break
        counts[name] = max(1, min(most, round(block / elapsed)))
    first, end = 2, time.perf_counter() + seconds
    gc.collect()
    while len(rounds[order[0]]) < 3 or time.perf_counter() < end:
        for name in order:
            points = [fresh(first + i)[name] for i in range(counts[name])]
            call = calls[name]
            start = time.perf_counter()
            for point in points:
                call(point)
            elapsed = time.perf_counter() - start
            rounds[name].append(elapsed / (len(points) * iterations[name]))
        order.reverse()
        first += most
    return Times(rounds)


@contextlib.contextmanager
def threads(number: int):
    """Let torch compute with a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory(call: Callable):
    """Return what ``call()`` does, its seconds, and the MB that it needed at its peak.

    Resident memory above that before the call; None where the system does not tell.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # give back what is free
    before = _resident("VmRSS")
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the old peak
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    peak = _resident("VmHWM")
    return result, seconds, None if peak is None else max(0.0, peak - before)


def _resident(field):
    """A line of /proc/self/status in MB."""
    with contextlib.suppress(OSError):
        status = pathlib.Path("/proc/self/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1e3
    return None


# --- Machine, tables, files --- #


def environment() -> dict:
    """Machine and versions."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, TypeError):
        info = pathlib.Path("/proc/cpuinfo").read_text()
        cpu = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)[1]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def claim(text: str, value: float | None, bound: float, *, at_least: bool = False):
    """Return a line of the table of what must hold."""
    holds = None if value is None else (value >= bound if at_least else value <= bound)
    sign = ">=" if at_least else "<="
    return {
        "what must hold": text,
        "bound": f"{sign} {bound:g}",
        "measured": value,
        "holds": {None: None, True: "yes", False: "no"}[holds],
    }


def table(rows: list[dict], missing: str = "-") -> str:
    """Return rows as a Markdown table; ``missing`` stands where there is no value."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = (_cell(row.get(name), missing) for name in names)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value, missing):
    if value is None:
        return missing
    if isinstance(value, bool | str | int | np.integer):
        return str(value)
    if not np.isfinite(value):
        return str(value)
    digits = 0 if abs(value) >= 100 else (1 if abs(value) >= 10 else 2)
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def publish(name: str, text: str, results: dict, *, quick: bool, seconds: float):
    """Print the tables; write ``results/<name>.json``, and the section of README.md.

    A quick run leaves README.md as it is.
    """
    machine = environment()
    versions = ", ".join(f"{p} {v}" for p, v in machine["versions"].items())
    system = f"{machine['cores']} cores, {machine['system']}"
    head = (
        f"{machine['cpu']}, {system}, Python {machine['python']}, {versions}; "
        f"{machine['date']}, {seconds / 60:.1f} minutes."
    )
    text = f"{head}\n\n{text.strip()}\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine, "quick": quick, "seconds": seconds, **results}
    suffix = "-quick" if quick else ""
    _write(RESULTS / f"{name}{suffix}.json", json.dumps(content, indent=1) + "\n")
    if not quick:
        readme = HERE / "README.md"
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = readme.read_text().partition(begin)
        _, _, after = rest.partition(end)
        _write(readme, f"{before}{begin}\n{text}{end}{after}")


def _write(path, content):
    part = path.with_name(f".{path.name}.part")
    part.write_text(content)
    os.replace(part, path)
