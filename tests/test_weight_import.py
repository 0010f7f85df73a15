# SPDX-License-Identifier: MPL-2.0
"""Weights of other files: what is read, and that nothing is run."""

import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

import odl_genreg as ogr


def network():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))


@pytest.fixture
def saved(tmp_path):
    """Path of a state_dict, and the module it belongs to."""
    module, path = network(), tmp_path / "weights.pt"
    torch.save(module.state_dict(), path)
    return path, module


def fails(path, message, module=None, **keywords):
    module = network() if module is None else module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        ogr.import_weights(module, path, **keywords)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_state_dict_in_all_forms(tmp_path, saved):
    path, module = saved
    state = module.state_dict()
    prefixed = {f"decoder.{name}": tensor for name, tensor in state.items()}
    prefixed["encoder.weight"] = torch.ones(2)
    torch.save({"epoch": 3, "model": prefixed}, tmp_path / "more.pt")
    save_file(state, tmp_path / "weights.safetensors")
    cases = {
        path: {},
        tmp_path / "more.pt": {"entry": "model", "prefix": "decoder."},
        tmp_path / "weights.safetensors": {},
    }
    for file, keywords in cases.items():
        other = network()
        assert ogr.import_weights(other, file, **keywords) is other
        for name, tensor in other.state_dict().items():
            assert torch.equal(tensor, state[name])


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps({"weight": Bomb()}, protocol=2))
    fails(path, "must be a file of tensors")
    torch.save({"weight": Bomb()}, path)
    fails(path, "must be a file of tensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_files(tmp_path, saved, share, suffix):
    path, module = saved
    if suffix == ".safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(module.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    fails(path, "must be a file of tensors")


def test_zip_that_grows(tmp_path):
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10**7))
    assert path.stat().st_size < 10**5
    fails(path, "must be a file that `torch.save` wrote, got .* unpacks to 10000000")


@pytest.mark.parametrize("content", [b"some text\n", b"", b"PK\x03\x04", bytes(100)])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    fails(path, "must be a file of tensors")


def test_other_contents(tmp_path, saved):
    path, module = saved
    fails(path, "`entry` must be an entry of .*, got 'model'", entry="model")
    fails(path, "`module` must have the parameters of", prefix="decoder.")
    fails(path, "`module` must have the parameters", module=torch.nn.Linear(2, 3))
    state = module.state_dict()
    for value, message in (
        ({"epoch": 3, "model": state}, "must hold a state_dict of tensors, got"),
        ([1, 2], "must hold a state_dict of tensors, got .* with list"),
        ({**state, "0.weight": torch.full((3, 2), float("nan"))}, "must hold finite"),
        ({**state, "0.weight": torch.ones(3, 3)}, "`module` must have the parameters"),
    ):
        torch.save(value, path)
        fails(path, message)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be the path of a file"):
        ogr.import_weights(network(), tmp_path / "nothing.pt")
