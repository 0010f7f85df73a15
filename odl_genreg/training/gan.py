# SPDX-License-Identifier: MPL-2.0
"""Training of a generative adversarial network."""

import copy
from collections.abc import Callable

import torch

from .augmentation import random_affine
from .loop import fit

__all__ = ("sliced_distance", "train_gan")

# Of the gradient penalty, and critic steps for each step of the generator [GAADC2017].
PENALTY, CRITIC_STEPS = 10.0, 5

# The weights that are kept are an average over about as many steps of the generator.
AVERAGED_STEPS = 1000


def train_gan(
    network,
    images: torch.Tensor,
    validation_images: torch.Tensor,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-4,
    seed: int = 0,
    augmentation: Callable | None = random_affine,
    patience: int | None = None,
    checkpoint_path=None,
    log_path=None,
) -> list[tuple[float, float]]:
    r"""Train a generative adversarial network, see `GAN`.

    Five steps of the critic, with a penalty of 10, for each of the generator, by Adam
    with the exponents (0, 0.9) [GAADC2017]. Kept is an exponential average of the
    weights of the generator [KALL2018]. The validation loss is the mean over random
    directions of the squared earth mover's distance of projected samples and images.

    Parameters
    ----------
    network : `GAN`
        Network to train, in place and on its device.
    images, validation_images, epochs, batch_size, learning_rate, seed, patience :
        As for `training.loop.fit`, where also the errors stand.
    augmentation : callable or None, optional
        As for `train_vae`.
    checkpoint_path, log_path : path, optional
        As for `training.loop.fit`.

    Returns
    -------
    history : list of (float, float)
        Mean of what the critic sees between images and samples of each epoch, and the
        validation loss after it.

    References
    ----------
    [GAADC2017] Gulrajani I, Ahmed F, Arjovsky M, Dumoulin V, and Courville A. *Improved
    training of Wasserstein GANs.* NeurIPS, 2017.

    [KALL2018] Karras T, Aila T, Laine S, and Lehtinen J. *Progressive growing of GANs
    for improved quality, stability, and variation.* ICLR, 2018.
    """
    return fit(
        _Recipe(network),
        images,
        validation_images,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        augmentation=augmentation,
        patience=patience,
        checkpoint_path=checkpoint_path,
        log_path=log_path,
    )


class _Recipe:
    """Steps of the critic and, after each fifth of them, of the generator."""

    family = "gan"

    def __init__(self, network):
        self.network, self._average = network, copy.deepcopy(network.decoder)
        options = {"betas": (0.0, 0.9)}
        self._critic = torch.optim.Adam(network.critic.parameters(), **options)
        self._generator = torch.optim.Adam(network.decoder.parameters(), **options)
        self.parts = {
            "network": network,
            "average": self._average,
            "critic": self._critic,
            "generator": self._generator,
        }

    def step(self, batch, rate, source, index):
        for optimizer in (self._critic, self._generator):
            optimizer.param_groups[0]["lr"] = rate
        with torch.no_grad():
            samples = self.network.sample(len(batch), source)
        distance = self.network.distance(batch, samples)
        penalty = self.network.gradient_penalty(batch, samples, source)
        self._critic.zero_grad()
        (PENALTY * penalty - distance).backward()
        self._critic.step()
        if (index + 1) % CRITIC_STEPS == 0:
            self._generator.zero_grad()
            samples = self.network.sample(len(batch), source)
            (-self.network.critic(samples).mean()).backward()
            self._generator.step()
            self._update_average((index + 1) // CRITIC_STEPS)
        return distance.item()

    @torch.no_grad()
    def _update_average(self, number):
        share = max(10 / (9 + number), 1 / AVERAGED_STEPS)
        pairs = zip(
            self._average.parameters(), self.network.decoder.parameters(), strict=True
        )
        for average, parameter in pairs:
            average.lerp_(parameter, share)

    @torch.no_grad()
    def validate(self, images, batch_size):
        source = torch.Generator().manual_seed(0)
        device = next(self._average.parameters()).device
        latents = torch.randn(
            len(images), self.network.arguments["latent_dim"], generator=source
        )
        samples = torch.cat(
            [self._average(z.to(device)).cpu() for z in latents.split(batch_size)]
        )
        return sliced_distance(images, samples, source)

    def weights(self):
        averages = {
            f"decoder.{name}": value
            for name, value in self._average.state_dict().items()
        }
        return self.network.state_dict() | averages


def sliced_distance(
    one: torch.Tensor, other: torch.Tensor, source: torch.Generator
) -> float:
    """Return the mean squared earth mover's distance along 256 random directions.

    Times the number of pixels, so that for a shift by ``v`` it is about ``||v||^2``.
    """
    one, other = one.flatten(1), other.flatten(1)
    directions = torch.randn(one.shape[1], 256, generator=source)
    directions /= directions.norm(dim=0)
    first, second = ((part @ directions).sort(dim=0).values for part in (one, other))
    return float((first - second).square().mean() * one.shape[1])
