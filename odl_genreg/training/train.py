# SPDX-License-Identifier: MPL-2.0
"""train(network, images): every family by its recipe."""

from collections.abc import Callable
from pathlib import Path

import torch

from ..networks import GAN, VAE, Autoencoder, LocalVAE, StructuredVAE
from .augmentation import random_affine
from .autoencoder import AutoencoderRecipe
from .covariance import CovarianceRecipe
from .gan import GANRecipe
from .loop import fit
from .vae import VAERecipe

__all__ = ("train",)

#: Recipes of each family, one after the other.
RECIPES = {
    VAE: [VAERecipe],
    LocalVAE: [VAERecipe],
    StructuredVAE: [VAERecipe, CovarianceRecipe],
    Autoencoder: [AutoencoderRecipe],
    GAN: [GANRecipe],
}


def train(
    network: torch.nn.Module,
    images: torch.Tensor,
    validation_images: torch.Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float | None = None,
    seed: int = 0,
    augmentation: Callable | None = random_affine,
    patience: int | None = None,
    checkpoint_path=None,
    log_path=None,
    accelerator=None,
) -> list[tuple[float, float]]:
    """Train a network; it ends with the weights of the best epoch.

    Best is the epoch with the smallest validation loss. The learning rate rises over
    200 steps and falls to zero along a cosine. What is minimized stands with each
    recipe: `VAERecipe`, `AutoencoderRecipe`, `GANRecipe`; a `StructuredVAE` first
    learns as a `VAE`, then by the `CovarianceRecipe`.

    Parameters
    ----------
    network : `VAE`, `LocalVAE`, `StructuredVAE`, `Autoencoder` or `GAN`
        Network to train, in place and on its device.
    images, validation_images : torch.Tensor
        Images ``(number, c, n, m)`` with values in [0, 1].
    epochs : positive int
        Number of passes over ``images``, for each recipe.
    batch_size : positive int, optional
        Number of images in a step; a last incomplete batch of an epoch is left out.
    learning_rate : positive float, optional
        Largest learning rate. Default: that of the recipe.
    seed : int, optional
        Seed of the order, the deformations and the noise. The global random state is
        neither used nor changed.
    augmentation : callable or None, optional
        Function ``(images, source)`` that deforms half of each batch. Default: small
        random affine maps, `random_affine`.
    patience : positive int, optional
        Ends the training after so many epochs without a smaller validation loss.
    checkpoint_path : path, optional
        File with the state of the training, replaced after each epoch. Where it exists
        the training goes on from it; on the CPU with the bits of an uninterrupted run.
        A second recipe has a file of its own beside it, ``covariance-...``.
    log_path : path, optional
        File with one JSON object a line for each epoch, replaced after each of them; of
        a second recipe as for ``checkpoint_path``.
    accelerator : ``accelerate.Accelerator``, optional
        Shares each batch among the processes of ``accelerate launch``, in the precision
        that it was given, ``"no"`` or ``"bf16"``. Each process calls this function with
        the same arguments, the network on ``accelerator.device``.

    Returns
    -------
    history : list of (float, float)
        Mean training loss of each epoch and validation loss after it, of one recipe
        after the other; of several processes the training loss of the first.

    Raises
    ------
    TypeError
        If the network is of no family.
    ValueError
        If there are fewer images than one batch, if an image is not in [0, 1], if
        ``checkpoint_path`` holds the state of another training, or if the accelerator
        has another precision.
    FloatingPointError
        If the loss becomes infinite or nan.
    """
    if type(network) not in RECIPES:
        families = ", ".join(family.__name__ for family in RECIPES)
        raise TypeError(
            f"`network` must be one of {families}, got {type(network).__name__}; train "
            "another network elsewhere, and give it to `Generator`."
        )
    history = []
    for recipe in RECIPES[type(network)]:
        recipe = recipe(network)
        prefix = f"{recipe.family}-" if history else ""
        history += fit(
            recipe,
            images,
            validation_images,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=recipe.learning_rate
            if learning_rate is None
            else learning_rate,
            seed=seed,
            augmentation=augmentation,
            patience=patience,
            checkpoint_path=_beside(checkpoint_path, prefix),
            log_path=_beside(log_path, prefix),
            accelerator=accelerator,
        )
    return history


def _beside(path, prefix):
    return None if path is None else Path(path).with_name(prefix + Path(path).name)
