# SPDX-License-Identifier: MPL-2.0
"""The studies run, go on after a kill, and choose weights on other images."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import odl
import pytest

import odl_genreg as ogr

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "examples" / "studies"
# What studies need; the others are studies.
PARTS = {"csgm_methods", "csgm_vae", "mismatch", "mr_floor", "train_mr_generator"}
SCRIPTS = sorted(p for p in STUDIES.glob("*.py") if p.stem not in PARTS)


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    import harness

    return harness


@pytest.fixture
def problem(harness):
    X = odl.uniform_discr([0, 0], [1.4, 2.7], (7, 9), dtype="float32")
    images = np.random.default_rng(0).random((5, 7, 9), dtype="float32")
    A = odl.IdentityOperator(X)
    return harness.Problem("denoising", A, 0.1, images[:2], images[2:])


def test_every_study_is_run_by_make():
    names = (ROOT / "Makefile").read_text(encoding="utf-8").partition("STUDIES ?=")[2]
    names = names.partition("STUDY_ARGS")[0].replace("\\", " ").split()
    assert sorted(names) == [path.stem for path in SCRIPTS]
    pages = {path.stem for path in (ROOT / "docs" / "results").glob("*.rst")}
    assert pages - {"index"} == set(names)


@pytest.mark.parametrize(
    "path", sorted(STUDIES.rglob("*.py")), ids=lambda path: path.stem
)
def test_modules_are_small(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# SPDX-License-Identifier: MPL-2.0"
    assert len(lines) <= 250


def test_noise_depends_on_the_image_alone(problem):
    same = type(problem)(
        "other", problem.operator, 0.1, problem.selection[:1], problem.reported
    )
    assert problem.selection_data[0] == same.selection_data[0]
    noise = problem.reported_data[0].asarray() - problem.reported[0]
    assert 0.05 < noise.std() < 0.15
    other = problem.selection_data[0].asarray() - problem.selection[0]
    assert np.abs(noise - other).max() > 0.05


def test_comparison_goes_on_and_reports_other_images(harness, problem, tmp_path):
    calls = []

    def solve(problem, data, *, shrink):
        calls.append((shrink, len(data)))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return [shrink * y for y in data]

    methods = {"shrink": harness.Method(solve, lambda problem, chosen: {"shrink": 4.0})}

    def run():
        directory = harness.RunDirectory(tmp_path / "run", {"seed": 0})
        return harness.compare(directory, problem, methods)

    with pytest.raises(KeyboardInterrupt):
        run()
    rows, images = run()
    selection = [shrink for shrink, number in calls if number == 2]
    assert len(selection) == len(set(selection)) + 1  # only what was cut off again
    assert calls[-1] == (1.0, 3)
    assert [row["weights"] for row in rows] == ["shrink=1"] * 3
    assert images["shrink"].shape == (3, 7, 9)
    before = len(calls)
    assert run()[0] == rows
    assert len(calls) == before


def test_run_directory_of_another_config(harness, tmp_path):
    harness.RunDirectory(tmp_path, {"seed": 0})
    with pytest.raises(ValueError, match="`output` must hold a run with this config"):
        harness.RunDirectory(tmp_path, {"seed": 1})


def test_methods_solve_what_they_say(harness, problem):
    from generators import make_generator

    G = make_generator("conv")
    X = odl.uniform_discr([0, 0], [1.4, 2.7], (7, 9), dtype="float32")
    G = ogr.Generator(G.module, odl.rn(3, dtype="float32"), X, decoder_variance=0.01)
    methods = {
        "Tikhonov": harness.tikhonov_method(),
        "TV": harness.tv(),
        "range": harness.in_range(G),
        "soft": harness.soft(G),
        "sparse": harness.sparse(G),
        "tv deviation": harness.tv_deviation(G),
        "soft + TV": harness.soft_tv(G),
    }
    chosen = {}
    for name, method in methods.items():
        chosen[name] = method.start(problem, chosen)
        images = method.solve(problem, problem.selection_data, **chosen[name])
        assert len(images) == 2
        assert all(x in X for x in images)


def test_tables(harness, tmp_path):
    rows = [
        {"problem": "p", "method": m, "psnr": value, "ssim": 0.5}
        for m, values in (("a", (1.0, 3.0)), ("b", (0.0, 1.0)))
        for value in values
    ]
    text = harness.write_table(tmp_path / "t.md", rows, values={"psnr": 1, "ssim": 2})
    assert "| a | 2.0 ± 1.0 |" in text
    assert (tmp_path / "t.md").read_text() == text
    assert harness.paired_differences(rows, "a", "b") == {"p": "1.50 ± 0.50"}
    harness.write_rows(tmp_path / "t.csv", rows)
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "p,a,1.0,0.5"


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_study_runs(path, tmp_path):
    process = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"GENREG_QUICK": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    output = tmp_path / "runs" / f"{path.stem}-quick"
    names = {file.name for file in output.iterdir()}
    assert {"rows.csv", "run.json", "config.json"} <= names
    assert {".md", ".png"} <= {Path(name).suffix for name in names}
