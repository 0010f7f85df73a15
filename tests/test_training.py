# SPDX-License-Identifier: MPL-2.0
"""The training loop: decrease, repeatability, interruption."""

import numpy as np
import pytest
import torch

from odl_genreg.networks import VAE
from odl_genreg.training import random_affine, train_vae
from odl_genreg.training import vae as vae_module

SETTINGS = {"epochs": 4, "batch_size": 8, "seed": 5}


def small():
    return VAE((8, 12), latent_dim=2, channels=(4, 4), hidden=8)


def bars(number=40, seed=0):
    """Images with one bright column each."""
    columns = np.random.default_rng(seed).integers(0, 12, number)
    images = torch.zeros(number, 1, 8, 12)
    images[torch.arange(number), 0, :, torch.from_numpy(columns)] = 1.0
    return images


def assert_same_weights(one, two):
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], tensor, rtol=0, atol=0)


def test_loss_decreases():
    history = train_vae(small(), bars(), bars(16, 1), **{**SETTINGS, "epochs": 30})
    assert len(history) == 30
    assert history[-1][0] < history[0][0] - 10  # nats per image
    assert history[-1][1] < history[0][1] - 10


def test_same_seed_same_result(global_state_untouched):
    one, two, other = small(), small(), small()
    with global_state_untouched():
        history = train_vae(one, bars(), bars(16, 1), **SETTINGS)
    assert train_vae(two, bars(), bars(16, 1), **SETTINGS) == history
    assert_same_weights(one, two)
    changed = train_vae(other, bars(), bars(16, 1), **{**SETTINGS, "seed": 6})
    assert changed != history


@pytest.mark.parametrize("survivors", [1, 2, 3])
def test_resumed_training_equals_the_uninterrupted_one(
    tmp_path, monkeypatch, survivors
):
    whole, interrupted = small(), small()
    history = train_vae(whole, bars(), bars(16, 1), **SETTINGS)
    path, saves = tmp_path / "state", []
    save = vae_module._save

    def killed_after_saving(state, path):
        save(state, path)
        saves.append(len(state["history"]))
        if len(saves) == survivors:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vae_module, "_save", killed_after_saving)
        with pytest.raises(KeyboardInterrupt):
            train_vae(interrupted, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert saves == list(range(1, survivors + 1))
    resumed = small()
    again = train_vae(resumed, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert again == history
    assert_same_weights(whole, resumed)
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_kill_while_writing_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state"
    vae_module._save({"epoch": 1}, path)

    def killed(state, target):
        target.write_bytes(b"half a st")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        vae_module._save({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_network_ends_with_the_best_weights():
    network = small()
    x = bars(16, 1)
    history = train_vae(network, bars(), x, **{**SETTINGS, "learning_rate": 0.3})
    best = min(loss for _, loss in history)
    assert best < history[-1][1]  # the rate is far too high: the last is not the best
    assert vae_module._validation_loss(network, x, 8) == best
    assert not network.training


def test_other_settings_than_the_saved_ones_raise(tmp_path):
    path = tmp_path / "state"
    train_vae(small(), bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    with pytest.raises(ValueError, match="`checkpoint_path` must hold .* got .* remove"):
        train_vae(
            small(),
            bars(),
            bars(16, 1),
            checkpoint_path=path,
            **{**SETTINGS, "epochs": 5},
        )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (bars()[:, 0], r"`images` must have shape \(number, 1, n, m\).*\(40, 8, 12\)"),
        (bars(4), r"number >= 8, got \(4, 1, 8, 12\)"),
        (255 * bars(), r"`images` must have values in \[0, 1\], got \[0.0, 255.0\]"),
        (bars() * float("nan"), r"`images` must have values in \[0, 1\], got \[nan"),
    ],
)
def test_errors(images, message):
    with pytest.raises(ValueError, match=message):
        train_vae(small(), images, bars(16, 1), **SETTINGS)


def test_affine_map_of_an_image_linear_in_the_coordinates():
    """x(t) = 1/2 + c t becomes x(B t + b): bicubic interpolation is exact for it.

    Inside, where no border is met, the deformed image is again linear; along its rows
    the slope is c times the first entry of B, at least c (1 - scaling) for B diagonal.
    """
    n = 24
    ramp = torch.linspace(0.2, 0.8, n).expand(6, 1, n, n)
    none = {"rotation": 0.0, "shear": 0.0, "translation": 0.0}
    generator = torch.Generator().manual_seed(0)
    inner = random_affine(ramp, generator, **{**none, "scaling": 0.1})[:, 0, 4:-4, 4:-4]
    slopes = inner.diff(dim=2) * (n - 1) / 0.6
    torch.testing.assert_close(
        slopes, slopes[:, :1, :1].expand_as(slopes), rtol=0, atol=1e-4
    )
    assert (slopes - 1).abs().max() <= 0.1 + 1e-4
    assert (slopes - 1).abs().max() > 0.02
    assert slopes[:, 0, 0].unique().numel() == 6


def test_translation_is_in_pixels_for_rectangular_images():
    n, m = 24, 40
    rows = torch.arange(n)[:, None].expand(4, 1, n, m) / n
    columns = torch.arange(m).expand(4, 1, n, m) / m
    none = {"rotation": 0.0, "shear": 0.0, "scaling": 0.0, "translation": 2.0}
    for ramp, size in ((rows, n), (columns, m)):
        moved = random_affine(ramp, torch.Generator().manual_seed(0), **none)
        shift = size * (moved - ramp)[:, 0, 6:-6, 6:-6]
        constant = shift[:, :1, :1].expand_as(shift)
        torch.testing.assert_close(shift, constant, rtol=0, atol=1e-3)
        assert 1.0 < shift.abs().max() <= 2.0


def test_deformed_images_stay_in_the_unit_interval():
    images = random_affine(bars(), torch.Generator().manual_seed(0))
    assert images.min() == 0
    assert images.max() == 1
