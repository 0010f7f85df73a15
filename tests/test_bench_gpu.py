# SPDX-License-Identifier: MPL-2.0
"""The benchmark of the GPU runs on the CPU as far as it can, with dashes elsewhere."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import astra_emulation
import odl_genreg as ogr
from odl_genreg.torch_bridge import LinearMap

emulated_astra = astra_emulation.emulated_astra

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
FAST = ("latent", "batches", "memory")
SLOW = ("deepinv", "transfers", "demos", "agreement", "networks")


@pytest.fixture(scope="module")
def bench():
    """The benchmark, whose `harness` is not that of the studies."""
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(BENCHMARKS))
    import bench_gpu

    yield bench_gpu
    sys.path.remove(str(BENCHMARKS))
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


@pytest.fixture
def options(bench, monkeypatch):
    monkeypatch.setattr(bench.Options, "seconds", 0.0)
    return bench.Options(torch.device("cpu"), quick=True)


def test_every_part_has_its_section_and_is_tried(bench):
    assert set(bench.PARTS) == {*FAST, *SLOW}
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    for name in bench.PARTS:
        assert readme.count(f"<!-- gpu_{name}: begin -->\n") == 1
        assert readme.count(f"<!-- gpu_{name}: end -->\n") == 1


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda p: p.stem)
def test_modules_are_small(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# SPDX-License-Identifier: MPL-2.0"
    assert len(lines) <= 250


@pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_part(bench, options, name):
    text, results = bench.section(name, options)
    assert len(results["rows"]) >= 2
    assert text.count("\n| ") >= 2
    json.dumps(results)


def test_without_a_device(bench, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bench.main(["latent"])
    assert capsys.readouterr().out.startswith("bench_gpu needs a CUDA device")


def test_results_of_a_trial(bench, options, monkeypatch, tmp_path):
    readme = (BENCHMARKS / "README.md").read_bytes()
    monkeypatch.setattr(sys.modules["harness"], "RESULTS", tmp_path)
    bench.main(["memory", "--quick", "--device", "cpu"])
    results = json.loads((tmp_path / "gpu_memory-quick.json").read_text())
    assert results["device"] == "cpu"
    assert (BENCHMARKS / "README.md").read_bytes() == readme


def test_one_part_fails_and_the_others_run(bench, options, monkeypatch, tmp_path):
    def broken(options):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(sys.modules["harness"], "RESULTS", tmp_path)
    monkeypatch.setitem(bench.PARTS, "latent", broken)
    with pytest.raises(SystemExit, match="failed: latent"):
        bench.main(["latent", "memory", "--quick", "--device", "cpu"])
    assert (tmp_path / "gpu_memory-quick.json").exists()


def test_too_little_memory_is_a_dash(bench):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert sys.modules["gpu_setup"].guarded(full) is None


def test_unknown_part(bench, capsys):
    with pytest.raises(SystemExit):
        bench.main(["latnet"])
    assert "unknown parts: latnet" in capsys.readouterr().err


@pytest.mark.usefixtures("emulated_astra")
def test_bare_projector_is_the_backend(bench):
    """ASTRA's kernels emulated: the bare function is `A`, its gradient `A^T`."""
    setup, projectors = (sys.modules[f"gpu_{name}"] for name in ("setup", "projectors"))
    X = setup.image_space(8, torch.device("cpu"))
    A = ogr.ray_transform(X, num_angles=5, backend="cuda")
    linear, project = LinearMap(A), projectors.bare_projector(A, 3)
    x, r = setup.draw((3, 8, 8), 0, X.device), setup.draw((3, *A.range.shape), 1, "cpu")
    torch.testing.assert_close(project(x), linear(x))
    (gradient,) = torch.autograd.grad(project(x.requires_grad_()), x, r)
    torch.testing.assert_close(gradient, linear.T(r))


@pytest.mark.slow
def test_mr_demo(bench, options, tmp_path):
    """Any checkpoint and array of images will do."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 28, 28)))
    options.mr_generator = "mnist-vae"
    options.mr_images = str(tmp_path / "images.npy")
    solve = sys.modules["gpu_solves"].mr_demo("soft", options, 4)
    assert len(solve(2)) == 2
