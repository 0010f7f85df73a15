# SPDX-License-Identifier: MPL-2.0
"""Train the variational autoencoder of MNIST digits that ships with the package.

Maximizes over the decoder G, the encoder (m, s) and gamma the evidence lower bound of

    z ~ N(0, I),   x | z ~ N(G(z), gamma^2 I),   z | x ~ N(m(x), diag(s(x)^2))

on 9500 of the first 10000 training digits, measures it on the other 500, and
writes the generator as a checkpoint:

    python examples/train_mnist_vae.py train-images-idx3-ubyte.gz --output weights

The same command goes on after an interruption.
"""

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import odl
import torch

import odl_genreg as ogr
from odl_genreg.datasets import read_mnist
from odl_genreg.networks import VAE
from odl_genreg.training import standardize_latents, train

parser = argparse.ArgumentParser(description="Train the MNIST generator.")
parser.add_argument("path", help="MNIST training images, IDX (.gz) or .npz")
parser.add_argument("--output", type=Path, required=True, help="directory")
parser.add_argument("--epochs", type=int, default=140)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

# --- Data --- #

digits = torch.from_numpy(read_mnist(arguments.path)[:10000])[:, None]
digits = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
train_digits, validation_digits = digits[:-500], digits[-500:]

# --- Training --- #

network = VAE((28, 28), latent_dim=16, seed=0)
history = train(
    network,
    train_digits,
    validation_digits,
    epochs=arguments.epochs,
    checkpoint_path=arguments.output / "mnist-vae.state",
)
network.requires_grad_(False)
decoder_variance = float(network.log_variance.exp())
standardize_latents(network, train_digits)
network.half().float()  # the weights are stored, and so measured, with 16 bits

# --- Figures of the validation digits: encoding, and min_z mean((x - G(z))^2) --- #

mean, log_variance = network.encoder(validation_digits)
z = mean.clone().requires_grad_()
optimizer = torch.optim.Adam([z], betas=(0.9, 0.99))
smallest = torch.full((len(z),), torch.inf)
for iteration in range(500):
    optimizer.param_groups[0]["lr"] = 0.1 * (1 - iteration / 500)
    optimizer.zero_grad()
    error = (network.decoder(z) - validation_digits).square().mean((1, 2, 3))
    error.sum().backward()
    optimizer.step()
    smallest = torch.minimum(smallest, error.detach())
psnr = -10 * torch.log10(smallest).numpy()
deciles = np.percentile(psnr, range(10, 100, 10))
figures = {
    "decoder standard deviation": decoder_variance**0.5,
    "validation negative ELBO, nats per digit": min(loss for _, loss in history),
    "validation projection PSNR, mean": float(psnr.mean()),
    "validation projection PSNR, deciles": deciles.tolist(),
    "variance of the encodings over validation digits": float(mean.var(0).mean()),
    "mean posterior variance": float(log_variance.exp().mean()),
}
print(json.dumps(figures, indent=2))

# --- Save --- #

X = odl.uniform_discr([0, 0], [28, 28], (28, 28), dtype="float32")
Z = odl.rn(16, dtype="float32")
network_parts = {"encoder": network.mean_encoder, "decoder_variance": decoder_variance}
G = ogr.Generator(network.decoder, Z, X, **network_parts)
ogr.save_generator(
    arguments.output / "mnist-vae",
    G,
    architecture={"name": "vae", "arguments": network.arguments},
    description={
        "training_data": "MNIST, the first 10000 training digits, 500 for validation",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seed": 0,
        "figures": figures,
    },
    dtype=torch.float16,
)
