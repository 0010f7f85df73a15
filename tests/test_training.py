# SPDX-License-Identifier: MPL-2.0
"""The training loop: decrease, repeatability, interruption."""

import numpy as np
import pytest
import torch

from odl_genreg.networks import VAE
from odl_genreg.training import random_affine, standardize_latents, train_vae
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
    history = train_vae(
        small(), bars(), bars(16, 1), epochs=30, batch_size=8, learning_rate=0.02
    )
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
            train_vae(
                interrupted, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS
            )
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


def test_network_ends_with_the_best_weights_and_their_variance():
    """Black is learned and white is not: an early epoch is the best for white."""
    network = small()
    black, white = torch.zeros(40, 1, 8, 12), torch.ones(16, 1, 8, 12)
    history = train_vae(
        network, black, white, epochs=40, batch_size=8, learning_rate=0.02
    )
    best = min(loss for _, loss in history)
    assert best < history[-1][1] - 10
    loss, log_variance = vae_module._validate(network, white, 8)
    assert loss == best
    assert network.log_variance.item() == pytest.approx(log_variance, rel=1e-6)
    assert not network.training


def test_validation_loss_is_the_negative_elbo_at_its_best_variance():
    network, x = small(), bars(16)
    loss, log_variance = vae_module._validate(network, x, 16)
    values = []
    for shift in (-0.1, 0.0, 0.1):
        with torch.no_grad():
            network.log_variance.fill_(log_variance + shift)
            values.append(network.negative_elbo(x, torch.Generator().manual_seed(0)))
    assert loss == pytest.approx(values[1].item(), rel=1e-6)
    assert values[1] < min(values[0], values[2]) - 0.1


def test_other_settings_than_the_saved_ones_raise(tmp_path):
    path = tmp_path / "state"
    train_vae(small(), bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    message = "`checkpoint_path` must hold .* got .* remove"
    with pytest.raises(ValueError, match=message):
        train_vae(
            small(),
            bars(),
            bars(16, 1),
            checkpoint_path=path,
            **{**SETTINGS, "epochs": 5},
        )


def test_divergence_raises():
    with pytest.raises(FloatingPointError, match="`learning_rate` must keep .* lower"):
        train_vae(small(), bars(), bars(16, 1), **{**SETTINGS, "learning_rate": 1e30})


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


def test_scaling_changes_the_slope_of_a_ramp():
    """x(t) = 1/2 + c t becomes 1/2 + c s t with |s - 1| <= 0.1, on average."""
    n = 24
    ramp = torch.linspace(0.2, 0.8, n).expand(6, 1, n, n)
    none = {"rotation": 0.0, "shear": 0.0, "translation": 0.0}
    scaled = random_affine(
        ramp, torch.Generator().manual_seed(0), **{**none, "scaling": 0.1}
    )
    assert (scaled.diff(dim=2)[..., 5:-5, 5:-5]).abs().max() < 1e-5
    factors = (scaled[:, 0, 12, -5] - scaled[:, 0, 12, 4]) / (0.6 * 15 / 23)
    assert 0.02 < (factors - 1).abs().max() < 0.11
    assert factors.unique().numel() == 6


def test_translation_is_in_pixels_for_rectangular_images():
    """A ramp of one unit per pixel changes by the shift, the same for all pixels.

    Bicubic interpolation with the kernel parameter -3/4 is off by less than 0.1 here.
    """
    n, m = 24, 40
    rows = torch.arange(n)[:, None].expand(4, 1, n, m)
    columns = torch.arange(m).expand(4, 1, n, m)
    none = {"rotation": 0.0, "shear": 0.0, "scaling": 0.0, "translation": 2.0}
    draws = 2 * torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) - 1
    for ramp, draw in ((rows, draws[:, 5]), (columns, draws[:, 4])):
        moved = random_affine(ramp / m, torch.Generator().manual_seed(0), **none)
        shift = (m * moved - ramp)[:, 0, 6:-6, 6:-6]
        expected = 2.0 * draw[:, None, None].expand_as(shift)
        torch.testing.assert_close(shift, expected, rtol=0, atol=0.1)


def test_deformed_images_stay_in_the_unit_interval():
    images = random_affine(bars(), torch.Generator().manual_seed(0))
    assert images.min() == 0
    assert images.max() == 1


def test_standardized_latents_have_the_moments_of_the_prior_and_the_same_range():
    network = VAE((8, 12), latent_dim=3, channels=(4, 4), hidden=8)
    x = torch.rand(50, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.encoder.mean.weight.mul_(3)  # correlated, off center
        network.encoder.mean.bias.fill_(1.0)
        network.encoder.log_variance.weight.zero_()
        network.encoder.log_variance.bias.fill_(-4.0)
        before = network.mean_encoder(x)
        images = network.decoder(before)
        standardize_latents(network, x)
        after = network.mean_encoder(x)
        posterior_variance = network.encoder(x)[1].exp()
    assert before.mean(0).abs().max() > 0.5
    torch.testing.assert_close(network.decoder(after), images, rtol=0, atol=1e-4)
    torch.testing.assert_close(after.mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    moment = torch.cov(after.T, correction=0).diag() + posterior_variance[0]
    torch.testing.assert_close(moment, torch.ones(3), rtol=0, atol=1e-4)
    assert torch.equal(posterior_variance[0], posterior_variance[1])


@pytest.mark.gpu
def test_training_on_the_device_of_the_network(tmp_path):
    """Order, deformations and noise are the same there; rounding is not."""
    path = tmp_path / "state"
    history = train_vae(small(), bars(), bars(16, 1), **SETTINGS)
    for _ in range(2):  # the second call loads the finished state
        network = small().to("cuda")
        on_device = train_vae(
            network, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS
        )
        assert network.log_variance.is_cuda
        np.testing.assert_allclose(on_device, history, rtol=1e-3)
