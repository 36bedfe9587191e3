"""Trainers that draw a share of their patches by the physics of MRI while they train: no scan is met twice.

Ours. Label maps, lesion masks and the share stand in `synthetic.json` beside dataset.json, see `synthetic_sources`;
patches are drawn in nnU-Net's own loading processes (`synthetic_patches`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.any_sequence import (
    nnUNetTrainerMSJointT1AnySmall,
    nnUNetTrainerMSMultiArmAny,
    nnUNetTrainerMSMultiArmAnySmall,
)
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.safe_training import SafeTraining
from nnunet_ms.trainers.synthetic_patches import T1_LABELS, T2_LABELS, SyntheticPatches
from nnunet_ms.trainers.synthetic_sources import SyntheticSources, find_settings, read_sources

RECORD = "synthetic_patches"  # key of a checkpoint
DRAWN = ("flair", "t2", "t1", "t1post", "pd")  # sequences that `synthesis.scan` knows


class SyntheticShare(SafeTraining):
    """Replace a share of the training patches, before they are augmented; those of the validation are never.

    Attributes
    ----------
    synthetic_labels : mapping of int to int
        Label of each kind of lesion of a synthetic scan.
    synthetic : dict or None
        What the patches of this training are made from, for debug.json and the checkpoint; None before it begins.
    """

    synthetic_labels: ClassVar[Mapping[int, int]] = T2_LABELS
    synthetic: Mapping[str, Any] | None = None
    synthetic_before: Mapping[str, Any] | None = None

    def get_training_transforms(self, *args: Any, **rest: Any) -> BasicTransform:
        """Draw synthetic patches first; then as without them.

        Raises
        ------
        SettingsError, ImageError
            If `synthetic.json` is missing or wrong, or a file that it names cannot be used.
        ModelError
            If labels or channels of the dataset are not those of synthetic scans.
        """
        names = [sequence_of(str(name)) for name in self.dataset_json["channel_names"].values()]
        self._check_dataset(names)
        raw = os.environ.get("nnUNet_raw", "")  # noqa: SIM112 - nnU-Net's name
        places = [Path(self.preprocessed_dataset_folder_base), Path(raw) / self.plans_manager.dataset_name]
        path = find_settings(places if raw else places[:1])
        sources = read_sources(path)
        self._tell(path, sources)
        first = SyntheticPatches(
            sources.heads,
            sources.lesions,
            names,
            self.configuration_manager.spacing,
            self.synthetic_labels,
            sources.share,
            sources.lesion_share,
        )
        return ComposeTransforms([first, super().get_training_transforms(*args, **rest)])

    def _check_dataset(self, names: list[str]) -> None:
        expected = sorted(set(self.synthetic_labels.values()))
        found = sorted(int(one) for one in self.label_manager.foreground_labels)
        if self.label_manager.has_regions or found != expected:
            raise ModelError(
                f"dataset.json: labels: expected {expected} beside the background, as synthetic lesions have them, "
                f"found {found}. Take a trainer without Synthetic in its name."
            )
        strange = [name for name in names if name not in DRAWN]
        if strange:
            raise ModelError(
                f"dataset.json: channel_names: expected some of {', '.join(DRAWN)}, which can be drawn, found "
                f"{', '.join(strange)}. Take a trainer without Synthetic in its name."
            )

    def _tell(self, path: Path, sources: SyntheticSources) -> None:
        self.synthetic = dict(sources.record)
        self.print_to_log_file(
            f"{path}: a share of {sources.share:g} of the training patches is synthetic, {sources.lesion_share:g} of "
            f"them centred on a lesion; {len(sources.heads)} label maps, {len(sources.lesions)} lesion masks."
        )
        if self.synthetic_before not in (None, self.synthetic):
            self.print_to_log_file("Other synthetic patches than before this training was interrupted, from here on.")

    def more_in_checkpoint(self) -> dict[str, Any]:
        """Also what synthetic patches were made from."""
        return {**super().more_in_checkpoint(), RECORD: dict(self.synthetic or {})}

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Also remember what synthetic patches were made from, to say so where it changed."""
        super().load_checkpoint(filename_or_checkpoint)
        known = filename_or_checkpoint
        if isinstance(known, str | Path):
            known = load_checkpoint(known, ("network_weights",), "a checkpoint to go on with")
        self.synthetic_before = known.get(RECORD) or None


class nnUNetTrainerMSMultiArmAnySynthetic(SyntheticShare, nnUNetTrainerMSMultiArmAny):  # noqa: N801
    """As `nnUNetTrainerMSMultiArmAny`, with synthetic patches among the others."""


class nnUNetTrainerMSMultiArmAnySmallSynthetic(SyntheticShare, nnUNetTrainerMSMultiArmAnySmall):  # noqa: N801
    """As `nnUNetTrainerMSMultiArmAnySmall`, with synthetic patches among the others."""


class nnUNetTrainerMSJointT1AnySmallSynthetic(SyntheticShare, nnUNetTrainerMSJointT1AnySmall):  # noqa: N801
    """As `nnUNetTrainerMSJointT1AnySmall`, with synthetic patches among the others; vessels in them enhance."""

    synthetic_labels: ClassVar[Mapping[int, int]] = T1_LABELS
