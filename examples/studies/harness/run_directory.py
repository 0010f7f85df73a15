# SPDX-License-Identifier: MPL-2.0
"""A directory that keeps what a study has computed, so that it goes on after a kill."""

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


class RunDirectory:
    """Results of one study with one config, each written once and in one piece.

    Parameters
    ----------
    path : path-like
        The directory; it is made if needed.
    config : dict
        What the results depend on. A directory with the results of another config is
        an error.
    """

    def __init__(self, path, config: dict):
        self.path, self.config = Path(path), config
        self.path.mkdir(parents=True, exist_ok=True)
        known = self.path / "config.json"
        text = json.dumps(config, indent=1, default=str)
        if known.exists() and known.read_text(encoding="utf-8") != text:
            raise ValueError(
                f"`output` must hold a run with this config, got {self.path} with "
                "another; choose another directory, or remove it."
            )
        self._write(known, lambda part: part.write_text(text, encoding="utf-8"))

    def cached(self, name: str, compute: Callable):
        """Return what JSON takes: from its file, or computed and written."""
        path = self._file(name, ".json")
        if not path.exists():
            text = json.dumps(compute(), indent=1)
            self._write(path, lambda part: part.write_text(text, encoding="utf-8"))
        return json.loads(path.read_text(encoding="utf-8"))

    def cached_arrays(self, name: str, compute: Callable) -> dict[str, np.ndarray]:
        """Return a dict of arrays: from its file, or computed and written."""
        path = self._file(name, ".npz")
        if not path.exists():
            arrays = compute()
            self._write(path, lambda part: _savez(part, arrays))
        with np.load(path) as file:
            return dict(file)

    def finish(self, command: str, seconds: float | None = None):
        """Write ``run.json``: command, seed, time and machine."""
        record = {
            "command": command,
            "seed": self.config.get("seed"),
            "finished": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "seconds": seconds,
        }
        text = json.dumps(record, indent=1)
        path = self.path / "run.json"
        self._write(path, lambda part: part.write_text(text, encoding="utf-8"))

    def _file(self, name, suffix):
        path = self.path / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def _write(path, write):
        part = path.with_name(f".{path.name}.part")
        write(part)
        os.replace(part, path)


def _savez(part, arrays):
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
