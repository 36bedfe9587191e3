"""Training of nnU-Net made safe: checkpoints that hold no code and are complete, splits that do not leak a patient."""

from pathlib import Path
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ms.checkpoints import checksum_file, load_checkpoint, write_checksum
from nnunet_ms.errors import ModelError
from nnunet_ms.outputs import whole_file


class SafeTraining(nnUNetTrainer):
    """What every trainer of ours does with checkpoints and splits, whatever its network."""

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint, complete or not at all, so that a kill never leaves one that cannot be read."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        with whole_file(Path(filename)) as aside:
            super().save_checkpoint(str(aside))
            self._add_to(aside)
            checksum_file(filename).unlink(missing_ok=True)  # of the old one; a kill here leaves none, not a wrong one
        write_checksum(filename)

    def more_in_checkpoint(self) -> dict[str, Any]:
        """Return what a training keeps in its checkpoints beside what nnU-Net does: nothing, unless it overrides it."""
        return {}

    def _add_to(self, checkpoint: Path) -> None:
        """nnU-Net writes a checkpoint's keys itself, so more of them are added afterwards."""
        more = self.more_in_checkpoint()
        if more:
            written = load_checkpoint(checkpoint, ("network_weights",), "the checkpoint just written")
            torch.save({**written, **more}, checkpoint)

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Resume from a checkpoint that holds no code and has its checksum; nnU-Net would run what is in it.

        Raises
        ------
        ModelError
            If it is damaged, or could run code.
        """
        if isinstance(filename_or_checkpoint, str | Path):
            load_checkpoint(filename_or_checkpoint, ("network_weights",), "a checkpoint to go on with")
        super().load_checkpoint(filename_or_checkpoint)

    def on_train_end(self) -> None:
        """Also remove the checksum of the latest checkpoint, which nnU-Net removes."""
        super().on_train_end()
        latest = Path(self.output_folder) / "checkpoint_latest.pth"
        if self.local_rank == 0 and not latest.is_file():
            checksum_file(latest).unlink(missing_ok=True)

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split, refused when visits of one patient would stand on both sides.

        Raises
        ------
        ModelError
            If dataset.json knows the patients and the split leaks one, or if there is no split file for them.
        """
        patient_of = self.dataset_json.get("patients", {})
        splits = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        if self.fold != "all" and patient_of and not splits.is_file():
            raise ModelError(
                f"{splits}: no such file; without it nnU-Net would split visits, not patients. "
                "Run nnUNetv2_plan_and_preprocess -pl nnUNetPlannerMS, which copies it from the raw dataset."
            )
        train, validation = super().do_split()
        shared = {patient_of.get(case) for case in train} & {patient_of.get(case) for case in validation} - {None}
        if self.fold != "all" and shared:
            raise ModelError(
                f"{splits}: fold {self.fold} has visits of {sorted(shared)[:5]} in training and in validation. "
                f"Use one of the {len(load_json(str(splits)))} folds of the converter, or split by patient."
            )
        return train, validation
