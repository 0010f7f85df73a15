# SPDX-License-Identifier: MPL-2.0
"""How a generative adversarial network learns."""

import copy

import torch

from .recipe import Recipe

__all__ = ("GANRecipe", "sliced_distance")

# Of the gradient penalty, and critic steps for each step of the generator [GAADC2017].
PENALTY, CRITIC_STEPS = 10.0, 5

# The weights that are kept are an average over about as many steps of the generator.
AVERAGED_STEPS = 1000


class GANRecipe(Recipe):
    """Train a `GAN`: five steps of the critic for each of the generator.

    With a penalty of 10, by Adam with the exponents (0, 0.9) [GAADC2017]. Kept is an
    exponential average of the weights of the generator [KALL2018]. The training loss is
    what the critic sees between images and samples; that of the validation is the mean
    over random directions of the squared earth mover's distance of projected samples
    and images.

    References
    ----------
    [GAADC2017] Gulrajani I, Ahmed F, Arjovsky M, Dumoulin V, and Courville A. *Improved
    training of Wasserstein GANs.* NeurIPS, 2017.

    [KALL2018] Karras T, Aila T, Laine S, and Lehtinen J. *Progressive growing of GANs
    for improved quality, stability, and variation.* ICLR, 2018.
    """

    family, learning_rate = "gan", 2e-4

    def __init__(self, network):
        """Initialize a new instance for a `GAN`."""
        super().__init__(network)
        self._average = copy.deepcopy(network.decoder)
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
        """Take a step of the critic and, after each fifth of them, of the generator."""
        for optimizer in (self._critic, self._generator):
            optimizer.param_groups[0]["lr"] = rate
        with torch.no_grad():
            samples = self.network.sample(len(batch), source)
        distance = self.network.distance(batch, samples)
        penalty = self.network.gradient_penalty(batch, samples, source)
        self._critic.zero_grad()
        loss = PENALTY * penalty - distance
        self.backward(loss, self.network.critic.parameters())
        self._critic.step()
        if (index + 1) % CRITIC_STEPS == 0:
            self._generator.zero_grad()
            samples = self.network.sample(len(batch), source)
            loss = -self.network.critic(samples).mean()
            self.backward(loss, self.network.decoder.parameters())
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
        """Return the sliced distance of images and samples of the average."""
        source = torch.Generator().manual_seed(0)
        latents = torch.randn(
            len(images), self.network.arguments["latent_dim"], generator=source
        )
        samples = torch.cat(
            [self._average(z.to(self.device)).cpu() for z in latents.split(batch_size)]
        )
        return sliced_distance(images, samples, source)

    def weights(self):
        """Return the state of the network with the average as its decoder."""
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
