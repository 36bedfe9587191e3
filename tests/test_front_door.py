"""`import nnunet_ms`: it costs nothing, and its names are the functions that they say."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nnunet_ms as ms
from nnunet_ms import nnunet

HEAVY = ("numpy", "pandas", "torch", "nibabel", "matplotlib", "scipy", "typing", "importlib.metadata", "pathlib")


def fresh(code):
    """What another interpreter prints, started without any of the packages that this one has loaded."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_but_it():
    plain, ours = (set(fresh(f"import sys{more}; print(*sys.modules)").split()) for more in ("", ", nnunet_ms"))
    assert ours - plain == {"nnunet_ms"}
    assert not ours - plain & set(HEAVY)


def test_using_one_name_imports_its_room_alone():
    loaded = fresh("import sys, nnunet_ms as ms; ms.simulate; print(*sys.modules)").split()
    assert "nnunet_ms.simulation.simulate" in loaded
    assert not [name for name in loaded if name.startswith(("nnunet_ms.analysis", "nnunet_ms.trainers", "torch"))]


@pytest.mark.parametrize("name", [name for name in ms.__all__ if name not in ("__version__", "statistics")])
def test_a_name_is_the_function_of_its_module(name):
    place = import_module(ms._PLACES[name])
    assert getattr(ms, name) is getattr(place, name)
    assert getattr(ms, name).__module__ == ms._PLACES[name]
    assert name in dir(ms)


def seen_by_checkers(path):
    """Names that a file imports under `if TYPE_CHECKING`, with their modules."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname: node.module for node in imports for alias in node.names}


@pytest.mark.parametrize("name", ["predict", "open_model"])
def test_without_nnunet_a_name_that_needs_it_says_so(monkeypatch, name):
    monkeypatch.setattr(nnunet, "version", lambda _: "1.7.1")
    monkeypatch.delitem(vars(ms), name, raising=False)
    with pytest.raises(ms.NnunetMsError, match=r"nnU-Net: expected nnunetv2 >= 2\.8, < 3, found 1\.7\.1\. Install it"):
        getattr(ms, name)


def test_type_checkers_see_the_same_names_from_the_same_places():
    seen = seen_by_checkers(ms.__file__)
    assert seen == {**ms._PLACES, "statistics": "nnunet_ms"}
    assert sorted({*seen, "__version__"}) == sorted(ms.__all__)
    frames = seen_by_checkers(ms.statistics.__file__)
    assert frames == dict.fromkeys(ms.statistics._FRAMES, "nnunet_ms.statistics.frames")


def test_star_import_gives_the_public_names():
    assert fresh("from nnunet_ms import *; print(run_trial.__name__, statistics.__name__)") == (
        "run_trial nnunet_ms.statistics"
    )


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="module 'nnunet_ms' has no attribute 'evalute'") as raised:
        _ = ms.evalute
    assert (raised.value.name, raised.value.obj) == (
        "evalute",
        ms,
    )  # from which Python says "Did you mean: 'evaluate'?"


def test_the_statistics_room_keeps_its_modules():
    from nnunet_ms.statistics import ancova

    assert ms.statistics is import_module("nnunet_ms.statistics")
    assert ancova.__name__ == "nnunet_ms.statistics.ancova"
