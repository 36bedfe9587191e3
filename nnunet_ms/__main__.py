"""`python -m nnunet_ms` lists the commands and runs them: its `convert ...` is `nnunet-ms-convert ...`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from nnunet_ms import commands

PROGRAM = "python -m nnunet_ms"
# word -> module with `main(argv)`, and what the command does; pyproject.toml has the same as scripts, a test compares
COMMANDS = {
    "convert": ("nnunet_ms.dataset_conversion.cli", "trial, BIDS or challenge data become an nnU-Net dataset"),
    "segment": ("nnunet_ms.segmentation.cli", "scans as they come become masks, tables and a page per patient"),
    "predict": ("nnunet_ms.trainers.predict_cli", "images become masks, probabilities and uncertainties"),
    "model": ("nnunet_ms.trainers.model_cli", "trained models as single files: pack, install, check"),
    "evaluate": ("nnunet_ms.analysis.evaluate_cli", "masks are compared with reference masks, lesion by lesion"),
    "measure": ("nnunet_ms.analysis.measure_cli", "masks are measured without a reference, visit by visit"),
    "endpoints": ("nnunet_ms.analysis.endpoints_cli", "lesion volumes and clinical tables become a trial's report"),
    "rim": ("nnunet_ms.classification.rim_cli", "which lesions have a paramagnetic rim on QSM"),
    "stratify": ("nnunet_ms.classification.stratify_cli", "whether disability shows in the brain or a region of it"),
    "simulate": ("nnunet_ms.simulation.cli", "a trial or single scans whose truth is known"),
    "learning-curve": ("nnunet_ms.learning.cli", "what few labelled studies give, fine-tuned or not"),
    "demo": ("nnunet_ms.demo", "all of it on a small simulated trial"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the first word alone; the rest is the command's own."""
    lines = "\n".join(f"  {word:<16}{line}" for word, (_, line) in COMMANDS.items())
    parser = commands.parser(PROGRAM, f"{_ABOUT}\n\ncommands:\n{lines}", f"{PROGRAM} convert --help")
    parser.usage = f"{PROGRAM} [-h] [--version] COMMAND ..."
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="runs nnunet-ms-COMMAND")
    return parser


_ABOUT = "From the MRI of a multiple sclerosis trial to the trial's own conclusions, on nnU-Net."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without one, list them all."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    command = parser.parse_args(words[:1]).command
    if command is None:
        parser.print_help()
        return commands.OK
    code: int = import_module(COMMANDS[command][0]).main(words[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
