# SPDX-License-Identifier: MPL-2.0
"""Imports run one way, and modules hold one idea."""

import ast
import graphlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "odl_genreg"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 250

# Units (modules and subpackages) from top to bottom: a unit imports from its own layer
# and from those below, never from one above, and there are no cycles.
LAYERS = (
    {"reconstruction"},
    {
        "arguments",
        "convex_terms",
        "progress",
        "result",
        "single_strategies",
        "solution",
        "solver_choice",
        "strategies",
        "transform_strategy",
        "variational_problem",
    },
    {"generative_regularizer", "projection", "regularizer", "regularizer_operators"},
    {
        "deviation",
        "gaussian_noise",
        "image_elimination",
        "image_quadratic",
        "joint_functional",
        "latent_objective",
        "solvers",
        "structured_gaussian",
    },
    {
        "data_fidelity",
        "forward_operators",
        "generator",
        "half_precision",
        "latent_prior",
        "poisson_noise",
    },
    {"precision_factor", "torch_bridge"},
)
CORE = set.union(*LAYERS)
TORCH_ONLY = {"datasets", "networks", "precision_factor", "training"}
SIDE = {
    "checkpoint": {"checkpoint_files", "generator", "networks", "torch_bridge"},
    "checkpoint_files": set(),
    "demo_figure": {"evaluation"},
    "demo_table": set(),
    "evaluation": {
        "data_fidelity",
        "forward_operators",
        "gaussian_noise",
        "generator",
        "image_elimination",
        "reconstruction",
        "regularizer",
        "torch_bridge",
    },
    "odl_repairs": set(),
    "datasets": set(),
    "generator_training": {
        "checkpoint",
        "datasets",
        "evaluation",
        "generator",
        "training",
    },
    "report": {
        "evaluation",
        "gaussian_noise",
        "generator",
        "projection",
        "reconstruction",
        "regularizer",
        "torch_bridge",
    },
    "networks": {"precision_factor"},
    "training": {"datasets", "networks"},
    "training_figure": {"generator", "projection", "report"},
    "weight_import": set(),
    "weight_choice": {
        "data_fidelity",
        "evaluation",
        "gaussian_noise",
        "generative_regularizer",
        "projection",
        "reconstruction",
        "torch_bridge",
    },
}
TOP = {"__init__", "__main__", "cli", "demo"}  # they may import everything


def unit_of(path):
    """Name of the module or subpackage of the first level that holds a file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


UNITS = {unit_of(path) for path in MODULES}


def allowed(unit):
    """Units that a unit may import."""
    if unit in TOP:
        return UNITS
    if unit in SIDE:
        return SIDE[unit] | {unit}
    level = next(i for i, layer in enumerate(LAYERS) if unit in layer)
    return set.union(*LAYERS[level:])


def imports(path):
    """Absolute dotted names that a file imports, those inside functions included."""
    package = ["odl_genreg", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def units_imported(path):
    """Units of the package that a file imports; ``__version__`` is free to all."""
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "odl_genreg" and rest != "__version__":
            unit = rest.partition(".")[0]
            yield unit if unit in UNITS else "__init__"


def relative(path):
    return str(path.relative_to(PACKAGE))


each_module = pytest.mark.parametrize("path", MODULES, ids=relative)


def test_every_unit_has_its_place():
    assert CORE | set(SIDE) >= UNITS - TOP


@each_module
def test_imports_run_one_way(path):
    assert set(units_imported(path)) <= allowed(unit_of(path))


def test_imports_have_no_cycle():
    graph = {unit: set() for unit in UNITS}
    for path in MODULES:
        unit = unit_of(path)
        graph[unit] |= set(units_imported(path)) - {unit}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@each_module
def test_networks_know_nothing_of_odl(path):
    external = {name.partition(".")[0] for name in imports(path)}
    assert "odl" not in external or unit_of(path) not in TORCH_ONLY


@each_module
def test_module_is_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@each_module
def test_module_lists_its_names(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    targets = (
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    )
    private = path.name.startswith("_") and path.name != "__init__.py"
    assert private or "__all__" in targets


@each_module
def test_licence_header(path):
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == "# SPDX-License-Identifier: MPL-2.0"


def test_import_adds_no_plotting():
    assert importlib.util.find_spec("matplotlib"), "the test extra brings matplotlib"
    code = (
        "import json, sys, odl, torch; before = set(sys.modules); import odl_genreg; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    added = json.loads(process.stdout)
    assert "odl_genreg" in added
    roots = {name.partition(".")[0] for name in added}
    assert roots.isdisjoint({"matplotlib", "skimage"})
