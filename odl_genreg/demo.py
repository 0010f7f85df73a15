# SPDX-License-Identifier: MPL-2.0
"""Digits from a few noisy projections: what each method makes of the same data.

28 x 28 pixels on [-1, 1]^2, parallel beam over [0, pi), Gaussian noise of 5 % of the
root mean square of the data of all digits. Everything that can take it has
``0 <= x <= 1``.
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
from .datasets import demo_digits
from .demo_table import summarize, table
from .evaluation import fbp, psnr, ssim, total_variation
from .forward_operators import ray_transform
from .gaussian_noise import SquaredL2, squared_l2
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
BATCH = 15  # digits that are reconstructed at once


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


@functools.cache
def _noise_std(num_angles):
    A, X = _ray_transform(num_angles), image_space()
    squares = [np.mean(A(X.element(x)).asarray() ** 2) for x in demo_digits()]
    return NOISE * float(np.sqrt(np.mean(squares)))


def demo_problem(index: int, num_angles: int):
    """Return data fidelity and true image of one digit; the noise is always the same.

    Parameters
    ----------
    index : int
        Number of the digit, 0 to 99.
    num_angles : int
        Number of projections.
    """
    A, noise_std = _ray_transform(num_angles), _noise_std(num_angles)
    x = image_space().element(demo_digits()[index])
    y = A(x)
    noise = np.random.default_rng([index, num_angles]).normal(size=y.shape)
    y += A.range.element((noise_std * noise).astype("float32"))
    return squared_l2(A, y, noise_std), x


# --- The rows of the table: images from a data fidelity, data and weights --- #


def _fbp(D: SquaredL2, data, *, frequency_scaling):
    options = {"filter_type": "Hann", "frequency_scaling": frequency_scaling}
    return [fbp(D.operator, y, bounds=BOUNDS, **options) for y in data]


def _tv(D: SquaredL2, data, *, beta):
    results = total_variation(D, beta, data=data, bounds=BOUNDS, gap_tol=1e-4)
    return [result.x for result in results]


def _generative(D: SquaredL2, data, R, lam, bounds=BOUNDS, other_terms=()):
    options = {"bounds": bounds, "other_terms": other_terms, "restarts": RESTARTS}
    return [result.x for result in reconstruct(D, R, lam, data=data, **options)]


def _range(D: SquaredL2, data, *, lam):
    # The network ends in a sigmoid: 0 < G(z) < 1.
    return _generative(D, data, range_constraint(_generator()), lam, bounds=None)


def _soft(D: SquaredL2, data, *, lam, mu):
    return _generative(D, data, soft_constraint(_generator(), mu), lam)


def _sparse(D: SquaredL2, data, *, lam, mu):
    return _generative(D, data, sparse_deviation(_generator(), mu), lam)


def _soft_tv(D: SquaredL2, data, *, lam, mu, beta):
    grad = _gradient()
    variation = beta * odl.functionals.GroupL1Norm(grad.range), grad
    R = soft_constraint(_generator(), mu)
    return _generative(D, data, R, lam, other_terms=[variation])


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


def _reconstruct_digits(task):
    """Reconstruct some digits by all methods; the unit of work of a process."""
    digits, num_angles = task
    problems = [demo_problem(index, num_angles) for index in digits]
    D, data = problems[0][0], [fidelity.data for fidelity, _ in problems]
    weights, rows = demo_weights()[str(num_angles)], []
    images = {
        (index, num_angles): {"truth": truth.asarray()}
        for index, (_, truth) in zip(digits, problems, strict=True)
    }
    for method, solve in METHODS.items():
        start = time.perf_counter()
        reconstructions = solve(D, data, **weights[method])
        seconds = (time.perf_counter() - start) / len(digits)
        for index, x in zip(digits, reconstructions, strict=True):
            of_digit = images[index, num_angles]
            of_digit[method] = x.asarray()
            rows.append(
                {
                    "angles": num_angles,
                    "method": method,
                    "digit": index,
                    "psnr": psnr(x, of_digit["truth"]),
                    "ssim": ssim(x, of_digit["truth"]),
                    "seconds": seconds,
                }
            )
    return rows, images


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
        ``ssim`` and ``seconds`` (of one image on one core, in batches).
    """
    from .demo_figure import save_figure

    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    digits = list(digits)
    parts = [digits[i : i + BATCH] for i in range(0, len(digits), BATCH)]
    tasks = [(part, angles) for angles in num_angles for part in parts]
    rows, images = [], {}
    workers = min(os.cpu_count() or 1, len(tasks))
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context)
    with _one_thread_per_process(), pool:
        results = pool.map(_reconstruct_digits, tasks)
        for new_rows, new_images in tqdm.tqdm(
            results, total=len(tasks), unit=" batches"
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
