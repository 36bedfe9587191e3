"""`nnunet-ms-measure`: lesions, volumes and changes of masks that have no reference."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.analysis.mask_options import (
    REMAINS,
    add_maps_and_regions,
    add_names,
    add_output,
    by_reader,
    of_one_reference,
)
from nnunet_ms.commands import OK, SOME_CASES_FAILED, parser, positive, report_failures, run

if TYPE_CHECKING:
    from nnunet_ms.analysis.evaluation.measure import Measurement

PROGRAM = "nnunet-ms-measure"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; it needs no library beyond Python's own."""
    command = parser(
        PROGRAM,
        "Measure lesion masks without a reference: lesions, volumes, new and enlarging lesions since the visit before.",
        f"{PROGRAM} predictions --cases $nnUNet_raw/Dataset801_Trial --rater multi_arm_t2 -o measured\n"
        "  nnunet-ms-endpoints init trial.toml --patients patients.csv --visits measured/visits.csv",
    )
    command.add_argument(
        "masks",
        nargs="+",
        metavar="MASKS",
        help="folder of <case_id>.nii.gz; several as NAME=DIR, each reader measured by itself",
    )
    command.add_argument("--cases", type=Path, help="cases.csv, or its folder: patient, visit and week of each case")
    command.add_argument("--rule", default="krishnan2023", help="components and size filter (%(default)s)")
    add_names(command, "reader")
    add_maps_and_regions(command, "map whose mean in each lesion is a column; repeat")
    command.add_argument(
        "--pictures",
        type=positive,
        nargs="?",
        const=24,
        default=0,
        metavar="N",
        help="draw N masks, those with the most new and enlarging lesions first (%(const)s)",
    )
    add_output(command)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some cases failed, or 2 if nothing could be done."""
    return run(PROGRAM, lambda: _measure(build_parser().parse_args(argv)), REMAINS)


def _measure(arguments: argparse.Namespace) -> int:
    from nnunet_ms.analysis.evaluation.measure import measure

    done = measure(
        by_reader(arguments.masks, "MASKS"),
        arguments.out,
        rule=arguments.rule,
        pictures=arguments.pictures,
        **of_one_reference(arguments),
    )
    print(_summary(done))
    report_failures(done.failures, PROGRAM)
    return SOME_CASES_FAILED if done.failures else OK


def _summary(done: "Measurement") -> str:
    lines = []
    for (rater, lesion_type), rows in done.visits.groupby(["rater", "lesion_type"], sort=False):
        compared = rows["new_lesion_count"].notna()
        lines.append(
            f"{rater}, {lesion_type}: {rows['case_id'].nunique()} masks of {rows['patient_id'].nunique()} patients, "
            f"{rows['lesion_count'].sum()} lesions, {rows['volume_ml'].sum():.2f} ml; {compared.sum()} compared with "
            f"the visit before: {rows['new_lesion_count'].sum()} new, {rows['enlarging_lesion_count'].sum()} enlarging"
        )
    not_compared = int((done.visits["change_note"] != "").sum())
    if not_compared:
        lines.append(f"{not_compared} rows of visits.csv could not be compared with the visit before: see change_note")
    if done.visits["week"].isna().any():
        lines.append("cases without a week: nnunet-ms-endpoints needs one; name patient, visit and week with --cases")
    if done.missing:
        lines.append(f"{len(done.missing)} cases of the table of cases have no mask, such as {done.missing[0]}")
    if done.left_out:
        lines.append(f"{len(done.left_out)} masks are not in the table of cases, such as {done.left_out[0]}: left out")
    lines.append(f"{len(done.failures)} failed: {done.out}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
