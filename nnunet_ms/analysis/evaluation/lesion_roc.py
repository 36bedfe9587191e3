"""Lesion-level ROC curves by lesion type and size, and models compared: `nnunet-ms-evaluate --lesion-auc`.

Sizes: up to 0.06 mL (`small`), above (`large`), and all; of a reference lesion its own volume, of a false candidate
that of the component. 0.06 mL is the border that Krishnan et al., Radiology 2022, give for enhancing lesions. Written:

========================  =================================================================================
`lesion_candidates.csv`   every candidate with its score, see `lesion_candidates`; `components` says of what: of the
                          `masks`, or of voxels above a lower probability
`lesion_auc.csv`          `LESION_AUC`: per model `ltpr`, `lfpr` (by the volume of the predicted component) and
                          `lesion_dice` of all lesions of the masks; `auc` on its own candidates (with DeLong's standard
                          error, `auc_se`) and `auc_common` on the common ones; per pair of models `auc_difference` with
                          DeLong's `z` and `p` on the common ones; `low`, `high`: bootstrap over patients
`roc.svg`, `roc.png`      the curves on own candidates
`failures.csv`            cases that are in none of the above, and why
========================  =================================================================================
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.analysis.evaluation.case_masks import Extras, read_case
from nnunet_ms.analysis.evaluation.lesion_candidates import (
    COMMON,
    CONFIRMED,
    FALSE,
    LESION,
    OWN,
    SIZES,
    case_candidates,
    scores_of,
)
from nnunet_ms.analysis.evaluation.lesion_roc_figure import roc_figure
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.analysis.evaluation.pairing import CaseFiles, pair_masks
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.names import file_called
from nnunet_ms.images.volumes import Volume, read_volume
from nnunet_ms.outputs import whole_folder
from nnunet_ms.parallel import Failure, Workers, map_cases
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.statistics.bootstrap_interval import mean_interval
from nnunet_ms.statistics.roc import Scores, auc, auc_interval, auc_se, delong_test, difference_interval
from nnunet_ms.tables import REFERENCE, Column, Table

MASKS = "masks"
PLACE = ("case_id", "patient_id", "visit", "week", "lesion_type")

LESION_AUC = Table(
    "lesion AUC",
    (
        *(Column(name) for name in ("lesion_type", "rule", "size", "rater")),
        Column("versus", blank=True),
        Column("stat_name"),
        *(Column(name, "number", blank=True) for name in ("stat", "low", "high")),
        *(Column(name, "integer", minimum=0) for name in ("n_lesions", "n_false", "n_patients")),
        Column("data_note", blank=True),
    ),
    key=("lesion_type", "size", "rater", "versus", "stat_name"),
)


@dataclass(frozen=True)
class LesionAuc:
    """Tables of a cohort, and the cases that are not in them."""

    candidates: pd.DataFrame
    statistics: pd.DataFrame
    failures: list[Failure]


def write_lesion_auc(
    predictions: Mapping[str, Path],
    probabilities: Mapping[str, Path],
    references: Path,
    out: Path,
    labels: Mapping[str, int],
    cases: Path | None = None,
    rule: str = "krishnan2023",
    workers: Workers = 1,
    note: str = "",
    threshold: float | None = None,
) -> LesionAuc:
    """Evaluate as `lesion_auc` does and write everything, complete or not at all; an earlier folder is replaced."""
    found = lesion_auc(predictions, probabilities, references, labels, cases, rule, workers, note, threshold)
    with whole_folder(out, replace=True) as folder:
        tables.write_table(found.candidates, folder / "lesion_candidates.csv")
        tables.write_table(found.statistics, folder / "lesion_auc.csv")
        tables.write_failures(found.failures, folder / "failures.csv")
        scored = found.candidates[found.candidates["components"] == components_name(threshold)]
        save_figure(roc_figure(scored, rules_by_name((rule,))[0], note), folder, "roc")
    return found


def lesion_auc(
    predictions: Mapping[str, Path],
    probabilities: Mapping[str, Path],
    references: Path,
    labels: Mapping[str, int],
    cases: Path | None = None,
    rule: str = "krishnan2023",
    workers: Workers = 1,
    note: str = "",
    threshold: float | None = None,
) -> LesionAuc:
    """Score the candidates of every case and compare the models.

    Parameters
    ----------
    predictions, probabilities : mapping
        Model's name -> folder of `<case_id>.nii.gz` masks; folder of `<case_id>_<lesion type>.nii.gz` probabilities
        (`<case_id>.nii.gz` will do for a single lesion type), as `nnunet-ms-predict` writes them. The same names.
    references : Path
        Folder of `<case_id>.nii.gz`.
    labels : mapping
        Lesion type -> label in the masks.
    cases : Path, optional
        `tables.CASES`: patient of each case; without it every case is its own patient.
    rule : str, optional
        Whose components, size filter and criterion count.
    workers : int, optional
        Local processes.
    note : str, optional
        What the data are.
    threshold : float, optional
        In (0, 1): ROC curves are of components of voxels with more than this probability, instead of the masks'
        components. A lower one than the masks' gives more candidates: a model with hardly a false lesion has no ROC
        curve otherwise.

    Raises
    ------
    SettingsError
        If no case has all masks.
    ImageError
        If not one case could be evaluated.
    """
    pairing = pair_masks(references, predictions, cases)
    work = partial(
        _score_case, probabilities=probabilities, labels=labels, rule=rules_by_name((rule,))[0], threshold=threshold
    )
    done = map_cases(work, pairing.pairs, lambda files: files.case_id, "score lesions", workers)
    failures = sorted([*pairing.failures, *done.failures], key=lambda failure: failure.case)
    if not done.results:
        listed = "; ".join(f"{failure.case}: {failure.reason}" for failure in failures[:3])
        raise ImageError(f"none of {len(failures)} cases could be scored. {listed}")
    candidates = pd.concat(done.results, ignore_index=True).assign(rule=rule, data_note=note)
    rows = [
        row for name in labels for row in _statistics(candidates, name, list(predictions), components_name(threshold))
    ]
    names = [column.name for column in LESION_AUC.columns]
    return LesionAuc(candidates, pd.DataFrame(rows).assign(rule=rule, data_note=note)[names], failures)


def components_name(threshold: float | None) -> str:
    """Name of the components that ROC curves are of."""
    return MASKS if threshold is None else f"probability > {threshold:g}"


def _score_case(
    files: CaseFiles,
    probabilities: Mapping[str, Path],
    labels: Mapping[str, int],
    rule: Rule,
    threshold: float | None,
) -> pd.DataFrame:
    masks = read_case(files, labels, Extras()).masks
    frames = []
    for lesion_type in labels:
        reference = masks[REFERENCE][lesion_type]
        maps = {
            rater: onto_grid(_read_probability(folder, files.case_id, lesion_type, len(labels) == 1), reference)
            for rater, folder in probabilities.items()
        }
        predicted = {MASKS: {rater: masks[rater][lesion_type] for rater in probabilities}}
        if threshold is not None:
            above = {
                rater: replace(m, data=(np.asarray(m.data, float) > threshold).astype(np.uint8))
                for rater, m in maps.items()
            }
            predicted[components_name(threshold)] = above
        for components, of_models in predicted.items():
            scored = case_candidates(reference, of_models, maps, rule)
            frames.append(scored.assign(lesion_type=lesion_type, components=components))
    place = {"case_id": files.case_id, "patient_id": files.patient_id, "visit": files.visit, "week": files.week}
    every = pd.concat(frames, ignore_index=True).assign(**place)
    return every[[*PLACE, *(name for name in every if name not in PLACE)]]


def _read_probability(folder: Path, case_id: str, lesion_type: str, single: bool) -> Volume:
    path = file_called(folder, f"{case_id}_{lesion_type}")
    volume = read_volume(file_called(folder, case_id) if single and not path.is_file() else path)
    if volume.data.size and (volume.data.min() < 0 or volume.data.max() > 1):
        raise ImageError(
            f"{volume.path}: expected probabilities from 0 to 1, found values from {volume.data.min():g} to "
            f"{volume.data.max():g}. Give the folder `probability` of nnunet-ms-predict."
        )
    return volume


def _statistics(
    candidates: pd.DataFrame, lesion_type: str, raters: Sequence[str], components: str
) -> Iterator[dict[str, object]]:
    of_type = candidates[candidates["lesion_type"] == lesion_type]
    for size, (above, up_to) in SIZES.items():
        of_size = of_type[(of_type["volume_ml"] > above) & (of_type["volume_ml"] <= up_to)]
        of_masks = of_size[of_size["components"] == MASKS]
        here = of_size[of_size["components"] == components]
        base: dict[str, object] = {"lesion_type": lesion_type, "size": size}
        for rater in raters:
            yield from _detection(of_masks[of_masks["rater"] == rater], {**base, "rater": rater, "versus": None})
            for name, counted in (("auc", OWN), ("auc_common", COMMON)):
                scores = scores_of(here, rater, counted)
                low, high = auc_interval(scores) if scores.is_defined else (float("nan"),) * 2
                keys = {**base, **_numbers(scores), "rater": rater, "versus": None}
                value = auc(scores.positive, scores.negative)
                yield {**keys, "stat_name": name, "stat": value, "low": low, "high": high}
                if counted == OWN:
                    yield {**keys, "stat_name": "auc_se", "stat": auc_se(scores.positive, scores.negative)}
        for second, first in combinations(raters, 2):
            yield from _comparison(here, first, second, base)


def _detection(rows: pd.DataFrame, keys: dict[str, object]) -> Iterator[dict[str, object]]:
    """Shares of one model by counting: found lesions, false components among the predicted, and mean lesion Dice."""
    lesions = rows[rows["truth"] == LESION]
    predicted = rows[rows["truth"].isin([FALSE, CONFIRMED]) & (rows["counted"] != COMMON)]
    found, false = lesions["score"] > 0, predicted["truth"] == FALSE
    patients = pd.concat([lesions, predicted])["patient_id"].nunique()
    numbers = {"n_lesions": len(lesions), "n_false": int(false.sum()), "n_patients": patients}
    for name, values, where in (
        ("ltpr", found, lesions),
        ("lfpr", false, predicted),
        ("lesion_dice", lesions["lesion_dice"], lesions),
    ):
        low, high = mean_interval(values.to_numpy(float), where["patient_id"].tolist())
        mean = float(values.mean()) if len(values) else float("nan")
        yield {**keys, **numbers, "stat_name": name, "stat": mean, "low": low, "high": high}


def _comparison(here: pd.DataFrame, first: str, second: str, base: dict[str, object]) -> Iterator[dict[str, object]]:
    a, b = scores_of(here, first, COMMON), scores_of(here, second, COMMON)
    test = delong_test(a, b)
    low, high = difference_interval(a, b) if a.is_defined else (float("nan"),) * 2
    keys = {**base, **_numbers(a), "rater": first, "versus": second}
    yield {**keys, "stat_name": "auc_difference", "stat": test.difference, "low": low, "high": high}
    for name in ("se", "z", "p"):
        yield {**keys, "stat_name": f"delong_{name}", "stat": getattr(test, name)}


def _numbers(scores: Scores) -> dict[str, object]:
    patients = {*scores.positive_patients.tolist(), *scores.negative_patients.tolist()}
    return {"n_lesions": scores.positive.size, "n_false": scores.negative.size, "n_patients": len(patients)}
