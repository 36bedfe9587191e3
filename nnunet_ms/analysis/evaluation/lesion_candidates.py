"""Candidates of one case and their scores: reference lesions and false components, for ROC curves of lesions.

A predicted component's score is the mean probability in it. A reference lesion that the rule calls found has the
highest score among the components that share a voxel with it; one that is not found has 0. False are the components
that the rule does not confirm. So at a threshold just above 0 the sensitivity is the LTPR. There is no definition in
the paper; this one is ours.

With several models, false candidates are also counted in common: connected parts of the union of all models' false
components, a model having the score 0 where it has none. Only so are AUCs of two models of the same candidates, which
DeLong's test needs.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.analysis.evaluation.matching import Match, Rule, match_by_rules
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.features import mean_of_map
from nnunet_ms.lesions.labelling import Lesions, find_lesions
from nnunet_ms.lesions.overlap import Overlap, lesion_dice
from nnunet_ms.statistics.roc import Scores

LESION, FALSE, CONFIRMED = "lesion", "false", "confirmed"
OWN, COMMON, BOTH, NOT_COUNTED = "own", "common", "own and common", "none"
Numbers = npt.NDArray[np.floating]  # single or double


def case_candidates(
    reference: Volume, predictions: Mapping[str, Volume], probabilities: Mapping[str, Volume], rule: Rule
) -> pd.DataFrame:
    """Score every candidate of one case and one lesion type.

    Parameters
    ----------
    reference : Volume
        Mask (X, Y, Z).
    predictions, probabilities : mapping
        Model's name -> its mask, and its map of probabilities, on the reference's grid.
    rule : Rule
        Components, size filter and criterion.

    Returns
    -------
    pandas.DataFrame
        `candidate` (`r1`, ... reference lesions; `f1`, ... a model's false components; `c1`, ... common ones; `p1`, ...
        predicted components that the reference confirms, which are no candidates but count in the LFPR), `truth`,
        `counted` (in which set of candidates), `rater`, `volume_ml`, `score`, `lesion_dice` (of reference lesions, see
        `overlap.lesion_dice`). No rows where there is nothing.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.rules import RULES
    >>> from nnunet_ms.images.volumes import read_mask
    >>> reference, prediction = (read_mask(Path(f"{name}.nii.gz")) for name in ("reference", "prediction"))
    >>> certain = {"model": Volume(0.9 * prediction.data, prediction.grid, prediction.path)}
    >>> found = case_candidates(reference, {"model": prediction}, certain, RULES["krishnan2023"])
    >>> found[["candidate", "truth", "score"]].round(2)
      candidate      truth  score
    0        r1     lesion    0.9
    1        r2     lesion    0.0
    2        r3     lesion    0.9
    3        f1      false    0.9
    4        p1  confirmed    0.9
    5        p2  confirmed    0.9
    """
    matches = {rater: match_by_rules(reference, mask, [rule])[0] for rater, mask in predictions.items()}
    scores = {rater: mean_of_map(match.prediction, probabilities[rater]) for rater, match in matches.items()}
    common = _common_false(matches, rule)
    frames = []
    for rater, match in matches.items():
        false = ~match.prediction_found
        volume, lesions = match.prediction.volumes_ml, match.reference.volumes_ml
        found = _rows(rater, "r", LESION, BOTH, lesions, _lesion_scores(match, scores[rater]))
        frames += [
            found.assign(lesion_dice=lesion_dice(match.overlap)),
            _rows(rater, "f", FALSE, OWN if len(matches) > 1 else BOTH, volume[false], scores[rater][false]),
            _rows(rater, "p", CONFIRMED, NOT_COUNTED, volume[~false], scores[rater][~false]),
        ]
        if len(matches) > 1:
            frames.append(
                _rows(rater, "c", FALSE, COMMON, common.volumes_ml, _common_scores(match, scores[rater], common))
            )
    filled = [frame for frame in frames if len(frame)]  # empty frames have columns without a type
    return pd.concat(filled or frames[:1], ignore_index=True)


def _rows(rater: str, letter: str, truth: str, counted: str, volume_ml: Numbers, score: Numbers) -> pd.DataFrame:
    names = [f"{letter}{number}" for number in range(1, len(score) + 1)]
    columns = {"candidate": names, "truth": truth, "counted": counted, "rater": rater}
    return pd.DataFrame({**columns, "volume_ml": volume_ml, "score": score})


def _lesion_scores(match: Match, scores: Numbers) -> Numbers:
    overlap: Overlap = match.overlap
    best = np.zeros(match.reference.count)
    np.maximum.at(best, overlap.row, scores[overlap.column])
    return np.where(match.reference_found, best, 0.0)


def _false_voxels(match: Match) -> npt.NDArray[np.bool_]:
    return np.asarray(~match.prediction_found[match.prediction.lesion_of_voxel])


def _common_false(matches: Mapping[str, Match], rule: Rule) -> Lesions:
    """Connected parts of the union of all models' false components; all of them, for their parts passed the filter."""
    grid = next(iter(matches.values())).reference.grid
    union = np.zeros(int(np.prod(grid.shape)), dtype=np.uint8)
    for match in matches.values():
        union[match.prediction.voxel_index[_false_voxels(match)]] = 1
    return find_lesions(Volume(union.reshape(grid.shape, order="F"), grid, Path()), rule.connectivity)


def _common_scores(match: Match, scores: Numbers, common: Lesions) -> Numbers:
    """Highest score of a model's false components within each common candidate, 0 where it has none."""
    inside = _false_voxels(match)
    place = np.searchsorted(common.voxel_index, match.prediction.voxel_index[inside])
    best = np.zeros(common.count)
    np.maximum.at(best, common.lesion_of_voxel[place], scores[match.prediction.lesion_of_voxel[inside]])
    return best


SMALL_ML = 0.06


SIZES = {"all": (0.0, float("inf")), "small": (0.0, SMALL_ML), "large": (SMALL_ML, float("inf"))}  # (above, up to]


def scores_of(candidates: pd.DataFrame, rater: str, counted: str) -> Scores:
    """Scores of one model on its own candidates (`OWN`) or on the common ones (`COMMON`), in the table's order."""
    rows = candidates[(candidates["rater"] == rater) & candidates["counted"].isin([counted, BOTH])]
    lesions, false = rows[rows["truth"] == LESION], rows[rows["truth"] == FALSE]
    return Scores(
        lesions["score"].to_numpy(float),
        false["score"].to_numpy(float),
        lesions["patient_id"].to_numpy(str),
        false["patient_id"].to_numpy(str),
    )
