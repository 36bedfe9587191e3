"""`nnunet-ms-convert guess|manifest`: before a folder of an unknown layout is converted."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.commands import OK, parser, run
from nnunet_ms.dataset_conversion.source_options import add_patterns, patterns_in
from nnunet_ms.errors import ConversionError, visible

PROGRAM = "nnunet-ms-convert"


def main(argv: Sequence[str]) -> int:
    """Run one of the two; `argv` starts with its name."""
    name, *rest = argv
    arguments, action = {"guess": (guess_parser, print_guess), "manifest": (manifest_parser, write)}[name]
    return run(f"{PROGRAM} {name}", lambda: action(arguments().parse_args(rest)), only_prints=name == "guess")


def guess_parser() -> argparse.ArgumentParser:
    """Arguments of `guess`."""
    result = parser(
        f"{PROGRAM} guess",
        "Propose patterns for a folder of images, from their names and one file of each kind; say what is not sure.",
        f"{PROGRAM} guess scans -o patterns.toml\n  {PROGRAM} folder scans --patterns patterns.toml --dataset-id 801",
    )
    result.add_argument("source", type=Path, help="the folder; nothing in it is changed")
    result.add_argument("-o", "--out", type=Path, metavar="TOML", help="also write the patterns to this file")
    result.add_argument("--overwrite", action="store_true", help="replace the file")
    return result


def print_guess(args: argparse.Namespace) -> int:
    """Print the patterns and what is unsure; write them if asked."""
    from nnunet_ms.dataset_conversion.guessing import guess_source
    from nnunet_ms.outputs import whole_file

    if args.out is not None and args.out.exists() and not args.overwrite:
        raise ConversionError(f"{args.out}: exists already. Choose another name, or --overwrite it.")
    found = guess_source(args.source)
    print(found.toml(), end="")
    for path in found.unused[:10]:
        print(f"# not used: {visible(path)}")
    if len(found.unused) > 10:
        print(f"# not used: {len(found.unused) - 10} more images")
    if args.out is None:
        print(f"# write it with -o patterns.toml, correct it, then: {PROGRAM} folder {args.source} --patterns FILE ...")
        return OK
    with whole_file(args.out) as partial:
        partial.write_text(found.toml(), encoding="utf-8")
    print(f"# wrote {args.out}; then: {PROGRAM} folder {args.source} --patterns {args.out} --dataset-id N")
    return OK


def manifest_parser() -> argparse.ArgumentParser:
    """Arguments of `manifest`."""
    result = parser(
        f"{PROGRAM} manifest",
        "Write the manifest of a folder of images, one row per visit, to be corrected and read as a trial.",
        f"{PROGRAM} manifest scans -o manifest.csv\n  {PROGRAM} trial manifest.csv --dataset-id 801",
    )
    result.add_argument("source", type=Path, help="the folder; nothing in it is changed")
    result.add_argument("-o", "--out", type=Path, required=True, metavar="CSV", help="the table, above the images")
    result.add_argument("--overwrite", action="store_true", help="replace the table")
    add_patterns(result)
    return result


def write(args: argparse.Namespace) -> int:
    """Write the manifest; print what is unsure."""
    from nnunet_ms.dataset_conversion.guessing import write_manifest

    for text in write_manifest(args.source, args.out, patterns_in(args), overwrite=args.overwrite):
        print(f"unsure: {visible(text)}", file=sys.stderr)
    print(f"wrote {args.out}")
    return OK
