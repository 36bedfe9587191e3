"""Which lesions of two masks found each other, by a named rule.

The rules themselves stand in `rules.py`. Everything a rule needs stands in one sparse contingency table of the two
labelled masks (`lesions.overlap.Overlap`). Both masks are labelled once per connectivity; rules that differ in the size
filter or the criterion share that labelling and that table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nnunet_ms.arrays import Bools
from nnunet_ms.images.volumes import Volume
from nnunet_ms.lesions.components import Connectivity
from nnunet_ms.lesions.labelling import Lesions, find_all_lesions, without_small
from nnunet_ms.lesions.overlap import Overlap, common_voxels, count_overlap, overlap_without_small


@dataclass(frozen=True)
class Rule:
    """How lesions are delineated, how they are found, and what is reported.

    Attributes
    ----------
    name : str
        The rule's name in every table.
    description : str
        One line for figures: components, size filter, criterion.
    connectivity : {6, 18, 26}
        Which voxels touch.
    minimum_voxels : callable
        Voxel volume in ml -> smallest lesion that counts, in voxels; the filter acts on both masks.
    found : callable
        `Overlap` seen from the lesions in question -> (L,) bool, which of them are found. It is called once per
        mask, so an asymmetric rule sees its lesions as rows both times.
    metrics : tuple of str
        Names from `case_metrics.CASE_METRICS` and `cohort_metrics.COHORT_METRICS`, in the order of the printed table.
    size_bins : tuple of int
        First size of each bin in voxels; a bin ends where the next begins, the last is open.
    filters_voxels : bool
        Whether voxel-wise metrics are of the masks after the size filter, or of the masks as they are.
    """

    name: str
    description: str
    connectivity: Connectivity
    minimum_voxels: Callable[[float], int]
    found: Callable[[Overlap], Bools]
    metrics: tuple[str, ...]
    size_bins: tuple[int, ...]
    filters_voxels: bool = False


@dataclass(frozen=True)
class Voxels:
    """Voxels of both masks, of each, of the whole image, and of the brain (the image when no brain mask is known)."""

    shared: int
    reference: int
    prediction: int
    image: int
    brain: int


@dataclass(frozen=True)
class Match:
    """The lesions of a reference mask (R) and of a predicted mask (P), and which of them are found.

    `voxels` is what voxel-wise metrics of the rule are computed from, after its size filter or before.
    """

    reference: Lesions
    prediction: Lesions
    overlap: Overlap
    reference_found: Bools
    prediction_found: Bools
    voxels: Voxels


def match_masks(reference: Volume, prediction: Volume, rule: Rule) -> Match:
    """Label both masks, count what they share, and apply the rule in both directions.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid (see `volumes.check_same_grid`).
    rule : Rule
        See `rules.RULES`.

    Returns
    -------
    Match
        `reference_found` (R,): reference lesions that the prediction finds. `prediction_found` (P,): predicted
        lesions that the reference confirms; the others are false. Length 0 for a mask without lesions.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.rules import RULES
    >>> from nnunet_ms.images.volumes import read_mask
    >>> masks = [read_mask(Path(f"{name}.nii.gz")) for name in ("reference", "prediction")]
    >>> match = match_masks(*masks, RULES["krishnan2023"])
    >>> match.reference_found.tolist(), match.prediction_found.tolist()
    ([True, False, True], [True, True, False])
    """
    return match_by_rules(reference, prediction, [rule])[0]


def match_by_rules(
    reference: Volume, prediction: Volume, rules: Sequence[Rule], brain_voxels: int | None = None
) -> list[Match]:
    """Apply several rules to one pair of masks; each connectivity among them is labelled once.

    Parameters
    ----------
    reference, prediction : Volume
        Masks (X, Y, Z) on one grid (see `volumes.check_same_grid`).
    rules : sequence of Rule
        In any order.
    brain_voxels : int, optional
        Size of the brain, for rules that need it; the whole image when not given.

    Returns
    -------
    list of Match
        One per rule, in the order of `rules`.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.rules import rules_by_name
    >>> from nnunet_ms.images.volumes import read_mask
    >>> masks = [read_mask(Path(f"{name}.nii.gz")) for name in ("reference", "prediction")]
    >>> rules = rules_by_name(["krishnan2023", "msseg2016"])
    >>> [match.reference.count for match in match_by_rules(*masks, rules)]
    [3, 3]
    """
    connectivities = list(dict.fromkeys(rule.connectivity for rule in rules))
    first, second = (find_all_lesions(mask, connectivities) for mask in (reference, prediction))
    return match_lesions(first, second, rules, brain_voxels)


def match_lesions(
    reference: Mapping[Connectivity, Lesions],
    prediction: Mapping[Connectivity, Lesions],
    rules: Sequence[Rule],
    brain_voxels: int | None = None,
) -> list[Match]:
    """Apply several rules to two masks that `find_all_lesions` has labelled by every rule's connectivity."""
    first, second = next(iter(reference.values())), next(iter(prediction.values()))
    common = common_voxels(first, second)  # the same under every connectivity
    labelled = {
        c: (reference[c], prediction[c], count_overlap(reference[c], prediction[c], common))
        for c in {rule.connectivity for rule in rules}
    }
    return [_apply(rule, *labelled[rule.connectivity], brain_voxels) for rule in rules]


def _apply(rule: Rule, reference: Lesions, prediction: Lesions, overlap: Overlap, brain_voxels: int | None) -> Match:
    minimum = rule.minimum_voxels(reference.voxel_volume_ml)
    first, second = without_small(reference, minimum), without_small(prediction, minimum)
    filtered = overlap_without_small(overlap, minimum)
    counted = filtered if rule.filters_voxels else overlap
    image = math.prod(reference.grid.shape)
    voxels = Voxels(
        shared=int(counted.shared.sum()),
        reference=int(counted.voxels.sum()),
        prediction=int(counted.other_voxels.sum()),
        image=image,
        brain=image if brain_voxels is None else brain_voxels,
    )
    return Match(first, second, filtered, rule.found(filtered), rule.found(filtered.swapped), voxels)
