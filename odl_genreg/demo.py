# SPDX-License-Identifier: MPL-2.0
"""Digits from a few noisy projections: what each method makes of the same data.

28 x 28 pixels on [-1, 1]^2, parallel beam over [0, pi), Gaussian noise of 5 % of the
root mean square of the data. Everything that can take it has ``0 <= x <= 1``.
"""

import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
import time
from importlib.resources import files

import numpy as np
import odl
import tqdm

from .checkpoint import load_generator
from .data_fidelity import SquaredL2, squared_l2
from .datasets import demo_digits
from .demo_table import summarize, table
from .evaluation import fbp, psnr, ssim, total_variation
from .forward_operators import ray_transform
from .reconstruction import reconstruct
from .regularizer import range_constraint, soft_constraint, sparse_deviation

__all__ = (
    "METHODS",
    "NUM_ANGLES",
    "REPORTED",
    "SELECTION",
    "demo_problem",
    "demo_weights",
    "run_demo",
)

NUM_ANGLES = (3, 5, 10, 30)
REPORTED = range(30)
SELECTION = range(30, 100)
NOISE = 0.05
BOUNDS = (0.0, 1.0)
RESTARTS = 4


@functools.cache
def image_space():
    """Return the space ``X`` of the digits."""
    return odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")


@functools.cache
def _ray_transform(num_angles):
    return ray_transform(image_space(), num_angles=num_angles)


@functools.cache
def _generator():
    return load_generator("mnist-vae", image_space=image_space())


@functools.cache
def _gradient():
    return odl.Gradient(image_space(), pad_mode="symmetric")


def demo_problem(index: int, num_angles: int):
    """Return data fidelity and true image of one digit; the noise is always the same.

    Parameters
    ----------
    index : int
        Number of the digit, 0 to 99.
    num_angles : int
        Number of projections.
    """
    A = _ray_transform(num_angles)
    x = image_space().element(demo_digits()[index])
    y = A(x)
    noise_std = NOISE * float(np.sqrt(np.mean(y.asarray() ** 2)))
    noise = np.random.default_rng([index, num_angles]).normal(size=y.shape)
    y += A.range.element((noise_std * noise).astype("float32"))
    return squared_l2(A, y, noise_std), x


# --- The rows of the table: an image from a data fidelity and weights --- #


def _fbp(D: SquaredL2, *, frequency_scaling):
    return fbp(
        D.operator,
        D.data,
        filter_type="Hann",
        frequency_scaling=frequency_scaling,
        bounds=BOUNDS,
    )


def _tv(D: SquaredL2, *, beta):
    return total_variation(D, beta, bounds=BOUNDS, gap_tol=1e-4).x


def _range(D: SquaredL2, *, lam):
    # The network ends in a sigmoid: 0 < G(z) < 1.
    return reconstruct(D, range_constraint(_generator()), lam, restarts=RESTARTS).x


def _soft(D: SquaredL2, *, lam, mu):
    R = soft_constraint(_generator(), mu)
    return reconstruct(D, R, lam, bounds=BOUNDS, restarts=RESTARTS).x


def _sparse(D: SquaredL2, *, lam, mu):
    R = sparse_deviation(_generator(), mu)
    return reconstruct(D, R, lam, bounds=BOUNDS, restarts=RESTARTS).x


def _soft_tv(D: SquaredL2, *, lam, mu, beta):
    grad = _gradient()
    variation = beta * odl.functionals.GroupL1Norm(grad.range)
    R = soft_constraint(_generator(), mu)
    others = [(variation, grad)]
    options = {"bounds": BOUNDS, "restarts": RESTARTS}
    return reconstruct(D, R, lam, other_terms=others, **options).x


METHODS = {
    "FBP": _fbp,
    "TV": _tv,
    "range": _range,
    "soft": _soft,
    "sparse": _sparse,
    "soft + TV": _soft_tv,
}


def demo_weights() -> dict:
    """Return the weights of each method by number of angles, ``{"3": {"TV": ...}}``.

    Chosen on the digits of `SELECTION` by ``examples/select_demo_weights.py``.
    """
    return json.loads((files(__package__) / "weights" / "demo.json").read_text())


def _reconstruct_digit(task):
    """Reconstruct one digit by all methods; the unit of work of a process."""
    index, num_angles = task
    D, truth = demo_problem(index, num_angles)
    weights, rows, images = demo_weights()[str(num_angles)], [], {}
    for method, solve in METHODS.items():
        start = time.perf_counter()
        x = solve(D, **weights[method])
        seconds = time.perf_counter() - start
        images[method] = x.asarray()
        rows.append(
            {
                "angles": num_angles,
                "method": method,
                "digit": index,
                "psnr": psnr(x, truth),
                "ssim": ssim(x, truth),
                "seconds": seconds,
            }
        )
    return rows, {(index, num_angles): {"truth": truth.asarray(), **images}}


@contextlib.contextmanager
def _one_thread_per_process():
    """Let processes that start meanwhile compute with one thread each."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def run_demo(output, *, digits=REPORTED, num_angles=NUM_ANGLES) -> list[dict]:
    """Reconstruct the digits, print the table, write ``summary.json`` and the figure.

    Parameters
    ----------
    output : path-like
        Folder for the files; it is made if needed.
    digits : sequence of int, optional
        Digits that are reported.
    num_angles : sequence of int, optional
        Numbers of projections.

    Returns
    -------
    summary : list of dict
        For each number of angles and method the means of ``psnr`` (data range 1),
        ``ssim`` and ``seconds`` (of one image on one core).
    """
    from .demo_figure import save_figure

    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    tasks = [(index, angles) for angles in num_angles for index in digits]
    rows, images = [], {}
    workers = min(os.cpu_count() or 1, len(tasks))
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context)
    with _one_thread_per_process(), pool:
        results = pool.map(_reconstruct_digit, tasks)
        for new_rows, new_images in tqdm.tqdm(
            results, total=len(tasks), unit=" digits"
        ):
            rows += new_rows
            images |= new_images
    summary = summarize(rows, num_angles, METHODS)
    print(table(rows, num_angles, METHODS))
    _write(output / "summary.json", summary)
    _write(output / "digits.json", rows)
    save_figure(output / "reconstructions.png", images, digits, num_angles)
    return summary


def _write(path, content):
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(part, path)
