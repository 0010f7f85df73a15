# SPDX-License-Identifier: MPL-2.0
"""``odl-genreg train``."""

import contextlib
import json
from pathlib import Path

from .failure import failed, needs_extra
from .images import KINDS, add_choices, chosen_images

__all__ = ("add", "run")

ENDINGS = (".json", ".log.jsonl", ".png")


def add(commands):
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="train a generator on images",
        description="Train a variational autoencoder (vae; lvae: with local latents; "
        "svae: with a structured covariance), an autoencoder or a GAN on images, and "
        "write it as a checkpoint. The same command goes on after an interruption.",
    )
    train.add_argument("family", choices=("vae", "lvae", "svae", "ae", "gan"))
    train.add_argument(
        "--data",
        required=True,
        help=KINDS,
    )
    train.add_argument(
        "--out", required=True, type=Path, help="checkpoint to write, without suffix"
    )
    train.add_argument("--latent", type=int, default=16, help="number of latents")
    train.add_argument(
        "--channels",
        type=int,
        nargs="+",
        default=(32, 48),
        help="channels at a half, a quarter, ... of the resolution",
    )
    train.add_argument("--hidden", type=int, default=192, help="width of a dense layer")
    train.add_argument(
        "--local-channels", type=int, help="local latents at each point (lvae)"
    )
    train.add_argument("--epochs", type=int, default=100)
    train.add_argument("--batch-size", type=int, default=128)
    train.add_argument("--learning-rate", type=float, help="largest learning rate")
    train.add_argument("--first", type=int, help="use that many images only")
    train.add_argument(
        "--validation", type=int, default=500, help="number of images held out"
    )
    train.add_argument("--patience", type=int, help="epochs without progress")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--no-augmentation", action="store_true", help="do not deform images"
    )
    train.add_argument("--device", default="cpu", help="'cpu' or 'cuda'")
    train.add_argument(
        "--accelerate",
        action="store_true",
        help="train in the processes and the precision of `accelerate launch -m "
        "odl_genreg.cli train ...`",
    )
    add_choices(train)
    train.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    from ..generator_training import train_generator

    accelerator = None
    if options.accelerate:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            return needs_extra("train", "accelerate", error)
        accelerator = Accelerator()
    try:
        images = chosen_images(options, options.data)[: options.first]
        generator = train_generator(
            options.family,
            images,
            options.out,
            latent_dim=options.latent,
            channels=tuple(options.channels),
            hidden=options.hidden,
            local_channels=options.local_channels,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            num_validation=options.validation,
            seed=options.seed,
            augment=not options.no_augmentation,
            patience=options.patience,
            device=options.device,
            accelerator=accelerator,
            training_data=f"{len(images)} images of {Path(options.data).name}",
        )
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        return failed("train", error)
    if accelerator is not None and not accelerator.is_main_process:
        return 0
    beside = {end: options.out.with_name(options.out.name + end) for end in ENDINGS}
    with contextlib.suppress(ImportError):  # matplotlib is an extra
        from ..training_figure import save_training_figure

        save_training_figure(beside[".png"], generator, beside[".log.jsonl"])
    header = json.loads(beside[".json"].read_text(encoding="utf-8"))
    print(json.dumps(header["figures"], indent=2))
    return 0
