# SPDX-License-Identifier: MPL-2.0
"""What a GPU gives: bare loop, batches, deepinv, transfers, memory, agreement.

Run it as ``python benchmarks/bench_gpu.py [part ...] [--quick] [--device cuda:0]``.
Each part writes ``results/gpu_<part>.json`` and, on a GPU, its section of README.md.
"""

import argparse
import sys
import time
import traceback

import gpu_device_parts
import gpu_parts
import gpu_solves
import torch
from gpu_setup import Options
from harness import publish, table

PARTS = {
    "latent": gpu_parts.latent,
    "batches": gpu_parts.batches,
    "deepinv": gpu_device_parts.peer,
    "transfers": gpu_solves.transfers,
    "memory": gpu_device_parts.memory,
    "demos": gpu_solves.demos,
    "agreement": gpu_solves.agreement,
    "networks": gpu_device_parts.networks,
}


def arguments(given=None):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a short run, to try it")
    parser.add_argument(
        "--device", default="cuda:0", help="'cpu' tries what runs there"
    )
    parser.add_argument("--mr-generator", help="checkpoint of a generator of MR images")
    parser.add_argument("--mr-images", help="array of such images, NPY")
    options = parser.parse_args(given)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    return options


def section(name: str, given: Options):
    """Measure a part; return its text and its results."""
    rows, claims, text = PARTS[name](given)
    device = str(given.device)
    if given.on_gpu:
        properties = torch.cuda.get_device_properties(given.device)
        total = properties.total_memory / 2**30
        device = f"{properties.name}, {total:.0f} GiB, CUDA {torch.version.cuda}"
    parts = [f"Device: {device}.\n"]
    if claims:
        parts.append(table(claims, "not measured"))
    parts += [text, table(rows)]
    return "\n".join(parts), {"device": device, "rows": rows, "claims": claims}


def main(given=None):
    arguments_given = arguments(given)
    device = torch.device(arguments_given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("bench_gpu needs a CUDA device, torch finds none; --device cpu tries it.")
        return
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    options = Options(
        device,
        arguments_given.quick,
        arguments_given.mr_generator,
        arguments_given.mr_images,
    )
    # Only a full run on a GPU is a result.
    quick = options.quick or not options.on_gpu
    failed = []
    for name in arguments_given.parts or PARTS:
        start = time.perf_counter()
        try:
            text, results = section(name, options)
        except Exception:  # the time on a device is dear: go on with the others
            traceback.print_exc()
            failed.append(name)
            continue
        seconds = time.perf_counter() - start
        publish(f"gpu_{name}", text, results, quick=quick, seconds=seconds)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
