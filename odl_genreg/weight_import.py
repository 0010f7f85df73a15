# SPDX-License-Identifier: MPL-2.0
"""Weights that were trained elsewhere, into a module of your own."""

import pathlib
import pickle
import zipfile

import safetensors.torch
import torch
from safetensors import SafetensorError

__all__ = ("import_weights",)


def import_weights(
    module: torch.nn.Module, path, *, entry: str | None = None, prefix: str = ""
) -> torch.nn.Module:
    """Fill a module with the weights of a file; no code of the file is run.

    Parameters
    ----------
    module : torch.nn.Module
        Module that takes the weights; it is changed.
    path : path-like
        A ``state_dict`` as `torch.save` or safetensors write it.
    entry : str, optional
        Which entry of the file is the ``state_dict``, where it holds more, such as
        "state_dict" or "model".
    prefix : str, optional
        Takes the weights whose names begin with it, without it: "decoder." for the
        decoder of an autoencoder.

    Returns
    -------
    module : torch.nn.Module
        The module itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, holds anything but tensors, tensors that are not finite,
        or others than ``module`` has.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> autoencoder = torch.nn.ModuleDict({"decoder": torch.nn.Linear(2, 3)})
    >>> module = torch.nn.Linear(2, 3)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory) / "weights.pt"
    ...     torch.save(autoencoder.state_dict(), path)
    ...     _ = ogr.import_weights(module, path, prefix="decoder.")
    >>> torch.equal(module.weight, autoencoder["decoder"].weight)
    True
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be the path of a file, got {str(path)!r}; check the path."
        )
    state = _read(path)
    if entry is not None:
        if not isinstance(state, dict) or entry not in state:
            found = sorted(map(str, state)) if isinstance(state, dict) else type(state)
            raise ValueError(
                f"`entry` must be an entry of {path}, got {entry!r} and there are "
                f"{found}; choose one."
            )
        state = state[entry]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor)
        for key, value in state.items()
    ):
        keys = list(state)[:5] if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"`path` must hold a state_dict of tensors, got {path} with {keys}; name "
            "the `entry` that is one, or save `module.state_dict()`."
        )
    state = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    if bad := [key for key, value in state.items() if not value.isfinite().all()]:
        raise ValueError(
            f"`path` must hold finite weights, got NaN or inf in {bad[:5]} of {path}; "
            "take another checkpoint."
        )
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if own != found:
        differ = sorted(set(own.items()) ^ set(found.items()))
        raise ValueError(
            f"`module` must have the parameters of {path}, got others, such as "
            f"{differ[:6]} in one of both; build it as it was trained, or give another "
            "`prefix`."
        )
    module.load_state_dict(state)
    return module


def _read(path):
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if zipfile.is_zipfile(path):
            _check_sizes(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        LookupError,
        AttributeError,
        UnicodeDecodeError,
    ) as error:
        fault = (str(error).splitlines() or ["it ends too early"])[0]
        raise ValueError(
            f"`path` must be a file of tensors, got {path}, which is damaged or holds "
            f"something else ({fault}); save the `state_dict` of the module, and "
            "nothing more."
        ) from error


def _check_sizes(path):
    """`torch.save` compresses nothing: what grows when it is read is no checkpoint."""
    with zipfile.ZipFile(path) as file:
        size = sum(item.file_size for item in file.infolist())
    if size > path.stat().st_size:
        raise ValueError(
            f"`path` must be a file that `torch.save` wrote, got {path} of "
            f"{path.stat().st_size} bytes that unpacks to {size}; save it again."
        )
