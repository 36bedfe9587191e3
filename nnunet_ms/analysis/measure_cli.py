"""`nnunet-ms-measure`: lesions, volumes and changes of masks that have no reference."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ms.analysis.evaluate_cli import by_reader, label_numbers, named_folders
from nnunet_ms.commands import OK, SOME_CASES_FAILED, add_parallel_options, parser, positive, report_failures, run

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
    command.add_argument("--rater", help="the reader's name in all tables, for one folder (model)")
    command.add_argument("--lesion-type", default="t2_lesions", help="the lesion type in all tables (%(default)s)")
    command.add_argument("--labels", help="several types in one mask: t1_unenhancing=1,t1_enhancing=2")
    command.add_argument("--data-note", default="", help="what the data are, such as real or simulated")
    command.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=DIR",
        help="map whose mean in each lesion is a column; repeat",
    )
    command.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="region masks that give each lesion a location: ventricles, cortex, infratentorial; repeat",
    )
    command.add_argument(
        "--pictures",
        type=positive,
        nargs="?",
        const=24,
        default=0,
        metavar="N",
        help="draw N masks, those with the most new and enlarging lesions first (%(const)s)",
    )
    command.add_argument("--images", type=Path, help="folder of images to draw them on")
    add_parallel_options(command)
    command.add_argument("-o", "--out", type=Path, required=True, help="folder to write; an earlier one is replaced")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if some cases failed, or 2 if nothing could be done."""
    remains = "Folders are complete or as they were before. Repeat the command to start again."
    return run(PROGRAM, lambda: _measure(build_parser().parse_args(argv)), remains)


def _measure(arguments: argparse.Namespace) -> int:
    from nnunet_ms.analysis.evaluation.measure import measure

    done = measure(
        by_reader(arguments.masks, "MASKS"),
        arguments.out,
        arguments.cases,
        arguments.rule,
        arguments.rater,
        arguments.lesion_type,
        arguments.workers,
        arguments.data_note,
        label_numbers(arguments.labels) if arguments.labels else None,
        maps=named_folders(arguments.map, "--map"),
        regions=named_folders(arguments.region, "--region"),
        images=arguments.images,
        pictures=arguments.pictures,
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
