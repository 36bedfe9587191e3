"""The arrows of the house, asserted from the syntax trees: rooms never import each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "nnunet_ms"
CORRIDOR = {"plotting", "statistics", "lesions", "commands", "errors", "images", "outputs", "parallel", "tables"}
ROOMS = {"analysis", "classification", "dataset_conversion", "simulation", "trainers"}
# pure mathematics and pure torch: callable with two small tensors, without nnU-Net and without files
PURE = ["trainers/networks/*.py", "trainers/losses.py"]
# what may be imported below the top of the file only, because `--help` must answer at once
HEAVY = {"cc3d", "lifelines", "matplotlib", "nibabel", "nilearn", "nnunetv2", "numpy", "pandas", "scipy", "statsmodels"}
HEAVY |= {"torch", "SimpleITK"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path, *, top_level_only=False):
    """Names of all modules that a file imports, except for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; imports are written in full"
            yield node.module


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def ours(path):
    return {name.split(".")[1] for name in imports(path) if name.startswith("nnunet_ms.")}


def label(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) in ROOMS], ids=label)
def test_rooms_import_the_corridor_and_themselves_only(path):
    assert ours(path) <= CORRIDOR | {room_of(path)}


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) in CORRIDOR], ids=label)
def test_the_corridor_imports_no_room(path):
    assert ours(path) <= CORRIDOR


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room_of(p) == "doors" and p.stem not in {"__init__"}], ids=label
)
def test_doors_lead_to_the_trainers_only(path):
    assert ours(path) <= {"trainers"}


def test_the_demo_knows_the_rooms_by_their_commands_only():
    assert ours(PACKAGE / "demo.py") <= CORRIDOR


@pytest.mark.parametrize("path", [p for pattern in PURE for p in sorted(PACKAGE.glob(pattern))], ids=label)
def test_networks_and_losses_are_pure_torch(path):
    names = set(imports(path))
    assert {name.split(".")[0] for name in names} <= {
        "collections",
        "contextlib",
        "dataclasses",
        "typing",
        "torch",
        "nnunet_ms",
    }
    assert all(name.startswith("nnunet_ms.trainers.networks") for name in names if name.startswith("nnunet_ms"))


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=label)
def test_init_files_import_nothing(path):
    assert list(imports(path)) == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.name.endswith("cli.py") or p.name == "demo.py"], ids=label)
def test_commands_parse_first_and_import_after(path):
    seen, queue = set(), [path]
    while queue:  # everything that importing the command imports
        here = queue.pop()
        for name in imports(here, top_level_only=True):
            top = name.split(".")[0]
            assert top not in HEAVY, f"{here} imports {name} at the top"
            target = PACKAGE.parent / (name.replace(".", "/") + ".py")
            if top == "nnunet_ms" and target not in seen and target.is_file():
                seen.add(target)
                queue.append(target)


def test_no_module_called_utils_and_no_long_one():
    assert [p for p in MODULES if p.stem in {"utils", "helpers", "misc"}] == []
    assert {label(p): n for p in MODULES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500} == {}


def test_tests_mirror_the_package():
    tested = {p.stem.removeprefix("test_") for p in PACKAGE.parent.joinpath("tests").rglob("test_*.py")}
    public = {
        p.stem for p in MODULES if p.parent.parent == PACKAGE and p.stem != "__init__" and room_of(p) == "trainers"
    }
    assert public <= tested
