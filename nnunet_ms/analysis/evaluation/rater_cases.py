"""All raters of one case against each other and against the consensus: rows for the tables of `rater_matrix`.

Every mask is labelled once; each ordered pair of masks is then one `match_lesions`, as in an evaluation of a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ms.analysis.evaluation.case_metrics import case_metrics
from nnunet_ms.analysis.evaluation.cohort_metrics import count_sizes
from nnunet_ms.analysis.evaluation.matching import Match, Rule, match_lesions
from nnunet_ms.analysis.evaluation.patient_rows import Block
from nnunet_ms.analysis.evaluation.rater_consensus import (
    MAJORITY,
    MINIMUM_RATERS,
    OTHERS,
    STAPLE,
    Staple,
    majority,
    staple,
)
from nnunet_ms.analysis.evaluation.rater_masks import read_raters
from nnunet_ms.analysis.evaluation.rater_pairing import RaterCase
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.arrays import Bools
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.names import file_called
from nnunet_ms.images.volumes import Volume, read_volume
from nnunet_ms.lesions.components import Connectivity
from nnunet_ms.lesions.labelling import Lesions, find_all_lesions
from nnunet_ms.lesions.overlap import lesion_dice
from nnunet_ms.tables import REFERENCE

LARGEST_BIN = 51  # Krishnan et al. 2023 and its supplement: 3-10, 11-50, > 50 voxels

Labelled = Mapping[Connectivity, Lesions]


@dataclass(frozen=True)
class RaterSettings:
    """What every case needs to know.

    `raters` make the consensus, `models` are compared beside them; `labels` maps each lesion type to its label in the
    masks; `brain` is a folder of brain masks, the voxels that STAPLE counts.
    """

    raters: tuple[str, ...]
    models: tuple[str, ...] = ()
    rules: tuple[str, ...] = ("krishnan2023",)
    labels: Mapping[str, int] = field(default_factory=lambda: {"t2_lesions": 1})
    note: str = ""
    brain: Path | None = None

    @property
    def rules_with_bins(self) -> list[Rule]:
        """The rules, their size bins ending with an open one of more than 50 voxels."""
        rules = rules_by_name(self.rules)
        return [replace(r, size_bins=tuple(first for first in r.size_bins if first <= LARGEST_BIN)) for r in rules]


@dataclass
class RaterRows:
    """Blocks of one case; `raters` of a block in `totals` is one name, in the others `rater` and `versus`.

    `refused` names masks that could not be used, as (case, rater, reason).
    """

    metrics: list[Block] = field(default_factory=list)
    sizes: list[Block] = field(default_factory=list)
    totals: list[Block] = field(default_factory=list)
    staple: list[Block] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)


def compare_raters(case: RaterCase, settings: RaterSettings) -> RaterRows:
    """Rows of one case.

    Raises
    ------
    ImageError
        If fewer than two masks can be read, hold known labels and lie on one grid, or the brain mask cannot be used.
    """
    read, rows = read_raters(case, settings.labels), RaterRows()
    masks = read.masks
    rows.refused.extend((case.case_id, reader, reason) for reader, reason in read.refused.items())
    brain = _brain(case, settings, next(iter(next(iter(masks.values())).values())))
    size = None if brain is None else int(brain.sum())
    rules = settings.rules_with_bins
    connectivities = list(dict.fromkeys(rule.connectivity for rule in rules))
    for lesion_type in settings.labels:
        of_type = {reader: by_type[lesion_type] for reader, by_type in masks.items()}
        place = {"case_id": case.case_id, "patient_id": case.place.patient_id, "visit": case.place.visit}
        labels: Block = {**place, "lesion_type": lesion_type, "data_note": settings.note}
        made, against = _consensus(of_type, settings, brain, rows, labels)
        labelled = {name: find_all_lesions(mask, connectivities) for name, mask in {**of_type, **made}.items()}
        for reader, versus, name in _pairs(of_type, settings, made, against):
            matches = match_lesions(labelled[name], labelled[reader], rules, size)
            for rule, match in zip(rules, matches, strict=True):
                _add_pair(rows, match, rule, {**labels, "rater": reader, "versus": versus, "rule": rule.name})
    return rows


def _brain(case: RaterCase, settings: RaterSettings, grid_of: Volume) -> Bools | None:
    if settings.brain is None:
        return None
    mask = onto_grid(read_volume(file_called(settings.brain, case.case_id)), grid_of)
    if not mask.data.any():
        raise ImageError(f"{mask.path}: expected a brain mask, found no voxel in it. Make it again.")
    return np.asarray(mask.data != 0)


def _consensus(
    masks: Mapping[str, Volume], settings: RaterSettings, brain: Bools | None, rows: RaterRows, labels: Block
) -> tuple[dict[str, Volume], dict[str, str]]:
    """Consensus masks by a name of their own, and for each reader that of the majority without him; none of one rater.

    STAPLE's rates are added to the rows.
    """
    own = {rater: masks[rater] for rater in settings.raters if rater in masks}
    if len(own) < MINIMUM_RATERS:
        return {}, {}
    found = staple(own, brain)
    rows.staple.extend(_rates(found, {**labels, "n_raters": len(own)}))
    made, against = {MAJORITY: majority(own), STAPLE: found.mask}, {}
    for reader in masks:
        if reader not in own:
            against[reader] = MAJORITY
            continue
        against[reader] = f"{OTHERS} {reader}"
        made[against[reader]] = majority({rater: mask for rater, mask in own.items() if rater != reader})
    return made, against


def _rates(found: Staple, labels: Block) -> Iterator[Block]:
    for rater, sensitivity in found.sensitivity.items():
        yield {**labels, "rater": rater, "sensitivity": sensitivity, "specificity": found.specificity[rater]}


def _pairs(
    masks: Mapping[str, Volume], settings: RaterSettings, made: Mapping[str, Volume], against: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """(reader, with whom he is compared in the tables, the mask that stands for that) of every comparison."""
    readers = [name for name in (*settings.raters, *settings.models) if name in masks]
    for reader in readers:
        yield from ((reader, other, other) for other in masks if other != reader)
        yield from ((reader, name, name) for name in (MAJORITY, STAPLE) if name in made)
        if reader in against:
            yield reader, OTHERS, against[reader]


def _add_pair(rows: RaterRows, match: Match, rule: Rule, labels: Block) -> None:
    values: dict[str, Any] = case_metrics(match, rule)
    rows.metrics.append(
        {**labels, "metric": np.array(list(values), dtype=object), "value": np.array(list(values.values()))}
    )
    kept = {name: labels[name] for name in ("case_id", "patient_id", "lesion_type", "rater", "versus", "rule")}
    sides = (
        (REFERENCE, match.reference, match.overlap, match.reference_found),
        (labels["rater"], match.prediction, match.overlap.swapped, match.prediction_found),
    )
    for side, lesions, overlap, found in sides:
        rows.sizes.append({**kept, "side": side, **count_sizes(lesions.voxels, found, lesion_dice(overlap), rule)})
        counts = {"lesion_count": lesions.count, "volume_ml": lesions.volume_ml}
        rows.totals.append({**kept, "side": side, **counts})


def joined(parts: Sequence[RaterRows]) -> RaterRows:
    """Rows of all cases."""
    whole = RaterRows()
    for part in parts:
        for name, blocks in vars(part).items():
            getattr(whole, name).extend(blocks)
    return whole
