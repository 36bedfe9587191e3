"""All rows that one patient adds to the tables: its visits in order, every rater, lesion type and rule.

Rows are kept as blocks, one value or one array per column, and become a data frame once, at the end: a frame per case
would cost more time than the matching.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ms.analysis.evaluation.agreement_by_location import SCHEMES, count_places
from nnunet_ms.analysis.evaluation.case_masks import CaseMasks, Extras, read_case
from nnunet_ms.analysis.evaluation.case_metrics import case_metrics
from nnunet_ms.analysis.evaluation.cohort_metrics import count_sizes
from nnunet_ms.analysis.evaluation.matching import Match, Rule, match_lesions
from nnunet_ms.analysis.evaluation.pairing import CaseFiles
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.table_pieces import Piece, write_pieces
from nnunet_ms.errors import NnunetMsError, SettingsError
from nnunet_ms.lesions.distance import distance_to_lesions
from nnunet_ms.lesions.features import locate, mean_of_map, region_of
from nnunet_ms.lesions.labelling import Lesions, find_all_lesions
from nnunet_ms.lesions.overlap import Overlap, lesion_dice
from nnunet_ms.lesions.rows import AXES, LESION_NUMBERS, box_columns, lesion_columns
from nnunet_ms.lesions.visits import Seen, change_since
from nnunet_ms.parallel import Failure
from nnunet_ms.tables import REFERENCE

Block = dict[str, Any]  # column -> one value, or one array of the block's length
_LABELS = ("case_id", "patient_id", "visit", "week", "lesion_type", "data_note")
_SIDE = ("found", "overlap_voxels", "lesion_dice", "distance_mm")  # what the other rater's lesions say of a lesion
_BOX = tuple(f"{axis}_{end}" for axis in AXES for end in ("first", "last"))
FOUND_BY = "found_by_"
# of `locate` and `region_of`
_PLACE = (
    *("location", "ventricles_mm", "cortex_mm", "infratentorial_share"),
    *("brain_region", "brain_region_share"),
)
LESION_COLUMNS = (*_LABELS, "rater", "rule", *LESION_NUMBERS, *_BOX, *_SIDE, *_PLACE)


def check_map_names(names: Sequence[str]) -> None:
    """Raise SettingsError if a map would write over a column of `lesions.csv`, or differ from one in case only.

    Examples
    --------
    >>> check_map_names(["probability", "uncertainty"])
    >>> check_map_names(["volume_ml"])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: --map volume_ml: lesions.csv has a column of this name. Choose another name, ...
    """
    taken = set(LESION_COLUMNS)
    for name in names:
        folded = name.strip().casefold()
        if folded in taken or folded.startswith(FOUND_BY):
            raise SettingsError(
                f"--map {name}: lesions.csv has a column of this name. Choose another name, such as "
                f"mean_{name.strip()}."
            )
        taken.add(folded)


@dataclass(frozen=True)
class Settings:
    """What every case needs to know; `rules[0]` is the rule of `lesions.csv` and `visits.csv`.

    `labels` maps each lesion type to its label in the masks.
    """

    rules: tuple[str, ...] = ("krishnan2023",)
    raters: tuple[str, ...] = ("model",)
    labels: Mapping[str, int] = field(default_factory=lambda: {"t2_lesions": 1})
    note: str = ""
    extras: Extras = field(default_factory=Extras)


@dataclass
class PatientRows:
    """Blocks of one patient; `sizes` counts the lesions under every rule and model, the first rule has `lesions`.

    `places` counts the first rule's lesions by location class.
    """

    lesions: list[Block] = field(default_factory=list)
    sizes: list[Block] = field(default_factory=list)
    places: list[Block] = field(default_factory=list)
    totals: list[Block] = field(default_factory=list)
    metrics: list[Block] = field(default_factory=list)
    changes: list[Block] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def evaluate_patient(visits: Sequence[CaseFiles], settings: Settings) -> PatientRows:
    """Rows of all visits of one patient; each file is read once, and the masks of two visits at most are in memory.

    A visit with a bad file is listed in `failures` and left out; the next one is then compared with the visit before.
    """
    rows = PatientRows()
    earlier: tuple[CaseFiles, CaseMasks] | None = None
    for files in visits:
        try:
            case = read_case(files, settings.labels, settings.extras)
        except (NnunetMsError, OSError) as error:
            rows.failures.append(Failure(files.case_id, str(error)))
            continue
        add_case(rows, files, case, earlier, settings)
        earlier = files, case
    return rows


@dataclass(frozen=True)
class PatientSummary:
    """What is left of `PatientRows` in memory once the rows of `lesions` and `changes` are on disk.

    `sizes`, `places`, `totals` and `metrics` are one block per kind of row; `columns` names the columns of the two
    tables.
    """

    sizes: list[Block]
    places: list[Block]
    totals: list[Block]
    metrics: list[Block]
    failures: list[Failure]
    pieces: dict[str, list[Piece]]
    columns: dict[str, list[str]]


def summarise_patient(
    visits: Sequence[CaseFiles], settings: Settings, columns: Mapping[str, Sequence[str]], folder: Path
) -> PatientSummary:
    """Evaluate a patient, write the rows of each table in `columns` (its first ones) to `folder`, keep the others."""
    rows = evaluate_patient(visits, settings)
    pieces, names = {}, {}
    for table, first in columns.items():
        frames = _by_case(getattr(rows, table), first)
        names[table] = next((list(frame.columns) for frame in frames.values()), [])
        pieces[table] = write_pieces(frames, folder / f"{table}-{visits[0].case_id}.csv")
    return PatientSummary(
        sizes=_compact(rows.sizes, ("patient_id", "model", "lesion_type", "rule", "rater")),
        places=_compact(rows.places, ("patient_id", "model", "lesion_type", "rule", "rater", "scheme")),
        totals=_compact(rows.totals, ()),
        metrics=_compact(rows.metrics, ()),
        failures=rows.failures,
        pieces=pieces,
        columns=names,
    )


def _by_case(blocks: Sequence[Block], columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    cases: dict[str, list[Block]] = {}
    for block in blocks:
        cases.setdefault(block["case_id"], []).append(block)
    return {case_id: _with_notes_last(stack(group, columns)) for case_id, group in cases.items()}


def _with_notes_last(frame: pd.DataFrame) -> pd.DataFrame:
    last = [name for name in ("rule", "data_note") if name in frame]
    return frame[[*(name for name in frame.columns if name not in last), *last]]


def _compact(blocks: Sequence[Block], by: Sequence[str]) -> list[Block]:
    """One block instead of one per case, but for those that differ in a column of `by`, which keeps its one value."""
    groups: dict[tuple[Any, ...], list[Block]] = {}
    for block in blocks:
        groups.setdefault(tuple(block[name] for name in by), []).append(block)
    return [_one_block(group, by) for group in groups.values()]


def _one_block(blocks: Sequence[Block], constant: Sequence[str]) -> Block:
    frame = stack([{name: value for name, value in block.items() if name not in constant} for block in blocks], ())
    return {name: blocks[0][name] for name in constant} | {name: frame[name].to_numpy() for name in frame}


def stack(blocks: Sequence[Block], columns: Sequence[str]) -> pd.DataFrame:
    """Blocks below each other; columns that no block has are left out."""
    lengths = [_length(block) for block in blocks]
    present = dict.fromkeys(name for block in blocks for name in block)
    order = [*(name for name in columns if name in present), *(name for name in present if name not in columns)]
    frame = {name: _stacked([block.get(name) for block in blocks], lengths) for name in order}
    return pd.DataFrame(frame, columns=order if blocks else list(columns))


def _length(block: Block) -> int:
    return next((len(value) for value in block.values() if isinstance(value, np.ndarray)), 1)


def _stacked(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    parts = [
        value if isinstance(value, np.ndarray) else np.full(n, value, dtype=_kind(value))
        for value, n in zip(values, lengths, strict=True)
        if n
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _kind(value: object) -> type:
    return object if isinstance(value, str) else float if value is None or isinstance(value, float) else type(value)


def add_case(
    rows: PatientRows,
    files: CaseFiles,
    case: CaseMasks,
    earlier: tuple[CaseFiles, CaseMasks] | None,
    settings: Settings,
) -> None:
    """Add the rows of one visit whose masks are in memory; `earlier` is the visit before, if there is one."""
    rules = rules_by_name(settings.rules)
    connectivities = list(dict.fromkeys(rule.connectivity for rule in rules))
    for lesion_type in settings.labels:
        labelled = {rater: find_all_lesions(masks[lesion_type], connectivities) for rater, masks in case.masks.items()}
        matches = {
            rater: match_lesions(labelled[REFERENCE], labelled[rater], rules, case.brain_voxels)
            for rater in settings.raters
        }
        labels = {"case_id": files.case_id, "patient_id": files.patient_id, "visit": files.visit, "week": files.week}
        labels |= {"lesion_type": lesion_type, "data_note": settings.note}
        changes = _changes(rows, files, case, earlier, lesion_type, labels)
        _add_lesions(rows, matches, rules[0], labels, case)
        for number, rule in enumerate(rules):
            by_rater = {rater: match[number] for rater, match in matches.items()}
            _add_totals(rows, by_rater, rule, labels, changes)
            for rater, match in by_rater.items():
                _add_metrics(rows, match, rule, {**labels, "rater": rater})
                _add_sizes(rows, match, rule, {**labels, "model": rater})


def _add_totals(
    rows: PatientRows, matches: Mapping[str, Match], rule: Rule, labels: Block, changes: Mapping[str, Block]
) -> None:
    sides = {REFERENCE: next(iter(matches.values())).reference}
    sides |= {rater: match.prediction for rater, match in matches.items()}
    for rater, lesions in sides.items():
        rows.totals.append(
            {
                **labels,
                "rater": rater,
                "rule": rule.name,
                "lesion_count": lesions.count,
                "volume_ml": lesions.volume_ml,
                "mask_volume_ml": lesions.mask_voxels * lesions.voxel_volume_ml,
                **changes[rater],
            }
        )


def _add_metrics(rows: PatientRows, match: Match, rule: Rule, labels: Block) -> None:
    values = case_metrics(match, rule)
    names = np.array(list(values), dtype=object)
    kept = {name: labels[name] for name in ("case_id", "patient_id", "visit", "rater", "lesion_type")}
    rows.metrics.append({**kept, "rule": rule.name, "metric": names, "value": np.array(list(values.values()))})


def _add_sizes(rows: PatientRows, match: Match, rule: Rule, labels: Block) -> None:
    kept = {name: labels[name] for name in ("patient_id", "model", "lesion_type")} | {"rule": rule.name}
    sides = [
        (REFERENCE, match.reference, match.overlap, match.reference_found),
        (labels["model"], match.prediction, match.overlap.swapped, match.prediction_found),
    ]
    for rater, lesions, overlap, found in sides:
        counts = count_sizes(lesions.voxels, found, lesion_dice(overlap), rule)
        rows.sizes.append({**kept, "rater": rater, **counts})


def _add_lesions(
    rows: PatientRows, matches: Mapping[str, list[Match]], rule: Rule, labels: Block, case: CaseMasks
) -> None:
    first = next(iter(matches.values()))[0]
    found_by: Block = {}
    if len(matches) > 1:
        found_by = {f"{FOUND_BY}{rater}": match[0].reference_found.astype(object) for rater, match in matches.items()}
    features = _features(first.reference, case)
    rows.lesions.append(
        {**labels, "rater": REFERENCE, **reference_lesions(first), **features, **found_by, "rule": rule.name}
    )
    for rater, (match, *_) in matches.items():
        own = _features(match.prediction, case)
        rows.lesions.append({**labels, "rater": rater, **predicted_lesions(match), **own, "rule": rule.name})
        _add_places(rows, match, {"reference": features, "prediction": own}, rule, {**labels, "model": rater})


def _add_places(rows: PatientRows, match: Match, features: Mapping[str, Block], rule: Rule, labels: Block) -> None:
    kept = {name: labels[name] for name in ("patient_id", "model", "lesion_type")} | {"rule": rule.name}
    sides = [
        (REFERENCE, features["reference"], match.overlap, match.reference_found),
        (labels["model"], features["prediction"], match.overlap.swapped, match.prediction_found),
    ]
    for rater, columns, overlap, found in sides:
        for scheme in [name for name in SCHEMES if name in columns]:
            counts = count_places(columns[scheme], found, lesion_dice(overlap))
            rows.places.append({**kept, "rater": rater, "scheme": scheme, **counts})


def reference_lesions(match: Match) -> Block:
    """Columns of `lesions.csv` for the reference lesions: size, place, and what the prediction does with them."""
    return _lesion_block(match.reference, match.prediction, match.overlap, match.reference_found)


def predicted_lesions(match: Match) -> Block:
    """Columns of `lesions.csv` for the predicted lesions: size, place, and what the reference says of them."""
    return _lesion_block(match.prediction, match.reference, match.overlap.swapped, match.prediction_found)


def _lesion_block(
    lesions: Lesions, others: Lesions, overlap: Overlap, found: np.ndarray[Any, np.dtype[np.bool_]]
) -> Block:
    shared = overlap.shared_voxels
    return {
        **lesion_columns(lesions),
        **box_columns(lesions),
        "found": found,
        "overlap_voxels": shared,
        "lesion_dice": lesion_dice(overlap),
        "distance_mm": distance_to_lesions(lesions, others, shared > 0),
    }


def _features(lesions: Lesions, case: CaseMasks) -> Block:
    block: Block = {name: mean_of_map(lesions, values) for name, values in case.maps.items()}
    if case.regions:
        block |= locate(lesions, case.regions)
    return block if case.labels is None else block | region_of(lesions, case.labels, case.names)


def _changes(
    rows: PatientRows,
    files: CaseFiles,
    case: CaseMasks,
    earlier: tuple[CaseFiles, CaseMasks] | None,
    lesion_type: str,
    labels: Block,
) -> dict[str, Block]:
    """Columns of change since the visit before, by rater; a blank with its reason where there is no such comparison."""
    columns: dict[str, Block] = {}
    for rater, masks in case.masks.items():
        before = None
        if earlier is not None:
            before = Seen(earlier[0].visit, earlier[0].week, earlier[1].masks[rater][lesion_type])
        columns[rater], table = change_since(before, Seen(files.visit, files.week, masks[lesion_type]))
        if table is not None:
            rows.changes.append({**labels, "rater": rater, **{name: table[name].to_numpy() for name in table.columns}})
    return columns
