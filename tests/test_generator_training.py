# SPDX-License-Identifier: MPL-2.0
"""From images to checkpoints, by function and by command."""

import json

import numpy as np
import pytest
import torch

import odl_genreg as ogr
from generators import linear_parts, make_generator
from odl_genreg import cli
from odl_genreg.datasets import read_images, shapes
from odl_genreg.evaluation import project_onto_range
from odl_genreg.generator_training import train_generator

SMALL = {
    "latent_dim": 3,
    "channels": (4, 5),
    "hidden": 6,
    "batch_size": 32,
    "num_validation": 20,
}


def bars(number=160):
    columns = np.random.default_rng(0).integers(0, 12, number)
    images = np.zeros((number, 1, 8, 12), "float32")
    images[np.arange(number), 0, :, columns] = 1.0
    return images


@pytest.mark.parametrize("family", ["vae", "lvae", "svae", "ae", "gan"])
def test_checkpoint_is_the_generator(tmp_path, family):
    path = tmp_path / "folder" / "bars"
    size = SMALL | ({"latent_dim": 8, "local_channels": 1} if family == "lvae" else {})
    G = train_generator(
        family, bars(), path, epochs=2, training_data="bars", seed=1, **size
    )
    header = json.loads(path.with_suffix(".json").read_text())
    assert header["architecture"]["name"] == family
    assert header["training_data"] == "bars"
    assert header["figures"]["epochs"] == (4 if family == "svae" else 2)
    again = ogr.load_generator(path)
    z = torch.ones(2, *G.domain.shape)
    assert torch.equal(again.batch(z), G.batch(z))
    assert again.decoder_variance == pytest.approx(G.decoder_variance)
    assert 0 < G.decoder_variance < 0.3
    ogr.soft_constraint(again)
    if family == "svae":
        factors = (g.precision(z) for g in (G, again))
        assert torch.equal(*factors)
        ogr.structured_deviation(again)
    if family != "gan":
        codes = G.encode(torch.from_numpy(bars())[:, 0])
        assert codes.mean(0).abs().max() < 0.3


def test_finished_training_is_not_run_again(tmp_path):
    options = {"epochs": 2, **SMALL}
    one = train_generator("ae", bars(), tmp_path / "a", **options)
    state = (tmp_path / "a.state").stat().st_mtime_ns
    two = train_generator("ae", bars(), tmp_path / "a", **options)
    assert (tmp_path / "a.state").stat().st_mtime_ns == state
    assert torch.equal(one.batch(torch.ones(1, 3)), two.batch(torch.ones(1, 3)))


def test_errors_of_training(tmp_path):
    with pytest.raises(ValueError, match="`family` must be one of .*, got 'flow'"):
        train_generator("flow", bars(), tmp_path / "a")
    message = "`local_channels` must be given for family='lvae' and for no other, got 1"
    with pytest.raises(ValueError, match=message):
        train_generator("ae", bars(), tmp_path / "a", local_channels=1)
    message = "`held_out` must leave some of 160 images to train on, got 160"
    with pytest.raises(ValueError, match=message):
        train_generator("ae", bars(), tmp_path / "a", num_validation=160)
    assert not list(tmp_path.iterdir())


# --- Projections --- #


def test_projection_onto_a_linear_range():
    G = make_generator("linear")
    W, b = linear_parts(G)
    source = torch.Generator().manual_seed(0)
    images = torch.randn(60, *G.range.shape, generator=source, dtype=torch.float64)
    z, *_ = np.linalg.lstsq(W, images.flatten(1).numpy().T - b[:, None], rcond=None)
    expected = (W @ z + b[:, None]).T
    projections = project_onto_range(G, images, restarts=1, tol=1e-8)
    np.testing.assert_allclose(projections.flatten(1), expected, atol=1e-4)


def test_projection_of_decoded_images_with_an_encoder():
    """The encoder alone is not exact; the projection is."""
    G = ogr.load_generator("mnist-vae")
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    images = G.batch(z)
    projections = project_onto_range(G, images)
    errors = (projections - images).square().flatten(1).mean(1)
    coded = (G.batch(G.encode(images)) - images).square().flatten(1).mean(1)
    assert errors.max() < 1e-4
    assert errors.max() < 0.1 * coded.min()


def test_projection_of_images_of_another_shape():
    G = make_generator("linear")
    with pytest.raises(ValueError, match="`images` must have the shape"):
        project_onto_range(G, torch.zeros(2, 3, 3, dtype=torch.float64))


# --- Images by name --- #


def test_images_of_all_kinds(tmp_path):
    assert np.array_equal(read_images("shapes").images[:7, 0], shapes(7, seed=0))
    values = np.random.default_rng(0).random((4, 5, 6))
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", (255 * values).round().astype("uint8"))
    np.save(tmp_path / "c.npy", values[:, None].astype("float32"))
    for name in "abc":
        images = read_images(tmp_path / f"{name}.npy").images
        assert images.dtype == np.float32
        assert images.shape == (4, 1, 5, 6)
        np.testing.assert_allclose(images[:, 0], values, atol=1 / 255)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3, 3), 2.0), r"values in \[0, 1\], got \[2.0, 2.0\]"),
        (np.full((2, 3, 3), np.nan), r"values in \[0, 1\], got \[nan, nan\]"),
        (np.zeros((3, 3)), r"bytes or floats of shape .*, got .*\(3, 3\)"),
        (np.zeros((0, 3, 3)), r"bytes or floats of shape .*, got .*\(0, 3, 3\)"),
        (np.zeros((2, 3, 3), int), "bytes or floats of shape .*, got .*int64"),
        (np.array([{}]), "must be a complete .npy file of a plain array"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read_images(tmp_path / "a.npy")


def test_truncated_and_missing_files(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3, 3)))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="must be a complete .npy file"):
        read_images(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="must be a complete .npy file"):
        read_images(path)
    with pytest.raises(FileNotFoundError, match="`source` must be 'shapes' or the"):
        read_images(tmp_path / "b.npy")


# --- The commands --- #


def test_command_trains_and_reports(tmp_path, capsys):
    np.save(tmp_path / "bars.npy", bars())
    command = ["train", "ae", "--data", str(tmp_path / "bars.npy"), "--latent", "2"]
    command += ["--channels", "4", "5", "--hidden", "6", "--epochs", "2"]
    command += ["--validation", "20", "--first", "150", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    figures = json.loads(capsys.readouterr().out)
    header = json.loads((tmp_path / "out.json").read_text())
    assert header["figures"] == figures
    assert header["training_data"] == "150 images of bars.npy"
    assert header["latent_shape"] == [2]
    log = (tmp_path / "out.log.jsonl").read_text().splitlines()
    assert len(log) == 2
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_command_says_what_is_wrong(tmp_path, capsys):
    command = ["train", "vae", "--data", "nowhere", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 1
    assert "`source` must be 'shapes' or the path of a file" in capsys.readouterr().err


def test_command_lists_models(capsys):
    assert cli.main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "mnist-vae: Variational autoencoder" in listed
    assert "`datasets.shapes`, a filled rectangle and a filled circle" in listed
    assert all(line.endswith(".") for line in listed.splitlines())
    assert cli.main(["models", "mnist-vae"]) == 0
    assert "# mnist-vae" in capsys.readouterr().out
    assert cli.main(["models", "other"]) == 1
    assert "`name` must be one of mnist-ae, " in capsys.readouterr().err
