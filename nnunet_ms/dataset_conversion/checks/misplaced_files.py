"""Files in another's place: one image as two sequences or two visits, a mask as an image."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.errors import ImageError
from nnunet_ms.parallel import Failure

Content = tuple[int, int]
FEW_VALUES = 8  # a mask of classes holds no more, an image does
MOST_LABELS = 256
LEAST_SHOWN = 5000  # voxels that are not 0: less is made for a test
SAME_OF_FEW = 0.4  # small lesions of two classes have 0.5, noise of four levels 0.25
SAME = 0.6  # of what is not 0 equals its neighbour: 0.86 and more in maps of labels, up to 0.48 in scans of 60 levels


def content_of(data: npt.NDArray[np.generic]) -> Content:
    """Checksum and number of the voxels.

    Examples
    --------
    >>> content_of(np.zeros((2, 3, 4))) == content_of(np.zeros((2, 3, 4)))
    True
    """
    return zlib.crc32(np.ascontiguousarray(data.T).data), data.size


def check_different(contents: Mapping[str, Content | None], paths: Mapping[str, Path]) -> None:
    """Raise ImageError if two channels hold the same: one file was put in the place of another."""
    names = list(contents)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if contents[first] is not None and contents[first] == contents[second]:
                raise ImageError(
                    f"{paths[second]}: expected {second}, found the voxels of {first} ({paths[first]}). "
                    "Put the right file in its place."
                )


def check_grey_values(data: npt.NDArray[np.generic], path: Path) -> None:
    """Raise ImageError for an image with one value, or a mask or a map of labels in its place.

    Examples
    --------
    >>> check_grey_values(np.eye(3), Path("flair.nii.gz"))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ImageError: flair.nii.gz: expected an image, found only 0 and 1: a mask? Put the right file ...
    """
    low, high = data.min(), data.max()
    if low == high:
        raise ImageError(f"{path}: expected an image, found {low:g} in every voxel. Copy or download it again.")
    if not any(((part > low) & (part < high)).any() for part in (data[::7, ::7], data)):  # some are mostly enough
        raise ImageError(
            f"{path}: expected an image, found only {low:g} and {high:g}: a mask? Put the right file in its place."
        )
    if _is_map_of_labels(data):
        raise ImageError(
            f"{path}: expected an image, found {len(np.unique(data))} whole numbers, most like those beside them: a "
            "map of labels? Put the right file in its place."
        )


def _is_map_of_labels(data: npt.NDArray[np.generic]) -> bool:
    """Whether an image (X, Y, Z) holds so few whole numbers, in such large parts, that it is none."""
    if np.count_nonzero(data) < LEAST_SHOWN:
        return False
    for part in (data[::7, ::7], data):  # some are mostly enough
        values = np.unique(part)
        if len(values) > MOST_LABELS or (values != np.round(values)).any():
            return False
    least = SAME_OF_FEW if len(values) <= FEW_VALUES else SAME
    return max(_same(data, axis) for axis in range(data.ndim)) >= least


def _same(data: npt.NDArray[np.generic], axis: int) -> float:
    """Share of what is not 0 that is like its neighbour along an axis."""
    first, second = (data.take(range(start, data.shape[axis] - 1 + start), axis) for start in (0, 1))
    shown = first != 0
    return float(np.mean(first[shown] == second[shown])) if shown.any() else 0.0


def copies_between_patients(cases: Sequence[tuple[Case, Mapping[str, Content | None]]]) -> dict[str, Failure]:
    """Case id -> failure, for images that different files of two visits or patients share.

    One file named twice is meant so (a case per rater); the same voxels in two files are a copying error, and which of
    the two is right cannot be known: both are listed.
    """
    seen: dict[Content, tuple[Case, Path]] = {}
    failures: dict[str, Failure] = {}
    for case, contents in cases:
        for channel, content in contents.items():
            path = case.images[channel]
            if content is None:
                continue
            other, there = seen.setdefault(content, (case, path))
            if other is not case and there != path:
                for one, mine, another in ((case, path, there), (other, there, path)):
                    reason = (
                        f"{mine}: expected an image of its own, found the voxels of {another}. "
                        "Put the right file in its place."
                    )
                    failures.setdefault(one.case_id, Failure(one.case_id, reason))
    return failures
