# SPDX-License-Identifier: MPL-2.0
"""Training loop of a variational autoencoder."""

import math
import os
from pathlib import Path

import torch
from tqdm import tqdm

from .augmentation import random_affine

__all__ = ("train_vae",)


def train_vae(
    network,
    images,
    validation_images,
    *,
    epochs,
    batch_size=128,
    learning_rate=2e-3,
    seed=0,
    checkpoint_path=None,
):
    """Train a variational autoencoder by maximizing its evidence lower bound.

    Minimizes over all parameters of ``network``

        ``sum_i E[-log p(x_i | z)] + KL(q(z | x_i) || N(0, I))``

    with AdamW, a learning rate that falls to zero along a cosine, and a small random
    affine deformation of half of the images in each batch. ``network`` ends with the
    weights of the epoch that has the smallest validation loss, and with the ``gamma^2``
    that belongs to it: the mean squared error of the validation images.

    Parameters
    ----------
    network : `VAE`
        Network to train, in place and on its device.
    images : torch.Tensor
        Training images of shape ``(number, 1, n, m)`` with values in [0, 1].
    validation_images : torch.Tensor
        Images of the same shape that are not trained on.
    epochs : positive int
        Number of passes over ``images``.
    batch_size : positive int, optional
        Number of images in a step; a last incomplete batch of an epoch is left out.
    learning_rate : positive float, optional
        Largest learning rate; ``log_variance``, a single number that has a long way to
        go, takes ten times as much.
    seed : int, optional
        Seed of the order, the deformations and the latent noise. The global random
        state is neither used nor changed.
    checkpoint_path : path, optional
        File with the state of the training, replaced after each epoch. Where it exists
        the training goes on from it, with the result of an uninterrupted run.

    Returns
    -------
    history : list of (float, float)
        Mean training loss of each epoch and validation loss after it, in nats per
        image; the latter with the ``gamma^2`` that makes it smallest.

    Raises
    ------
    ValueError
        If there are fewer images than one batch, if an image is not in [0, 1], or if
        ``checkpoint_path`` holds the state of another training.
    FloatingPointError
        If the loss becomes infinite or nan.
    """
    _check_images("images", images, batch_size)
    _check_images("validation_images", validation_images, 1)
    generator = torch.Generator().manual_seed(seed)
    settings = [seed, epochs, batch_size, learning_rate, *images.shape]
    variance = network.log_variance
    weights = [p for p in network.parameters() if p is not variance]
    optimizer = torch.optim.AdamW(
        [{"params": weights}, {"params": [variance], "weight_decay": 0.0}],
        weight_decay=1e-2,
    )
    history, best_loss, best = [], math.inf, network.state_dict()
    if checkpoint_path is not None and Path(checkpoint_path).exists():
        state = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        if state["settings"] != settings:
            raise ValueError(
                "`checkpoint_path` must hold a training with seed, epochs, batch size, "
                f"learning rate and shape {settings}, got {state['settings']}; remove "
                f"{checkpoint_path} or go on with its settings."
            )
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        history, best_loss, best = state["history"], state["best_loss"], state["best"]

    steps = len(images) // batch_size
    progress = tqdm(range(len(history), epochs), initial=len(history), total=epochs)
    for epoch in progress:
        network.train()
        loss_sum = 0.0
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            rate = learning_rate * _schedule(epoch * steps + step, epochs * steps)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.param_groups[1]["lr"] = 10 * rate
            batch = images[order[step * batch_size : (step + 1) * batch_size]]
            half = batch_size // 2
            batch = torch.cat([random_affine(batch[:half], generator), batch[half:]])
            batch = batch.to(variance.device)
            optimizer.zero_grad()
            loss = network.negative_elbo(batch, generator)
            loss.backward()
            # Norms reach some thousands once gamma is small: this evens them out.
            torch.nn.utils.clip_grad_norm_(weights, 1000.0)
            optimizer.step()
            loss_sum += loss.item()
        validation_loss, log_variance = _validate(
            network, validation_images, batch_size
        )
        if not math.isfinite(validation_loss):
            raise FloatingPointError(
                "`learning_rate` must keep the loss finite, got a loss of "
                f"{validation_loss} after epoch {epoch} with {learning_rate}; lower it."
            )
        history.append((loss_sum / steps, validation_loss))
        if validation_loss < best_loss:
            best_loss = validation_loss
            best = {name: t.clone() for name, t in network.state_dict().items()}
            best["log_variance"].fill_(log_variance)
        progress.set_postfix(loss=history[-1][0], validation=validation_loss)
        if checkpoint_path is not None:
            state = {
                "settings": settings,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
                "history": history,
                "best_loss": best_loss,
                "best": best,
            }
            _save(state, Path(checkpoint_path))
    network.load_state_dict(best)
    network.eval()
    return history


def _schedule(step, steps):
    """Return the relative learning rate: linear over 200 steps, then a cosine."""
    return min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.no_grad()
def _validate(network, images, batch_size):
    """Return the smallest negative ELBO over all ``gamma^2``, and its ``log(gamma^2)``.

    The noise is the same at each call. The learned ``gamma^2`` is the error of the
    training images: by it, a network that goes on improving would seem to get worse.
    """
    network.eval()
    generator = torch.Generator().manual_seed(0)
    device = network.log_variance.device
    error = divergence = 0.0
    for batch in images.split(batch_size):
        terms = network.elbo_terms(batch.to(device), generator)
        error += len(batch) / len(images) * terms[0].item()
        divergence += len(batch) / len(images) * terms[1].item()
    pixels = images[0].numel()
    log_variance = math.log(error / pixels)
    loss = 0.5 * pixels * (1 + math.log(2 * math.pi) + log_variance) + divergence
    return loss, log_variance


def _save(state, path):
    """Write to a temporary file first: a kill leaves the old state or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _check_images(name, images, least):
    if images.ndim != 4 or images.shape[1] != 1 or len(images) < least:
        raise ValueError(
            f"`{name}` must have shape (number, 1, n, m) with number >= {least}, got "
            f"{tuple(images.shape)}; add the channel with `images[:, None]` or choose "
            "a smaller `batch_size`."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # False for nan as well
        raise ValueError(
            f"`{name}` must have values in [0, 1], got [{low}, {high}]; scale them, "
            "and remove nan."
        )
