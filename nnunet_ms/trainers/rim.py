"""System `rim`: trainers that segment lesion core and rim on QSM (and FLAIR).

The natural system of an nnU-Net plugin beside the classifier of QSMRim-Net: QSM-RimDS (Luu et al., 2025) and Asan et
al. (2026) segment rims too, and neither prints enough of its network to be rebuilt, so every detail here is ours
(docs/rim.md). A lesion is rim+ by how much of its shell is segmented as rim (`lesions.rims`).

`nnUNetv2_train D 3d_fullres FOLD -tr nnUNetTrainerMSRim -p nnUNetPlansMS` on a dataset of
`nnunet-ms-convert trial MANIFEST --target rim --channels qsm,flair`. Class names stand in every checkpoint: never
rename them.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

from nnunet_ms.errors import ModelError
from nnunet_ms.lesions.rims import CORE, RIM
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.label_counts import lesion_labels, told_of_labels
from nnunet_ms.trainers.lesion_patches import RimDataset
from nnunet_ms.trainers.lesion_volumes import LesionVolumeDataset
from nnunet_ms.trainers.multi_arm_t2 import nnUNetTrainerMSMultiArmSmall, nnUNetTrainerMSPlain
from nnunet_ms.trainers.rim_loss import RimLoss

LABELS = {"core": CORE, "rim": RIM}
SEQUENCES = ("qsm", "flair")  # one of them at least
MOST_OFTEN = 10  # times that a case with a rim is drawn where another is drawn once


class nnUNetTrainerMSRim(nnUNetTrainerMSPlain):  # noqa: N801 - nnU-Net's naming
    """Plain 3-D U-Net on whatever channels there are; everything that the class does not name is as in the T2 system.

    QSM enters in a fixed window in ppb (`nnUNetPlannerMS`), not as a z-score. Rims are rare: cases with one are drawn
    as often as all others together (up to `MOST_OFTEN` times each), four in five of their patches are centred on a rim,
    and a tenth of the other patches lie anywhere. The loss asks two questions (`RimLoss`): what is lesion, everywhere,
    and what of it is rim, within lesions. Patches are mirrored along all axes: few rims, no side that they prefer.
    """

    mirror_axes: ClassVar[tuple[int, ...]] = (0, 1, 2)
    dataset: ClassVar[type[LesionVolumeDataset]] = RimDataset

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        check_dataset(dataset_json, type(self).__name__)
        check_window(plans, configuration, dataset_json, type(self).__name__)
        super().__init__(plans, configuration, fold, dataset_json, device)

    def _loss(self, patch_volume_mm3: float) -> nn.Module:
        return RimLoss(patch_volume_mm3)

    def _build_loss(self) -> nn.Module:
        """Half the weight with each coarser level, as in nnU-Net: a rim is one or two voxels wide at the finest."""
        loss = super()._build_loss()
        if isinstance(loss, DeepSupervisionWrapper):
            loss.weight_factors = tuple(0.5**level for level in range(len(loss.weight_factors)))
        return loss

    def _training_cases(self, train: list[str], with_lesions: list[str]) -> list[str]:
        """All cases, those with a rim more often. Says how many have which labels, and how often each is drawn."""
        folder = Path(self.preprocessed_dataset_folder)
        counts, lines = told_of_labels(folder, train, with_lesions, LABELS, self.fold)
        with_rim = [case for case in with_lesions if RIM in lesion_labels(folder, case)]
        times = times_drawn(len(train), len(with_rim))
        lines.append(
            f"Of {len(train)} training cases {counts['rim']} have a rim; each of those is drawn {times} times as often."
        )
        if len(with_rim) == 1:
            lines.append(
                f"WARNING: a single training case of fold {self.fold}, {with_rim[0]}, has a rim: the network learns "
                "that one by heart. Add cases with rims, or use another fold."
            )
        for line in lines:
            self.print_to_log_file(line)
        return [*train, *with_rim * (times - 1)]


class nnUNetTrainerMSRimSmall(nnUNetTrainerMSRim):  # noqa: N801
    """8/16/32/64 filters, 2,500 steps of eight small patches: a quarter of an hour on a CPU core, to try things out.

    Filters, learning rate and dropout as in the small T2 trainer. Its patches have the size of what the classifier of
    rims sees (24 to 30 mm; 8 x 32 x 40 voxels of 3 x 0.75 x 0.75 mm), so that a step shows many lesions.
    """

    filters: ClassVar[tuple[int, ...]] = nnUNetTrainerMSMultiArmSmall.filters
    learning_rate = nnUNetTrainerMSMultiArmSmall.learning_rate
    dropout = 0.0
    epochs = 100
    iterations_per_epoch = 25
    validation_iterations_per_epoch = 1
    max_patch_voxels: ClassVar[int | None] = 8 * 32 * 40
    max_batch_size: ClassVar[int | None] = 8
    seed: ClassVar[int | None] = 0
    checkpoint_every = 5


class nnUNetTrainerMSRimTiny(nnUNetTrainerMSRimSmall):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""

    epochs = 2
    iterations_per_epoch = 4
    max_batch_size: ClassVar[int | None] = 2


def times_drawn(cases: int, with_rim: int) -> int:
    """How often a case with a rim is drawn where another is drawn once, so that half of the draws have a rim.

    Examples
    --------
    >>> times_drawn(20, 5), times_drawn(20, 15), times_drawn(100, 1), times_drawn(8, 0)
    (3, 1, 10, 1)
    """
    return min(max(ceil((cases - with_rim) / with_rim), 1), MOST_OFTEN) if with_rim else 1


def check_dataset(dataset_json: Mapping[str, Any], trainer: str) -> None:
    """Raise ModelError unless a dataset has the labels core and rim, and QSM or FLAIR among its channels.

    Examples
    --------
    >>> check_dataset({"labels": {"background": 0, "core": 1, "rim": 2}, "channel_names": {"0": "qsm"}}, "rims")
    >>> check_dataset({"labels": {"background": 0, "lesion": 1}, "channel_names": {"0": "qsm"}}, "rims")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: rims needs the labels {'core': 1, 'rim': 2} in dataset.json, found {'lesion': 1}. ...
    """
    found = {name: value for name, value in dataset_json["labels"].items() if name not in ("background", "ignore")}
    # regions and an ignore label have errors of their own
    if found != LABELS and not any(isinstance(value, list | tuple) for value in found.values()):
        raise ModelError(
            f"{trainer} needs the labels {LABELS} in dataset.json, found {found}. Convert with --target rim."
        )
    names = [str(name) for name in dataset_json["channel_names"].values()]
    if not {sequence_of(name) for name in names} & set(SEQUENCES):
        raise ModelError(
            f"{trainer} sees rims on QSM, or less well on FLAIR; expected one of {list(SEQUENCES)} among the channels, "
            f"found {names}. Convert with --channels qsm,flair (or one of them), or name the channels in dataset.json."
        )


def check_window(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any], trainer: str) -> None:
    """Raise ModelError where the plans normalise QSM by anything but its fixed window, which would lose its units."""
    schemes: Sequence[str] = plans["configurations"][configuration].get("normalization_schemes", ())
    names = [str(name) for name in dataset_json["channel_names"].values()]
    for name, scheme in zip(names, schemes, strict=False):
        if sequence_of(name) == "qsm" and scheme != "QsmWindowNormalization":
            raise ModelError(
                f"{trainer}: these plans normalise channel {name} by {scheme}; expected QsmWindowNormalization, a "
                "fixed window in ppb. Plan and preprocess with nnUNetv2_plan_and_preprocess -pl nnUNetPlannerMS, and "
                "train with -p nnUNetPlansMS."
            )
