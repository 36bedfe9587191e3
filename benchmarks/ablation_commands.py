"""Commands that the ablations run, with nnU-Net's folders below their work folder."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def script(name: str, *arguments: object) -> list[str]:
    """Command with the scripts of this interpreter's environment."""
    return [str(Path(sys.executable).parent / name), *map(str, arguments)]


def call(args: argparse.Namespace, command: Sequence[str], seed: int = 0, ok: tuple[int, ...] = (0,)) -> None:
    """Run a command with nnU-Net's folders below the work folder; its output goes to a log."""
    folders = {f"nnUNet_{name}": str(args.work / name) for name in ("raw", "preprocessed")}
    folders["nnUNet_results"] = str(args.work / f"results_seed{seed}")
    # augmentation in the training process: repeatable; planning needs a process
    processes = {"nnUNet_n_proc_DA": "1" if "plan" in command[0] else "0", "nnUNet_def_n_proc": "1"}
    args.work.mkdir(parents=True, exist_ok=True)
    with (args.work / "log.txt").open("a") as log:
        log.write(json.dumps(command) + "\n")
        log.flush()
        code = subprocess.run(command, env={**os.environ, **folders, **processes}, stdout=log, stderr=log, check=False)
    if code.returncode not in ok:
        raise SystemExit(f"{' '.join(command)}: exit code {code.returncode}, see {args.work / 'log.txt'}")
