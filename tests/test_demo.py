# SPDX-License-Identifier: MPL-2.0
"""The demo and the command that runs it."""

import json

import numpy as np
import pytest

from odl_genreg import cli, demo
from odl_genreg.datasets import demo_digits

DIGITS = demo_digits()


def test_problem_is_reproducible_and_has_the_stated_noise():
    D, x = demo.demo_problem(3, 10)
    again, _ = demo.demo_problem(3, 10)
    assert (D.data - again.data).norm() == 0
    clean = D.operator(x).asarray()
    assert D.operator.range.shape == (10, 41)
    squares = [np.mean(D.operator(D.domain.element(x)).asarray() ** 2) for x in DIGITS]
    assert D.noise_std == pytest.approx(0.05 * np.sqrt(np.mean(squares)), rel=1e-5)
    residual = float(np.sum((D.data.asarray() - clean) ** 2))
    assert residual == pytest.approx(D.expected_residual, rel=0.2)


def test_reported_digits_choose_no_weights():
    assert len(demo.REPORTED) == 30
    assert not set(demo.REPORTED) & set(demo.SELECTION)
    assert set(demo.REPORTED) | set(demo.SELECTION) == set(range(100))


def test_weights_are_complete():
    weights = demo.demo_weights()
    assert set(weights) == {str(n) for n in demo.NUM_ANGLES}
    for of_methods in weights.values():
        assert set(of_methods) == set(demo.METHODS)
        assert all(w > 0 for chosen in of_methods.values() for w in chosen.values())


def test_rows_respect_the_bounds():
    D, truth = demo.demo_problem(0, 5)
    for method, solve in demo.METHODS.items():
        (x,) = solve(D, [D.data], **demo.demo_weights()["5"][method])
        x = x.asarray()
        assert x.shape == truth.shape
        assert x.min() >= -1e-6, method
        assert x.max() <= 1 + 1e-6, method


def test_run_writes_summary_table_and_figure(tmp_path, capsys):
    summary = demo.run_demo(tmp_path, digits=[0, 1], num_angles=[5])
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert [row["method"] for row in summary] == list(demo.METHODS)
    for row in summary:
        assert set(row) == {"angles", "method", "psnr", "ssim", "seconds"}
        assert 5 < row["psnr"] < 50
        assert 0 < row["ssim"] <= 1
    assert (tmp_path / "reconstructions.png").stat().st_size > 10_000
    assert "soft + TV" in capsys.readouterr().out
    assert not list(tmp_path.glob(".*"))


def test_command(monkeypatch, tmp_path, capsys):
    called = []
    monkeypatch.setattr(demo, "run_demo", called.append)
    assert cli.main(["demo", "--output", str(tmp_path)]) == 0
    assert called == [str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    with pytest.raises(SystemExit, match="2"):
        cli.main(["unknown"])
    assert "demo" in capsys.readouterr().err
