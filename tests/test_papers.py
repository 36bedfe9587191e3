"""`docs/papers.md`: what it names is there, and what it calls missing is said to be missing."""

import ast
import contextlib
import io
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
STEMS = ("multi_arm_t2", "joint_t1", "new_lesions", "rim", "stratification")
NOTHING = "–"
TICKED = re.compile(r"`([^`]+)`")


def sections():
    """Rows of each paper, by the stem in the heading."""
    found = {}
    for part in PAGE.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
        found[part.split(":")[0]] = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return found


ROWS = [(stem, *row) for stem, rows in sections().items() for row in rows]
COMMANDS = sorted({command for row in ROWS for command in TICKED.findall(f"{row[3]} {row[4]}") if " " in command})
FILES = sorted({file for row in ROWS for file in TICKED.findall(row[2])})
WRITTEN = sorted({name for row in ROWS for name in TICKED.findall(row[4]) if " " not in name})


@cache
def written_texts():
    """Texts of the package, and patterns: f"{outcome}_cox" stands for any outcome's."""
    texts, patterns = set(), set()
    for path in (ROOT / "nnunet_ms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                fixed = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                if re.search("[a-z]{2}", re.sub(r"\.\w+$", "", "".join(filter(None, fixed)))):  # not f"{a}_{b}.csv"
                    patterns.add("".join(".+" if text is None else re.escape(text) for text in fixed))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts, re.compile("|".join(sorted(patterns)))


@cache
def exported_classes():
    """Names that nnU-Net finds: of trainers and planners."""
    texts = [
        (ROOT / "nnunet_ms" / "doors" / f"{name}.py").read_text(encoding="utf-8") for name in ("trainers", "planners")
    ]
    trees = [ast.parse(text) for text in texts]
    return {
        alias.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def help_of(program, words):
    """What a command of ours says about itself."""
    module, function = SCRIPTS[program].split(":")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
        getattr(import_module(module), function)([*words, "--help"])
    assert ended.value.code == 0, said.getvalue()
    return said.getvalue()


def knows(command):
    """Whether the first word is a command, and it takes all options; None where it does."""
    program, *words = command.split()
    options = [word for word in words if word.startswith("-")]
    if program in SCRIPTS:
        said = set(re.split(r"[\s,\[\]=|]+", help_of(program, [word for word in words if word not in options])))
        return [option for option in options if option not in said]
    if program == "python":
        text = (ROOT / words[0]).read_text(encoding="utf-8")
        return [option for option in options if f'"{option}"' not in text]
    if program.startswith("nnUNetv2_"):
        return [name for name in words if name.startswith("nnUNet") and name not in exported_classes()]
    return [program]


def test_the_page_has_every_paper_and_whole_rows():
    assert tuple(sections()) == STEMS
    assert all(len(row) == 5 for row in ROWS), [row for row in ROWS if len(row) != 5]
    items = [row[:2] for row in ROWS]
    assert len(set(items)) == len(items)
    assert min(len(rows) for rows in sections().values()) >= 5


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_there(file):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_knows_what_the_page_asks_of_it(command):
    assert knows(command) == []


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_command_writes_is_named_in_the_package(name):
    texts, patterns = written_texts()
    assert name in SCRIPTS or {name, name.removesuffix(".csv")} & texts or patterns.fullmatch(name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}"[:60])
def test_a_row_has_its_file_or_says_why_not(row):
    _, _, file, command, words = row
    missing = words.startswith(("not yet", "not here: "))
    assert missing == (file == NOTHING)
    assert not (missing and command != NOTHING)
    assert missing or TICKED.search(file)


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        ("nnunet-ms-evaluate --raters --ratters", ["--ratters"]),
        ("nnunet-ms-endpoints compare --pol", ["--pol"]),
        ("nnunet-ms-endpoint run", ["nnunet-ms-endpoint"]),
        ("python benchmarks/load.py --loud", ["--loud"]),
        ("nnUNetv2_train -tr nnUNetTrainerMSThreeArms", ["nnUNetTrainerMSThreeArms"]),
    ],
)
def test_a_command_that_is_not_there_would_be_seen(command, unknown):
    assert knows(command) == unknown


@pytest.mark.parametrize(
    "command", ["nnunet-ms-endpoints contrast", "nnunet-ms-convert trail --n4", "nnunet-ms-simulate scan"]
)
def test_a_part_of_a_command_that_is_not_there_would_be_seen(command):
    with pytest.raises(AssertionError, match="invalid choice"):
        knows(command)


def test_published_tables_that_the_page_numbers_are_those_of_the_facts(shared):
    # Oracle: the list of published test sets; each is a row or a column of what the page names.
    text = (shared / "papers.md").read_text(encoding="utf-8")
    assert [stem for stem in STEMS if f"| `{stem}` |" in text] == list(STEMS)
    for number in (
        "Table 1",
        "Table 2",
        "Table 3",
        "Table 4",
        "Figure 1",
        "Figure 3a",
        "Supplement S1",
        "Equations 1, 2",
    ):
        assert any(row[1].startswith(number) for row in ROWS if row[0] == "multi_arm_t2"), number
