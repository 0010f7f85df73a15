# SPDX-License-Identifier: MPL-2.0
"""The training loop that all families of networks share."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from .recipe import Recipe
from .team import Team

__all__ = ("fit",)


def fit(
    recipe: Recipe,
    images: torch.Tensor,
    validation_images: torch.Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    augmentation: Callable | None,
    patience: int | None = None,
    checkpoint_path=None,
    log_path=None,
    accelerator=None,
) -> list[tuple[float, float]]:
    """Train a network by a recipe; see `train`, where the parameters stand."""
    _check_images("images", images, batch_size)
    _check_images("validation_images", validation_images, 1)
    team = Team(accelerator, batch_size)
    network, source = recipe.network, torch.Generator().manual_seed(seed)
    recipe.accelerator = accelerator
    settings = [recipe.family, seed, epochs, batch_size, learning_rate, *images.shape]
    settings += [augmentation is not None, patience, team.size, team.precision]
    history, best_loss, best = [], math.inf, recipe.weights()
    if checkpoint_path is not None and Path(checkpoint_path).exists():
        state = _load(checkpoint_path, settings)
        for name, part in recipe.parts.items():
            part.load_state_dict(state["parts"][name])
        source.set_state(state["generator"])
        history, best_loss, best = state["history"], state["best_loss"], state["best"]

    steps = len(images) // batch_size
    progress = tqdm(
        range(len(history), epochs),
        initial=len(history),
        total=epochs,
        disable=not team.is_first,
    )
    for epoch in progress:
        if patience is not None and _epochs_since_best(history) >= patience:
            break
        network.train()
        loss_sum = 0.0
        order = torch.randperm(len(images), generator=source)
        for step in range(steps):
            batch = images[order[step * batch_size : (step + 1) * batch_size]]
            if augmentation is not None:
                half = batch_size // 2
                batch = torch.cat([augmentation(batch[:half], source), batch[half:]])
            index = epoch * steps + step
            rate = learning_rate * _schedule(index, epochs * steps)
            with team.precise():
                loss_sum += recipe.step(
                    team.share(batch).to(recipe.device),
                    rate,
                    team.noise(source),
                    index,
                )
        network.eval()
        validation_loss = recipe.validate(validation_images, batch_size)
        if not (math.isfinite(validation_loss) and math.isfinite(loss_sum)):
            raise FloatingPointError(
                "`learning_rate` must keep the loss finite, got a loss of "
                f"{validation_loss} after epoch {epoch} with {learning_rate}; lower it."
            )
        history.append((loss_sum / steps, validation_loss))
        if validation_loss < best_loss:
            best_loss = validation_loss
            best = {name: t.clone() for name, t in recipe.weights().items()}
        progress.set_postfix(loss=history[-1][0], validation=validation_loss)
        if checkpoint_path is not None and team.is_first:
            state = {
                "settings": settings,
                "parts": {k: part.state_dict() for k, part in recipe.parts.items()},
                "generator": source.get_state(),
                "history": history,
                "best_loss": best_loss,
                "best": best,
            }
            _save(state, Path(checkpoint_path))
        if log_path is not None and team.is_first:
            _log(history, Path(log_path))
    network.load_state_dict(best)
    network.eval()
    return history


def _schedule(step, steps):
    """Return the relative learning rate: linear over 200 steps, then a cosine."""
    return min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _epochs_since_best(history):
    losses = [validation for _, validation in history]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _load(path, settings):
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings"] != settings:
        raise ValueError(
            "`checkpoint_path` must hold a training with family, seed, epochs, batch "
            "size, learning rate, shape, augmentation, patience, processes and "
            f"precision {settings}, got {state['settings']}; remove {path} or go on "
            "with its settings."
        )
    return state


def _save(state, path):
    """Write to a temporary file first: a kill leaves the old state or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _log(history, path):
    lines = [
        json.dumps({"epoch": epoch, "loss": loss, "validation_loss": validation})
        for epoch, (loss, validation) in enumerate(history, start=1)
    ]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    os.replace(temporary, path)


def _check_images(name, images, least):
    if images.ndim != 4 or len(images) < least:
        raise ValueError(
            f"`{name}` must have shape (number, channels, n, m) with number >= "
            f"{least}, got {tuple(images.shape)}; add the channel with "
            "`images[:, None]` or choose a smaller `batch_size`."
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # False for nan as well
        raise ValueError(
            f"`{name}` must have values in [0, 1], got [{low}, {high}]; scale them, "
            "and remove nan."
        )
