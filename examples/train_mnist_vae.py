# SPDX-License-Identifier: MPL-2.0
"""Train the variational autoencoder of MNIST digits that ships with the package.

Maximizes the evidence lower bound of the model

    z ~ N(0, I),   x | z ~ N(G(z), gamma^2 I)

on the first 10000 training digits, and writes the decoder, the mean of the encoder and
a description with the measured figures:

    python examples/train_mnist_vae.py train-images-idx3-ubyte.gz --output weights

The state of the training is kept in the output directory: the same command goes on
after an interruption.
"""

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from odl_genreg.datasets import read_mnist
from odl_genreg.networks import VAE
from odl_genreg.training import train_vae

parser = argparse.ArgumentParser(description="Train the MNIST generator.")
parser.add_argument("path", help="MNIST training images, IDX (.gz) or .npz")
parser.add_argument("--output", type=Path, required=True, help="directory")
parser.add_argument("--epochs", type=int, default=400)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

# --- Data --- #

digits = torch.from_numpy(read_mnist(arguments.path)[:10000])[:, None]
train_digits, validation_digits = digits[:9500], digits[9500:]

# --- Training --- #

network = VAE((28, 28), latent_dim=16, seed=arguments.seed)
history = train_vae(
    network,
    train_digits,
    validation_digits,
    epochs=arguments.epochs,
    seed=arguments.seed,
    checkpoint_path=arguments.output / "mnist-vae.state",
)

# --- Figures: projection of the validation digits onto the range --- #

for parameter in network.parameters():
    parameter.requires_grad_(False)
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
psnr = -10 * torch.log10(smallest)
figures = {
    "validation negative ELBO": min(loss for _, loss in history),
    "validation projection PSNR, mean": float(psnr.mean()),
    "validation projection PSNR, deciles": np.percentile(
        psnr, range(10, 100, 10)
    ).tolist(),
    "encodings, variance of the means": float(mean.var(0).mean()),
    "encodings, mean posterior variance": float(log_variance.exp().mean()),
}
print(json.dumps(figures, indent=2))

# --- Save --- #

tensors = {}
for prefix, module in [("network", network.decoder), ("encoder", network.mean_encoder)]:
    for name, tensor in module.state_dict().items():
        tensors[f"{prefix}.{name}"] = tensor.half().contiguous()
description = {
    "format": 1,
    "architecture": {"name": "vae", "arguments": network.arguments},
    "image_shape": [28, 28],
    "intensity": [0.0, 1.0],
    "latent_prior": "standard normal",
    "decoder_variance": float(network.log_variance.exp()),
    "training_data": "MNIST, the first 10000 training digits",
    "versions": {"python": platform.python_version(), "torch": torch.__version__},
    "seed": arguments.seed,
    "figures": figures,
}
path = arguments.output / "mnist-vae"
safetensors.torch.save_file(tensors, path.with_suffix(".safetensors"))
path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")
