# SPDX-License-Identifier: MPL-2.0
"""Train the dense VAE of the CSGM protocol, 784-500-500-20, on MNIST.

    python examples/studies/csgm_vae.py MNIST_TRAINING_IMAGES --out runs/csgm-vae

Minimizes cross-entropy + KL(q(z | x) || N(0, I)) by Adam, learning rate 1e-3, batches
of 100, 100 epochs. The protocol trained on 55000 digits; here 500 are held out, and
the weights are those of the epoch with the smallest loss of these. The same command
goes on after an interruption.

References
----------
[BJPD2017] Bora A, Jalal A, Price E, and Dimakis A. *Compressed sensing using generative
models*. ICML, 2017.
"""

import argparse
from pathlib import Path

import odl
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import odl_genreg as ogr
from odl_genreg.datasets import hold_out, read_mnist
from odl_genreg.evaluation import project_onto_range
from odl_genreg.training.gradient_recipe import GradientRecipe
from odl_genreg.training.loop import fit

CONFIG = {
    "pixels": 784,
    "hidden": 500,
    "latent_dim": 20,
    "epochs": 100,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "num_validation": 500,
    "seed": 0,
}


class DenseVAE(nn.Module):
    """Encoder and decoder with two hidden layers and softplus."""

    def __init__(self, seed: int = 0):
        super().__init__()
        pixels, hidden, latents = (
            CONFIG[name] for name in ("pixels", "hidden", "latent_dim")
        )
        body = [nn.Flatten(), *_hidden_layers(pixels, hidden)]
        mean = nn.Linear(hidden, latents)
        self.mean_encoder = nn.Sequential(*body, mean)
        self.log_variance = nn.Linear(hidden, latents)
        last = nn.Linear(hidden, pixels)
        self.decoder = nn.Sequential(*_hidden_layers(latents, hidden), last)
        self.decoder.append(nn.Sigmoid())
        source = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=source)
                nn.init.zeros_(layer.bias)

    def negative_elbo(self, images, source):
        """Return cross-entropy and divergence, a mean over images in nats."""
        features = self.mean_encoder[:-1](images)
        mean, log_variance = (
            self.mean_encoder[-1](features),
            self.log_variance(features),
        )
        noise = torch.randn(mean.shape, generator=source)
        logits = self.decoder[:-1](mean + (log_variance / 2).exp() * noise)
        entropy = binary_cross_entropy_with_logits(
            logits, images.flatten(1), reduction="sum"
        )
        divergence = mean.square() + log_variance.exp() - 1 - log_variance
        return (entropy + divergence.sum() / 2) / len(images)


class ProtocolRecipe(GradientRecipe):
    """Adam with a constant learning rate."""

    family = "csgm"

    def __init__(self, network):
        super().__init__(network, network.parameters())
        self._optimizer = torch.optim.Adam(self._weights)
        self.parts = {"network": network, "optimizer": self._optimizer}

    def step(self, batch, rate, source, index):
        """Take a step; the schedule of ``rate`` is not that of the protocol."""
        return super().step(batch, CONFIG["learning_rate"], source, index)

    def loss(self, batch, source):
        """Return the negative evidence lower bound."""
        return self.network.negative_elbo(batch, source)


def load_protocol_generator(path, image_space) -> ogr.Generator:
    """Load what this script wrote."""
    vae = DenseVAE()
    modules = {"network": vae.decoder, "encoder": vae.mean_encoder}
    return ogr.load_generator(path, image_space, **modules)


def main():
    """Train, measure, and write the generator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="MNIST training images")
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    parser.add_argument("--epochs", type=int, default=CONFIG["epochs"])
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    digits = read_mnist(options.images, split="train")[:, None]
    parts = hold_out(len(digits), CONFIG["num_validation"], seed=CONFIG["seed"])
    training, validation = (torch.from_numpy(digits[part]) for part in parts)
    vae = DenseVAE(CONFIG["seed"])
    history = fit(
        ProtocolRecipe(vae),
        training,
        validation,
        epochs=options.epochs,
        batch_size=CONFIG["batch_size"],
        learning_rate=CONFIG["learning_rate"],
        seed=CONFIG["seed"],
        augmentation=None,
        checkpoint_path=options.out.with_name(f"{options.out.name}.state"),
        log_path=options.out.with_name(f"{options.out.name}.log.jsonl"),
    )
    vae.requires_grad_(False)
    validation = validation[:, 0]
    X = odl.uniform_discr([0, 0], [28, 28], (28, 28), dtype="float32")
    Z = odl.rn(CONFIG["latent_dim"], dtype="float32")
    G = ogr.Generator(vae.decoder, Z, X, encoder=vae.mean_encoder)
    deviations = G.batch(G.encode(validation)) - validation
    G.decoder_variance = float(deviations.square().mean())
    projected = project_onto_range(G, validation[:200]) - validation[:200]
    figures = {
        "epochs": len(history),
        "training loss": history[-1][0],
        "validation loss": history[-1][1],
        "error per pixel of projections": float(projected.square().mean()),
        "decoder variance": G.decoder_variance,
    }
    print(figures)
    description = {
        "training_data": f"{len(training)} training digits of MNIST",
        "seed": CONFIG["seed"],
        "figures": figures,
    }
    ogr.save_generator(options.out, G, description=description)


def _hidden_layers(size, hidden):
    layers = [nn.Linear(size, hidden), nn.Softplus()]
    return [*layers, nn.Linear(hidden, hidden), nn.Softplus()]


if __name__ == "__main__":
    main()
