"""Regions of the brain from a label map, and what a network sees of each: an image and a mask of one voxel more.

The tables say which ids of a segmentation tool belong to which region. Ids that no table knows are refused: a voxel of
unknown meaning would silently be in no region.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from nnunet_ms.arrays import Bools, SingleFloats
from nnunet_ms.errors import ImageError, OptionError
from nnunet_ms.images.volumes import Grid, Volume
from nnunet_ms.options import chosen, whole_numbers

Region = Literal["wm", "gm", "sgm", "ventricles", "brainstem"]
Strategy = Literal["global", "wm", "gm", "sgm", "ventricles", "brainstem"]
Tool = Literal["aseg", "mindglide"]
REGIONS: tuple[Region, ...] = get_args(Region)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
NOWHERE = ""  # of an id that is known and lies in none of the five regions


def _ids(region: str, *ids: int | range) -> dict[int, str]:
    return {i: region for one in ids for i in (one if isinstance(one, range) else (one,))}


# FreeSurfer's numbers, which FastSurfer and SynthSeg write too, with cortical parcels (1000, 2000) and, of FreeSurfer's
# wmparc, white-matter parcels (3000, 4000). Lesions (25, 57, 77 to 79) are white matter; choroid plexus and the fifth
# ventricle are ventricle. In none: CSF around the brain, vessels, ventral diencephalon, optic chiasm, dark grey matter.
ASEG = {
    **_ids(NOWHERE, 0, 24, 28, 60, 30, 62, 80, 81, 82, 85),
    **_ids("wm", 2, 41, 7, 46, 25, 57, 77, 78, 79, range(251, 256)),
    **_ids("wm", range(3000, 3036), range(4000, 4036), 5001, 5002),
    **_ids("gm", 3, 42, 8, 47, range(1000, 1036), range(2000, 2036)),
    **_ids("sgm", range(10, 14), range(49, 53), 17, 53, 18, 54, 26, 58),
    **_ids("ventricles", 4, 43, 5, 44, 14, 15, 31, 63, 72),
    **_ids("brainstem", 16),
}
# MindGlide's twenty (Goebl et al., Nat Commun 2025;16:3149): the cerebellum is one label there, neither grey nor white,
# and so in none of the five regions, as CSF, optic chiasm and ventral diencephalon.
MINDGLIDE = {
    **_ids(NOWHERE, 0, 1, 6, 10, 11, 19),
    **_ids("wm", 12, 13, 18),
    **_ids("gm", 7, range(14, 18)),
    **_ids("sgm", 3),
    **_ids("ventricles", 2, 8, 9),
    **_ids("brainstem", 4, 5),
}
TOOLS: Mapping[str, Mapping[int, str]] = {"aseg": ASEG, "mindglide": MINDGLIDE}
_SHOWN = 8  # unknown ids in a message


def label_table(tool: Tool = "aseg", outside: Iterable[int] = ()) -> dict[int, str]:
    """Which region each id of a label map belongs to; `NOWHERE` for those of none.

    Parameters
    ----------
    tool : {"aseg", "mindglide"}, optional
        Whose numbers they are: FreeSurfer's, FastSurfer's and SynthSeg's, or MindGlide's.
    outside : iterable of int, optional
        Further ids that are in no region, such as those of the skull.

    Raises
    ------
    OptionError
        If there is no such tool, or an id of `outside` is in a region.

    Examples
    --------
    >>> [label_table()[i] for i in (2, 3, 10, 43, 16)]
    ['wm', 'gm', 'sgm', 'ventricles', 'brainstem']
    >>> label_table("mindglide")[2]
    'ventricles'
    >>> label_table(outside=[16])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: outside: expected ids that are in no region, found 16, which is brainstem in the ...
    """
    table = dict(TOOLS[chosen(tool, get_args(Tool), "tool")])
    for one in whole_numbers(list(outside), "outside"):
        if table.get(one, NOWHERE) != NOWHERE:
            raise OptionError(
                f"outside: expected ids that are in no region, found {one}, which is {table[one]} in the table {tool}. "
                "Leave it out."
            )
        table[one] = NOWHERE
    return table


def region_masks(labels: Volume, table: Mapping[int, str]) -> dict[Region, Bools]:
    """Mask (X, Y, Z) of each region of a label map; a region without a voxel is there and empty.

    Parameters
    ----------
    labels : Volume
        Whole numbers, of any type.
    table : mapping of int to str
        Of `label_table`.

    Raises
    ------
    ImageError
        If a voxel is no whole number, or of an id that the table lacks; all such ids are named with their voxels.

    Examples
    --------
    >>> from pathlib import Path
    >>> def labels(*ids):
    ...     data = np.array(ids).reshape(-1, 1, 1)
    ...     return Volume(data, Grid(data.shape, np.eye(4)), Path("labels.nii.gz"))
    >>> region_masks(labels(0, 2, 77, 16), label_table())["wm"].ravel().tolist()
    [False, True, True, False]
    >>> region_masks(labels(2, 502, 502), label_table())
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: labels.nii.gz: expected ids of the table, found 502 (2 voxels). Is it the map of ...
    """
    place, found = pd.factorize(np.ascontiguousarray(labels.data).ravel())  # by hash: seconds faster than sorting
    _check_whole(found, labels)
    counts = np.bincount(place, minlength=len(found))
    unknown = sorted((int(i), int(n)) for i, n in zip(found, counts, strict=True) if int(i) not in table)
    if unknown:
        shown = ", ".join(f"{i} ({n} voxels)" for i, n in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise ImageError(
            f"{labels.path}: expected ids of the table, found {shown}{more}. Is it the map of another tool? Choose its "
            "table; ids that are in no region, such as those of the skull, may be declared as outside."
        )
    of_id = np.array([table[int(i)] for i in found])
    return {region: (of_id == region)[place].reshape(labels.data.shape) for region in REGIONS}


def _check_whole(found: npt.NDArray[np.number], labels: Volume) -> None:
    broken = found[found != np.round(found)]
    if broken.size:
        raise ImageError(
            f"{labels.path}: expected whole numbers, ids of regions, found {float(broken[0]):g}. Is it the label map, "
            "and was it resampled with nearest neighbours?"
        )


def empty_regions(masks: Mapping[Region, Bools]) -> list[Region]:
    """Regions without a voxel, in the order of `REGIONS`: a network of that region can say nothing of this patient.

    Examples
    --------
    >>> empty_regions({"wm": np.ones((2, 2, 2), bool), "brainstem": np.zeros((2, 2, 2), bool)})
    ['brainstem']
    """
    return [region for region in REGIONS if region in masks and not masks[region].any()]


def grown(mask: Bools) -> Bools:
    """The mask (X, Y, Z) and the voxels that share a face with it.

    Examples
    --------
    >>> mask = np.zeros((3, 3, 3), bool)
    >>> mask[1, 1, 1] = True
    >>> int(grown(mask).sum())
    7
    """
    return np.asarray(ndimage.binary_dilation(mask), dtype=bool)


def strategy_input(
    scored: SingleFloats, brain: Bools, masks: Mapping[Region, Bools], strategy: Strategy
) -> SingleFloats:
    """What the network of a strategy sees: the scores in its region and one voxel around, 0 elsewhere.

    Parameters
    ----------
    scored : (C, X, Y, Z) or (X, Y, Z) float32 array
        z-scores of the *whole* brain (`z_scores.z_scored`), so that an intensity means the same in every strategy.
    brain : (X, Y, Z) bool array
        What `global` shows, not grown.
    masks : mapping of region to (X, Y, Z) bool array
        Of `region_masks`; lesions stay where they are.
    strategy : {"global", "wm", "gm", "sgm", "ventricles", "brainstem"}

    Returns
    -------
    float32 array
        As `scored`.

    Raises
    ------
    ImageError
        If the region has no voxel.
    OptionError
        If there is no such strategy.

    Examples
    --------
    >>> scored, brain = np.ones((2, 5, 5, 5), np.float32), np.ones((5, 5, 5), bool)
    >>> stem = np.zeros((5, 5, 5), bool)
    >>> stem[2, 2, 2] = True
    >>> [float(strategy_input(scored, brain, {"brainstem": stem}, s).sum()) for s in ("global", "brainstem")]
    [250.0, 14.0]
    """
    chosen(strategy, STRATEGIES, "strategy")
    mask = brain if strategy == "global" else masks[strategy]
    if not mask.any():
        raise ImageError(
            f"{strategy}: expected voxels of the region, found none. Look at the label map; leave the scan out of this "
            "strategy."
        )
    seen = mask if strategy == "global" else grown(mask)
    return np.where(seen, scored, np.float32(0))


def regional_volumes(masks: Mapping[Region, Bools], grid: Grid) -> dict[str, float]:
    """Volume of each region in ml, as `wm_ml`: features of the regression that every network is compared with.

    Examples
    --------
    >>> grid = Grid((10, 10, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
    >>> regional_volumes({"wm": np.ones((10, 10, 10), bool)}, grid)
    {'wm_ml': 2.0}
    """
    return {f"{region}_ml": float(mask.sum() * grid.voxel_volume_ml) for region, mask in masks.items()}
