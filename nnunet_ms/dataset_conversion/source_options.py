"""Options of `nnunet-ms-convert` that say where files lie: patterns of their names, and further sources."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ms.errors import ConversionError

MORE_OPTIONS = ("rater", "variant", "prefer", "patterns")  # of further sources


def add_patterns(result: argparse.ArgumentParser) -> None:
    """Add the options that say which file is which, for `folder` and `manifest`."""
    result.add_argument(
        "--pattern",
        action="append",
        default=[],
        metavar="NAME=GLOB",
        help="folder: 'flair={patient}/{visit}/*FLAIR*.nii.gz', 't2_lesions=...', 'brain_mask=...'; {week} for {visit} "
        "where visits are called by weeks; several of one name in order of preference",
    )
    result.add_argument("--patterns", type=Path, metavar="TOML", help="folder: a file of patterns, as guess writes it")


def patterns_in(args: argparse.Namespace) -> list[str] | Path | None:
    """What the two options say; ConversionError if both are given."""
    if args.pattern and args.patterns:
        raise ConversionError("--pattern and --patterns: expected one of them, found both. Leave one out.")
    return args.patterns or args.pattern or None


def more_sources(pairs: Sequence[Sequence[str]]) -> list[tuple[str, Path, dict[str, Any]]]:
    """Further sources from pairs of texts: `kind,option=value,...` and a path.

    Examples
    --------
    >>> more_sources([["open_ms,variant=raw", "open_ms_data"]])
    [('open_ms', PosixPath('open_ms_data'), {'variant': 'raw'})]
    """
    found = []
    for words, path in pairs:
        kind, *options = words.split(",")
        chosen = dict(option.partition("=")[::2] for option in options)
        if strange := [name for name, value in chosen.items() if name not in MORE_OPTIONS or not value]:
            raise ConversionError(
                f"--also {words}: expected KIND, or KIND,variant=NAME and such with {', '.join(MORE_OPTIONS)}, found "
                f"{strange[0]!r}. Correct it."
            )
        found.append((kind, Path(path), chosen))
    return found
