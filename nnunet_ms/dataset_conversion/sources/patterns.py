"""Patterns: globs with named parts that say which file of a folder is which sequence of which patient and visit.

``flair={patient}/{visit}/*FLAIR*.nii.gz``: `*` and `?` stay within a name, `**` crosses folders, ``{patient}``,
``{visit}``, ``{week}`` and ``{site}`` are parts of names, and a part that stands twice is the same both times. A part
may have a glob of its own, ``{patient:P-??}``. Upper and lower case are one.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunet_ms.errors import ConversionError

BRAIN = "brain_mask"
PARTS = ("patient", "visit", "week", "site")
Patterns = Mapping[str, tuple[str, ...]]  # channel, mask or brain_mask -> patterns, in order of preference
Words = Mapping[str, str | Sequence[str]] | Iterable[str] | str | Path | None  # patterns as a user gives them
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|\{([a-z]+)(?::([^{}]+))?\}|.", re.DOTALL)
_GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_NUMBER = r"\d+(?:\.\d+)?"


def expression(pattern: str, name: str = "pattern") -> str:
    """Regular expression of a pattern, for a whole path below the source; a week is a visit called by its number.

    Raises
    ------
    ConversionError
        If it has no ``{patient}``, a part that is none of those above, or both ``{visit}`` and ``{week}``; the message
        begins with `name`.

    Examples
    --------
    >>> match = re.fullmatch(expression("{patient}/{patient}_w{week}_*FLAIR*.nii.gz"), "P1/P1_w24_3d_FLAIR.nii.gz")
    >>> match.groupdict()
    {'patient': 'P1', 'visit': '24'}
    """
    parts = [found[1] for found in _TOKEN.finditer(pattern) if found[1]]
    strange = [part for part in parts if part not in PARTS]
    if strange or "patient" not in parts or {"visit", "week"} <= set(parts):
        raise ConversionError(
            f"{name}: expected {{patient}}, and {{visit}} or {{week}} and {{site}} where there are such, found "
            f"{pattern!r}. Write for instance '{{patient}}/{{visit}}/*FLAIR*.nii.gz'."
        )
    seen: set[str] = set()
    return "".join(_piece(found, seen) for found in _TOKEN.finditer(pattern))


def _piece(found: re.Match[str], seen: set[str]) -> str:
    text, part, glob = found[0], found[1], found[2]
    if part:
        group = "visit" if part == "week" else part
        inner = _NUMBER if part == "week" else "[^/]+?"
        inner = "".join(_glob(piece[0]) for piece in _TOKEN.finditer(glob)) if glob else inner
        first = group not in seen
        seen.add(group)
        return f"(?P<{group}>{inner})" if first else f"(?P={group})"
    return _glob(text)


def _glob(text: str) -> str:
    """Regular expression of one piece of a glob: a wildcard, a set such as [A-C] or [!_], or a letter."""
    if text.startswith("[") and len(text) > 1:
        inverse = text[1] == "!"
        inside = re.sub(r"([\[\]\\^&~|])", r"\\\1", text[1 + inverse : -1])
        return f"[{'^/' if inverse else ''}{inside}]"
    return _GLOB.get(text, re.escape(text))


def has_weeks(patterns: Patterns) -> bool:
    """Whether visits are called by their weeks.

    Examples
    --------
    >>> has_weeks({"flair": ("{patient}/w{week}/FLAIR.nii.gz",)}), has_weeks({"flair": ("{patient}/FLAIR.nii.gz",)})
    (True, False)
    """
    return any("{week" in pattern for several in patterns.values() for pattern in several)


def patterns_of(words: Words) -> dict[str, tuple[str, ...]]:
    r"""Patterns from a mapping, from texts ``name=pattern``, or from a TOML file with a table ``[patterns]``.

    Raises
    ------
    ConversionError
        If a text or a file is not of that form, or as `expression`.

    Examples
    --------
    >>> patterns_of(["flair={patient}/FLAIR.nii.gz", "t1={patient}/T1.nii.gz", "t1={patient}/MPRAGE.nii.gz"])
    {'flair': ('{patient}/FLAIR.nii.gz',), 't1': ('{patient}/T1.nii.gz', '{patient}/MPRAGE.nii.gz')}
    >>> _ = Path("patterns.toml").write_text('[patterns]\nflair = "{patient}/FLAIR.nii.gz"\n')
    >>> patterns_of("patterns.toml")
    {'flair': ('{patient}/FLAIR.nii.gz',)}
    """
    if words is None:
        return {}
    if isinstance(words, str | Path):
        table = _read_file(Path(words))
    elif isinstance(words, Mapping):
        table = {name: [several] if isinstance(several, str) else list(several) for name, several in words.items()}
    else:
        table = _from_texts(words)
    for name, several in table.items():
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise ConversionError(
                f"--pattern {name}=...: expected a name of small letters, digits and underscore, such as flair. "
                "Rename it."
            )
        for pattern in several:
            expression(pattern, f"--pattern {name}={pattern}")
    return {name: tuple(several) for name, several in table.items()}


def _from_texts(words: Iterable[str]) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for text in words:
        name, equals, pattern = text.partition("=")
        if not equals or not pattern:
            raise ConversionError(
                f"--pattern {text}: expected name=pattern, such as 'flair={{patient}}/*FLAIR*.nii.gz'. Correct it."
            )
        table.setdefault(name.strip(), []).append(pattern.strip())
    return table


def _read_file(path: Path) -> dict[str, list[str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConversionError(f"--patterns {path}: no such file. Check the path and the spelling.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConversionError(f"--patterns {path}: expected TOML in UTF-8, found {error}. Correct it.") from error
    table = content.get("patterns")
    good = isinstance(table, dict) and table and all(_is_names(several) for several in table.values())
    if not good or set(content) != {"patterns"}:
        raise ConversionError(
            f'--patterns {path}: expected one table [patterns] with lines like flair = "{{patient}}/FLAIR.nii.gz" '
            f"(or a list of such), found {sorted(content)}. nnunet-ms-convert guess SOURCE -o FILE writes one."
        )
    return {name: [several] if isinstance(several, str) else several for name, several in content["patterns"].items()}


def _is_names(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def as_toml(patterns: Patterns, comment: Sequence[str] = ()) -> str:
    """Text of a TOML file of patterns.

    Examples
    --------
    >>> print(as_toml({"flair": ("{patient}/FLAIR.nii.gz",)}, ["of study"]), end="")
    # of study
    [patterns]
    flair = ["{patient}/FLAIR.nii.gz"]
    """
    lines = [*(f"# {line}" for line in comment), "[patterns]"]
    lines += [f"{name} = [{', '.join(map(_quoted, several))}]" for name, several in patterns.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
