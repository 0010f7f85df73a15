# SPDX-License-Identifier: MPL-2.0
"""From images to the checkpoint of a generator: train, measure, write."""

import platform
from pathlib import Path

import numpy as np
import odl
import torch

from .checkpoint import FAMILIES, save_generator
from .datasets import ImageSet, hold_out
from .evaluation import project_onto_range
from .generator import Generator
from .training import random_affine, standardize_latents, train

__all__ = ("train_generator",)

# Validation images of which the distance to the range is measured.
MEASURED = 200
# Latents above which each is searched for from its encoding only.
MANY = 128


def train_generator(
    family: str,
    images,
    path,
    *,
    latent_dim: int = 16,
    channels=(32, 48),
    hidden: int = 192,
    local_channels: int | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    learning_rate: float | None = None,
    num_validation: int = 500,
    seed: int = 0,
    augment: bool = True,
    patience: int | None = None,
    training_data: str = "",
    device: str = "cpu",
    accelerator=None,
) -> Generator:
    """Train a generator on images, and write it as a checkpoint.

    Beside ``path.safetensors`` and ``path.json`` stand ``path.state``, from which an
    interrupted training goes on, and ``path.log.jsonl``, the losses of each epoch.

    Parameters
    ----------
    family : {'vae', 'lvae', 'svae', 'ae', 'gan'}
        Variational autoencoder, the same with local latents, the same with a structured
        covariance, autoencoder, generative adversarial network.
    images : `ImageSet` or `numpy.ndarray`
        Images ``(number, c, n, m)`` with values in [0, 1], see `datasets.read_images`.
    path : path-like
        Where to write, without suffix.
    latent_dim, channels, hidden : optional
        Architecture, see `networks.VAE`.
    local_channels : positive int, optional
        For 'lvae' alone, see `networks.LocalVAE`.
    epochs : positive int, optional
        Number of passes over the images.
    batch_size : positive int, optional
        Number of images in a step.
    learning_rate : positive float, optional
        Largest learning rate. Default: that of the family, for batches of 128.
    num_validation : positive int, optional
        Number of images, chosen at random, that are not trained on. Subjects stay
        together, see `datasets.hold_out`.
    seed : int, optional
        Seed of the split, the weights, the order, the deformations and the noise.
    augment : bool, optional
        Whether half of each batch is deformed by `training.random_affine`.
    patience : positive int, optional
        Ends the training after so many epochs without progress on other images.
    training_data : str, optional
        What the images are, for the checkpoint.
    device : str, optional
        Where the network is trained, ``"cuda"`` for example.
    accelerator : ``accelerate.Accelerator``, optional
        Trains in several processes, on their devices, see `training.train`; the first
        one writes.

    Returns
    -------
    generator : `Generator`
        With the weights of the best epoch, rounded to 16 bits as they are stored;
        encodings have mean 0 and covariance ``I``.

    Raises
    ------
    ValueError
        If there is no such family, or if there are too few images.
    """
    if family not in FAMILIES:
        raise ValueError(
            f"`family` must be one of {tuple(FAMILIES)}, got {family!r}; choose one."
        )
    if (local_channels is not None) != (family == "lvae"):
        raise ValueError(
            "`local_channels` must be given for family='lvae' and for no other, got "
            f"{local_channels} for {family!r}; give 4 for example."
        )
    images = images if isinstance(images, ImageSet) else ImageSet(images)
    parts = hold_out(len(images), num_validation, seed=seed, subjects=images.subjects)
    rest, held_out = (torch.from_numpy(images.images[part]) for part in parts)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = tuple(rest.shape[2:] if rest.shape[1] == 1 else rest.shape[1:])
    local = {} if local_channels is None else {"local_channels": local_channels}
    network = FAMILIES[family](
        shape, latent_dim, channels=channels, hidden=hidden, seed=seed, **local
    )
    history = train(
        network.to(device if accelerator is None else accelerator.device),
        rest,
        held_out,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        augmentation=random_affine if augment else None,
        patience=patience,
        checkpoint_path=path.with_name(path.name + ".state"),
        log_path=path.with_name(path.name + ".log.jsonl"),
        accelerator=accelerator,
    )
    network.requires_grad_(False).cpu()
    if family != "gan":
        standardize_latents(network, rest)
    network.half().float()
    X = odl.uniform_discr([0] * len(shape), shape, shape, dtype="float32")
    Z = odl.rn(latent_dim, dtype="float32")
    encoder = getattr(network, "mean_encoder", None)
    precision = getattr(network, "precision", None)
    G = Generator(network.decoder, Z, X, encoder=encoder, precision=precision)
    some = held_out[:MEASURED].reshape(-1, *shape)
    # From the encoding alone where searches are dear.
    restarts = 1 if encoder is not None and latent_dim > MANY else 4
    nearest = project_onto_range(G, some, restarts=restarts)
    errors = (nearest - some).square().flatten(1).mean(1)
    # Of a pixel about G(z): z the encoding, or the best latent without an encoder.
    G.decoder_variance = float(
        {
            "vae": lambda: network.log_variance.exp(),
            "lvae": lambda: network.log_variance.exp(),
            "svae": lambda: network.log_variance.exp(),
            "ae": lambda: network.squared_error(held_out) / held_out[0].numel(),
            "gan": errors.mean,
        }[family]()
    )
    if accelerator is not None and not accelerator.is_main_process:
        return G
    psnr = -10 * errors.log10()
    save_generator(
        path,
        G,
        architecture={"name": family, "arguments": network.arguments},
        description={
            "training_data": training_data,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
            },
            "seed": seed,
            "figures": {
                "epochs": len(history),
                "validation loss": min(loss for _, loss in history),
                "validation projection PSNR, mean": float(psnr.mean()),
                "validation projection PSNR, deciles": np.percentile(
                    psnr.numpy(), range(10, 100, 10)
                ).tolist(),
            },
        },
        dtype=torch.float16,
    )
    return G
