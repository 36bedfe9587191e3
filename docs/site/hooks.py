"""Hooks of `mkdocs.yml`: pages that are files of the repository, and links that leave `docs`.

GitHub shows the same files, so links are written for the repository. On the site a link to another page of the site
leads there, and a link to any other file of the repository leads to the repository.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# page of the site -> file of the repository that is its text
INCLUDED = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
}
_LINK = re.compile(r"(?P<before>\]\()(?P<target>(?!https?:|mailto:|#)[^)#\s]+)(?P<anchor>#[^)\s]*)?(?P<after>\))")

_SCRIPT = re.compile(r"^<!-- script: (?P<name>[\w./-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Text of a page with its links turned."""
    path = page.file.src_path
    source = INCLUDED.get(path, f"docs/{path}")
    text = (ROOT / source).read_text(encoding="utf-8") if path in INCLUDED else markdown
    pages = {file.src_path for file in files}
    text = _SCRIPT.sub(lambda match: code_of(ROOT / posixpath.dirname(source) / match["name"]), text)
    return turned(text, source, path, pages, config.repo_url)


def code_of(path: Path) -> str:
    """A script as a block of code."""
    return f"```python\n{path.read_text(encoding='utf-8')}```"


def turned(text: str, source: str, page: str, pages: set[str], repository: str) -> str:
    """Text of the repository's file `source`, shown as `page`, with links that work on the site."""

    def one(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"]))
        return f"{match['before']}{address(target, page, pages, repository)}{match['anchor'] or ''}{match['after']}"

    return _LINK.sub(one, text)


def address(target: str, page: str, pages: set[str], repository: str) -> str:
    """Where a file of the repository is on the site, seen from a page; else in the repository."""
    included = {source: name for name, source in INCLUDED.items()}
    inside = included.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
    if inside in pages:
        return posixpath.relpath(inside, posixpath.dirname(page) or ".")
    kind = "tree" if (ROOT / target).is_dir() else "blob"
    return f"{repository}/{kind}/main/{target}"
