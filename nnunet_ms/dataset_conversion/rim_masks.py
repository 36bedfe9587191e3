"""The target `rim`: a label map of lesion core and rim, from a rim that was drawn or from labels of the lesions.

A case has a lesion mask, and beside it one of: a mask of rims; the labels of its lesions, as a table of points
(`x_mm, y_mm, z_mm, label` with 1 for rim+) or as an image of 0 none, 1 rim-, 2 rim+; or it is one map of 0, 1 core and
2 rim already. Of labelled lesions the shell (`lesions.rims`) becomes the rim, confluent ones taken apart before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.dataset_conversion.cases import Case, Mask
from nnunet_ms.errors import ImageError
from nnunet_ms.images.volumes import Volume, check_same_grid, read_mask
from nnunet_ms.lesions.components import find_components
from nnunet_ms.lesions.confluent import split_confluent
from nnunet_ms.lesions.lesion_labels import LabelProblem, label_lesions
from nnunet_ms.lesions.rims import CORE, RIM, RIM_MM, rims_of_lesions

TARGET = "rim"
# columns of a manifest and names of patterns; lesions may be called by either of the first two
LESIONS, RIMS, LABELS = ("lesions", "t2_lesions"), "rim_mask", "labels"
PARTS = (*LESIONS, RIMS, LABELS)
REACH_MM = 2.0  # how far outside of its lesion a rater's point may lie; such points are told
WHOLE = 0.9  # of all lesion voxels: no rims cover more
TABLES = (".csv", ".tsv", ".txt", ".parquet")


def is_table(path: Path) -> bool:
    """Whether a file of labels is a table, not an image."""
    return path.suffix.lower() in TABLES


def rim_mask(files: Mapping[str, Path]) -> tuple[Mask | None, str]:
    """Say how the label of a case is made from the files of its `PARTS`.

    Returns
    -------
    mask : Mask or None
        None where nothing tells rims: the case is there to be predicted.
    told : str
        What the user should know, or what is wrong where `mask` is None and a rim was given; blank: nothing.

    Examples
    --------
    >>> rim_mask({"t2_lesions": Path("les.nii.gz"), "labels": Path("points.csv")})[0].rule
    'rim_labels'
    >>> rim_mask({"t2_lesions": Path("les.nii.gz")})
    (None, 'no rim and no labels of lesions: not for training')
    """
    lesions = next((files[name] for name in LESIONS if name in files), None)
    rim, labels = files.get(RIMS), files.get(LABELS)
    if rim is None and labels is None:
        return None, "no rim and no labels of lesions: not for training" if lesions else ""
    if lesions is None:
        return None, (
            f"expected a lesion mask ({' or '.join(LESIONS)}) beside {RIMS if rim else LABELS}, found none. Name it; a "
            "map that holds 1 for core and 2 for rim is named in both places"
        )
    if rim is not None:
        told = f"{LABELS} are not used where a {RIMS} is given" if labels is not None else ""
        if rim == lesions:
            return Mask({RIMS: rim}, values={0: 0, CORE: CORE, RIM: RIM}), told
        return Mask({"lesions": lesions, RIMS: rim}, "rims"), told
    assert labels is not None
    return Mask({"lesions": lesions, "rim_labels": labels}, "rim_labels"), ""


def with_rim_mask(case: Case, files: Mapping[str, Path]) -> Case:
    """A case with the label that `rim_mask` makes of its files; without one, it says why."""
    mask, told = rim_mask(files)
    if mask is None and told.startswith("expected"):
        problem = f"patient {case.patient_id} visit {case.visit or 1}: {told}."
        return replace(case, label=None, problem=case.problem or problem)
    return replace(case, label=mask, remark="; ".join(filter(None, (case.remark, told))))


def is_of_rims(mask: Mask) -> bool:
    """Whether a label map is one of core and rim."""
    return mask.rule in ("rims", "rim_labels") or set(mask.files) == {RIMS}


def read_rims(mask: Mask) -> tuple[Volume, str]:
    """Label map (X, Y, Z) uint8 of core and rim, and a remark for the user (blank: nothing to say).

    Raises
    ------
    ImageError
        If a file is damaged or holds other numbers, the files do not share a grid, no voxel of the rim touches the
        lesions, a rim+ label lies in no lesion, or one lesion has labels of both kinds.
    TableError
        If a table of labels lacks a column or holds other numbers.
    """
    first, second = mask.files.values()
    lesions = read_mask(first)
    if mask.rule == "rims":
        rims = read_mask(second)
        check_same_grid(lesions, rims, str(first), str(second))
        data, remark = _drawn(lesions.data, rims.data != 0, second)
    else:
        data, remark = _labelled(lesions, second)
    return Volume(data, lesions.grid, first), remark


def _drawn(
    lesions: npt.NDArray[np.generic], rim: npt.NDArray[np.bool_], path: Path
) -> tuple[npt.NDArray[np.uint8], str]:
    outside = int((rim & (lesions == 0)).sum())
    if rim.any() and outside == int(rim.sum()):
        raise ImageError(
            f"{path}: expected rims at the edges of lesions, found none of {outside} voxels in the lesion mask. Is it "
            "of this visit?"
        )
    if rim.any() and int((rim & (lesions != 0)).sum()) > WHOLE * int((lesions != 0).sum()):
        raise ImageError(
            f"{path}: expected rims at the edges of lesions, found more than {WHOLE:.0%} of all lesion voxels in it. "
            f"Is it a lesion mask? A map of 1 core and 2 rim is named in both places, {RIMS} and {LESIONS[0]}."
        )
    data = np.where(rim, RIM, np.where(lesions != 0, CORE, 0)).astype(np.uint8)
    told = f"{outside} of {int(rim.sum())} rim voxels lie outside of the lesion mask; they are rim"
    return data, told if outside else ""


def _labelled(lesions: Volume, labels: Path) -> tuple[npt.NDArray[np.uint8], str]:
    numbers = split_confluent(lesions.data, lesions.grid.spacing)
    found = label_lesions(labels, numbers, lesions.grid, REACH_MM)
    _check_problems(found.problems, labels)
    plus = (np.flatnonzero(found.values == 1) + 1).tolist()
    data = rims_of_lesions(numbers, plus, lesions.grid.spacing)
    return data, "; ".join(_told(numbers, found.values, found.problems, lesions))


def _check_problems(problems: Sequence[LabelProblem], path: Path) -> None:
    """Raise ImageError where a lesion would be trained on with a wrong label."""
    bad = [one for one in problems if one.kind == "conflict" or (one.kind == "outside" and one.label == 1)]
    if bad:
        place = ", ".join(f"{mm:.1f}" for mm in bad[0].place_mm)
        raise ImageError(
            f"{path}: label {bad[0].label} at ({place}) mm: {bad[0].reason} ({len(bad)} such labels; expected each "
            f"in one lesion, or within {REACH_MM:g} mm of it)"
        )


def _told(
    numbers: npt.NDArray[np.int32], values: npt.NDArray[np.float64], problems: Sequence[LabelProblem], lesions: Volume
) -> list[str]:
    told = [f"rim of {int((values == 1).sum())} lesions: their outer {RIM_MM:g} mm"]
    blank = int(np.isnan(values).sum())
    if blank:
        told.append(f"{blank} of {len(values)} lesions have no label and count as rim-")
    apart = int(numbers.max(initial=0)) - find_components(lesions.data).count
    if apart:
        told.append(f"{apart} more lesions by taking confluent ones apart")
    counts = {kind: sum(one.kind == kind for one in problems) for kind in ("moved", "doubled", "outside")}
    return [*told, *(f"{count} labels {kind}" for kind, count in counts.items() if count)]
