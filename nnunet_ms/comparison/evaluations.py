"""Agreement of masks of several trials and test sets: the rows of the paper's Table 2, and sizes of lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.endpoints.statistic_rows import select
from nnunet_ms.analysis.evaluation.cohort_metrics import SIZE_BINS
from nnunet_ms.comparison.compared_trial import PROGRAM, ComparedTrial, sha256
from nnunet_ms.errors import SettingsError
from nnunet_ms.tables import AGREEMENT, LESIONS, REFERENCE, read_table

AGREEMENT_FILE, SIZES_FILE, LESIONS_FILE = "agreement.csv", "size_bins.csv", "lesions.csv"
NO_RULE = "not named"
_GROUPS = {"1-10": (1, 10), "11-50": (11, 50), "51-": (51, None)}  # of a table of lesions
COLUMNS = ("test_set", "rater", "lesion_type", "rule", "metric", "mean", "sd", "n", "n_undefined")


@dataclass(frozen=True)
class MaskAgreement:
    """Masks of one cohort against their reference.

    `agreement` has `COLUMNS`, and is empty where there is no reference; `sizes` has columns of `SIZE_BINS`, and is
    empty where no folder is known. `folder`: None where the trial's own output has the numbers; `files`: those read
    in it.
    """

    name: str
    agreement: pd.DataFrame
    sizes: pd.DataFrame
    folder: Path | None
    trial: ComparedTrial | None = None
    files: tuple[str, ...] = ()


def find_test_sets(
    trials: Sequence[ComparedTrial], evaluations: Mapping[str, str | Path], test_sets: Mapping[str, str | Path]
) -> list[MaskAgreement]:
    """Return what is known of the agreement of masks: of each trial, then of further test sets.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        A trial whose output has the agreement of masks has a row; its evaluation folder is taken without being named
        where it lies as the output's provenance says, with the same SHA-256.
    evaluations : mapping
        Trial (its name, its folder or the folder's name) -> output of `nnunet-ms-evaluate`; of `nnunet-ms-measure`,
        `nnunet-ms-predict` or the simulator, with `lesions.csv` alone, for the sizes of lesions.
    test_sets : mapping
        Name of a cohort without a trial, such as a challenge -> the same.

    Raises
    ------
    SettingsError
        If a trial is not among those compared, or an evaluation is not the one that it was computed with.
    TableError
        If a folder lacks a table, or the table is damaged.
    """
    named = {_trial_called(name, trials).name: Path(folder) for name, folder in evaluations.items()}
    found = [_of_trial(trial, named.get(trial.name)) for trial in trials]
    types = {str(trial.settings["lesion_type"]) for trial in trials}
    taken = {trial.name for trial in trials}
    for name, folder in test_sets.items():
        if name in taken:
            raise SettingsError(f"test set {name!r}: expected another name than a trial's. Name it otherwise.")
        found.append(_read(name, Path(folder), types))
    return [one for one in found if len(one.agreement) or len(one.sizes)]


def _trial_called(name: str, trials: Sequence[ComparedTrial]) -> ComparedTrial:
    for trial in trials:
        if name in (trial.name, trial.settings["name"], str(trial.folder), trial.folder.resolve().name):
            return trial
    known = [str(trial.folder) for trial in trials]
    raise SettingsError(
        f"evaluation of {name!r}: expected one of the trials compared, {known}, found another. A cohort without a "
        "trial is a test set."
    )


def _of_trial(trial: ComparedTrial, named: Path | None) -> MaskAgreement:
    known = trial.inputs.get("agreement")
    if named is None:
        folder = _folder_of_provenance(trial)
    else:
        folder, path = named, named / AGREEMENT_FILE
        if known and path.is_file() and sha256(path) != known:
            raise SettingsError(
                f"{path}: expected the agreement that {trial.folder} was computed with, found another (SHA-256). Name "
                f"its folder, or repeat {PROGRAM} run with this one."
            )
    lesion_type = str(trial.settings["lesion_type"])
    if folder is not None:
        found = _read(trial.name, folder, {lesion_type})
        if AGREEMENT_FILE in found.files:
            return replace(found, trial=trial)
        return replace(found, trial=trial, agreement=_own_agreement(trial))
    return MaskAgreement(trial.name, _own_agreement(trial), pd.DataFrame(columns=SIZE_BINS.names), None, trial)


def _own_agreement(trial: ComparedTrial) -> pd.DataFrame:
    """The agreement that the trial's output has, with `COLUMNS`."""
    rows = select(trial.rows, endpoint="agreement")
    keys = ["rater", "analysis", "term"]
    wide = rows.pivot_table(index=keys, columns="stat_name", values="stat", sort=False).reset_index()
    wide = wide.rename(columns={"analysis": "rule", "term": "metric"})
    wide = wide.assign(test_set=trial.name, lesion_type=str(trial.settings["lesion_type"]))
    return wide.reindex(columns=list(COLUMNS))


def _folder_of_provenance(trial: ComparedTrial) -> Path | None:
    """The evaluation folder, if it is where the provenance says, from the output's own folder or the one above it."""
    file = trial.files.get("agreement")
    if file is None:
        return None
    for start in (trial.folder.resolve().parent, trial.folder.resolve()):
        path = start / file
        if path.is_file() and (path.parent / SIZES_FILE).is_file() and sha256(path) == trial.inputs["agreement"]:
            return path.parent
    return None


def _read(name: str, folder: Path, lesion_types: set[str]) -> MaskAgreement:
    if (folder / LESIONS_FILE).is_file() and not (folder / AGREEMENT_FILE).exists():
        lesions = _of_types(read_table(folder / LESIONS_FILE, LESIONS), lesion_types, folder / LESIONS_FILE)
        return MaskAgreement(name, pd.DataFrame(columns=list(COLUMNS)), _sizes(lesions), folder, files=(LESIONS_FILE,))
    agreement = _of_types(read_table(folder / AGREEMENT_FILE, AGREEMENT), lesion_types, folder / AGREEMENT_FILE)
    sizes = read_table(folder / SIZES_FILE, SIZE_BINS)
    table = agreement.assign(test_set=name).reindex(columns=list(COLUMNS))
    sizes = sizes[sizes["lesion_type"].isin(lesion_types)]
    return MaskAgreement(name, table, sizes, folder, files=(AGREEMENT_FILE, SIZES_FILE))


def _of_types(table: pd.DataFrame, lesion_types: set[str], path: Path) -> pd.DataFrame:
    there = sorted(set(table["lesion_type"]))
    if not lesion_types & set(there):
        raise SettingsError(
            f"{path}: expected lesion type {' or '.join(sorted(lesion_types))}, that of the trials, found {there}. "
            "Name another folder."
        )
    return table[table["lesion_type"].isin(lesion_types)]


def _sizes(lesions: pd.DataFrame) -> pd.DataFrame:
    """Lesions of each rater by size, in the columns of `SIZE_BINS` that the comparison reads."""
    rule = lesions["rule"] if "rule" in lesions else pd.Series(NO_RULE, index=lesions.index)
    keys = [rule.fillna(NO_RULE).rename("rule"), lesions["lesion_type"], lesions["rater"]]
    rows = []
    for (of_rule, kind, rater), voxels in lesions["voxels"].groupby(keys, sort=False):
        column = "reference_lesions" if rater == REFERENCE else "predicted_lesions"
        for name, (low, high) in _GROUPS.items():
            count = int(voxels.between(low, high or voxels.max()).sum())
            rows.append({"rater": rater, "lesion_type": kind, "rule": of_rule, "size_bin": name, "voxels_max": high})
            rows[-1][column] = count
    return pd.DataFrame(rows, columns=SIZE_BINS.names).astype({"voxels_max": "Int64"})
