# SPDX-License-Identifier: MPL-2.0
"""What a caller sees of a running reconstruction."""

from collections.abc import Callable

import torch

from .torch_bridge import as_element

__all__ = ("Progress",)


class Progress:
    """Shows the best images so far to a callback, and the objective on a bar."""

    def __init__(self, bar, callback: Callable | None, image_space, count: int | None):
        """Initialize a new instance.

        Parameters
        ----------
        bar : `tqdm.tqdm`
            Progress bar.
        callback : callable or None
            ODL callback.
        image_space : `DiscretizedSpace`
            Space of the images.
        count : int or None
            Number of images that the callback gets as a list; None for one element.
        """
        self.bar, self.callback, self.image_space = bar, callback, image_space
        self.single, self.shown = count is None, [None] * (count or 1)

    def __call__(
        self, images: Callable, values: torch.Tensor, image: int | None = None
    ):
        """Report an iteration.

        Parameters
        ----------
        images : callable
            Function that returns the images of all runs, ``(batch, *X.shape)``.
        values : torch.Tensor
            Their objectives ``(batch,)``.
        image : int, optional
            Number of the image that they belong to. Default: they are the runs of the
            first image, then those of the second, ...
        """
        self.bar.set_postfix(objective=float(values.nanmean()), refresh=False)
        self.bar.update()
        if self.callback is not None:
            self.show(images, values, image)
            self.callback(self.shown[0] if self.single else list(self.shown))

    @torch.no_grad()
    def show(self, images, values, image=None):
        """Keep the best images without a call."""
        indices = range(len(self.shown)) if image is None else [image]
        values = values.nan_to_num(nan=torch.inf).reshape(len(indices), -1)
        batch, runs = images(), values.shape[1]
        for k, (index, best) in enumerate(
            zip(indices, values.argmin(1).tolist(), strict=True)
        ):
            best_image = batch[k * runs + best].clone()
            self.shown[index] = as_element(self.image_space, best_image)
