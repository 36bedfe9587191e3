"""`nnunet-ms-evaluate`: agreement of predicted masks with reference masks."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.commands import OK, SOME_CASES_FAILED, parser, positive, run

if TYPE_CHECKING:
    from nnunet_ms.analysis.evaluate import Evaluation

PROGRAM = "nnunet-ms-evaluate"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Compare predicted lesion masks with reference masks: lesions, volumes, agreement, detection by lesion size.",
        f"{PROGRAM} --predictions predictions --references labelsTs --cases cases.csv --workers 4 -o evaluation",
    )
    command.add_argument("--predictions", type=Path, required=True, help="folder of <case_id>.nii.gz, masks of 0 and 1")
    command.add_argument("--references", type=Path, required=True, help="folder of <case_id>.nii.gz on the same grids")
    command.add_argument("--cases", type=Path, help="cases.csv of the dataset: patient, visit and week of each case")
    command.add_argument(
        "--rules", default="krishnan2023", help="comma-separated; the first filters lesions.csv (%(default)s)"
    )
    command.add_argument("--rater", default="model", help="the model's name in all tables (%(default)s)")
    command.add_argument("--lesion-type", default="t2_lesions", help="the lesion type in all tables (%(default)s)")
    command.add_argument("--data-note", default="", help="what the data are, such as real or simulated")
    command.add_argument(
        "--uncertainty",
        type=Path,
        metavar="DIR",
        help="output of nnunet-ms-predict: calibration and use of its uncertainty",
    )
    command.add_argument("--workers", type=positive, default=1, help="local processes (%(default)s)")
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write; an earlier one is replaced")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some cases failed, or 2 if nothing could be done."""
    arguments = build_parser().parse_args(argv)
    return run(PROGRAM, lambda: _evaluate(arguments))


def _evaluate(arguments: argparse.Namespace) -> int:
    from nnunet_ms.analysis.evaluate import evaluate  # pandas and matplotlib take a second, --help must not
    from nnunet_ms.parallel import report_failures

    evaluation = evaluate(
        arguments.predictions,
        arguments.references,
        arguments.out,
        cases=arguments.cases,
        rules=tuple(name.strip() for name in arguments.rules.split(",")),
        rater=arguments.rater,
        lesion_type=arguments.lesion_type,
        workers=arguments.workers,
        note=arguments.data_note,
    )
    print(_summary(evaluation))
    report_failures(evaluation.failures, PROGRAM)
    if arguments.uncertainty:
        return max(_uncertainty(arguments), SOME_CASES_FAILED if evaluation.failures else OK)
    return SOME_CASES_FAILED if evaluation.failures else OK


def _uncertainty(arguments: argparse.Namespace) -> int:
    """Evaluate the uncertainty of a prediction into the folder `uncertainty` of the output."""
    from nnunet_ms.analysis.uncertainty_evaluation import write_uncertainty
    from nnunet_ms.parallel import report_failures

    evaluation = write_uncertainty(
        arguments.uncertainty,
        arguments.references,
        arguments.out / "uncertainty",
        rule=arguments.rules.split(",")[0].strip(),
        rater=arguments.rater or "model",
        lesion_type=arguments.lesion_type,
        workers=arguments.workers,
        note=arguments.data_note,
    )
    print(f"uncertainty of {evaluation.n_cases} cases")
    for row in evaluation.uncertainty.itertuples():
        print(f"  {row.metric:<42}{row.kind:<15}{row.region:<12}{_number(row.value):>7}   n = {row.n} {row.unit}")
    report_failures(evaluation.failures, PROGRAM)
    return SOME_CASES_FAILED if evaluation.failures else OK


def _summary(evaluation: "Evaluation") -> str:
    lines = []
    for (rule, rater, lesion_type), rows in evaluation.agreement.groupby(["rule", "rater", "lesion_type"], sort=False):
        note = evaluation.size_bins["data_note"].iloc[0]
        lines.append(f"{rule}: {rater} against reference, {lesion_type}" + (f", {note} data" if note else ""))
        lines.append(f"  {'metric':<18}{'mean':>7}   {'SD':>6}{'n':>7}{'undefined':>11}")
        lines += [
            f"  {row.metric:<18}{_number(row.mean_):>7}   {_number(row.sd):>6}{row.n:>7}{row.n_undefined:>11}"
            for row in rows.rename(columns={"mean": "mean_"}).itertuples()
        ]
    if evaluation.left_out:
        lines.append(f"{len(evaluation.left_out)} cases in the folders are not in the table of cases: left out")
    lines.append(f"{evaluation.visits['case_id'].nunique()} cases, {len(evaluation.failures)} failed: {evaluation.out}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
