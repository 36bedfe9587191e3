"""Pages of the documentation: links, navigation, rules with their tests, examples, the drawing of the house."""

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
API = re.compile(r"^::: nnunet_ms\.(\S+)\n(?:    options:\n      members: \[([^\]]*)\]\n)?", re.MULTILINE)


def label(path):
    return str(path.relative_to(ROOT))


@cache
def script(name):
    """A script of `docs` as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith(("https://", "mailto:")):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}, target


def nav(entry):
    """Pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [page for part in inner for page in nav(part)]


def test_every_page_is_in_the_navigation_once():
    pages = nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(pages) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_the_site_asks_nobody_else_for_anything():
    theme = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["theme"]
    assert theme["font"] is False
    for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"!\[[^\]]*\]\(https?:|<script|<img[^>]+https?:|@import|url\(https?:", text), path


def test_the_drawing_is_the_floor_table():
    assert (DOCS / "house.svg").read_text(encoding="utf-8") == script("draw_house").picture(), "docs/draw_house.py"


def test_the_drawing_holds_every_part_and_every_direct_use():
    # Oracle: a house of five parts, drawn on paper: c uses b and a, b uses a; so c's arrow goes to b only
    draw = script("draw_house")
    table = {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert draw.levels(table) == {"a": 0, "b": 1, "c": 2}
    assert draw.direct(table, "c") == {"b"}
    drawn = draw.house(table, {"room": {"x": set(), "y": {"x"}}}, {"door": {"room"}})
    assert re.findall(r'text-anchor="middle">([^<]+)<', drawn) == ["door: room", "x", "y", "a", "b", "c"]
    assert drawn.count('class="arrow"') == 3


@pytest.mark.parametrize("name", ["multi_arm_t2", "joint_t1"])
def test_the_drawing_of_a_network_is_the_network(name):
    drawn = script("draw_networks").picture(name)
    assert (DOCS / f"{name}.svg").read_text(encoding="utf-8") == drawn, "python docs/draw_networks.py"
    # Oracle: counted by hand from the description of the network in docs/{name}.md, and its number of parameters there
    boxes, arrows, parameters = {"multi_arm_t2": (25, 54, "5,932,243"), "joint_t1": (45, 66, "6,144,630")}[name]
    assert (drawn.count("<rect") - 1, drawn.count('class="arrow"')) == (boxes, arrows)
    assert f"{parameters} parameters" in drawn
    assert parameters in (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert f"{name}.svg" in (DOCS / f"{name}.md").read_text(encoding="utf-8")


class Wired(torch.nn.Module):
    """A network of five boxes: b from a; c from a and b; d gives two maps, one of them c's as it is; e from all."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.e = (torch.nn.Conv3d(1, 1, 1) for _ in range(4))
        self.d = Handing()

    def forward(self, x):
        a = self.a(x)
        b = self.b(torch.relu(a)[..., 1:])
        c = self.c(torch.cat((a, b), dim=-1).mul_(2))
        return self.e(sum(part.mean() for part in self.d([c, b])).view(1, 1, 1, 1, 1) + 0 * a)


class Handing(torch.nn.Module):
    def forward(self, features):
        return [features[0], features[1] + 1]


def test_arrows_come_from_where_the_numbers_come_from():
    # Oracle: the network above, wired by hand.
    traced = script("draw_networks").trace(Wired(), lambda name, _: bool(name), torch.zeros(1, 1, 2, 3, 4))
    assert {name: set(sources) for name, sources in traced.sources.items()} == {
        "a": {"input"},
        "b": {"a"},
        "c": {"a", "b"},
        "d.1": {"b"},
        "e": {"a", "c", "d.1"},
    }
    assert traced.shapes["c"] == (1, 2, 3, 7)


def functions_in(path):
    return {n.name for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.FunctionDef)}


def test_every_rule_of_the_page_is_a_test_and_the_reverse():
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "architecture.md").read_text(encoding="utf-8")))
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in functions_in(path)}
    assert named <= there
    assert {n for n in functions_in(ROOT / "tests" / "test_architecture.py") if n.startswith("test_")} <= named


def public_functions():
    """Functions that the API pages show: module and node."""
    for page in sorted((DOCS / "api").glob("*.md")):
        for module, listed in API.findall(page.read_text(encoding="utf-8")):
            path = ROOT / "nnunet_ms" / f"{module.replace('.', '/')}.py"
            nodes = ast.parse(path.read_text(encoding="utf-8")).body
            members = [name.strip() for name in listed.split(",") if name.strip()]
            defined = {getattr(node, "name", "") for node in nodes}
            assert set(members) <= defined, (page.name, module, set(members) - defined)
            for node in nodes:
                shown = not members or getattr(node, "name", "") in members
                if isinstance(node, ast.FunctionDef) and shown and not node.name.startswith("_"):
                    yield f"{module}.{node.name}", node


def test_every_public_function_has_an_example():
    without = {name for name, node in public_functions() if ">>>" not in (ast.get_docstring(node) or "")}
    assert without == set()


def test_every_name_of_the_front_door_is_on_its_page_and_has_an_example():
    import nnunet_ms

    page = (DOCS / "api" / "front_door.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `ms\.(\w+)` \|", page, re.MULTILINE)) == set(nnunet_ms.__all__)
    shown = {name.split(".")[-1] for name, node in public_functions() if ">>>" in (ast.get_docstring(node) or "")}
    functions = {name for name in nnunet_ms.__all__ if callable(getattr(nnunet_ms, name)) and name[0].islower()}
    assert functions - {"statistics"} <= shown


def test_a_function_is_on_one_page_only():
    names = [name for name, _ in public_functions()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=label)
def test_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:nnunet_ms|tests|benchmarks|docs|startup)/[\w./-]*\w)`", text):
        assert (ROOT / name).exists(), name
