"""System `new_lesions`: two visits registered, normalised in their common brain and subtracted; what changed is learnt.

Wahlig et al., Front Neurosci 2023;17:1188336, doi:10.3389/fnins.2023.1188336: the follow-up is registered to the first
visit. Ours: rigidly, because deformation takes away new lesions (docs/new_lesions.md), by SimpleITK, greedy or the
transforms that come with the data. Each image is resampled once, whatever the space and the steps.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from nnunet_ms.arrays import Bools, Matrix
from nnunet_ms.dataset_conversion.cases import Case, Pair
from nnunet_ms.dataset_conversion.labels import CHANGE_RULES
from nnunet_ms.dataset_conversion.pair_labels import label_of_pair, nearest
from nnunet_ms.dataset_conversion.pair_ways import Visit, Visits, Ways, read_visit, ways_of
from nnunet_ms.dataset_conversion.pairs import BASELINE, FOLLOWUP, SUBTRACTION, PairOptions
from nnunet_ms.dataset_conversion.preparation import moved_onto
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ImageError
from nnunet_ms.images.itk import simpleitk_threads, to_itk, voxels
from nnunet_ms.images.two_visits import deep_in, head_in, header_words, likeness, robust_z
from nnunet_ms.images.volumes import Grid, read_volume, write_volume
from nnunet_ms.outputs import whole_file

POOR = 0.6  # correlation below which a pair is flagged; the two heads of our real data have .26 to .40
POOR_REGISTRATION = "poor_registration"  # flag of such a pair in cases.csv
WORSE = 0.02  # loss of correlation that no interpolation explains: the registration went to a wrong place
SAME = 0.999  # above it one scan was given twice: two visits of one patient reach .95 or so
DARKER_VOXELS = 10  # of new lesions: fewer are too few to say whether they are brighter or darker
SCALE = "median 0, interquartile range 1.349"
BRIGHT = ("flair", "t2")  # sequences on which new lesions are bright


@dataclass(frozen=True)
class WrittenPair:
    """What cases.csv says of a pair; `flag` is blank unless somebody should look at it.

    `lesions_lost`: components of a mask of change that have no voxel on the pair's grid, because they are thinner than
    its slices.
    """

    steps: str
    registration: str
    correlation_before: float
    correlation_after: float
    flag: str
    lesions_lost: int


def write_pair(
    case: Case,
    targets: Mapping[str, Path],
    label: Path,
    record: Path,
    steps: Steps,
    options: PairOptions,
    accept: tuple[str, ...] = (),
) -> WrittenPair:
    """Write the channels and the label of a pair, and `record`: registration, correlations, transforms, grids.

    Parameters
    ----------
    case : Case
        With its `pair`.
    targets : mapping
        Channel (`PairOptions.names`) -> file to write.
    label, record : Path
        Files to write; no label where the pair has none.
    steps : Steps
        Preparation of both visits.
    options : PairOptions
        Space, engine and target.
    accept : tuple of str, optional
        Of `plausibility.ACCEPTABLE`: `visits_same`, `visits_order`.

    Raises
    ------
    ImageError
        If the registration fails, the visits have no brain in common, are one scan, or new lesions are darker at the
        follow-up (the two last unless accepted).
    """
    pair = case.pair
    if pair is None:
        raise ValueError(f"{case.case_id} is no pair")
    with simpleitk_threads(steps.threads):
        log: list[dict[str, Any]] = []
        visits = read_visit(pair.baseline, steps, log, "baseline"), read_visit(pair.followup, steps, log, "followup")
        ways = ways_of(pair, case, visits, options, steps, log)
        first, second = (_moved_images(*one, ways.grid) for one in zip(visits, ways.both, strict=True))
        shown, brain, told = _common_brain(case, visits, ways, next(iter(first.values())), next(iter(second.values())))
        alike = _alike(case, visits, ways, brain)
        channels = _channels(first, second, brain, shown, case)
        marked, lost = (None, 0) if case.label is None else label_of_pair(case, pair, visits, ways)
        remarks = _checked(case, channels, marked, alike, accept)
        for channel, path in targets.items():
            write_volume(path, channels[channel], ways.grid.affine)
        if marked is not None:
            write_volume(label, marked, ways.grid.affine)
        log.append({"step": "subtract", "inside": told, "voxels": int(brain.sum()), "scale": SCALE})
        flag = POOR_REGISTRATION if is_poor(*alike) else ""
        remarks += [why_poor(case, *alike)] if flag else []
        grids = {"baseline": visits[0].grid, "followup": visits[1].grid}
        _write_record(record, case, pair, ways, grids, alike, remarks, log)
        names = " ".join(dict.fromkeys(entry["step"] for entry in log))
        return WrittenPair(names, ways.registration, *alike, flag, lost)


def _moved_images(visit: Visit, way: Matrix, grid: Grid) -> dict[str, npt.NDArray[np.float32]]:
    """Every sequence of a visit on the pair's grid, each resampled once."""
    return {
        name: voxels(moved_onto(image, visit.grids[name], grid, visit.within[name] @ way, is_label=False)).astype(
            np.float32
        )
        for name, image in visit.images.items()
    }


def _common_brain(
    case: Case,
    visits: Visits,
    ways: Ways,
    first: npt.NDArray[np.float32],
    second: npt.NDArray[np.float32],
) -> tuple[Bools, Bools, str]:
    """What is shown of the pair, and where both visits show brain, on the pair's grid; and how that is known."""
    both = list(zip(visits, ways.both, strict=True))
    seen = _seen(*both[0], ways.grid) & _seen(*both[1], ways.grid)
    told = []
    if case.brain_mask is not None:  # of both visits together
        mask = read_volume(case.brain_mask)
        seen &= nearest((mask.data != 0).astype(np.uint8), mask.grid, ways.grid, ways.shared) != 0
        told.append("the brain mask of the common space")
    for visit, way in both:
        if visit.brain is not None:
            seen &= voxels(moved_onto(visit.brain, visit.grid, ways.grid, way, is_label=True)) != 0
            told.append(f"the brain mask of visit {visit.case.visit}")
    if told:
        return seen, seen, " and ".join(told)
    head = head_in(first, ways.grid) & head_in(second, ways.grid)
    shown = seen & head
    return shown, deep_in(shown, ways.grid), "what lies 15 mm deep in the head of both visits: there is no brain mask"


def _seen(visit: Visit, way: Matrix, grid: Grid) -> Bools:
    """The part of a grid that lies in a visit's field of view."""
    ones = to_itk(np.ones(visit.grid.shape, np.uint8), visit.grid)
    return np.asarray(voxels(moved_onto(ones, visit.grid, grid, way, is_label=True)) != 0)


def _alike(case: Case, visits: Visits, ways: Ways, brain: Bools) -> tuple[float, float]:
    """Correlation of the first sequences inside the common brain, by the headers alone and after registration."""
    baseline, followup = visits
    first, after, before = (
        voxels(moved_onto(visit.first, visit.grid, ways.grid, way, is_label=False)).astype(np.float32)
        for visit, way in ((baseline, ways.baseline), (followup, ways.followup), (followup, ways.before))
    )
    if brain.sum() < 2:
        paths = " and ".join(str(path) for path in list(case.images.values())[:2])
        dark = [str(v.case.images[next(iter(v.images))]) for v in visits if float(voxels(v.first).max()) <= 0]
        step = (
            f"Without a brain mask the head is what is bright, and {dark[0]} has no voxel above 0: add its brain mask, "
            "or a constant to its intensities."
            if dark
            else "Check that both show one head, and the brain masks."
        )
        raise ImageError(
            f"{paths}: expected a brain that both visits show, found no voxel of it in both after registration. {step}"
        )
    return likeness(first, before, brain), likeness(first, after, brain)


def _channels(
    first: Mapping[str, npt.NDArray[np.float32]],
    second: Mapping[str, npt.NDArray[np.float32]],
    brain: Bools,
    shown: Bools,
    case: Case,
) -> dict[str, npt.NDArray[np.float32]]:
    """Both visits, normalised, and follow-up minus baseline, of every sequence."""
    channels = {}
    for name in first:
        with _of_files(case, name):
            channels[name + BASELINE] = robust_z(first[name], brain, shown)
            channels[name + FOLLOWUP] = robust_z(second[name], brain, shown)
        channels[name + SUBTRACTION] = channels[name + FOLLOWUP] - channels[name + BASELINE]
    return channels


@contextmanager
def _of_files(case: Case, name: str) -> Iterator[None]:
    """Let an error about both visits' images name their files."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{case.images[name + BASELINE]} and {case.images[name + FOLLOWUP]}: {error}") from error


def _checked(
    case: Case,
    channels: Mapping[str, npt.NDArray[np.float32]],
    marked: npt.NDArray[np.uint8] | None,
    alike: tuple[float, float],
    accept: tuple[str, ...],
) -> list[str]:
    """Raise ImageError for one scan given twice and for visits in the wrong order; what is accepted is returned."""
    first, second = list(case.images.values())[:2]
    found = []
    if alike[1] > SAME:
        found.append(("visits_same", f"expected two scans, found one twice (correlation {alike[1]:.5f})."))
    name = next(iter(case.images)).removesuffix(BASELINE)
    split_by_sign = case.label is not None and case.label.rule in CHANGE_RULES
    if marked is not None and name in BRIGHT and not split_by_sign:
        new = channels[name + SUBTRACTION][(marked == 1) & (channels[name + BASELINE] != 0)]
        if new.size >= DARKER_VOXELS and float(new.mean()) < 0:
            text = (
                f"expected new lesions brighter at the follow-up, found {new.mean():.2f} SD: are the visits reversed?"
            )
            found.append(("visits_order", text))
    for what, text in found:
        if what not in accept:
            raise ImageError(f"{second} after {first}: {text} Correct the files, or --accept {what}.")
    return [text for _, text in found]


def is_poor(before: float, after: float) -> bool:
    """Whether two visits are unlike after registration, or less alike than by their headers alone.

    Examples
    --------
    >>> is_poor(0.41, 0.58), is_poor(0.85, 0.81), is_poor(0.94, 0.93), is_poor(float("nan"), 0.9)
    (True, True, False, False)
    """
    return not after >= POOR or after < before - WORSE


def why_poor(case: Case, before: float, after: float) -> str:
    """What to look at in a pair that is unlike after registration, or that registration made less alike."""
    first, second = list(case.images.values())[:2]
    pair = f"{second} onto {first}: correlation {after:.2f} inside the common brain after registration"
    if after >= POOR:
        return (
            f"{pair}, {before:.2f} by the headers alone: it has moved the follow-up to a wrong place; written, and "
            "flagged in cases.csv. Look at the pair; take another --registration (none, where the headers are right) "
            "or brain masks, or --accept-poor-registration."
        )
    headers = f"{header_words(first)} and {header_words(second)}"
    return (
        f"{pair}, below {POOR:g}; written, and flagged in cases.csv. The headers say {headers}. Check that both show "
        "one patient; if they do, try another --registration, brain masks, or --accept-poor-registration."
    )


def _write_record(
    path: Path,
    case: Case,
    pair: Pair,
    ways: Ways,
    grids: Mapping[str, Grid],
    alike: tuple[float, float],
    remarks: list[str],
    log: list[dict[str, Any]],
) -> None:
    """Write what was done; `source_grid` and `target_to_source` are the baseline's, where predictions return to."""
    content = {
        "case_id": case.case_id,
        "baseline_visit": pair.baseline.visit,
        "followup_visit": pair.followup.visit,
        "correlation": {"before": alike[0], "after": alike[1], "inside": "the common brain, see the step subtract"},
        "remarks": remarks,
        "steps": log,
        "interpolation": {"images": "linear, once", "masks": "nearest neighbour"},
        "source_grid": _told_grid(grids["baseline"]),
        "followup_grid": _told_grid(grids["followup"]),
        "grid": _told_grid(ways.grid),
        "target_to_source": ways.baseline.tolist(),  # points, RAS mm
        "target_to_followup": ways.followup.tolist(),
        "software": {"SimpleITK": SimpleITK.Version.VersionString(), "nnunet-ms": version("nnunet-ms")},
    }
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _told_grid(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}
