# SPDX-License-Identifier: MPL-2.0
"""The two files of a checkpoint: safetensors for the numbers, JSON for the rest."""

import hashlib
import json
import os
import pathlib

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

__all__ = ("SHIPPED", "read_checkpoint", "write_checkpoint")

FORMAT = 1
ENTRIES = (
    "sha256",
    "architecture",
    "image_shape",
    "latent_shape",
    "intensity",
    "decoder_variance",
)
SHIPPED = pathlib.Path(__file__).parent / "weights"


def write_checkpoint(path, header: dict, tensors: dict[str, torch.Tensor]):
    """Write ``path.safetensors`` and ``path.json``, each atomically, this one last.

    The header gets the format and the SHA-256 sum of the tensors.
    """
    content = save_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    header = {"format": FORMAT, "sha256": digest} | header
    weights, sheet = _files(path)
    _write(weights, content)
    _write(sheet, (json.dumps(header, indent=2) + "\n").encode())


def read_checkpoint(path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return header and tensors of a checkpoint.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If one of them is damaged, of another format, or belongs to another one.
    """
    weights, sheet = _files(path)
    for file in (weights, sheet):
        if not file.is_file():
            shipped = ", ".join(sorted(f.stem for f in SHIPPED.glob("*.safetensors")))
            raise FileNotFoundError(
                "`name` must be a shipped generator or the path of a checkpoint, got "
                f"{str(path)!r} and there is no {file}; shipped are: {shipped}."
            )
    header = _header(sheet)
    content = weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != header["sha256"]:
        raise ValueError(
            f"`{weights}` must be the file that its description was written with, got "
            f"another one of {len(content)} bytes, damaged, truncated or replaced; "
            "copy both files of the checkpoint again."
        )
    try:
        return header, load_tensors(content)
    except SafetensorError as error:
        raise ValueError(
            f"`{weights}` must be a safetensors file, got a damaged one ({error}); "
            "copy the checkpoint again."
        ) from error


def _header(sheet):
    try:
        header = json.loads(sheet.read_text())
    except ValueError as error:
        raise ValueError(
            f"`{sheet}` must be a JSON file, got a damaged one ({error}); copy the "
            "checkpoint again."
        ) from error
    found = header.get("format") if isinstance(header, dict) else header
    if found != FORMAT:
        raise ValueError(
            f"`{sheet}` must be a checkpoint of format {FORMAT}, got {found!r}; "
            "write it again with `save_generator`."
        )
    if missing := [name for name in ENTRIES if name not in header]:
        raise ValueError(
            f"`{sheet}` must have the entries {ENTRIES}, got none for {missing}; copy "
            "the checkpoint again."
        )
    return header


def _files(path):
    path = pathlib.Path(path)
    if path.suffix in (".safetensors", ".json"):
        path = path.with_suffix("")
    return [path.with_name(path.name + end) for end in (".safetensors", ".json")]


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
