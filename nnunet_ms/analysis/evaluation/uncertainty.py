"""Is the uncertainty of `nnunet-ms-predict` any use: calibration, error retention, rank correlation with error.

Calibration
-----------
Voxels in bins of equal width of the probability; ECE = sum over bins of (share of voxels) |mean probability - share of
lesion|, MCE the largest such gap, Brier the mean squared difference. Over all voxels of the image's content (`all`),
where certain background rules, and over those with a mean probability of at least
0.01 (`candidates`, the same voxels with and without dropout), where the decisions are.

Retention
---------
- Voxels, nDSC [1]_: the most uncertain share is replaced by the reference; the area above the curve, R-AAC, is the
  error that is left on average: lower is better. `ideal` replaces all errors first, `random` in no order. N of the nDSC
  and of the shares is the number of content voxels, the most uncertain ones.
- Lesions, F1: the most uncertain share of the predicted lesions goes to a reader, who strikes out false ones. A lesion
  that the model missed cannot be shown to him, so the curve ends below 1. Lesions of all cases together.
- Removal: the most uncertain share of the predicted lesions is removed, right or wrong: LPPV and LTPR of the others. A
  reference lesion is found by what is left of the lesions that share a voxel with it.

Ours where the papers are silent: the lesion curves, which need no uncertainty of missed lesions.

References
----------
.. [1] Malinin A et al. Shifts 2.0. NeurIPS 2022 (nDSC with r = 0.001 and its retention curve). arXiv:2206.15407
.. [2] Naeini MP et al. AAAI 2015 (ECE). .. [3] Molchanova N et al. 2023. arXiv:2311.08931
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.evaluation.matching import match_masks
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.uncertainty_curves import calibration_bins, ndsc_retention
from nnunet_ms.analysis.evaluation.uncertainty_figures import reliability_figure, retention_figure
from nnunet_ms.analysis.evaluation.uncertainty_tables import (
    CANDIDATE,
    KINDS,
    CaseUncertainty,
    UncertaintyEvaluation,
    tables_of,
)
from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.cases_table import read_cases
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.images.names import file_called
from nnunet_ms.images.volumes import Volume, check_same_grid, read_mask, read_volume
from nnunet_ms.lesions.overlap import best_iou
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Workers, map_cases
from nnunet_ms.plotting.style import save_figure

SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class UncertainCase:
    """One case: its reference, the folder of the prediction, and the voxels of its image's content (None: all)."""

    case_id: str
    reference: Path
    folder: Path
    content_voxels: int | None

    @property
    def prediction(self) -> Path:
        """The predicted mask."""
        return self.folder / f"{self.case_id}{SUFFIX}"


def write_uncertainty(
    folder: Path,
    references: Path,
    out: Path,
    rule: str = "krishnan2023",
    rater: str = "model",
    lesion_type: str = "t2_lesions",
    workers: Workers = 1,
    note: str = "",
) -> UncertaintyEvaluation:
    """Evaluate an output of `nnunet-ms-predict`, and write tables and figures; arguments as `evaluate_uncertainty`.

    `out` gets calibration.csv, retention.csv, uncertainty.csv, failures.csv, and the figures reliability and retention;
    complete or not at all, an earlier one is replaced.
    """
    evaluation = evaluate_uncertainty(folder, references, rule, rater, lesion_type, workers)
    with whole_folder(out, replace=True) as partial_folder:
        for name in ("calibration", "retention", "uncertainty"):
            tables.write_table(getattr(evaluation, name).assign(data_note=note), partial_folder / f"{name}.csv")
        tables.write_failures(evaluation.failures, partial_folder / "failures.csv")
        save_figure(reliability_figure(evaluation, note), partial_folder, "reliability")
        save_figure(retention_figure(evaluation, note), partial_folder, "retention")
    return evaluation


def evaluate_uncertainty(
    folder: Path,
    references: Path,
    rule: str = "krishnan2023",
    rater: str = "model",
    lesion_type: str = "t2_lesions",
    workers: Workers = 1,
) -> UncertaintyEvaluation:
    """Evaluate the output of `nnunet-ms-predict` against reference masks.

    Parameters
    ----------
    folder : Path
        Output of `nnunet-ms-predict`: masks, `probability/`, `lesions.csv`, `cases.csv`, and `deterministic/` if there
        is one.
    references : Path
        Folder of `<case_id>.nii.gz`, masks of 0 and 1; cases without a reference are left out.
    rule : str
        Whose lesions are found. Lesions are matched with those of lesions.csv by number and size.
    rater, lesion_type : str
        Names in the tables; of lesions.csv only this lesion type is read.
    workers : int or Dask
        Local processes.

    Raises
    ------
    SettingsError
        If the folder is no such output, or no case could be evaluated.
    TableError
        If its tables are damaged.
    """
    lesions, patients = _read_tables(folder, lesion_type)
    jobs = [
        UncertainCase(name, reference, folder, _content_voxels(patients, name))
        for name in patients["case_id"]
        if (reference := file_called(references, name)).is_file()
    ]
    work = partial(evaluate_case_uncertainty, lesions=lesions, rule=rule)
    done = map_cases(work, jobs, _name, "uncertainty", workers)
    if not done.results:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in done.failures[:3])
        raise SettingsError(f"{folder}: none of {len(jobs)} cases with a reference could be evaluated. {listed}")
    return tables_of(done.results, patients, done.failures, rule, rater, lesion_type)


def _name(case: UncertainCase) -> str:
    return case.case_id


def evaluate_case_uncertainty(case: UncertainCase, lesions: pd.DataFrame, rule: str) -> CaseUncertainty:
    """Read one case's masks and maps once.

    Raises
    ------
    ImageError
        If a file is missing or damaged, or lies on another grid.
    TableError
        If lesions.csv has other lesions than the mask under this rule.
    """
    reference, prediction = read_mask(case.reference), read_mask(case.prediction)
    check_same_grid(reference, prediction, str(case.reference), str(case.prediction))
    maps = {kind: _read_map(case, kind, reference) for kind in KINDS if kind == KINDS[0] or _path(case, kind).is_file()}
    truth, mask = reference.data.astype(bool), prediction.data.astype(bool)
    bins = {
        (kind, region): calibration_bins(p[keep], truth[keep])
        for kind, p in maps.items()
        for region, keep in (("all", _content(p, case.content_voxels)), ("candidates", maps[KINDS[0]] >= CANDIDATE))
    }
    entropy = _entropy(maps[KINDS[0]])
    curves = ndsc_retention(truth.ravel(), mask.ravel(), entropy.ravel(), case.content_voxels)
    rows, touched = _match_lesions(reference, prediction, lesions[lesions["case_id"] == case.case_id], rule, case)
    both = int(np.count_nonzero(truth & mask))
    size = int(np.count_nonzero(truth) + np.count_nonzero(mask))
    return CaseUncertainty(case.case_id, bins, curves, rows, touched, 2 * both / size if size else np.nan)


def _read_tables(folder: Path, lesion_type: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    for name in ("lesions.csv", "cases.csv", KINDS[0]):
        if not (folder / name).exists():
            raise SettingsError(
                f"{folder}: expected the output of nnunet-ms-predict, {name} is missing. Check --uncertainty."
            )
    lesions = tables.read_table(folder / "lesions.csv", tables.LESIONS)
    patients = read_cases(folder, tables.PREDICTED_CASES)
    if len(lesions) and lesions["uncertainty"].isna().all():
        raise SettingsError(f"{folder}: the lesions have no uncertainty: predicted by one sample. Use --mc-samples 10.")
    types = sorted(set(lesions["lesion_type"]))
    if types and lesion_type not in types:
        raise SettingsError(
            f"{folder / 'lesions.csv'}: expected lesion type {lesion_type}, found {types}. Use --lesion-type."
        )
    return lesions[lesions["lesion_type"] == lesion_type], patients[patients["lesion_type"] == lesion_type]


def _content_voxels(patients: pd.DataFrame, case_id: str) -> int | None:
    found = patients.loc[patients["case_id"] == case_id, "content_voxels"]
    return int(found.iloc[0]) if len(found) else None


def _path(case: UncertainCase, kind: str) -> Path:
    return case.folder / kind / f"{case.case_id}{SUFFIX}"


def _read_map(case: UncertainCase, kind: str, reference: Volume) -> npt.NDArray[np.float32]:
    volume = read_volume(_path(case, kind))
    check_same_grid(reference, volume, str(case.reference), str(volume.path))
    return volume.data.astype(np.float32).clip(0, 1)


def _content(probability: npt.NDArray[np.floating], content_voxels: int | None) -> Bools:
    """The voxels of largest probability, as many as the image has content: outside it is certain background."""
    if content_voxels is None or content_voxels >= probability.size:
        return np.ones(probability.shape, dtype=bool)
    chosen = np.zeros(probability.size, dtype=bool)
    chosen[np.argpartition(-probability.ravel(), content_voxels)[:content_voxels]] = True
    return chosen.reshape(probability.shape)


def _entropy(p: npt.NDArray[np.floating]) -> Floats:
    q = p.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = -(q * np.log(q) + (1 - q) * np.log1p(-q))
    return np.nan_to_num(values)


def _match_lesions(
    reference: Volume, prediction: Volume, known: pd.DataFrame, rule: str, case: UncertainCase
) -> tuple[pd.DataFrame, list[tuple[str, ...]]]:
    (chosen,) = rules_by_name((rule,))
    match = match_masks(reference, prediction, chosen)
    known = known.sort_values("lesion_id")
    if known["voxels"].astype(int).tolist() != match.prediction.voxels.tolist():
        raise TableError(
            f"{case.folder / 'lesions.csv'}: case {case.case_id}: expected the {match.prediction.count} lesions of "
            f"{case.prediction} under rule {rule}, found {len(known)} other ones. Predict with the rule's "
            "--minimum-voxels, and evaluate the masks of the same run."
        )
    overlap = match.overlap
    keys = [f"{case.case_id} {number}" for number in known["lesion_id"]]
    rows = pd.DataFrame(
        {
            "case_id": case.case_id,
            "key": keys,
            "uncertainty": known["uncertainty"].to_numpy(float),
            "true": match.prediction_found,
            "iou": best_iou(overlap.swapped),
        }
    )
    touched = [
        tuple(keys[column] for column in overlap.column[overlap.row == row]) if found else ()
        for row, found in enumerate(match.reference_found)
    ]
    return rows, touched
