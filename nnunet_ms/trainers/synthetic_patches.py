"""Synthetic patches in the place of some of those that nnU-Net loads: a transform that comes before all others.

As many scans as there are patches, of no disk space; a patch costs processor time instead
(`benchmarks/synthetic_patches.py`). Whole scans are made by `nnunet-ms-simulate scans`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from nnunet_ms.errors import OptionError
from nnunet_ms.synthesis.label_maps import HeadMap
from nnunet_ms.synthesis.lesion_masks import LesionMask
from nnunet_ms.synthesis.patches import synthetic_patch
from nnunet_ms.synthesis.scan import BLACK_HOLE, ENHANCING, T2_LESION
from nnunet_ms.trainers.lesion_volumes import lesion_volume_map

T2_LABELS: Mapping[int, int] = {T2_LESION: 1, BLACK_HOLE: 1, ENHANCING: 1}
T1_LABELS: Mapping[int, int] = {BLACK_HOLE: 1, ENHANCING: 2}  # unenhancing, enhancing
LEAST_VOXELS = 64  # of the brain in a patch, to be scaled by their mean and spread


class SyntheticPatches(BasicTransform):
    """Replace a patch by a synthetic one, with a probability.

    Parameters
    ----------
    heads : sequence of HeadMap
    lesions : sequence of LesionMask
        One of them is drawn for a patch.
    sequences : sequence of str
        Of the channels, in their order.
    spacing : sequence of float
        Of the patch's voxels (z, y, x), mm.
    labels : mapping of int to int, optional
        Label of each kind of lesion of `SyntheticScan.kinds`: `T2_LABELS`, or `T1_LABELS` of joint T1.
    probability : float, optional
    lesion_share : float, optional
        As `synthetic_patch`.

    Raises
    ------
    OptionError
        If there is no head, or the probability is outside of 0 to 1.

    Notes
    -----
    Each channel is z-scored in the patch's brain (nnU-Net does so in the whole scan's). The patch is drawn at 1 mm and
    brought to `spacing`: images by the mean over a voxel, labels by the nearest voxel. A second channel of the
    segmentation, in which trainers of this package carry the volume of each voxel's lesion, gets that of the lesions as
    far as they lie in the patch.

    Examples
    --------
    >>> from nnunet_ms.images.volumes import Grid
    >>> from nnunet_ms.synthesis.label_maps import prepare_map
    >>> head = prepare_map(np.full((40, 40, 40), 2), Grid((40, 40, 40), np.eye(4)), from_mni=np.eye(4))
    >>> change = SyntheticPatches([head], [], ("flair", "t1"), (3.0, 1.0, 1.0), probability=1.0)
    >>> patch = {"image": torch.zeros(2, 4, 16, 16), "segmentation": torch.zeros(1, 4, 16, 16, dtype=torch.int16)}
    >>> tuple(change(**patch)["image"].shape)
    (2, 4, 16, 16)
    """

    def __init__(
        self,
        heads: Sequence[HeadMap],
        lesions: Sequence[LesionMask],
        sequences: Sequence[str],
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        labels: Mapping[int, int] = T2_LABELS,
        probability: float = 0.5,
        lesion_share: float = 0.5,
    ) -> None:
        super().__init__()
        if not heads:
            raise OptionError("heads: expected at least one prepared label map, found none. Give `prepare_map` of one.")
        if not 0 <= probability <= 1:
            raise OptionError(f"probability: expected a number from 0 to 1, found {probability!r}. Correct it.")
        self.heads, self.lesions = list(heads), list(lesions)
        self.sequences, self.spacing = tuple(sequences), tuple(float(one) for one in spacing)
        self.labels, self.probability, self.lesion_share = dict(labels), probability, lesion_share

    def get_parameters(self, **data: Any) -> dict[str, Any]:
        """Draw whether the patch is replaced, and by what."""
        shape = tuple(data["image"].shape)
        if shape[0] != len(self.sequences):
            raise OptionError(
                f"sequences: expected one per channel of the patch, found {len(self.sequences)} for {shape[0]}. Name "
                "those of dataset.json, in their order."
            )
        if np.random.uniform() >= self.probability:  # noqa: NPY002 - as nnU-Net
            return {"drawn": None}
        rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002 - seeded as nnU-Net's own
        return {"drawn": self.drawn(shape[1:], rng)}

    def drawn(self, shape: Sequence[int], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch (C, Z, Y, X) and its labels (Z, Y, X)."""
        size = [max(4, round(n * mm)) for n, mm in zip(shape, self.spacing, strict=True)]
        head = self.heads[int(rng.integers(len(self.heads)))]
        lesions = [self.lesions[int(rng.integers(len(self.lesions)))]] if self.lesions else []
        scan = synthetic_patch(head, lesions, size[::-1], rng, self.sequences, self.lesion_share)
        images = torch.from_numpy(np.stack([scan.images[name].T for name in self.sequences]))
        kinds = torch.from_numpy(np.ascontiguousarray(scan.kinds.T))
        label = torch.zeros(kinds.shape, dtype=torch.int16)
        for kind, number in self.labels.items():
            label[kinds == kind] = number
        brain = torch.from_numpy(np.ascontiguousarray(scan.brain.T))
        images, label, brain = _resampled(images, label, brain, shape)
        return torch.stack([_scaled(one, brain) for one in images]), label

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return img if params["drawn"] is None else params["drawn"][0].to(img.dtype)

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **params: Any) -> torch.Tensor:
        if params["drawn"] is None:
            return segmentation
        label, made = params["drawn"][1], torch.empty_like(segmentation)
        made[0] = label.to(made.dtype)
        if len(made) > 1:
            volumes = lesion_volume_map(label.numpy(), float(np.prod(self.spacing)))
            made[1:] = torch.from_numpy(volumes).to(made.dtype)
        return made


def _resampled(
    images: torch.Tensor, label: torch.Tensor, brain: torch.Tensor, shape: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A patch at 1 mm as voxels of the wanted number; means over voxels that are coarser."""
    if tuple(images.shape[1:]) == tuple(shape):
        return images, label, brain
    size = tuple(shape)
    seen = torch.nn.functional.interpolate(images[None], size=size, mode="area")[0]
    both = torch.stack([label, brain.to(torch.int16)])[None].float()
    nearest = torch.nn.functional.interpolate(both, size=size, mode="nearest-exact")[0]
    return seen, nearest[0].to(torch.int16), nearest[1] > 0


def _scaled(image: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Z-scores of the brain's voxels, 0 outside of it."""
    inside = image[brain]
    if inside.numel() < LEAST_VOXELS:
        return torch.zeros_like(image)
    spread = inside.std(unbiased=False).clamp(min=1e-6)
    return torch.where(brain, (image - inside.mean()) / spread, torch.zeros_like(image))
