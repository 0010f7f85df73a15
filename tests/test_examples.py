# SPDX-License-Identifier: MPL-2.0
"""The examples are short, alike, and run."""

import ast
import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
# They take arguments and long.
TOOLS = {
    "compare_generators",
    "compare_weight_choices",
    "latent_dimensions",
    "select_demo_weights",
    "structured_covariance",
    "train_mnist_vae",
}
# Run in `test_cuda_backend`, by an emulation.
ON_GPU = {"volume_cone_beam"}
SCRIPTS = sorted(p for p in EXAMPLES.glob("*.py") if p.stem not in TOOLS | ON_GPU)

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def test_there_are_examples():
    assert len(SCRIPTS) >= 6


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem
)
def test_example_is_short_and_indexed(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# SPDX-License-Identifier: MPL-2.0"
    assert len(lines) <= 100
    assert path.name in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@each_script
def test_docstring_states_the_problem(path):
    paragraphs = ast.get_docstring(ast.parse(path.read_text("utf-8"))).split("\n\n")
    assert paragraphs[0].endswith(".")
    assert "\n" not in paragraphs[0]
    assert paragraphs[1] == "Solves the optimization problem"
    assert paragraphs[2].strip().startswith("min_")


def test_generative_term_takes_the_place_of_tv_in_few_lines():
    def code(name):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        return text.partition("import os")[2].splitlines()

    pair = code("tomography_tv_pdhg.py"), code("tomography_soft_pdhg.py")
    changed = [line for line in difflib.ndiff(*pair) if line.startswith("- ")]
    assert "- g = odl.functionals.SeparableSum(data_term, lam * TV)" in changed
    assert len(changed) <= 10


@pytest.mark.slow
@each_script
def test_example_runs(path, tmp_path):
    environment = os.environ | {
        "GENREG_QUICK": "1",
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        ),
    }
    process = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "dB" in process.stdout
    figure = tmp_path / f"{path.stem}.png"
    assert figure.read_bytes().startswith(b"\x89PNG")
    # they leave nothing else, but for the checkpoint of `own_network`
    allowed = {f"{path.stem}{end}" for end in (".png", ".json", ".safetensors")}
    assert {file.name for file in tmp_path.iterdir()} <= allowed
