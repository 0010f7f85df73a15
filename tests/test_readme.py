# SPDX-License-Identifier: MPL-2.0
"""The code in README and docs runs as it stands."""

import os
import re
import textwrap
from pathlib import Path

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from odl_genreg.datasets import demo_digits
from odl_genreg.evaluation import fbp, psnr

ROOT = Path(__file__).parents[1]


def python_blocks(path):
    """Code of the fenced blocks of Markdown or the code-blocks of reST."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    pattern = r"^\.\. code-block:: python\n\n((?:(?:   .*)?\n)+)"
    return [textwrap.dedent(b) for b in re.findall(pattern, text + "\n", re.MULTILINE)]


def run(path, names, blocks):
    """Run the blocks of a page one after the other, in one namespace."""
    for block in blocks:
        exec(compile(block, str(path), "exec"), names)
    return names


def test_readme_reconstructs_a_digit(capsys):
    blocks = python_blocks(ROOT / "README.md")
    assert len(blocks) == 1
    short = blocks[0].replace("maxiter=50", "maxiter=2")
    assert short != blocks[0]

    X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    A = ogr.ray_transform(X, num_angles=5)
    x_true = X.element(demo_digits()[0])
    y = A(x_true)
    sigma = float(0.05 * np.sqrt(np.mean(y.asarray() ** 2)))
    y += A.range.element(sigma * np.random.default_rng(0).standard_normal(y.shape))
    x0 = fbp(A, y, bounds=(0, 1))
    names = {"x0": x0.copy(), "y": y, "sigma": sigma, "lam": 1e4}
    names |= {"y1": y, "y2": 0.9 * y}
    run(ROOT / "README.md", names, [short])

    assert names["x0"] == x0
    assert names["J"](names["x"]) < names["J"](x0)
    assert psnr(names["result"].x, x_true) > psnr(x0, x_true) + 5
    assert "objective" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page", ["add_a_regularizer", "generators", "forward_operators"]
)
def test_docs_run(page, tmp_path, monkeypatch):
    path = ROOT / "docs" / f"{page}.rst"
    blocks = python_blocks(path)
    assert len(blocks) == path.read_text(encoding="utf-8").count("code-block:: python")
    X = odl.uniform_discr([0, 0], [7, 4.5], (7, 9))
    network = torch.nn.Linear(2, X.size, dtype=torch.float64)
    G = ogr.Generator(network, odl.rn(2), X)
    y = G(G.domain.one())
    monkeypatch.chdir(tmp_path)
    given = {"np": np, "odl": odl, "ogr": ogr, "torch": torch, "X": X, "G": G, "y": y}
    names = run(path, dict(given), blocks)
    if page == "add_a_regularizer":
        assert names["result"].distance_to_range < 0.1 * y.norm()
    elif page == "forward_operators":
        assert (names["result"].x - y).norm() < 0.2 * y.norm()
        truth = names["complex_G"]([1.0, -1.0])
        assert (names["complex_result"].x - truth).norm() < 0.01 * truth.norm()
    else:
        names_of_files = {name.partition(".")[0] for name in os.listdir()}
        assert names_of_files == {"my_generator", "my_decoder", "elsewhere"}
        assert names["result"].x.shape == (20, 24)
        loaded = names["fresh"].state_dict()
        for key, tensor in names["network"].state_dict().items():
            assert torch.equal(loaded[key], tensor)
        R, x = names["R_fine"], names["X_fine"].one()
        assert R.gradient(x).inner(x) > 0
