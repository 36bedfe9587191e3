"""`nnunet-ms-evaluate`: agreement of predicted masks with reference masks."""

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.analysis.mask_options import (
    REMAINS,
    add_maps_and_regions,
    add_names,
    add_output,
    by_reader,
    named,
    named_folders,
    of_one_reference,
)
from nnunet_ms.commands import OK, SOME_CASES_FAILED, parser, positive, report_failures, run
from nnunet_ms.errors import SettingsError

if TYPE_CHECKING:
    from nnunet_ms.analysis.evaluation.evaluate import Evaluation
    from nnunet_ms.analysis.evaluation.lesion_roc import LesionAuc
    from nnunet_ms.analysis.evaluation.rater_tables import RaterMatrix
    from nnunet_ms.analysis.evaluation.uncertainty_tables import UncertaintyEvaluation

PROGRAM = "nnunet-ms-evaluate"
_OTHERS = 2  # raters that Williams' index needs beside one


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Compare predicted lesion masks with reference masks: lesions, volumes, agreement, detection by lesion size.",
        f"{PROGRAM} --predictions predictions --references labelsTs --cases cases.csv --workers 4 -o evaluation",
    )
    _add_masks(command)
    _add_cohorts(command)
    command.add_argument("--cases", type=Path, help="cases.csv of the dataset: patient, visit and week of each case")
    command.add_argument(
        "--rules",
        default="krishnan2023",
        help="comma-separated: krishnan2023, isbi2015, isbi2015_26, msseg2016, msseg2_2021, wahlig2023, shifts2022, "
        "shifts2022_min<N>, panoptica_ms; the first filters lesions.csv (%(default)s)",
    )
    add_names(command, "model")
    command.add_argument(
        "--uncertainty",
        type=Path,
        metavar="DIR",
        help="output of nnunet-ms-predict: calibration and use of its uncertainty",
    )
    command.add_argument(
        "--lesion-auc",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="probability maps of nnunet-ms-predict: ROC curves of lesions by type and size, models compared; "
        "repeat as NAME=DIR, one per model",
    )
    command.add_argument(
        "--candidate-threshold",
        type=_probability,
        metavar="P",
        help="with --lesion-auc: candidates are components of probability > P instead of the masks'",
    )
    _add_folders(command)
    command.add_argument(
        "--qc", type=positive, nargs="?", const=24, default=0, metavar="N", help="draw the N worst cases (%(const)s)"
    )
    add_output(command)
    return command


def _add_masks(command: argparse.ArgumentParser) -> None:
    """Add options for the masks that are compared."""
    command.add_argument(
        "--predictions",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="folder of <case_id>.nii.gz; repeat as NAME=DIR to compare several models on the same cases",
    )
    command.add_argument("--references", type=Path, help="folder of <case_id>.nii.gz on the same grids")
    command.add_argument(
        "--raters",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME=]DIR",
        help="instead of one reference: folders of two raters or more, compared with each other, with their consensus "
        "(majority, STAPLE), and with --predictions as further raters; a rater may lack cases",
    )


def _add_cohorts(command: argparse.ArgumentParser) -> None:
    """Add options for what is compared beside models: cohorts, sites and visits."""
    command.add_argument(
        "--cohorts",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=EVALUATION",
        help="instead of masks: folders that this command has written, of two cohorts or more; side by side by size",
    )
    command.add_argument(
        "--averaging",
        choices=("patients", "pooled"),
        help="with --cohorts, what the figure shows: means over patients, or all lesions together (patients)",
    )
    command.add_argument("--site-column", metavar="NAME", help="column of the cases table with the scanner site (site)")
    command.add_argument(
        "--baseline-visit", metavar="NAME", help="visit that the others are compared with (the earliest week)"
    )


def _add_folders(command: argparse.ArgumentParser) -> None:
    """Add options for folders of `<case_id>.nii.gz` beside the masks."""
    add_maps_and_regions(
        command, "map whose mean in each lesion becomes a column of lesions.csv, such as probability=DIR; repeat"
    )
    command.add_argument(
        "--region-labels", type=Path, metavar="DIR", help="maps of labelled regions, such as a parcellation"
    )
    command.add_argument("--region-names", type=Path, metavar="CSV", help="what their labels are called: label, name")
    command.add_argument("--brain-masks", type=Path, help="brain masks: the voxels that nDSC (shifts2022) counts")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some cases failed, or 2 if nothing could be done."""
    return run(PROGRAM, lambda: _evaluate(build_parser().parse_args(argv)), REMAINS)


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.cohorts:
        return _compare_cohorts(arguments)
    if arguments.raters:
        return _compare_raters(arguments)
    if arguments.averaging:
        raise SettingsError("--averaging: expected --cohorts with it, found none. Leave it out: the table has both.")
    if not arguments.predictions or arguments.references is None:
        raise SettingsError(
            "expected --predictions DIR and --references DIR, --raters DIR DIR ..., or --cohorts NAME=DIR ..., found "
            "none of them. Add what is missing."
        )
    from nnunet_ms.analysis.evaluation.evaluate import evaluate  # pandas and matplotlib take a second, --help must not

    evaluation = evaluate(
        by_reader(arguments.predictions, "--predictions"),
        arguments.references,
        arguments.out,
        rules=[name.strip() for name in arguments.rules.split(",")],
        region_labels=arguments.region_labels,
        region_names=arguments.region_names,
        site_column=arguments.site_column,
        baseline_visit=arguments.baseline_visit,
        brain_masks=arguments.brain_masks,
        uncertainty=arguments.uncertainty,
        lesion_auc=by_reader(arguments.lesion_auc, "--lesion-auc") if arguments.lesion_auc else None,
        candidate_threshold=arguments.candidate_threshold,
        qc=arguments.qc,
        **of_one_reference(arguments),
    )
    print(_summary(evaluation))
    failures = list(evaluation.failures)
    if evaluation.uncertainty is not None:
        _print_uncertainty(evaluation.uncertainty)
        failures += evaluation.uncertainty.failures
    if evaluation.lesion_auc is not None:
        _print_lesion_auc(evaluation.lesion_auc)
        failures += evaluation.lesion_auc.failures
    report_failures(failures, PROGRAM)
    return SOME_CASES_FAILED if failures else OK


def _compare_cohorts(arguments: argparse.Namespace) -> int:
    """Put earlier evaluations side by side; options that are about masks are refused."""
    known = ("cohorts", "averaging", "out", "workers", "dask")
    given = [name for name, value in vars(arguments).items() if value != build_parser().get_default(name)]
    beside = [f"--{name.replace('_', '-')}" for name in given if name not in known]
    if beside:
        raise SettingsError(f"--cohorts: expected no {', '.join(beside)} beside it, of masks. Leave it out.")
    from nnunet_ms import compare_cohorts  # by the front door: it stands above this room, which knows nothing of it

    averaging = arguments.averaging or "patients"
    table = compare_cohorts(named_folders(arguments.cohorts, "--cohorts"), arguments.out, averaging)
    shown = table[(table["averaging"] == averaging) & (table["metric"] != "lesion_dice")]
    for (rule, lesion_type), rows in shown.groupby(["rule", "lesion_type"], sort=False):
        print(f"{rule}, {lesion_type}, {averaging}: lesion Dice of found lesions, LTPR, LFPR by voxels")
        for (cohort, rater, size), cells in rows.groupby(["cohort", "rater", "size_bin"], sort=False):
            values = cells.set_index("metric")["value"]
            text = "".join(f"{_number(values[name]):>8}" for name in ("lesion_dice_found", "ltpr", "lfpr"))
            print(f"  {cohort:<16}{rater:<16}{size:<10}{text}")
    print(f"{arguments.out}: cohorts.csv and figures")
    return OK


def _compare_raters(arguments: argparse.Namespace) -> int:
    """Compare several raters; options that are about one reference are refused."""
    beside = [
        *("rater", "uncertainty", "lesion_auc", "candidate_threshold", "map", "region", "qc", "images"),
        *("region_labels", "region_names", "site_column", "baseline_visit", "averaging"),
    ]
    given = [f"--{name.replace('_', '-')}" for name in beside if getattr(arguments, name) not in (None, [], 0)]
    given = [name for name in given if name != "--rater" or not arguments.predictions]
    if given:
        raise SettingsError(f"--raters: expected no {', '.join(given)} beside it, which is of one model. Leave it out.")
    from nnunet_ms.analysis.evaluation.rater_matrix import rater_matrix

    found = rater_matrix(
        named_folders(arguments.raters, "--raters") if "=" in "".join(arguments.raters) else arguments.raters,
        arguments.out,
        models=_models(arguments),
        references=arguments.references,
        rules=[name.strip() for name in arguments.rules.split(",")],
        brain_masks=arguments.brain_masks,
        **named(arguments),
    )
    print(_of_raters(found))
    report_failures(found.failures, PROGRAM)
    return SOME_CASES_FAILED if found.failures else OK


def _models(arguments: argparse.Namespace) -> dict[str, Path]:
    """Models beside the raters, by name; one folder is of `--rater`, or of "model"."""
    if not arguments.predictions:
        return {}
    given = by_reader(arguments.predictions, "--predictions")
    if isinstance(given, Path):
        return {arguments.rater or "model": given}
    if arguments.rater:
        raise SettingsError(f"--rater: expected no name beside models that have names, found {arguments.rater!r}.")
    return given


def _of_raters(found: "RaterMatrix") -> str:
    """Dice of every pair as a matrix, Williams' index, and who lacks which cases."""
    lines = []
    for (rule, lesion_type), rows in found.matrix.groupby(["rule", "lesion_type"], sort=False):
        for metric in [name for name in ("dice", "ltpr") if name in set(rows["metric"])]:
            shown = rows[rows["metric"] == metric]
            readers, others = (dict.fromkeys(shown[name]) for name in ("rater", "versus"))
            columns = [*(name for name in readers if name in others), *(name for name in others if name not in readers)]
            n = f"n = {shown['n_cases'].min()} to {shown['n_cases'].max()} cases"
            lines.append(f"{rule}, {lesion_type}: mean {metric} of rows against columns, {n}")
            widths = [max(12, len(name) + 2) for name in columns]
            first = max(12, *(len(name) + 1 for name in readers))
            heads = "".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True))
            lines.append(" " * (first + 2) + heads)
            for rater, cells in shown.groupby("rater", sort=False):
                values = cells.set_index("versus")["mean"].reindex(columns)
                numbers = (f"{_number(value):>{width}}" for value, width in zip(values, widths, strict=True))
                lines.append(f"  {rater:<{first}}" + "".join(numbers))
    for row in found.williams.itertuples():
        limits = "" if math.isnan(row.low) else f"  ({row.low:.3f} to {row.high:.3f})"
        cases = f"{row.n_cases} cases, {row.n_complete} read by all"
        index = f"{_number(row.williams_index):>7}{limits}"
        lines.append(f"  Williams' index {row.rater:<12}{row.metric:<10}{index}  {row.rule}, {cases}")
    lines += list(_apart(found))
    for rater, rows in found.missing.groupby("rater", sort=False):
        names = rows["case_id"].to_list()
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        word = "case" if len(names) == 1 else "cases"
        lines.append(f"  {rater} is missing in {len(names)} {word}: {', '.join(names[:5])}{more}")
    if found.left_out:
        lines.append(f"{len(found.left_out)} cases of the folders are not in the cases table")
    return "\n".join([*lines, f"{found.n_cases} cases; tables, heat maps and raters.html in {found.out}"])


def _apart(found: "RaterMatrix") -> Iterator[str]:
    """Why there is no index of Williams, where the numbers of cases say it."""
    readers = [*dict.fromkeys(found.williams["rater"])]
    if (found.williams["n_raters"] < _OTHERS).all():
        yield "  Williams' index needs two other raters, of whom each pair has read a case"
        return
    read = set(zip(found.matrix["rater"], found.matrix["versus"], strict=True))
    for a, b in combinations(readers, 2):
        if (a, b) not in read and (b, a) not in read:
            yield f"  {a} and {b} have no case in common: no number of this pair, and no Williams' index that needs it"


def _print_lesion_auc(found: "LesionAuc") -> None:
    shown = found.statistics[found.statistics["stat_name"].isin(["auc", "auc_difference", "delong_p"])]
    print("ROC of lesions (small: up to 0.06 ml)")
    for row in shown.itertuples():
        who = row.rater if row.versus is None else f"{row.rater} - {row.versus}"
        limits = "" if math.isnan(row.low) else f"  ({row.low:.3f} to {row.high:.3f})"
        numbers = f"{row.n_lesions} lesions, {row.n_false} false"
        print(
            f"  {row.lesion_type:<16}{row.size:<7}{who:<26}{row.stat_name:<15}{_number(row.stat):>7}{limits}  {numbers}"
        )


def _print_uncertainty(found: "UncertaintyEvaluation") -> None:
    print(f"uncertainty of {found.n_cases} cases")
    for row in found.uncertainty.itertuples():
        print(f"  {row.metric:<42}{row.kind:<15}{row.region:<12}{_number(row.value):>7}   n = {row.n} {row.unit}")


def _probability(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected 0 < P < 1, found {text}")
    return value


def _summary(evaluation: "Evaluation") -> str:
    lines = []
    groups = evaluation.agreement.groupby(["rule", "rater", "lesion_type", "subset"], sort=False)
    for (rule, rater, lesion_type, subset), rows in groups:
        note = evaluation.size_bins["data_note"].iloc[0]
        which = f", {subset}" if subset != "all cases" else ""
        lines.append(f"{rule}: {rater} against reference, {lesion_type}{which}" + (f", {note} data" if note else ""))
        lines.append(f"  {'metric':<30}{'mean':>7}   {'SD':>6}{'n':>7}{'undefined':>11}")
        lines += [
            f"  {row.metric:<30}{_number(row.mean_):>7}   {_number(row.sd):>6}{row.n:>7}{row.n_undefined:>11}"
            for row in rows.rename(columns={"mean": "mean_"}).itertuples()
        ]
    best = evaluation.ranking[evaluation.ranking["metric"] == "all"].sort_values("place")
    lines += [
        f"place {row.place:g} ({row.rule}): {row.rater}, mean rank {row.mean_rank:.2f}" for row in best.itertuples()
    ]
    lines += _group_lines(evaluation)
    not_compared = int((evaluation.visits["change_note"] != "").sum())
    if not_compared:
        lines.append(f"{not_compared} rows of visits.csv could not be compared with the visit before: see change_note")
    if evaluation.left_out:
        lines.append(f"{len(evaluation.left_out)} cases in the folders are not in the table of cases: left out")
    lines.append(f"{evaluation.visits['case_id'].nunique()} cases, {len(evaluation.failures)} failed: {evaluation.out}")
    return "\n".join(lines)


def _group_lines(evaluation: "Evaluation") -> list[str]:
    """What is known by visit and site, in a line each, or why nothing is."""
    lines = []
    visits = evaluation.agreement_by_visit
    later = visits[(visits["baseline_visit"] != "") & (visits["visit"] != visits["baseline_visit"])]
    if len(later):
        row = next((r for r in later.itertuples() if r.metric == "dice"), next(later.itertuples()))
        shown = later[(later["rater"] == row.rater) & (later["lesion_type"] == row.lesion_type)]
        shown = shown[(shown["rule"] == row.rule) & (shown["metric"] == row.metric)]
        lines.append(
            f"{row.metric} since {row.baseline_visit} ({row.rule}, {row.rater}), same patients; agreement_by_visit.csv:"
        )
        lines += [
            f"  {r.visit:<16}{r.difference:+.3f} ({r.low:.3f} to {r.high:.3f}), {r.percent:+.1f} %, n = {r.n_paired}"
            for r in shown.itertuples()
        ]
    elif len(visits):
        reason = visits["note"].iloc[0] or "there is one visit"
        lines.append(f"agreement_by_visit.csv has no change since a baseline: {reason}")
    unknown = [name for name in ("visit", "site") if getattr(evaluation, f"agreement_by_{name}").empty]
    if unknown:
        lines.append(
            f"no {' or '.join(unknown)} of a case is known: {_tables(unknown)} no rows. The cases table names it"
        )
    return lines


def _tables(names: Sequence[str]) -> str:
    files = [f"agreement_by_{name}.csv" for name in names]
    return f"{' and '.join(files)} {'has' if len(files) == 1 else 'have'}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    raise SystemExit(main())
