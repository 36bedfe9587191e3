"""From the notes and maps of explained scans to tables, mean maps, pictures, and what a reader has to be told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.classification.stratification.explain_methods import METHOD_NAMES
from nnunet_ms.classification.stratification.explain_pictures import draw_brain
from nnunet_ms.classification.stratification.explain_randomised import RANDOMISATION, verdicts
from nnunet_ms.classification.stratification.explain_regions import (
    ALL,
    ELSEWHERE,
    RANKED_REGIONS,
    RELEVANCE,
    TRUE_POSITIVES,
    ranked_regions,
)
from nnunet_ms.classification.stratification.explain_scans import EXPLAINED
from nnunet_ms.errors import TableError
from nnunet_ms.images.volumes import Grid, read_volume, write_volume
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import write_failures, write_table

TOLERANCE = 0.05  # of a sum of integrated gradients: in logits, and relative where the logits differ by more than 1
UNITS = {"gradcam": "Grad-CAM", "ig": "relevance", "lrp": "relevance"}


@dataclass(frozen=True)
class Explained:
    """What `explain_models.explain_cohort` has found.

    Attributes
    ----------
    scans, regions, randomisation : pandas.DataFrame
        `EXPLAINED`, `RANKED_REGIONS` and `RANDOMISATION`.
    folder : Path
    remarks : list of str
        What a reader has to know: sums, whether maps depend on the weights, what a ranking means.
    failures : list of Failure
        Scans that could not be read.
    """

    scans: pd.DataFrame
    regions: pd.DataFrame
    randomisation: pd.DataFrame
    folder: Path
    remarks: list[str]
    failures: list[Failure]


def map_file(out: Path, case_id: str, method: str) -> Path:
    """Where the map of a scan lies."""
    return out / "maps" / f"{case_id}_{method}.nii.gz"


def note_file(out: Path, case_id: str) -> Path:
    """Where the note of a scan lies; it is written after its maps."""
    return out / "notes" / f"{case_id}.json"


def read_note(out: Path, case_id: str) -> dict[str, Any] | None:
    """What is noted of a scan; a missing or damaged note is none.

    Examples
    --------
    >>> read_note(Path("explained"), "P1_base") is None
    True
    """
    try:
        note = dict(json.loads(note_file(out, case_id).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return (
        note if {"made_from", "explained_by", "sums", "regions", "randomised", "random_regions"} <= set(note) else None
    )


def written(
    out: Path,
    scans: pd.DataFrame,
    told: Mapping[str, Any],
    grid: Grid,
    left_out: pd.DataFrame,
    failures: Sequence[Failure],
) -> Explained:
    """Put the notes and maps of all scans together.

    Parameters
    ----------
    out : Path
        The folder.
    scans : pandas.DataFrame
        `PREPARED_SCANS` that could be explained.
    told : mapping
        The folder's settings, `data_note` (what the data are), and `pictures` (whether mean maps are drawn).
    grid : Grid
        Of the maps.
    left_out : pandas.DataFrame
        Scans without the region.
    failures : sequence of Failure
        Scans without a note.

    Raises
    ------
    TableError
        If no scan could be read.
    """
    write_table(left_out, out / "left_out.csv")
    write_failures(failures, out / "failures.csv")
    failed = {failure.case for failure in failures}
    notes = {case: note for case in scans["case_id"] if case not in failed and (note := read_note(out, case))}
    if not notes:
        raise TableError(f"{out}: expected scans that can be read, found none: {failures[0].reason}")
    its = scans[scans["case_id"].isin(list(notes))]
    explained = _frame(its, notes, "sums", EXPLAINED.names, {"truth": its["disabled"].tolist()})
    relevance = _frame(its, notes, "regions", RELEVANCE.names)
    randomisation = _frame(its, notes, "randomised", RANDOMISATION.names)
    positives = true_positives(explained)
    random = _frame(its, notes, "random_regions", RELEVANCE.names)
    empty = pd.DataFrame(columns=RANKED_REGIONS.names)
    regions = ranked_regions(relevance, positives, random) if len(relevance) else empty
    tables = {"explained_scans": explained, "relevance": relevance, "regions": regions, "randomisation": randomisation}
    for name, table in tables.items():
        write_table(table, out / f"{name}.csv")
    groups = {ALL: its["case_id"].tolist(), TRUE_POSITIVES: positives}
    for method in told["methods"]:
        for name, cases in groups.items():
            if cases:
                _average(out, its[its["case_id"].isin(cases)], name, told, method, grid)
    remarks = remarks_of(explained, regions, randomisation, left_out, told)
    return Explained(explained, regions, randomisation, out, [f"{out}: {remarks[0]}", *remarks[1:]], list(failures))


def _frame(
    scans: pd.DataFrame,
    notes: Mapping[str, Mapping[str, Any]],
    what: str,
    names: Sequence[str],
    more: Mapping[str, Sequence[Any]] | None = None,
) -> pd.DataFrame:
    """Rows of all scans' notes, each with whose they are."""
    rows = []
    for place, (case, patient, visit) in enumerate(
        zip(scans["case_id"], scans["patient_id"], scans["visit"], strict=True)
    ):
        own = {name: values[place] for name, values in (more or {}).items()}
        who = {"case_id": case, "patient_id": patient, "visit": visit, "explained_by": notes[case]["explained_by"]}
        rows += [{**who, **own, **row} for row in notes[case][what]]
    return pd.DataFrame(rows, columns=list(names))


def true_positives(explained: pd.DataFrame) -> list[str]:
    """Cases of disabled patients that are called disabled; `explained` as `EXPLAINED`.

    Examples
    --------
    >>> rows = {"case_id": ["a", "b", "c"], "truth": [1, 1, 0], "probability": [0.9, 0.2, 0.9], "threshold": 0.5}
    >>> true_positives(pd.DataFrame(rows))
    ['a']
    """
    called = explained["probability"] >= explained["threshold"]
    return list(dict.fromkeys(explained["case_id"][called & (explained["truth"] == 1)]))


def _average(out: Path, scans: pd.DataFrame, group: str, told: Mapping[str, Any], method: str, grid: Grid) -> None:
    """Write and draw the mean map of a group of scans; one map is in memory at a time."""
    total, seen = np.zeros(grid.shape), np.zeros(grid.shape, dtype=bool)
    for case in scans["case_id"]:
        relevance = np.asarray(read_volume(map_file(out, case, method)).data, dtype=np.float32)
        total += comparable(relevance)
        seen |= relevance != 0
    mean = (total / len(scans)).astype(np.float32)
    stem = f"{method}_{group.replace(' ', '_')}"
    write_volume(out / "mean_maps" / f"{stem}.nii.gz", mean, grid.affine)
    if told["pictures"]:
        title = title_of(method, told, group, len(scans), scans["patient_id"].nunique())
        signs = "" if method == "gradcam" else " Red speaks for EDSS >= 3.0, blue against."
        note = f"Mean over scans; each scan's relevance in units of its own mean size.{signs}"
        picture = out / "pictures" / f"{told['strategy']}_{told['network']}_{stem}.png"
        draw_brain(mean, seen, grid, title, note, picture, UNITS[method])


def comparable(relevance: SingleFloats) -> SingleFloats:
    """A scan's relevance divided by its mean size where there is any, so that no scan outweighs the others.

    Examples
    --------
    >>> comparable(np.array([0.0, 2.0, -6.0], np.float32)).tolist()
    [0.0, 0.5, -1.5]
    """
    some: Bools = relevance != 0
    return relevance / np.float32(np.abs(relevance[some], dtype=np.float64).mean()) if some.any() else relevance


def title_of(method: str, told: Mapping[str, Any], group: str, scans: int, patients: int) -> str:
    """What a picture is of.

    Examples
    --------
    >>> title_of("ig", {"network": "compact", "strategy": "wm", "data_note": "simulated"}, "all", 8, 7)
    'Integrated gradients of compact (wm), all: n = 8 scans of 7 patients, data: simulated'
    """
    data = told["data_note"] or "not stated"
    return (
        f"{METHOD_NAMES[method]} of {told['network']} ({told['strategy']}), {group}: n = {scans} scans of {patients} "
        f"patients, data: {data}"
    )


def remarks_of(
    explained: pd.DataFrame,
    regions: pd.DataFrame,
    randomisation: pd.DataFrame,
    left_out: pd.DataFrame,
    told: Mapping[str, Any],
) -> list[str]:
    """What has to be told: how many, by which models, what is missing, sums, rankings, the check."""
    by = explained.drop_duplicates("case_id")["explained_by"].str.startswith("fold").sum()
    count, patients = explained["case_id"].nunique(), explained["patient_id"].nunique()
    lines = [
        f"{count} scans of {patients} patients, {told['strategy']}, {told['network']}: {by} by the fold that has not "
        f"seen the patient, {count - by} by all folds; {len(true_positives(explained))} true positives."
    ]
    if len(left_out):
        lines.append(f"{len(left_out)} scans lack {told['strategy']} and are left out: left_out.csv.")
    lines += [line for method in told["methods"] if (line := _sum_remark(explained, method, told))]
    lines += _ranking_remarks(regions, told)
    if len(randomisation):
        return lines + verdicts(randomisation)
    return [*lines, "Not checked whether maps depend on the weights (randomised 0)."]


def _sum_remark(explained: pd.DataFrame, method: str, told: Mapping[str, Any]) -> str:
    rows = explained[explained["method"] == method]
    expected = rows["expected_sum"].to_numpy(np.float64)
    gap = np.abs(rows["relevance_sum"].to_numpy(np.float64) - expected)
    if method == "lrp":
        return (
            f"LRP: relevances sum to the logit but for what biases and epsilon keep, {float(np.median(gap)):.2g} "
            "logits in the median scan."
        )
    if method != "ig":
        return ""
    worst, off = float(gap.max()), int((gap > TOLERANCE * np.maximum(1, np.abs(expected))).sum())
    more = (
        f" {off} scans are off by more than {TOLERANCE:g}: take more --steps than {told['integrated_gradients_steps']}."
    )
    return (
        "Integrated gradients: relevances sum to logit(scan) - logit(empty image) to within "
        f"{worst:.2g} logits.{more if off else ''}"
    )


def _ranking_remarks(regions: pd.DataFrame, told: Mapping[str, Any]) -> list[str]:
    if regions.empty:
        return ["No regions: the scans were prepared without label maps and priors, and no atlas was given."]
    lines = []
    for (method, group, parcellation), part in regions.groupby(["method", "scans", "parcellation"], sort=False):
        named = part[part["region"] != ELSEWHERE]
        which = "" if parcellation == "regions" else f" ({parcellation})"
        line = f"{METHOD_NAMES[method]}, {group}{which}: {_first(named, 'density')} (density of positive relevance)"
        if named["against_random"].notna().any():
            line += f"; against random weights {_first(named, 'against_random')}"
        lines.append(f"{line}.")
    if told["strategy"] != "global":
        lines.append(
            f"The networks of {told['strategy']} see that region and one voxel around it: other regions stand in the "
            "tables with that voxel alone, and their rank says little."
        )
    return lines


def _first(regions: pd.DataFrame, by: str) -> str:
    """The first three regions by a column, with its values."""
    best = regions.sort_values(by, ascending=False, kind="stable").head(3)
    return ", ".join(f"{region} {value:.2f}" for region, value in zip(best["region"], best[by], strict=True))
