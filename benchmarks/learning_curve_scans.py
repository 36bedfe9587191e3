"""Simulated scans of `learning_curve.py`: MS, and other diseases of other shapes and sizes; one visit, or pairs of two.

At 2x2x3 mm, a slab of 20 slices around the ventricles, FLAIR alone.

MS: the simulator's lesions (log-normal, median 80 mm3, many, in white matter and around the ventricles). In pairs the
number of new lesions is log-normal with the paper's median of 3 and limits of 1 and 64; a draw without a new lesion in
the slab is drawn again; old lesions grow and shrink a little, as the simulator has it, and are not learnt.

Source: the same heads without MS, and one abnormality of another shape and size,

- tumour-like, every other one: an irregular ball of 8 to 18 mm radius around a place in white matter, FLAIR 1.3 to 1.7
  times as bright, with a dark core of 0.4 of the radius and a soft border;
- infarct-like: what a ball of 10 to 20 mm around a place on the cortex has of grey and white matter, 1.3 to 1.6 times
  as bright, with a sharp border.

In pairs it is there at the follow-up only. Each visit has its own noise, coil profile, scaling and misregistration of
0.25 mm and 0.2 degrees about each axis: what a rigid registration leaves, so that none is done.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

SPACING, SLICES = (2.0, 2.0, 3.0), slice(22, 42)
MEDIAN_MM3, LOG_SD = 80.0, 1.0
NEW_MEDIAN, NEW_LOG_SD, NEW_LIMITS = 3.0, 1.1, (1, 64)
ASKED = 0.6  # of the simulator: more than that many lesions are new by the rule, where old ones come apart
WEEKS = (0, 48)
Volumes = dict[str, npt.NDArray[Any]]


def draw_scans(folder: Path, count: int, *, pairs: bool, other_disease: bool) -> None:
    """Write FLAIR, brain mask and lesion mask of each visit, cut to the slab, and the manifest last."""
    from nnunet_ms.images.volumes import write_volume

    if (folder / "manifest.csv").is_file():
        return
    rows = []
    for index in range(count):
        patient = f"{'S' if other_disease else 'P'}{index + 1:03d}"
        for week, (volumes, affine) in zip(
            WEEKS, visits(index, pairs=pairs, other_disease=other_disease), strict=False
        ):
            visit = f"week{week:03d}"
            for name, data in volumes.items():
                write_volume(folder / patient / visit / f"{name}.nii.gz", data, affine)
            paths = {name: f"{patient}/{visit}/{name}.nii.gz" for name in volumes}
            rows.append({"patient_id": patient, "visit": visit, "week": week, **paths})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)


def visits(index: int, *, pairs: bool, other_disease: bool) -> list[tuple[Volumes, npt.NDArray[np.float64]]]:
    """Visits of one patient: volumes by the manifest's column names, and their affine."""
    for attempt in range(100):
        found = list(_drawn(index, attempt, pairs=pairs, other_disease=other_disease))
        if other_disease or not pairs or new_lesions(*(volumes["t2_lesions"] for volumes, _ in found)):
            return found
    raise RuntimeError(f"patient {index}: no new lesion in the slab in 100 draws")


def new_lesions(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> int:
    """Number of new lesions, by the rule that the converter has."""
    from nnunet_ms.images.volumes import Grid, Volume
    from nnunet_ms.lesions.change import lesion_change

    grid = Grid(before.shape, np.diag([*SPACING, 1.0]))
    return lesion_change(*(Volume(mask, grid, Path("mask")) for mask in (before, after))).followup.count("new")


def _drawn(
    index: int, attempt: int, *, pairs: bool, other_disease: bool
) -> Iterator[tuple[Volumes, npt.NDArray[np.float64]]]:
    from nnunet_ms.simulation.images.phantom import acquire_visit, draw_patient
    from nnunet_ms.simulation.model.presets import GridSettings, LesionSizes
    from nnunet_ms.simulation.model.streams import Step, stream

    seed = 31 if other_disease else 30
    rng = np.random.default_rng([seed, index, attempt])
    course = _course(rng, pairs=pairs, other_disease=other_disease)
    sizes = LesionSizes(median_mm3=MEDIAN_MM3, log_sd=LOG_SD)
    drawn = draw_patient(GridSettings(SPACING, sizes), course, seed + 100 * attempt, index)
    last = len(course.volume_ml) - 1
    for visit in range(last + 1):
        images = acquire_visit(drawn, visit, stream(seed + 100 * attempt, Step.ACQUISITION, index, visit))
        volumes = {name: images.volumes[name] for name in ("flair", "brain_mask", "t2_lesions")}
        if other_disease and visit == last:
            volumes |= paint(volumes["flair"], drawn.anatomy, rng, tumour=index % 2 == 0)
        affine = drawn.anatomy.grid.affine.copy()
        affine[:3, 3] += affine[:3, 2] * SLICES.start
        yield {name: np.ascontiguousarray(data[:, :, SLICES]) for name, data in volumes.items()}, affine


def _course(rng: np.random.Generator, *, pairs: bool, other_disease: bool) -> Any:
    from nnunet_ms.simulation.model.course import Course
    from nnunet_ms.simulation.model.presets import PHANTOMS

    if other_disease:
        return Course((0.0,) * (1 + pairs), *((0,) * (1 + pairs),) * 3, PHANTOMS.black_hole_share)
    volume = PHANTOMS.tlv_median_ml * np.exp(PHANTOMS.tlv_log_sd * np.clip(rng.standard_normal(), -2.5, 2.5))
    if not pairs:
        return Course((volume,), (0,), (0,), (0,), PHANTOMS.black_hole_share)
    wanted = np.clip(NEW_MEDIAN * np.exp(NEW_LOG_SD * rng.standard_normal()), *NEW_LIMITS)
    new = int(np.ceil(ASKED * wanted))
    added = new * MEDIAN_MM3 / 1000 * np.exp(LOG_SD**2 / 2)
    later = volume * np.exp(0.03 * rng.standard_normal()) + added
    return Course((volume, later), (0, new), (0, 0), (0, 0), PHANTOMS.black_hole_share)


def paint(flair: npt.NDArray[Any], anatomy: Any, rng: np.random.Generator, *, tumour: bool) -> Volumes:
    """Return FLAIR with one abnormality, and its mask; anatomy is `simulation.images.anatomy.Anatomy`."""
    from scipy import ndimage

    from nnunet_ms.simulation.images.lesion_shapes import smooth_noise

    slab = np.zeros(anatomy.brain.shape, dtype=bool)
    slab[:, :, SLICES.start + 4 : SLICES.stop - 4] = True
    depth = ndimage.distance_transform_edt(anatomy.brain, sampling=SPACING)
    allowed = slab & ((anatomy.white > 0.8) & (depth > 15) if tumour else anatomy.brain & (depth < 5) & (depth > 0))
    places = np.argwhere(allowed)
    centre = places[rng.integers(len(places))]
    far = np.sqrt(
        sum(((axis - at) * mm) ** 2 for axis, at, mm in zip(np.indices(flair.shape), centre, SPACING, strict=True))
    )
    radius = rng.uniform(8, 18) if tumour else rng.uniform(10, 20)
    rough = (0.15 if tumour else 0.05) * radius * smooth_noise(anatomy, 4.0, rng)
    tissue = anatomy.brain & (anatomy.csf < 0.5)
    mask = (far + rough < radius) & tissue
    bright = np.where(mask, rng.uniform(1.3, 1.7 if tumour else 1.6), 1.0)
    if tumour:
        bright = np.where((far + rough < 0.4 * radius) & tissue, 0.8, bright)
    soft = ndimage.gaussian_filter(bright, [(1.5 if tumour else 0.7) / mm for mm in SPACING])
    return {"flair": (flair * soft).astype(np.float32), "t2_lesions": mask.astype(np.uint8)}
