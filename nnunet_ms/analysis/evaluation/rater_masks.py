"""Masks of one case by rater: one that cannot be used costs that rater, not the whole case."""

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_ms.analysis.evaluation.case_masks import by_type
from nnunet_ms.analysis.evaluation.rater_pairing import RaterCase
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.volumes import Volume, read_mask

_FEWEST = 2  # of a pair


@dataclass(frozen=True)
class RaterMasks:
    """Masks by reader and lesion type, on one grid, and why others are left out, by reader."""

    masks: dict[str, dict[str, Volume]]
    refused: dict[str, str]


def read_raters(case: RaterCase, labels: Mapping[str, int]) -> RaterMasks:
    """Read the masks of one case, on the grid that more than half of them share.

    Parameters
    ----------
    case : RaterCase
        Paths of the masks by rater.
    labels : mapping
        Lesion type -> label in the masks; other labels than these and 0 are an error.

    Raises
    ------
    ImageError
        If fewer than two masks can be used, or no grid is that of more than half; every reason is named.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nnunet_ms.cases_table import Place
    >>> masks = {"A": Path("reference.nii.gz"), "B": Path("prediction.nii.gz"), "C": Path("no_image.nii.gz")}
    >>> _ = masks["C"].write_bytes(b"no image")
    >>> found = read_raters(RaterCase("scan1", masks, Place("P1")), {"t2_lesions": 1})
    >>> list(found.masks), list(found.refused)
    (['A', 'B'], ['C'])
    """
    stored: dict[str, Volume] = {}
    refused: dict[str, str] = {}
    for reader, path in case.masks.items():
        try:
            stored[reader] = read_mask(path, {0, *labels.values()})
        except ImageError as error:
            refused[reader] = str(error)
    placed, elsewhere = _on_one_grid(stored)
    refused.update(elsewhere)
    if len(placed) < _FEWEST:
        raise ImageError(" ".join(refused.values()))
    return RaterMasks({reader: by_type(mask, labels) for reader, mask in placed.items()}, refused)


def _on_one_grid(stored: Mapping[str, Volume]) -> tuple[dict[str, Volume], dict[str, str]]:
    """Masks on the first grid that more than half of them share, and why the others do not fit it."""
    first: tuple[dict[str, Volume], dict[str, str]] = {}, {}
    for reference in stored.values():
        placed: dict[str, Volume] = {}
        elsewhere: dict[str, str] = {}
        for reader, mask in stored.items():
            try:
                placed[reader] = onto_grid(mask, reference)
            except ImageError as error:
                elsewhere[reader] = str(error)
        if 2 * len(placed) > len(stored):
            return placed, elsewhere
        first = first if first[1] else ({}, elsewhere)  # which of them is right nobody can say
    return first
