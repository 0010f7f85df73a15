# SPDX-License-Identifier: MPL-2.0
"""The training loop: decrease, repeatability, interruption."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from odl_genreg.networks import GAN, VAE, Autoencoder, StructuredVAE
from odl_genreg.training import (
    VAERecipe,
    loop,
    random_affine,
    standardize_latents,
    train,
)
from odl_genreg.training.gan import sliced_distance
from odl_genreg.training.team import Team

SETTINGS = {"epochs": 4, "batch_size": 8, "seed": 5}
FAMILIES = {
    "vae": VAE,
    "ae": Autoencoder,
    "gan": GAN,
    "svae": StructuredVAE,
}
each_family = pytest.mark.parametrize("family", FAMILIES)


def small(family="vae"):
    return FAMILIES[family]((8, 12), latent_dim=2, channels=(4, 4), hidden=8)


def bars(number=40, seed=0):
    """Images with one bright column each."""
    columns = np.random.default_rng(seed).integers(0, 12, number)
    images = torch.zeros(number, 1, 8, 12)
    images[torch.arange(number), 0, :, torch.from_numpy(columns)] = 1.0
    return images


def loop_variance(network, images):
    """The ``log gamma^2`` that makes the validation loss smallest."""
    recipe = VAERecipe(network)
    recipe.validate(images, len(images))
    return recipe.weights()["log_variance"].item()


def assert_same_weights(one, two):
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], tensor, rtol=0, atol=0)


def test_loss_decreases():
    history = train(
        small(), bars(), bars(16, 1), epochs=30, batch_size=8, learning_rate=0.02
    )
    assert len(history) == 30
    assert history[-1][0] < history[0][0] - 10  # nats per image
    assert history[-1][1] < history[0][1] - 10


@each_family
def test_same_seed_same_result(family, global_state_untouched):
    one, two, other = small(family), small(family), small(family)
    with global_state_untouched():
        history = train(one, bars(), bars(16, 1), **SETTINGS)
    assert train(two, bars(), bars(16, 1), **SETTINGS) == history
    assert_same_weights(one, two)
    changed = train(other, bars(), bars(16, 1), **{**SETTINGS, "seed": 6})
    assert changed != history


@each_family
@pytest.mark.parametrize("survivors", [1, 2, 3])
def test_resumed_training_equals_the_uninterrupted_one(
    tmp_path, monkeypatch, survivors, family
):
    whole, interrupted = small(family), small(family)
    history = train(whole, bars(), bars(16, 1), **SETTINGS)
    path, saves = tmp_path / "state", []
    save = loop._save

    def killed_after_saving(state, path):
        save(state, path)
        saves.append(len(state["history"]))
        if len(saves) == survivors:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_save", killed_after_saving)
        with pytest.raises(KeyboardInterrupt):
            train(interrupted, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert saves == list(range(1, survivors + 1))
    resumed = small(family)
    again = train(resumed, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert again == history
    assert_same_weights(whole, resumed)
    files = {file.name for file in tmp_path.iterdir()}
    assert files == {"state"} | ({"covariance-state"} if family == "svae" else set())


@each_family
@pytest.mark.parametrize("killed_at", [1, 8, 11, 14])
def test_kill_within_an_epoch(tmp_path, monkeypatch, killed_at, family):
    """Of five steps each; the epoch that was lost is done again."""
    whole, interrupted, resumed = small(family), small(family), small(family)
    history = train(whole, bars(), bars(16, 1), **SETTINGS)
    path, schedule = tmp_path / "state", loop._schedule

    def killed(step, steps):
        if step == killed_at:
            raise KeyboardInterrupt
        return schedule(step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_schedule", killed)
        with pytest.raises(KeyboardInterrupt):
            train(interrupted, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert path.exists() == (killed_at >= 5)
    again = train(resumed, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    assert again == history
    assert_same_weights(whole, resumed)


@pytest.mark.slow
@each_family
def test_processes_killed_at_random_moments(tmp_path, family):
    """The checkpoint has the bytes of the one of a run that nobody killed."""
    np.save(tmp_path / "bars.npy", bars(400).numpy())
    command = [sys.executable, "-m", "odl_genreg.cli", "train", family]
    command += f"""--data {tmp_path / "bars.npy"} --latent 2 --channels 4 4 --hidden 8
        --epochs 40 --batch-size 16 --validation 20 --out""".split()
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, tmp_path / "whole"], check=True, **options)
    path, source, kills = tmp_path / "killed", np.random.default_rng(0), 0
    state = path.with_name("killed.state")
    while not path.with_suffix(".safetensors").exists():
        process = subprocess.Popen([*command, path], **options)
        if kills < 4:
            while not state.exists():
                time.sleep(0.05)
            # Starting takes some seconds, an epoch a tenth of one.
            time.sleep(source.uniform(3, 6))
            process.kill()
            kills += process.wait() == -signal.SIGKILL
        else:
            assert process.wait() == 0
    assert kills > 0
    whole, killed = (
        tmp_path.joinpath(f"{name}.safetensors").read_bytes()
        for name in ("whole", "killed")
    )
    assert killed == whole


def test_kill_while_writing_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state"
    loop._save({"epoch": 1}, path)

    def killed(state, target):
        target.write_bytes(b"half a st")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        loop._save({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_log_has_a_line_for_each_epoch(tmp_path):
    path, state = tmp_path / "log.jsonl", tmp_path / "state"
    options = {"checkpoint_path": state, "log_path": path, **SETTINGS}
    history = train(small(), bars(), bars(16, 1), **options)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [(line["loss"], line["validation_loss"]) for line in lines] == history


def test_patience_ends_the_training():
    """Black is learned and white is not: soon no epoch is better for white."""
    black, white = torch.zeros(40, 1, 8, 12), torch.ones(16, 1, 8, 12)
    options = {"epochs": 40, "batch_size": 8, "learning_rate": 0.02, "patience": 3}
    history = train(small(), black, white, **options)
    losses = [validation for _, validation in history]
    assert len(losses) < 40
    assert losses.index(min(losses)) == len(losses) - 4


def test_errors_of_an_autoencoder_decrease():
    network = small("ae")
    options = {"epochs": 30, "batch_size": 8, "learning_rate": 0.02}
    history = train(network, bars(), bars(16, 1), **options)
    assert history[-1][1] < 0.7 * history[0][1]
    with torch.no_grad():
        error = network.squared_error(bars(16, 1)).item()
    assert error == pytest.approx(min(loss for _, loss in history), rel=1e-5)


def test_samples_of_a_gan_approach_the_images():
    """Of one gray value: after some steps the samples have about that value."""
    gray = torch.full((64, 1, 8, 12), 0.2)
    network = small("gan")
    options = {"epochs": 50, "batch_size": 8, "learning_rate": 3e-2}
    history = train(network, gray, gray[:16], augmentation=None, **options)
    before, after = history[0][1], min(loss for _, loss in history)
    assert after < 0.2 * before
    with torch.no_grad():
        samples = network.sample(100, torch.Generator().manual_seed(0))
    assert samples.mean().item() == pytest.approx(0.2, abs=0.08)


def test_sliced_distance_of_a_shift():
    """Shifted by ``v`` along a random direction ``u``: ``E <u, v>^2 n = |v|^2``."""
    source = torch.Generator().manual_seed(0)
    images = torch.rand(30, 1, 8, 12, generator=source)
    shift = torch.rand(1, 1, 8, 12, generator=source)
    assert sliced_distance(images, images.flip(0), source) == pytest.approx(0, abs=1e-6)
    measured = sliced_distance(images, images + shift, source)
    assert measured == pytest.approx(shift.square().sum().item(), rel=0.3)


def test_network_ends_with_the_best_weights_and_their_variance():
    """Black is learned and white is not: an early epoch is the best for white."""
    network = small()
    black, white = torch.zeros(40, 1, 8, 12), torch.ones(16, 1, 8, 12)
    history = train(network, black, white, epochs=40, batch_size=8, learning_rate=0.02)
    best = min(loss for _, loss in history)
    assert best < history[-1][1] - 10
    assert VAERecipe(network).validate(white, 8) == best
    expected = loop_variance(network, white)
    assert network.log_variance.item() == pytest.approx(expected, rel=1e-6)
    assert not network.training


def test_validation_loss_is_the_negative_elbo_at_its_best_variance():
    network, x = small(), bars(16)
    loss = VAERecipe(network).validate(x, 16)
    log_variance = loop_variance(network, x)
    values = []
    for shift in (-0.1, 0.0, 0.1):
        with torch.no_grad():
            network.log_variance.fill_(log_variance + shift)
            values.append(network.negative_elbo(x, torch.Generator().manual_seed(0)))
    assert loss == pytest.approx(values[1].item(), rel=1e-6)
    assert values[1] < min(values[0], values[2]) - 0.1


def test_other_settings_than_the_saved_ones_raise(tmp_path):
    path = tmp_path / "state"
    train(small(), bars(), bars(16, 1), checkpoint_path=path, **SETTINGS)
    message = "`checkpoint_path` must hold .* got .* remove"
    with pytest.raises(ValueError, match=message):
        train(
            small(),
            bars(),
            bars(16, 1),
            checkpoint_path=path,
            **{**SETTINGS, "epochs": 5},
        )


def test_divergence_raises():
    with pytest.raises(FloatingPointError, match="`learning_rate` must keep .* lower"):
        train(small(), bars(), bars(16, 1), **{**SETTINGS, "learning_rate": 1e30})


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (bars()[:, 0], r"`images` must have shape \(number, channels.*\(40, 8, 12\)"),
        (bars(4), r"number >= 8, got \(4, 1, 8, 12\)"),
        (255 * bars(), r"`images` must have values in \[0, 1\], got \[0.0, 255.0\]"),
        (bars() * float("nan"), r"`images` must have values in \[0, 1\], got \[nan"),
    ],
)
def test_errors(images, message):
    with pytest.raises(ValueError, match=message):
        train(small(), images, bars(16, 1), **SETTINGS)


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
@each_family
def test_training_on_the_device_of_the_network(tmp_path, family):
    """Order, deformations and noise are the same there; rounding is not."""
    path = tmp_path / "state"
    history = train(small(family), bars(), bars(16, 1), **SETTINGS)
    for _ in range(2):  # the second call loads the finished state
        network = small(family).to("cuda")
        on_device = train(
            network, bars(), bars(16, 1), checkpoint_path=path, **SETTINGS
        )
        assert next(network.parameters()).is_cuda
        np.testing.assert_allclose(on_device, history, rtol=1e-3)


# --- Several processes --- #


class Alone:
    """What the loop asks of an accelerator, for one of several processes."""

    def __init__(self, num_processes=1, process_index=0, mixed_precision="no"):
        self.num_processes, self.process_index = num_processes, process_index
        self.mixed_precision = mixed_precision

    def autocast(self):
        half = self.mixed_precision == "bf16"
        return torch.autocast("cpu", torch.bfloat16, enabled=half)

    def backward(self, loss):
        loss.backward()

    def reduce(self, gradient, reduction):
        assert reduction == "mean"
        return gradient


@each_family
def test_one_process_trains_as_without_an_accelerator(family):
    one, two = small(family), small(family)
    history = train(one, bars(), bars(16, 1), **SETTINGS)
    again = train(two, bars(), bars(16, 1), accelerator=Alone(), **SETTINGS)
    assert again == history
    assert_same_weights(one, two)


@each_family
def test_half_precision_learns_the_same(family):
    """Products have 8 bits; weights, losses and steps keep 24."""
    single, half = (
        train(
            small(family),
            bars(),
            bars(16, 1),
            accelerator=Alone(mixed_precision=precision),
            **SETTINGS,
        )
        for precision in ("no", "bf16")
    )
    assert single != half
    for one, two in zip(single, half, strict=True):
        assert two == pytest.approx(one, rel=0.05, abs=1e-3)


def test_processes_share_a_batch_and_draw_other_noise():
    batch = torch.arange(12.0)
    teams = [Team(Alone(3, rank), 12) for rank in range(3)]
    parts = [team.share(batch) for team in teams]
    assert torch.equal(torch.cat(parts).sort().values, batch)
    sources = [torch.Generator().manual_seed(1) for _ in teams]
    draws = {
        float(torch.randn((), generator=team.noise(source)))
        for team, source in zip(teams, sources, strict=True)
    }
    assert len(draws) == 3
    states = [source.get_state().tolist() for source in sources]
    assert states[0] == states[1] == states[2]
    assert [team.is_first for team in teams] == [True, False, False]


def test_errors_of_accelerators():
    for accelerator, message in (
        (Alone(mixed_precision="fp16"), "`accelerator` must have the mixed precision"),
        (Alone(3), "`batch_size` must be a multiple of the number 3 of processes"),
    ):
        with pytest.raises(ValueError, match=message):
            train(small(), bars(), bars(9, 1), accelerator=accelerator, **SETTINGS)


def test_networks_of_others():
    with pytest.raises(TypeError, match="`network` must be one of VAE, .*, got Linear"):
        train(torch.nn.Linear(2, 2), bars(), bars(16, 1), **SETTINGS)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Without noise the mean of two gradients is that of the whole batch.

    One epoch: the order of the second depends on the number of processes.
    """
    pytest.importorskip("accelerate")
    np.save(tmp_path / "bars.npy", bars(3000).numpy())
    command = f"""-m odl_genreg.cli train ae --data {tmp_path / "bars.npy"} --latent 2
        --channels 4 4 --hidden 8 --epochs 1 --batch-size 16 --validation 20
        --no-augmentation""".split()
    # What `accelerate launch` starts; on a CPU it would run a single process.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    losses = {}
    for name, start in (("one", []), ("two", launch)):
        options = ["--out", tmp_path / name] + (["--accelerate"] if start else [])
        subprocess.run(
            [sys.executable, *start, *command, *options],
            check=True,
            capture_output=True,
            env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        )
        state = torch.load(tmp_path / f"{name}.state", weights_only=True)
        assert state["settings"][-2] == {"one": 1, "two": 2}[name]
        losses[name] = state["history"][0][1]
    network = small("ae")
    with torch.no_grad():
        untrained = network.squared_error(bars(20)).item()
    assert losses["one"] < 0.9 * untrained
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-3)
