"""Read what belongs to one case: label images of all raters on one grid, maps and region masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nnunet_ms.analysis.evaluation.pairing import CaseFiles
from nnunet_ms.errors import ImageError
from nnunet_ms.images.grids import onto_grid
from nnunet_ms.images.names import file_called
from nnunet_ms.images.volumes import Grid, Volume, read_mask, read_volume
from nnunet_ms.tables import REFERENCE


@dataclass(frozen=True)
class Extras:
    """Folders of `<case_id>.nii.gz` beside the masks, all optional.

    `maps`: column of lesions.csv -> folder; `regions`: one of `features.REGIONS` -> folder; `brain`: masks;
    `labels`: maps of labelled regions, whose numbers `names` names.
    """

    maps: Mapping[str, Path] = field(default_factory=dict)
    regions: Mapping[str, Path] = field(default_factory=dict)
    brain: Path | None = None
    labels: Path | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def places(self) -> bool:
        """Whether lesions have a location class."""
        return bool(self.regions) or self.labels is not None


@dataclass(frozen=True)
class CaseMasks:
    """A case's masks by rater and lesion type (the reference first), and what else is known of its voxels."""

    masks: dict[str, dict[str, Volume]]
    maps: dict[str, Volume]
    regions: dict[str, Volume]
    brain_voxels: int | None
    labels: Volume | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid that all of them share."""
        return next(iter(self.masks[REFERENCE].values())).grid


def read_case(files: CaseFiles, labels: Mapping[str, int], extras: Extras) -> CaseMasks:
    """Read one case, each file once; images stored in another orientation of the reference's grid are turned.

    Parameters
    ----------
    files : CaseFiles
        Paths of the masks.
    labels : mapping
        Lesion type -> label in the masks; other labels than these and 0 are an error.
    extras : Extras
        Folders of maps and regions.

    Raises
    ------
    ImageError
        If a file cannot be read, a mask holds an unknown label, or grids differ.
    """
    allowed = {0, *labels.values()}
    reference = read_mask(files.reference, allowed)
    stored = {REFERENCE: reference}
    for rater, path in files.predictions.items():
        stored[rater] = onto_grid(read_mask(path, allowed), reference)
    maps, regions = (
        {name: onto_grid(read_volume(file_called(folder, files.case_id)), reference) for name, folder in group.items()}
        for group in (extras.maps, extras.regions)
    )
    brain = None
    if extras.brain is not None:
        mask = onto_grid(read_volume(file_called(extras.brain, files.case_id)), reference)
        brain = int(np.count_nonzero(mask.data))
        if brain == 0:
            raise ImageError(f"{mask.path}: expected a brain mask, found no voxel in it. Make it again.")
    masks = {rater: by_type(volume, labels) for rater, volume in stored.items()}
    return CaseMasks(masks, maps, regions, brain, _region_labels(files.case_id, extras, reference), extras.names)


def _region_labels(case_id: str, extras: Extras, reference: Volume) -> Volume | None:
    """The case's map of labelled regions, if there are such maps."""
    if extras.labels is None:
        return None
    labels = onto_grid(read_volume(file_called(extras.labels, case_id)), reference)
    values = np.unique(labels.data).astype(np.float64)
    if np.any(values != np.round(values)) or values[0] < 0:
        raise ImageError(f"{labels.path}: expected labels 0, 1, 2, ..., found other numbers. Is this a map of labels?")
    if not np.isin(values, list(extras.names)).any():
        raise ImageError(
            f"{labels.path}: expected one of the labels that the table of names has, found none. Does it belong to it?"
        )
    return labels


def by_type(volume: Volume, labels: Mapping[str, int]) -> dict[str, Volume]:
    """Split a mask into one of zeros and ones per lesion type."""
    if len(labels) == 1 and set(labels.values()) == {1}:
        return {next(iter(labels)): volume}
    return {name: replace(volume, data=(volume.data == label).astype(np.uint8)) for name, label in labels.items()}
