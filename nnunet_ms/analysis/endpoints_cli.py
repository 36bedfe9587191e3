"""`nnunet-ms-endpoints`: from lesion volumes and clinical tables to a trial's endpoints and their report."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ms import commands
from nnunet_ms.errors import SettingsError

PROGRAM = "nnunet-ms-endpoints"
EXAMPLE = (
    f"{PROGRAM} init trial.toml --patients patients.csv --visits visits.csv --assessments assessments.csv\n"
    f"  {PROGRAM} run trial.toml -o results   # then open results/index.html\n"
    f"  {PROGRAM} compare results other_results -o comparison"
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = commands.parser(
        PROGRAM, "Compute a trial's imaging endpoints for every rater and write a report.", EXAMPLE
    )
    sub = parser.add_subparsers(dest="command", required=True, metavar="init|run|compare")
    init = sub.add_parser("init", help="write a commented settings file from the tables", description=_INIT)
    init.add_argument("settings", type=Path, metavar="trial.toml", help="file to write; must not exist")
    init.add_argument("--patients", type=Path, help="patient table")
    init.add_argument("--adam", type=Path, help="folder of ADSL, ADQS, ADTTE instead of patients and assessments")
    init.add_argument("--adam-encoding", metavar="NAME", help="of the ADaM files, if not said in them: such as cp1252")
    init.add_argument("--visits", type=Path, action="append", default=[], help="visits.csv; repeat for several models")
    init.add_argument("--assessments", type=Path, help="EDSS assessments")
    init.add_argument("--relapses", type=Path, help="relapses")
    init.add_argument("--agreement", type=Path, help="agreement.csv of nnunet-ms-evaluate")
    init.add_argument("--size-bin-figure", type=Path, help="a .png of nnunet-ms-evaluate to show in the report")
    init.add_argument("--dates", choices=("iso", "day-first", "month-first"), default="iso",
                      help="what comes first in dates that are not like 2021-12-31; never guessed")  # fmt: skip
    init.add_argument("--truth", type=Path, help="truth.json of a simulation")
    init.add_argument("--simulated", action="store_true", help="the report says that no patient is real")
    _add_conventions(init, "written into the file (default: r)")
    run = sub.add_parser("run", help="compute the endpoints and write the report")
    run.add_argument("settings", type=Path, metavar="trial.toml", help="settings, from init")
    run.add_argument("-o", "--out", type=Path, required=True, help="folder to write: complete, or as it was")
    _add_conventions(run, "instead of [conventions] preset of the file; its single choices still hold")
    _add_compare(sub)
    return parser


def _add_compare(sub: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compare = sub.add_parser("compare", help="lay the results of several trials side by side", description=_COMPARE)
    compare.add_argument("trials", type=Path, nargs="+", metavar="RESULTS", help="folders that run wrote, two or more")
    compare.add_argument("-o", "--out", type=Path, required=True, help="folder to write: complete, or as it was")
    named: dict[str, Any] = {"type": _named, "action": "append", "default": []}
    of = "output of nnunet-ms-evaluate of one of the trials"
    cohort = "the same of a cohort without a trial, such as a challenge"
    compare.add_argument("--evaluation", metavar="TRIAL=DIR", help=f"{of}, for the sizes of lesions; repeat", **named)
    compare.add_argument("--test-set", metavar="NAME=DIR", help=f"{cohort}; repeat", **named)
    compare.add_argument(
        "--pool", action="store_true", help="pool the ratios over the trials too (default: nothing is)"
    )


def _named(text: str) -> tuple[str, Path]:
    """Parse NAME=DIR (for argparse)."""
    name, sign, folder = text.rpartition("=")
    if not sign or not name or not folder:
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, found {text!r}")
    return name, Path(folder)


def _add_conventions(parser: argparse.ArgumentParser, what: str) -> None:
    text = f"numbers as R or as SAS has them (ties, intervals, covariances): {what}"
    parser.add_argument("--conventions", choices=("r", "sas"), help=text)


_INIT = "Tables that are not named are looked for beside trial.toml under their usual names, such as patients.csv."


_COMPARE = (
    "What all trials have is compared, each number from its trial's own result; what not all have is listed by name. "
    "Intervals must have one level."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    remains = "The output is as it was before. Repeat the command to start again."
    return commands.run(PROGRAM, lambda: _act(build_parser().parse_args(argv)), remains)


def _act(args: argparse.Namespace) -> int:
    return {"init": _init, "run": _run, "compare": _compare}[args.command](args)


def _init(args: argparse.Namespace) -> int:
    from nnunet_ms.analysis.trial.settings_init import find_tables, write_settings

    keys = ("patients", "assessments", "relapses", "agreement", "size_bin_figure", "truth", "adam")
    found = find_tables(args.settings.parent, {key: getattr(args, key) for key in keys}, tuple(args.visits), args.dates)
    # a truth file exists for simulations only
    simulated = args.simulated or found.tables.truth is not None
    write_settings(args.settings, found, simulated, args.conventions or "r", args.adam_encoding)
    if not found.tables.visits:
        print("no lesion table: clinical endpoints alone; --visits FILE names one")
    print(f"{args.settings}: written. Check it, then: {PROGRAM} run {args.settings} -o results")
    return commands.OK


def _run(args: argparse.Namespace) -> int:
    from nnunet_ms.analysis.run_trial import run_trial
    from nnunet_ms.progress import bar

    results = run_trial(args.settings, args.out, args.conventions, progress=bar)
    left_out = results.exclusions["patient_id"].nunique()
    print(
        f"{args.out / 'index.html'}: {len(results.endpoints)} statistics; {left_out} patients with something left out"
    )
    return commands.OK


def _compare(args: argparse.Namespace) -> int:
    from nnunet_ms import compare_trials  # by the front door: it stands above this room, which knows nothing of it

    options = {
        "evaluations": _by_name(args.evaluation, "--evaluation"),
        "test_sets": _by_name(args.test_set, "--test-set"),
    }
    found = compare_trials(args.trials, args.out, **options, pool=args.pool)
    apart = found.differences["what"].nunique()
    print(
        f"{args.out / 'index.html'}: {len(found.trials)} trials, {found.effects['endpoint'].nunique()} endpoints in "
        f"common; differences listed: {apart}"
    )
    return commands.OK


def _by_name(pairs: Sequence[tuple[str, Path]], option: str) -> dict[str, Path]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise SettingsError(f"{option}: expected each name once, found {[name for name, _ in pairs]}. Leave one out.")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
