# SPDX-License-Identifier: MPL-2.0
"""The command ``odl-genreg``."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import torch

from . import __version__

__all__ = ("main",)

ENDINGS = (".json", ".log.jsonl", ".png")


def main(arguments: list[str] | None = None) -> int:
    """Run ``odl-genreg`` with the given arguments, those of the process by default."""
    parser = argparse.ArgumentParser(
        prog="odl-genreg", description="Generative regularizers for ODL."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_demo, _add_train, _add_report, _add_models):
        add(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


def _needs_extra(command, error):
    print(
        f"odl-genreg {command} needs the packages of the extra `demo` ({error}); "
        "install them with `pip install odl_genreg[demo]`.",
        file=sys.stderr,
    )
    return 1


def _add_demo(commands):
    demo = commands.add_parser(
        "demo",
        help="reconstruct digits from a few projections by several methods",
        description="Reconstruct 30 digits from 3, 5, 10 and 30 noisy projections by "
        "FBP, TV and generative regularizers; print PSNR and SSIM, save the figure.",
    )
    demo.add_argument("--output", default="demo_output", help="folder for the results")
    demo.set_defaults(run=_demo)


def _demo(options):
    try:
        from .demo import run_demo
    except ImportError as error:
        return _needs_extra("demo", error)
    run_demo(options.output)
    print(f"\nThe figure and the numbers are in {options.output}.")
    return 0


def _add_train(commands):
    train = commands.add_parser(
        "train",
        help="train a generator on images",
        description="Train a variational autoencoder (vae; svae: with a structured "
        "covariance), an autoencoder or a GAN on images, and write it as a checkpoint. "
        "The same command goes on after an interruption.",
    )
    train.add_argument("family", choices=("vae", "ae", "gan", "svae"))
    train.add_argument(
        "--data",
        required=True,
        help="'shapes', a file of MNIST, or a .npy file of images",
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
    train.add_argument("--epochs", type=int, default=100)
    train.add_argument("--batch-size", type=int, default=128)
    train.add_argument("--first", type=int, help="use that many images only")
    train.add_argument(
        "--validation", type=int, default=500, help="number of images held out"
    )
    train.add_argument("--patience", type=int, help="epochs without progress")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--no-augmentation", action="store_true", help="do not deform images"
    )
    train.set_defaults(run=_train)


def _train(options):
    from .datasets import read_images
    from .generator_training import train_generator

    try:
        images = read_images(options.data)[: options.first]
        generator = train_generator(
            options.family,
            images,
            options.out,
            latent_dim=options.latent,
            channels=tuple(options.channels),
            hidden=options.hidden,
            epochs=options.epochs,
            batch_size=options.batch_size,
            num_validation=options.validation,
            seed=options.seed,
            augment=not options.no_augmentation,
            patience=options.patience,
            training_data=f"{len(images)} images of {Path(options.data).name}",
        )
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"odl-genreg train: {error}", file=sys.stderr)
        return 1
    beside = {end: options.out.with_name(options.out.name + end) for end in ENDINGS}
    with contextlib.suppress(ImportError):  # matplotlib is an extra
        from .training_figure import save_training_figure

        save_training_figure(beside[".png"], generator, beside[".log.jsonl"])
    header = json.loads(beside[".json"].read_text(encoding="utf-8"))
    print(json.dumps(header["figures"], indent=2))
    return 0


def _add_report(commands):
    report = commands.add_parser(
        "report",
        help="measure what a generator is good for",
        description="Measure four properties of a generator on images that it was not "
        "trained on, and write one HTML page and a JSON file.",
    )
    report.add_argument("checkpoint", help="name of a shipped generator, or a path")
    report.add_argument(
        "--data",
        required=True,
        help="images it was not trained on: 'shapes', MNIST or .npy; half of them "
        "where --others is not given",
    )
    report.add_argument("--others", help="other images of the kind, as for --data")
    report.add_argument(
        "--out", type=Path, default=Path("report"), help="where to write, no suffix"
    )
    report.add_argument("--seed", type=int, default=0)
    report.set_defaults(run=_report)


def _report(options):
    try:
        from .report import write_report
    except ImportError as error:
        return _needs_extra("report", error)
    from .checkpoint import load_generator
    from .datasets import read_images

    try:
        generator = load_generator(options.checkpoint)
        offset, scale = generator.intensity
        sources = [options.data, options.others or options.data]
        images, others = (
            torch.from_numpy(read_images(source)).squeeze(1) * scale + offset
            for source in sources
        )
        if options.others is None:
            images, others = images[::2], images[1::2]
        findings = write_report(
            generator,
            images,
            others,
            options.out,
            name=Path(options.checkpoint).name,
            seed=options.seed,
        )
    except (ValueError, OSError) as error:
        print(f"odl-genreg report: {error}", file=sys.stderr)
        return 1
    for finding in findings.values():
        print(f"{finding.question}\n  {finding.sentence}")
    print(f"\nThe page is {options.out}.html.")
    return 0


def _add_models(commands):
    models = commands.add_parser(
        "models",
        help="list the generators that ship with the package",
        description="List the generators that ship with the package, or show the card "
        "of one: training, figures, limits, license.",
    )
    models.add_argument("name", nargs="?", help="generator whose card to show")
    models.set_defaults(run=_models)


def _models(options):
    from .checkpoint import shipped_generators
    from .checkpoint_files import SHIPPED

    names = shipped_generators()
    if options.name is None:
        for name in names:
            card = (SHIPPED / f"{name}.md").read_text(encoding="utf-8")
            title, _, text = card.partition("\n\n")
            print(f"{name}: {' '.join(text.partition('.')[0].split())}.")
    elif options.name in names:
        print((SHIPPED / f"{options.name}.md").read_text(encoding="utf-8"))
    else:
        print(
            f"odl-genreg models: `name` must be one of {', '.join(names)}, got "
            f"{options.name!r}; leave it out for the list.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
