"""Extension of griffe: what numpy docstrings write in reStructuredText becomes Markdown before the page is made.

References become paragraphs with their number, simple tables Markdown tables.
"""

import re
from typing import Any

from griffe import Extension, Object

_CHOICES = re.compile(r"^(?P<name>\S.*) : \{(?P<words>.*)\}", re.MULTILINE)
_REFERENCE = re.compile(r"^\.\. \[(?P<number>\d+)\] ", re.MULTILINE)
_CITATION = re.compile(r"\[(\d+)\]_")
_TABLE = re.compile(r"^(?P<rule>=+(?:  +=+)+)\n(?P<rows>(?:.+\n)+?)(?P=rule)$", re.MULTILINE)


class Numpydoc(Extension):
    """Rewrites every docstring once, when its object is loaded."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Docstring with its reStructuredText as Markdown."""
    text = _TABLE.sub(_table, text)
    text = _CHOICES.sub(r"\g<name> : one of \g<words>", text)  # griffe would read `log-log` as a subtraction
    text = _REFERENCE.sub(lambda m: f"\n[{m['number']}] ", text)
    return _CITATION.sub(r"[\1]", text)


def _table(match: re.Match[str]) -> str:
    """A Markdown table; lines whose first cell is blank go on in the row above."""
    second = re.search(r"=\s+=", match["rule"])
    cut = second.end() - 1 if second else 0
    rows: list[list[str]] = []
    for line in match["rows"].splitlines():
        first, rest = line[:cut].strip(), line[cut:].strip()
        if first or not rows:
            rows.append([first, rest])
        else:
            rows[-1][1] += f" {rest}"
    lines = [f"| {first} | {rest} |" for first, rest in rows]
    return "\n".join(["| name | what |", "|---|---|", *lines])
