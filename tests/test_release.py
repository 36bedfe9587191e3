"""What a release is made of: one version, an archive with what its README uses, files that its machines read."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(
        r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
    )
    assert released[0] == (PROJECT["version"], str(citation["date-released"]))
    assert citation["version"] == PROJECT["version"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Names in the source archive, without its top folder."""
    out = tmp_path_factory.mktemp("sdist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.tar.gz")
    with tarfile.open(path) as tar:
        return {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}


def mentioned():
    """Files of the repository that README, Makefile and Containerfile name."""
    words = set(re.findall(r"\]\(([^)#:]+)\)", README)) | set(re.findall(r"`([\w./-]+\.(?:md|py|txt))`", README))
    for name in ("Makefile", "Containerfile", ".ci/run"):
        words |= set(re.findall(r"[\w./-]+", (ROOT / name).read_text(encoding="utf-8")))
    return {word for word in words if (ROOT / word).is_file() and not word.startswith("/")}


def test_the_source_archive_holds_what_its_readme_and_makefile_use(archive):
    assert {"constraints.txt", "pyproject.toml", "CONTRIBUTING.md", "docs/way.svg"} <= mentioned()
    assert mentioned() - archive == set()
    always = {"Makefile", "mkdocs.yml", "conftest.py", "Containerfile", ".containerignore", ".ci/run", "LICENSE"}
    assert always - archive == set()


def test_the_source_archive_holds_every_file_of_the_repository(archive):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:  # not where the archive itself is tested
        assert {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()} - archive == set()


def test_every_extra_is_imported_by_the_package_or_is_a_tool():
    tools = {"dev", "docs"}
    used = set()
    for path in (ROOT / "nnunet_ms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add(node.module.split(".")[0])
    for extra in set(PROJECT["optional-dependencies"]) - tools:
        lines = PROJECT["optional-dependencies"][extra]
        names = [re.split(r"[><=\[]", line)[0].lower().replace("-", "_") for line in lines]
        assert used & set(names), extra


def test_dev_installs_every_other_extra_and_all_is_pinned():
    extras = PROJECT["optional-dependencies"]
    others = {line for name, lines in extras.items() if name != "dev" for line in lines}
    assert others <= set(extras["dev"])
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    plain = {name.lower().replace("_", "-") for name in pinned}
    wanted = {re.split(r"[><=\[]", line)[0].lower() for line in [*PROJECT["dependencies"], *extras["dev"]]}
    assert wanted - plain == set()
    assert len(pinned) == len(plain)


@pytest.mark.parametrize("path", [*WORKFLOWS, *TEMPLATES], ids=lambda path: path.name)
def test_files_for_the_forge_are_read_and_name_what_is_there(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content
    for script in re.findall(r"nnunet-ms-[a-z-]+", path.read_text(encoding="utf-8")):
        assert script in PROJECT["scripts"], script
    for target in re.findall(r"make (\w+)", path.read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target


@pytest.mark.parametrize("path", [p for p in TEMPLATES if p.stem != "config"], ids=lambda path: path.name)
def test_issue_forms_have_what_the_forge_asks_for(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_container_is_built_from_wheels_alone_and_runs_as_a_user():
    lines = [x for x in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines() if not x.startswith("#")]
    text = "\n".join(lines)
    assert re.search(r"pip install .*--no-index --find-links /wheelhouse", text)
    assert not re.search(r"apt|curl|wget|https?:|--index-url|ADD ", text)
    assert lines.index("USER ms") < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
    assert 'ENTRYPOINT ["python", "-m", "nnunet_ms"]' in lines


def test_the_changelog_says_where_each_module_is_now():
    table = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("### Moved modules")[1].split("\n### ")[0]
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:3] == "| `"
    ]
    assert len(rows) > 15
    for _, room, names in rows:
        if "one module per" in names:
            continue
        for name in re.sub(r"\([^)]*\)", "", names).split(","):
            module = name.split("→")[-1].strip()
            assert (ROOT / "nnunet_ms" / room.replace(".", "/") / f"{module}.py").is_file(), (room, module)
