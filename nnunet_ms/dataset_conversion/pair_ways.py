"""Where the two visits of a pair lie: read, prepared, registered; ways from the pair's grid to each image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunet_ms.arrays import Matrix
from nnunet_ms.dataset_conversion.cases import Case, Pair
from nnunet_ms.dataset_conversion.pairs import PairOptions, Registration
from nnunet_ms.dataset_conversion.preparation import aligned, brain_of, naming, target_grid, without_bias, zero_outside
from nnunet_ms.dataset_conversion.steps import Steps
from nnunet_ms.errors import ImageError
from nnunet_ms.images.brain_mask import given_mask
from nnunet_ms.images.itk import inverse, to_itk, to_matrix
from nnunet_ms.images.registration import register_visits
from nnunet_ms.images.two_visits import half_of, half_way_grid
from nnunet_ms.images.volumes import Grid, read_grid, read_volume


@dataclass(frozen=True)
class Visit:
    """A visit in memory: images per sequence with their grids, ways from points of the first to points of each."""

    case: Case
    images: Mapping[str, SimpleITK.Image]
    grids: Mapping[str, Grid]
    within: Mapping[str, Matrix]
    brain: SimpleITK.Image | None

    @property
    def first(self) -> SimpleITK.Image:
        """The first sequence, which is registered."""
        return next(iter(self.images.values()))

    @property
    def grid(self) -> Grid:
        """Grid of the first sequence."""
        return next(iter(self.grids.values()))


Visits = tuple[Visit, Visit]  # baseline, follow-up


@dataclass(frozen=True)
class Ways:
    """From points of the pair's space, RAS mm: to the baseline, the follow-up, and the space of a shared mask."""

    grid: Grid
    baseline: Matrix
    followup: Matrix
    shared: Matrix
    before: Matrix  # to the follow-up by the headers alone
    registration: str

    @property
    def both(self) -> tuple[Matrix, Matrix]:
        """To the baseline and to the follow-up."""
        return self.baseline, self.followup


def read_visit(case: Case, steps: Steps, log: list[dict[str, Any]], name: str) -> Visit:
    """Images of one visit, prepared on their own grids; transforms of the source lead to each of them."""
    own: list[dict[str, Any]] = []
    volumes = zero_outside({channel: read_volume(path) for channel, path in case.images.items()}, own)
    images = {channel: to_itk(volume.data.astype(np.float32), volume.grid) for channel, volume in volumes.items()}
    reference = next(iter(volumes.values()))
    in_common_space = case.reference is not None or bool(case.transforms)  # and so is its mask: see `_common_brain`
    alone = replace(case, brain_mask=None) if in_common_space else case
    brain = brain_of(alone, reference, steps, own)
    if steps.n4:
        images = without_bias(images, volumes, reference.grid, brain, own)
    chains = {channel: _chain(case.transforms.get(channel, ())) for channel in images}
    to_first = inverse(next(iter(chains.values())))
    within = {channel: chain @ to_first for channel, chain in chains.items()}
    within = within if case.transforms else dict(aligned(images, case.images, steps, own))
    if brain is None and alone.brain_mask is not None:
        brain = to_itk(given_mask(alone.brain_mask, reference.grid, reference.path), reference.grid)
    log += [{**entry, "visit": name} for entry in own]
    return Visit(case, images, {channel: volume.grid for channel, volume in volumes.items()}, within, brain)


def _chain(transforms: tuple[Path, ...]) -> Matrix:
    """From points of the common space to points of an image, by the files of its source."""
    matrix = np.eye(4)
    for path in reversed(transforms):
        matrix = _linear(path) @ matrix
    return matrix


def _linear(path: Path) -> Matrix:
    try:
        transform = SimpleITK.ReadTransform(str(path))
    except RuntimeError as error:
        raise ImageError(f"{path}: expected an ITK transform file, cannot read it. Copy it again.") from error
    if not transform.IsLinear():
        raise ImageError(
            f"{path}: expected a linear transform, found {transform.GetName()}. Take --registration rigid, or images "
            "that are resampled already."
        )
    return to_matrix(transform)


def ways_of(
    pair: Pair, case: Case, visits: Visits, options: PairOptions, steps: Steps, log: list[dict[str, Any]]
) -> Ways:
    """Register, and lead from the pair's space to both visits."""
    baseline = visits[0]
    engine = options.registration or ("published" if pair.is_shared else "rigid")
    motion, information = _motion(pair, visits, engine)
    entry = {"step": "register", "registration": engine, "space": options.space, "information": information}
    log.append({**entry, "baseline_to_followup": motion.tolist()})
    way: Matrix = np.eye(4)
    shared: Matrix = np.eye(4)
    if options.space == "baseline":
        grid, shared = baseline.grid, inverse(_to_first(baseline))
    elif pair.is_shared:
        grid, way = read_grid(case.reference or next(iter(case.images.values()))), _to_first(baseline)
    else:
        half = half_of(motion)
        grid, way = half_way_grid(baseline.grid, half), inverse(half)
    return Ways(target_grid(grid, steps, log), way, motion @ way, shared, way, engine)


def _motion(pair: Pair, visits: Visits, engine: Registration) -> tuple[Matrix, list[float] | None]:
    """From points of the baseline's first sequence to the follow-up's; mutual information before and after."""
    baseline, followup = visits
    if engine == "none":
        return np.eye(4), None
    if engine == "published" and pair.is_shared:
        return _to_first(followup) @ inverse(_to_first(baseline)), None
    if engine not in ("rigid", "greedy"):
        raise ImageError("--registration published: this source brings none. Take rigid, greedy or none.")
    paths = [next(iter(visit.case.images.values())) for visit in (followup, baseline)]
    with naming(paths[0], paths[1]):
        found = register_visits(baseline.first, followup.first, engine)
    return found.matrix, [found.before, found.after]


def _to_first(visit: Visit) -> Matrix:
    """From points of the common space to the first sequence, by the source's own transforms."""
    return _chain(visit.case.transforms.get(next(iter(visit.case.images)), ()))
