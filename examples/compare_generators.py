# SPDX-License-Identifier: MPL-2.0
"""Compare VAE, autoencoder and GAN as generators of digits and of shapes.

    python examples/compare_generators.py TRAIN TEST --labels TRAIN-LABELS \\
        --test-labels TEST-LABELS --shapes-ae shapes-ae --output comparison

Writes a report of each generator, on MNIST test digits and on shapes of another seed,
a table of what can be compared, and the figure of samples. The shapes autoencoder does
not ship; ``docs/comparison.rst`` has the command that trains it.
"""

import argparse
import json
import pathlib

import matplotlib.pyplot as plt
import torch

import odl_genreg as ogr
from odl_genreg.datasets import read_mnist, read_mnist_labels, shapes
from odl_genreg.projection import sample_latents
from odl_genreg.report import write_report

COMPARED, PROJECTED, NEIGHBORS = 2000, 200, 5

parser = argparse.ArgumentParser(description="Compare VAE, autoencoder and GAN.")
parser.add_argument("train", help="MNIST training images")
parser.add_argument("test", help="MNIST test images")
parser.add_argument("--labels", required=True, help="labels of the training images")
parser.add_argument("--test-labels", required=True, help="labels of the test images")
parser.add_argument("--shapes-ae", required=True, help="checkpoint")
parser.add_argument("--output", type=pathlib.Path, required=True, help="directory")
arguments = parser.parse_args()
NAMES = {
    "MNIST": ("mnist-vae", "mnist-ae", "mnist-gan"),
    "shapes": ("shapes-vae", arguments.shapes_ae, "shapes-gan"),
}

# --- Images: those to test on, and as many of the training --- #

digits, other_digits = (
    torch.from_numpy(read_mnist(path, split=split)[:10000])
    for path, split in ((arguments.test, "test"), (arguments.train, "train"))
)
images = {
    "MNIST": (digits, other_digits),
    "shapes": tuple(torch.from_numpy(shapes(COMPARED, seed=s)) for s in (1, 0)),
}

# --- A classifier: the label that most of the nearest training digits have --- #

labels, test_labels = (
    torch.from_numpy(read_mnist_labels(path, split=split)[:10000].copy())
    for path, split in ((arguments.labels, "train"), (arguments.test_labels, "test"))
)


def classify(x):
    """Return the labels of images by their nearest neighbors."""
    distances = torch.cdist(x.flatten(1), other_digits.flatten(1))
    nearest = distances.topk(NEIGHBORS, largest=False).indices
    return labels[nearest].mode(dim=1).values


accuracy = (classify(digits[:COMPARED]) == test_labels[:COMPARED]).double().mean()
print(f"the classifier is right for {accuracy:.1%} of the test digits")

# --- Reports --- #

table, rows = {"accuracy": float(accuracy)}, []
for data, names in NAMES.items():
    for name in names:
        G, label = ogr.load_generator(name), pathlib.Path(name).name
        path = arguments.output / label
        if not path.with_name(f"{label}.json").exists():
            sizes = {"projected": PROJECTED, "compared": COMPARED}
            write_report(G, *images[data], path, name=label, **sizes)
        report = json.loads(path.with_name(f"{label}.json").read_text())
        table[label] = {
            key: finding["value"] for key, finding in report["findings"].items()
        }
        with torch.no_grad():
            samples = G.batch(sample_latents(G.domain, COMPARED, seed=0))
        if data == "MNIST":
            counts = torch.bincount(classify(samples).long(), minlength=10)
            table[label]["shares of digits"] = (counts / COMPARED).tolist()
        rows.append((label, samples[:10]))
        print(label, table[label], flush=True)
text = json.dumps(table, indent=2) + "\n"
arguments.output.joinpath("comparison.json").write_text(text)

# --- Show --- #

figure, axes = plt.subplots(len(rows), 1, figsize=(6, 4.4), layout="constrained")
for axis, (label, samples) in zip(axes, rows, strict=True):
    axis.imshow(torch.cat(list(samples), 1), cmap="gray", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(label, rotation=0, ha="right", va="center")
figure.savefig(arguments.output / "compare_generators.png", dpi=120)
