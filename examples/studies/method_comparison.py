# SPDX-License-Identifier: MPL-2.0
"""Three generators and three constraints: compressed sensing and tomography.

    python examples/studies/method_comparison.py [--full --images MNIST_TEST_IMAGES]

The two comparisons of Duff, Campbell and Ehrhardt (arXiv:2107.11191), in their setting:

- digits of 28 x 28 pixels from 150 Gaussian measurements, noise 0.1;
- shapes of 56 x 56 pixels by tomography in full view, 125 angles, noise 0.1 for values
  {0, 0.5}, that is 0.2 for the values {0, 1} here.

Both operators are divided by their norm in ODL's inner products, with pixels of side 1.
Every method has 0 <= x <= 1 but Tikhonov, and weights chosen on other images.

An autoencoder of shapes does not ship; ``--shapes-ae shapes-ae`` takes the result of

    odl-genreg train ae --data shapes --latent 10 --channels 12 24 48 --epochs 25
        --no-augmentation --out shapes-ae
"""

import functools
import time

import odl
import torch
from harness import (
    Problem,
    RunDirectory,
    compare,
    in_range,
    mnist_images,
    paired_differences,
    save_images,
    shape_images,
    soft,
    sparse,
    study_options,
    tikhonov_method,
    tv,
    write_rows,
    write_table,
)

import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap

CONFIG = {
    "quick": {
        "generators": ["VAE"],
        "digits": {"selection": 2, "reported": 2, "factors": []},
        "shapes": {"selection": 2, "reported": 2, "factors": []},
    },
    "small": {
        "generators": ["VAE", "GAN"],
        "digits": {"selection": 4, "reported": 6, "factors": [4.0]},
        "shapes": {"selection": 2, "reported": 4, "factors": []},
    },
    "full": {
        "generators": ["VAE", "AE", "GAN"],
        "digits": {"selection": 10, "reported": 50, "factors": [4.0, 2.0]},
        "shapes": {"selection": 4, "reported": 30, "factors": [4.0, 2.0]},
    },
    "measurements": 150,
    "angles": 125,
    # ODL takes pixels of side 1 exactly for no weighting, of the data as well.
    "side": 1.00001,
    "noise": {"digits": 0.1, "shapes": 0.2},
    "restarts": 4,
    "seed": 0,
}
CONSTRAINTS = {
    "range": in_range,
    "soft": functools.partial(soft, bounded=True),
    "sparse": sparse,
}


def main():
    """Run the study."""
    options = study_options(
        __doc__,
        images="MNIST test images; else those that ship",
        more={"--shapes-ae": "checkpoint of an autoencoder of shapes"},
    )
    sizes = CONFIG[options.size]
    run = RunDirectory(options.output, CONFIG | {"options": options.settings})
    started = time.perf_counter()
    rows, examples, operators = [], {}, {"digits": sensing(), "shapes": tomography()}
    for name, A in operators.items():
        size = sizes[name]
        numbers = size["selection"], size["reported"]
        if name == "digits":
            images = mnist_images(*numbers, options.images)
        else:
            images = shape_images(*numbers)
        noise = CONFIG["noise"][name]
        relative = noise / _rms(A, images[0])
        print(f"{name}: noise {relative:.0%} of the root mean square", flush=True)
        problem = Problem(name, A, noise, *images)
        methods = {"Tikhonov": tikhonov_method(), "TV": tv()}
        for kind in sizes["generators"]:
            checkpoint = _checkpoint(name, kind, options.shapes_ae)
            if checkpoint is not None:
                G = ogr.load_generator(checkpoint, image_space=A.domain)
                methods |= _generative(kind, G)
        new, stacks = compare(run, problem, methods, factors=size["factors"])
        rows += [row | _parts(row["method"]) for row in new]
        for kind in sizes["generators"]:
            if f"{kind} range" in stacks:
                shown = ["truth", "Tikhonov", "TV", *_generative(kind, None)]
                line = {title.split()[-1]: stacks[title][0] for title in shown}
                examples[f"{name}, {kind}"] = line
    write_rows(run.path / "rows.csv", rows)
    for name in operators:
        table = [row for row in rows if row["problem"] == name]
        gains = {m: paired_differences(table, f"VAE {m}", "TV") for m in CONSTRAINTS}
        note = f"VAE - TV, dB: {gains}"
        path = run.path / f"{name}.md"
        layout = {"index": "constraint", "columns": "generator"}
        print(name, write_table(path, table, note=note, **layout), sep="\n")
    save_images(run.path / "images.png", examples)
    run.finish(options.command, time.perf_counter() - started)


def sensing():
    """Return ``A / ||A||``; with pixels of weight 1 the weighted norm is the plain."""
    X = odl.uniform_discr([0, 0], [28, 28], (28, 28), dtype="float32")
    A = ogr.gaussian_sensing(X, CONFIG["measurements"], seed=CONFIG["seed"])
    return ogr.normalized(A)


def tomography():
    """Return ``A / ||A||`` with ODL's parallel beam; ``||A|| = 13.03``."""
    half = 28 * CONFIG["side"]
    X = odl.uniform_discr([-half] * 2, [half] * 2, (56, 56), dtype="float32")
    return ogr.normalized(ogr.ray_transform(X, num_angles=CONFIG["angles"]))


def _generative(kind, G):
    solver = {"restarts": CONFIG["restarts"]}
    return {f"{kind} {name}": make(G, **solver) for name, make in CONSTRAINTS.items()}


def _checkpoint(name, kind, shapes_ae):
    if (name, kind) == ("shapes", "AE"):
        return shapes_ae
    return f"{'mnist' if name == 'digits' else name}-{kind.lower()}"


def _parts(method):
    kind, _, constraint = method.rpartition(" ")
    return {"generator": kind or "none", "constraint": constraint}


def _rms(A, images):
    """Root mean square of the data of images without noise."""
    return float(LinearMap(A)(torch.from_numpy(images)).square().mean().sqrt())


if __name__ == "__main__":
    main()
