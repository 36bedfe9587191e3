"""What a conversion tells of cases that are good: how they were found, what is resampled, which folds there are.

And before them, which steps their source excludes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ms.cases_table import read_cases
from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.checks.check import CheckedCase
from nnunet_ms.dataset_conversion.checks.voxel_sizes import voxel_size_notes
from nnunet_ms.dataset_conversion.links import links_out
from nnunet_ms.dataset_conversion.new_lesions import POOR_REGISTRATION, why_poor
from nnunet_ms.dataset_conversion.pairs import PairOptions
from nnunet_ms.dataset_conversion.preparation import baselines_of
from nnunet_ms.dataset_conversion.raw_dataset.existing import notes_of_more
from nnunet_ms.dataset_conversion.raw_dataset.roles import fold_notes
from nnunet_ms.dataset_conversion.raw_dataset.write import WriteOptions, folds_of, roles_of
from nnunet_ms.dataset_conversion.sources.absence import notes_of_absence
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ConversionError
from nnunet_ms.images.brain_mask import check_hd_bet
from nnunet_ms.images.deepbet_brain import check_deepbet
from nnunet_ms.images.greedy import greedy_engine
from nnunet_ms.parallel import Failure, Outcome


def notes_of_folds(good: Sequence[CheckedCase], options: WriteOptions) -> list[str]:
    """What to know about the folds of good cases; ConversionError as `folds_of`."""
    here = {one.case.patient_id for one in good}
    some = replace(options, test_patients=tuple(here.intersection(options.test_patients)))
    roles = roles_of([one.case for one in good], some)
    patient_of = {one.case.case_id: one.case.patient_id for one in good}
    folds = folds_of(patient_of, roles, options)
    trained = {patient for case, patient in patient_of.items() if roles[case] == "train"}
    if options.existing is None:
        return fold_notes(len(trained), options.folds)
    return notes_of_more(options.existing, folds, asked=options.folds)


def notes_of_cases(outcome: Outcome[CheckedCase], options: WriteOptions) -> list[str]:
    """What the user should know about good cases; with steps, provenance/ says what was resampled."""
    notes = _found_how([checked.case for checked in outcome.results])
    notes += notes_of_absence([checked.case for checked in outcome.results], options.channels)
    notes += _first_visits(outcome.results, options.steps)
    notes += [] if options.steps.spacing else voxel_size_notes(outcome.results)
    for checked in outcome.results:
        if checked.resampled and not options.steps.any() and options.pairs is None:
            channels = ", ".join(checked.resampled)
            notes.append(f"{checked.case.case_id}: {channels} resampled onto {_grid_name(checked.case)}")
        if checked.remark:
            notes.append(f"{checked.case.case_id}: {checked.remark}")
        if link := links_out(checked.case, options.roots.get(checked.case.source, Path())):
            notes.append(f"{checked.case.case_id}: {link}")
    return notes


def _first_visits(checked: Sequence[CheckedCase], steps: Steps) -> list[str]:
    """How the first visit was found to which later ones are registered, where not by weeks alone."""
    first = baselines_of(checked, steps)
    later = {one.case.case_id: one.case for one in checked if one.case.case_id in first}
    named = [case for case in later.values() if case.week is None]
    if not named:
        return []
    one = named[0]
    many = "1 visit is" if len(named) == 1 else f"{len(named)} visits are"
    return [
        f"{many} registered to the patient's first one by the order of the visits' names, because no week is known: "
        f"{one.case_id} to {first[one.case_id].case_id}, say"
    ]


def _found_how(cases: Sequence[Case]) -> list[str]:
    """How cases were found, each remark once with the number of its cases."""
    remarks = Counter(case.remark for case in cases if case.remark)
    return [f"{number} {'case' if number == 1 else 'cases'} {remark}" for remark, number in remarks.items()]


def remarks_of(checked: CheckedCase, roots: Mapping[str, Path]) -> list[str]:
    """What `check` tells of one good case."""
    root = roots.get(checked.case.source, Path())
    remarks = [text for text in (checked.case.remark, checked.remark, links_out(checked.case, root)) if text]
    if checked.resampled:
        remarks.append(f"{', '.join(checked.resampled)} will be resampled onto {_grid_name(checked.case)}")
    if checked.case.absent:
        remarks.append(f"no {', '.join(checked.case.absent)}: becomes a channel of zeros")
    if checked.case.label is None:
        remarks.append("no mask: becomes a test case")
    return remarks


def _grid_name(case: Case) -> str:
    return next(iter(case.images)) if case.reference is None else case.reference.name


def flagged_pairs(outcome: Outcome[CheckedCase], folder: Path, options: WriteOptions) -> list[Failure]:
    """Pairs that are written although they are unlike after registration, each with what to look at."""
    if options.pairs is None:
        return []
    case_of = {checked.case.case_id: checked.case for checked in outcome.results}
    rows = read_cases(folder).to_dict("records")
    names = ("correlation_before", "correlation_after")
    poor = {row["case_id"]: [float(row[name]) for name in names] for row in rows if row["flag"] == POOR_REGISTRATION}
    return [Failure(case, why_poor(case_of[case], *values)) for case, values in poor.items() if case in case_of]


def check_steps(cases: Sequence[Case], steps: Steps, source: Path, pairs: PairOptions | None) -> None:
    """Raise ConversionError for preparation of images that bring transforms, or by a tool that is not installed."""
    if pairs is not None and pairs.registration == "greedy":
        greedy_engine()
    if pairs is not None and steps.through_baseline:
        option = "--to-mni" if steps.to_mni else "--to-baseline"
        raise ConversionError(
            f"{option} and --pairs: expected one of them, because a pair is registered anyhow. Leave {option} out."
        )
    moved = next((case for case in cases if case.transforms and case.pair is None), None)
    if steps.any() and moved is not None:
        raise ConversionError(
            f"{source}: expected no preparation, because the images (of {moved.case_id}, say) are resampled by their "
            "own transforms, once. Leave the steps out, or choose a --variant that is co-registered already."
        )
    if steps.hd_bet:
        check_hd_bet()
    if steps.brain:
        check_deepbet()
