# SPDX-License-Identifier: MPL-2.0
"""Generators as files: round trips, damaged files, no code."""

import hashlib
import json
import os
import pickle

import odl
import pytest
import torch
from safetensors.torch import load_file, save_file

import odl_genreg as ogr
from generators import (
    array,
    latent_space,
    linear_network,
    make_generator,
    mlp_network,
    random_element,
    seeded,
)
from odl_genreg.checkpoint import (
    FAMILIES,
    load_generator,
    save_generator,
    shipped_generators,
)
from odl_genreg.checkpoint_files import SHIPPED
from odl_genreg.networks import VAE
from odl_genreg.torch_bridge import as_tensor

SHAPE = (8, 12)
ARGUMENTS = {"image_shape": SHAPE, "latent_dim": 3, "channels": (4, 5), "hidden": 6}
ARCHITECTURE = {"name": "vae", "arguments": ARGUMENTS}


def space(shape=SHAPE, **keywords):
    keywords = {"dtype": "float32"} | keywords
    return odl.uniform_discr([0, 0], [0.8, 2.4], shape, **keywords)


def vae_generator(**keywords):
    vae = VAE(**ARGUMENTS, seed=3)
    Z = odl.rn(3, dtype="float32")
    keywords = {"encoder": vae.mean_encoder} | keywords
    return ogr.Generator(vae.decoder, Z, space(), **keywords)


def states_equal(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


@pytest.fixture
def saved(tmp_path):
    """Path of a checkpoint of a VAE, and its generator."""
    G = vae_generator(intensity=(0.5, 2.0), decoder_variance=0.03)
    path = tmp_path / "folder" / "digits"
    save_generator(path, G, architecture=ARCHITECTURE, description={"seed": 3})
    return path, G


def edit(path, **entries):
    sheet = path.with_name(path.name + ".json")
    header = json.loads(sheet.read_text()) | entries
    header = {key: value for key, value in header.items() if value != "remove"}
    sheet.write_text(json.dumps(header))


# --- Round trips --- #


def test_round_trip_to_the_bit(saved, global_state_untouched):
    path, G = saved
    with global_state_untouched():
        H = load_generator(path, space())
    assert states_equal(G.module, H.module)
    assert states_equal(G.encoder, H.encoder)
    z = random_element(G.domain)
    assert G(z) == H(z)
    x = as_tensor(G(z))[None]
    assert torch.equal(G.encode(x), H.encode(x))
    assert H.intensity == (0.5, 2.0)
    assert H.decoder_variance == 0.03
    assert H.range == space()
    assert H.domain == odl.rn(3, dtype="float32")


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".json"])
def test_path_with_any_suffix(saved, suffix):
    path, G = saved
    z = random_element(G.domain)
    assert load_generator(str(path) + suffix, space())(z) == G(z)


def test_name_with_a_dot(tmp_path):
    path = tmp_path / "digits.v2"
    save_generator(path, vae_generator(), architecture=ARCHITECTURE)
    names = sorted(os.listdir(tmp_path))
    assert names == ["digits.v2.json", "digits.v2.safetensors"]
    assert load_generator(path).range.shape == SHAPE


def test_half_precision(saved, tmp_path):
    _, G = saved
    path = tmp_path / "half"
    save_generator(path, G, architecture=ARCHITECTURE, dtype=torch.float16)
    tensors = load_file(f"{path}.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    H = load_generator(path, space())
    for key, value in H.module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, G.module.state_dict()[key].half().float())
    z = random_element(G.domain)
    assert 0 < (G(z) - H(z)).norm() < 1e-2 * G(z).norm()


@pytest.mark.parametrize("impl", ["numpy", "pytorch"])
def test_network_takes_the_dtype_of_the_space(saved, impl):
    path, G = saved
    H = load_generator(path, space(dtype="float64", impl=impl))
    assert H.domain == odl.rn(3, dtype="float64", impl=impl)
    z = random_element(H.domain)
    z32 = G.domain.element(array(z).astype("float32"))
    assert array(H(z)) == pytest.approx(array(G(z32)), abs=1e-5)


def test_latent_space_of_the_caller(saved):
    path, _ = saved
    Z = latent_space(dtype="float32")
    assert load_generator(path, space(), Z).domain == Z


def test_default_image_space(saved):
    X = load_generator(saved[0]).range
    assert X.shape == SHAPE
    assert X.cell_volume == 1.0


def test_network_of_the_caller(tmp_path):
    encoder = seeded(torch.nn.Linear(63, 3)).double()
    G = make_generator("mlp", encoder=encoder, intensity=(1.0, 3.0))
    path = tmp_path / "own"
    save_generator(path, G)
    header = json.loads(path.with_name("own.json").read_text())
    assert header["architecture"] is None
    network, own_encoder = mlp_network(seed=9), seeded(torch.nn.Linear(63, 3), 9)
    H = load_generator(
        path, G.range, G.domain, network=network, encoder=own_encoder.double()
    )
    assert states_equal(G.module, H.module)
    assert states_equal(G.encoder, H.encoder)
    assert states_equal(network, H.module)
    z = random_element(G.domain)
    assert H(z) == G(z)
    assert load_generator(path, G.range, G.domain, network=network).encoder is None


def test_encoder_that_the_file_has_not(tmp_path):
    path = tmp_path / "plain"
    save_generator(path, vae_generator(encoder=None), architecture=ARCHITECTURE)
    assert load_generator(path).encoder is None


def test_buffers_and_tied_weights(tmp_path):
    def network(seed):
        first = torch.nn.Linear(3, 3)
        last = torch.nn.Linear(3, 3)
        last.weight = first.weight
        layers = first, last, torch.nn.Linear(3, 63), torch.nn.BatchNorm1d(63)
        return seeded(torch.nn.Sequential(*layers), seed).double()

    module = network(0)
    module[3].running_mean.fill_(2.0)
    X, Z = make_generator("mlp").range, latent_space()
    G = ogr.Generator(module, Z, X)
    save_generator(tmp_path / "tied", G)
    H = load_generator(tmp_path / "tied", X, Z, network=network(1))
    z = random_element(Z)
    assert G(z) == H(z)
    assert H.module[3].running_mean[0] == 2.0


def test_saving_leaves_the_generator_alone(tmp_path):
    G = make_generator("mlp")
    before = {key: value.clone() for key, value in G.module.state_dict().items()}
    save_generator(tmp_path / "a", G, dtype=torch.float16)
    for key, value in G.module.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.dtype == torch.float64


def test_saving_again_replaces_and_leaves_nothing_beside(saved):
    path, _ = saved
    other = vae_generator(intensity=(7.0, 1.0))
    save_generator(path, other, architecture=ARCHITECTURE)
    assert load_generator(path).intensity == (7.0, 1.0)
    assert sorted(os.listdir(path.parent)) == ["digits.json", "digits.safetensors"]


def test_description_is_kept(saved):
    header = json.loads(saved[0].with_name("digits.json").read_text())
    assert header["seed"] == 3
    assert header["format"] == 1
    assert header["image_shape"] == list(SHAPE)
    assert header["intensity"] == [0.5, 2.0]


def test_shipped_generators_load():
    assert "mnist-vae" in shipped_generators()
    for name in shipped_generators():
        G = load_generator(name)
        x = array(G(G.domain.zero()))
        assert 0 <= x.min() < x.max() <= 1
        assert G.decoder_variance > 0


def test_shipped_generators_are_small_and_documented():
    for name in shipped_generators():
        card = SHIPPED.joinpath(f"{name}.md").read_text(encoding="utf-8")
        assert card.startswith(f"# {name}\n\n")
        header = json.loads(SHIPPED.joinpath(f"{name}.json").read_text("utf-8"))
        psnr = header["figures"]["validation projection PSNR, mean"]
        assert f"{psnr:.2f}" in card  # the figure of the file is that of the card
        size = SHIPPED.joinpath(f"{name}.safetensors").stat().st_size
        assert size < 2e6
        assert f"{size} bytes" in card
        for part in ("| command | `", "| seed | 0", "## Figures", "## Limits"):
            assert part in card, name


# --- Damage --- #


def fails(path, match, error=ValueError, image_space=None, **keywords):
    with pytest.raises(error, match=match):
        load_generator(path, image_space, **keywords)


def test_missing_files(saved, tmp_path):
    message = r"`name` must be a shipped .*got 'nothing'.*there is no nothing.safe.*"
    fails("nothing", message + "shipped are: .*mnist-vae", FileNotFoundError)
    path, _ = saved
    os.remove(f"{path}.json")
    fails(path, r"there is no .*digits\.json", FileNotFoundError)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_tensors(saved, keep):
    path, _ = saved
    file = path.with_name("digits.safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    fails(path, "must be the file that its description was written with, got another")


def test_one_bit_of_the_tensors(saved):
    path, _ = saved
    file = path.with_name("digits.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    fails(path, "damaged, truncated or replaced; copy both files")


def test_tensors_that_are_no_safetensors(saved):

    path, _ = saved
    path.with_name("digits.safetensors").write_bytes(b"no tensors")
    edit(path, sha256=hashlib.sha256(b"no tensors").hexdigest())
    fails(path, "must be a safetensors file, got a damaged one")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}", b"{'format': 1}"])
def test_damaged_description(saved, content):
    path, _ = saved
    path.with_name("digits.json").write_bytes(content)
    fails(path, r"digits\.json` must be a JSON file, got a damaged one")


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2}', '"text"'])
def test_description_of_another_format(saved, content):
    path, _ = saved
    path.with_name("digits.json").write_text(content)
    fails(path, "must be a checkpoint of format 1, got .*; write it again")


@pytest.mark.parametrize(
    "name", ["sha256", "architecture", "image_shape", "latent_shape", "intensity"]
)
def test_description_without_an_entry(saved, name):
    edit(saved[0], **{name: "remove"})
    fails(saved[0], rf"must have the entries .*got none for \['{name}'\]")


@pytest.mark.parametrize("content", [b"\x80\x04.", b"cos\nsystem\n(S'true'\ntR."])
def test_pickles_are_not_loaded(saved, content, monkeypatch):
    """Whatever pretends to be a checkpoint, no pickle is read."""

    def forbidden(*args, **keywords):
        pytest.fail("loading runs code")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    path, G = saved
    assert load_generator(path, space())(G.domain.zero()) == G(G.domain.zero())
    path.with_name("digits.safetensors").write_bytes(content)
    edit(path, sha256=hashlib.sha256(content).hexdigest())
    fails(path, "must be a safetensors file")


@pytest.mark.parametrize("name", ["ae", "gan", "svae"])
def test_other_families(tmp_path, name):
    network = FAMILIES[name](**ARGUMENTS, seed=3)
    encoder = getattr(network, "mean_encoder", None)
    precision = getattr(network, "precision", None)
    Z = odl.rn(3, dtype="float32")
    G = ogr.Generator(network.decoder, Z, space(), encoder=encoder, precision=precision)
    path = tmp_path / name
    save_generator(path, G, architecture={"name": name, "arguments": ARGUMENTS})
    again = load_generator(path, image_space=space())
    z = random_element(Z)
    assert again(z) == G(z)
    assert (again.encoder is None) == (name == "gan")
    assert (again.precision is None) == (name != "svae")
    if precision is not None:
        zero = torch.zeros(1, 3)
        assert torch.equal(again.precision(zero), precision(zero))


def test_another_architecture(saved):
    path, _ = saved
    edit(path, architecture={"name": "flow", "arguments": {}})
    fails(path, r"`architecture` must have one of the names \('vae', .*, got 'flow'")
    larger = {"name": "vae", "arguments": ARGUMENTS | {"hidden": 7}}
    edit(path, architecture=larger)
    fails(path, "`network` must have the parameters of the checkpoint, got others")
    for arguments in ({"hidden": 7}, {**ARGUMENTS, "depth": 2}):
        edit(path, architecture={"name": "vae", "arguments": arguments})
        fails(
            path, "must have the arguments of a network 'vae', got .*give the `network`"
        )
    edit(path, architecture={"name": "vae"})
    fails(path, "must have the arguments of a network 'vae', got None")


def test_network_that_does_not_fit(tmp_path):
    G = make_generator("mlp")
    path = tmp_path / "own"
    save_generator(path, G)
    fails(path, "`network` must be given for a checkpoint of a network that is none")
    message = (
        "`network` must have the parameters of the checkpoint, got others; build it"
    )
    fails(path, message, network=linear_network())


def test_image_space_of_another_shape(saved):
    message = (
        r"`image_space` must have the shape \(8, 12\) of the checkpoint, got \(7, 9\); "
        r".*`R @ "
    )
    fails(saved[0], message, image_space=space((7, 9)))


def test_weights_that_are_no_numbers(saved):

    path, _ = saved
    file = path.with_name("digits.safetensors")
    tensors = load_file(file)
    for tensor in tensors.values():
        tensor.fill_(float("nan"))
    save_file(tensors, file)
    edit(path, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    fails(path, "`network` must return finite values, got NaN or inf")


def test_errors_of_saving(tmp_path):
    G = vae_generator()
    with pytest.raises(ValueError, match="`architecture` must have one of the names"):
        save_generator(tmp_path / "a", G, architecture={"name": "flow"})
    with pytest.raises(ValueError, match=r"must leave \['format', 'intensity'\] to"):
        save_generator(tmp_path / "a", G, description={"format": 2, "intensity": 1})
    assert os.listdir(tmp_path) == []
