"""Trainers that go on from a network trained on something else, on any of our networks and on nnU-Net's own.

    export NNUNET_MS_SOURCE=/models/tumours/fold_0/checkpoint_final.pth     # and, if not "all": NNUNET_MS_SOURCE_POLICY
    nnUNetv2_train D 3d_fullres FOLD -tr nnUNetTrainerMSFineTune -p nnUNetPlansMS

The source can stand in the plans file instead: `"nnunet_ms": {"source": "...", "policy": "all_but_head"}`, a relative
path from the folder of the plans. Both reach every process of a training on several GPUs. A training that is continued
(`--c`) or only validated (`--val`) reads its own checkpoint and not the source, which need not be there any more. What
was loaded is in the log and in `source_weights.json` of the fold's folder.

The paper trains all weights further with the settings of a training de novo. Ours: the learning rate rises over the
first tenth of the epochs. Class names stand in every checkpoint: never rename them.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ModelError
from nnunet_ms.outputs import whole_file
from nnunet_ms.trainers.allowed_names import check_names
from nnunet_ms.trainers.joint_t1 import nnUNetTrainerMSJointT1, nnUNetTrainerMSJointT1Small
from nnunet_ms.trainers.matched_length import MatchedLength
from nnunet_ms.trainers.multi_arm_t2 import (
    nnUNetTrainerMSFlairT1,
    nnUNetTrainerMSFlairT1Small,
    nnUNetTrainerMSMultiArm,
    nnUNetTrainerMSMultiArmSmall,
    nnUNetTrainerMSMultiArmTiny,
)
from nnunet_ms.trainers.new_lesions import (
    nnUNetTrainerMSBalanced,
    nnUNetTrainerMSBalancedDepth3,
    nnUNetTrainerMSBalancedDepth5,
    nnUNetTrainerMSBalancedSmall,
    nnUNetTrainerMSBalancedTiny,
    nnUNetTrainerMSBalancedVolumeLoss,
)
from nnunet_ms.trainers.pretrained import pretrained_weights
from nnunet_ms.trainers.source_weights import Policy, SourceReport, load_source_weights, read_policy

SOURCE, POLICY = "NNUNET_MS_SOURCE", "NNUNET_MS_SOURCE_POLICY"
ENTRY = "nnunet_ms"  # of the plans
REPORT = "source_weights.json"


@dataclass(frozen=True)
class Source:
    """Where the weights to begin with are, what is asked of them, and who said so, in words."""

    path: Path
    policy: Policy
    told_by: str


class WarmUpPolyLRScheduler(PolyLRScheduler):
    """nnU-Net's polynomial decay, times a rise from near 0 to 1 over the first `share` of the epochs.

    The rate is a function of the epoch alone, so that a continued training has the rate that it would have had.

    Examples
    --------
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> scheduler = WarmUpPolyLRScheduler(optimizer, 1.0, max_steps=20, share=0.2)
    >>> for epoch in (0, 1, 3, 4):
    ...     scheduler.step(epoch)
    ...     print(round(optimizer.param_groups[0]["lr"], 3))
    0.25
    0.477
    0.864
    0.818
    """

    def __init__(self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, share: float = 0.1) -> None:
        self.share = share  # torch's schedulers take a first step when they are made
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        """Set the rate of an epoch; without one, of the next."""
        epoch = self.ctr if current_step is None or current_step == -1 else current_step
        super().step(current_step)
        factor = min(1.0, (epoch + 1) / max(1, round(self.share * self.max_steps)))
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def without_folders(plans: dict[str, Any]) -> dict[str, Any]:
    r"""Return plans that name their source without its folder: plans and checkpoints travel, folders do not.

    Examples
    --------
    >>> without_folders({"nnunet_ms": {"source": "/home/me/tumours/checkpoint_final.pth", "policy": "all"}})
    {'nnunet_ms': {'source': 'checkpoint_final.pth', 'policy': 'all'}}
    >>> without_folders({"nnunet_ms": {"source": "C:\\me\\tumours.pth"}})
    {'nnunet_ms': {'source': 'tumours.pth'}}
    """
    entry = plans.get(ENTRY)
    if not isinstance(entry, Mapping) or "source" not in entry:
        return plans
    return {**plans, ENTRY: {**entry, "source": re.split(r"[\\/]", str(entry["source"]))[-1]}}


class FineTuning(MatchedLength):
    """Begins with the weights of a source; stands before the trainer whose network, loss and patches it keeps."""

    default_policy: ClassVar[Policy] = "all"
    warm_up_share: ClassVar[float] = 0.1
    fine_tuning_rate: ClassVar[float | None] = None  # None: the rate of training de novo, as in the paper
    source_report: SourceReport | None = None
    _continues = False

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        self._named = plans.get(ENTRY, {})  # as the user wrote it; what is stored has no folder of this machine
        super().__init__(without_folders(plans), configuration, fold, dataset_json, device)

    def initialize(self) -> None:
        """Build everything, then load the source, unless the trainer's own checkpoint is about to be read.

        Raises
        ------
        ModelError
            If no source is named, `-pretrained_weights` names another, or the source does not fit.
        """
        source = None if self._continues else self.source()
        super().initialize()
        if source is None:
            self.print_to_log_file("The training goes on from its own checkpoint; the source is not read again.")
            self._note_source(self._earlier_report().get("sha256", ""))
            return
        first = self.local_rank == 0  # of the processes of several GPUs, each of which loads for itself
        if first:
            self.print_to_log_file(f"Source of weights, as {source.told_by} says:")
        self.source_report = load_source_weights(
            self.network,
            source.path,
            source.policy,
            channels=list(self.dataset_json["channel_names"].values()),
            report_to=self.print_to_log_file if first else str,
        )
        checksum = sha256_of(source.path)
        self._note_source(checksum)
        if first:
            self._write_report(source, checksum, self.source_report)

    def source(self) -> Source:
        """Find the source: the environment first, then the plans.

        Raises
        ------
        OptionError
            If the policy is unknown.
        ModelError
            If neither names one, or `-pretrained_weights` names one too.
        """
        name, plans = type(self).__name__, self._named
        if pretrained_weights(sys.argv):
            raise ModelError(
                f"{name}: expected one source of weights, found -pretrained_weights, which never loads the head, "
                f"beside this trainer's own. Leave it out and set {SOURCE}, or train with nnUNetTrainerMSBalanced."
            )
        if not isinstance(plans, Mapping):
            raise ModelError(f'plans: expected "{ENTRY}": {{"source": ...}}, found {plans!r}. Correct the plans file.')
        if os.environ.get(SOURCE):
            policy = os.environ.get(POLICY) or self.default_policy
            return Source(Path(os.environ[SOURCE]), read_policy(policy), SOURCE)
        if plans.get("source"):
            folder = Path(self.preprocessed_dataset_folder_base or ".")
            policy = str(plans.get("policy") or self.default_policy)
            return Source(folder / str(plans["source"]), read_policy(policy), f"{ENTRY} in the plans")
        raise ModelError(
            f"{name}: expected a source of weights, found none. Set the environment variable {SOURCE} to a checkpoint, "
            f'such as fold_0/checkpoint_final.pth of another training (or "{ENTRY}": {{"source": ...}} in the plans); '
            "to train without a source use nnUNetTrainerMSBalanced."
        )

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Go on from a checkpoint of this training, see `SafeTraining.load_checkpoint`, without the source."""
        self._continues = True
        super().load_checkpoint(filename_or_checkpoint)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """The optimiser of the network's trainer, its rate rising at first."""
        if self.fine_tuning_rate is not None:
            self.initial_lr = self.fine_tuning_rate
        optimizer, _ = super().configure_optimizers()
        return optimizer, WarmUpPolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, self.warm_up_share)

    def _note_source(self, checksum: str) -> None:
        """Put the source's checksum beside its name into the plans that are stored with the model, if they name it."""
        entry = self.plans_manager.plans.get(ENTRY)
        if checksum and isinstance(entry, dict) and entry.get("source") and not os.environ.get(SOURCE):
            entry["sha256"] = checksum

    def _earlier_report(self) -> dict[str, Any]:
        file = Path(self.output_folder) / REPORT
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return found

    def _write_report(self, source: Source, checksum: str, report: SourceReport) -> None:
        """Write what was loaded beside the checkpoints: the source by its name and checksum, since folders move."""
        content = {
            "file": source.path.name,
            "sha256": checksum,
            "source": report.source,
            "policy": report.policy,
            "named_by": source.told_by,
            "share": report.share,
            "tensors": [vars(entry) for entry in report.entries if entry.action != "loaded"],
            "loaded_tensors": sum(entry.action == "loaded" for entry in report.entries),
            "unused_tensors": list(report.unused),
        }
        with whole_file(Path(self.output_folder) / REPORT) as partial:
            partial.write_text(json.dumps(content, indent=1), encoding="utf-8")


class nnUNetTrainerMSFineTune(FineTuning, nnUNetTrainerMSBalanced):  # noqa: N801 - nnU-Net's naming
    """The paper's: a plain U-Net that was trained on another disease, all weights trained further, head included."""


class nnUNetTrainerMSFineTuneDepth3(FineTuning, nnUNetTrainerMSBalancedDepth3):  # noqa: N801
    """With three levels; the source has three too."""


class nnUNetTrainerMSFineTuneDepth5(FineTuning, nnUNetTrainerMSBalancedDepth5):  # noqa: N801
    """With five levels; the source has five too."""


class nnUNetTrainerMSFineTuneVolumeLoss(FineTuning, nnUNetTrainerMSBalancedVolumeLoss):  # noqa: N801
    """Ours: with the loss in which small lesions weigh more."""


class nnUNetTrainerMSFineTuneSmall(FineTuning, nnUNetTrainerMSBalancedSmall):  # noqa: N801
    """On two CPU cores, in the sizes and length of `nnUNetTrainerMSBalancedSmall`."""


class nnUNetTrainerMSFineTuneTiny(FineTuning, nnUNetTrainerMSBalancedTiny):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""


class nnUNetTrainerMSFineTuneMultiArm(FineTuning, nnUNetTrainerMSMultiArm):  # noqa: N801
    """Goes on from a multi-arm network, with its loss and patches."""


class nnUNetTrainerMSFineTuneFlairT1(FineTuning, nnUNetTrainerMSFlairT1):  # noqa: N801
    """Goes on from a network for scans without T2; of one with T2 it takes what it can."""


class nnUNetTrainerMSFineTuneJointT1(FineTuning, nnUNetTrainerMSJointT1):  # noqa: N801
    """Goes on from a joint T1 network."""


class nnUNetTrainerMSFineTuneMultiArmSmall(FineTuning, nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The small multi-arm network, on two CPU cores, at the small length."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSFineTuneFlairT1Small(FineTuning, nnUNetTrainerMSFlairT1Small):  # noqa: N801
    """The small network for scans without T2, on two CPU cores, at the small length."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSFineTuneJointT1Small(FineTuning, nnUNetTrainerMSJointT1Small):  # noqa: N801
    """The small joint network, on two CPU cores, at the small length."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSFineTuneMultiArmTiny(FineTuning, nnUNetTrainerMSMultiArmTiny):  # noqa: N801
    """Seconds instead of minutes: for tests of the whole way, not for results."""

    presentations_per_study: ClassVar[int | None] = None


class nnUNetTrainerMSDeNovoMultiArm(MatchedLength, nnUNetTrainerMSMultiArm):  # noqa: N801
    """The multi-arm network without a source, as long as `nnUNetTrainerMSFineTuneMultiArm`."""


class nnUNetTrainerMSDeNovoMultiArmSmall(MatchedLength, nnUNetTrainerMSMultiArmSmall):  # noqa: N801
    """The small multi-arm network without a source, as long as `nnUNetTrainerMSFineTuneMultiArmSmall`."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSDeNovoFlairT1(MatchedLength, nnUNetTrainerMSFlairT1):  # noqa: N801
    """The network for scans without T2, without a source, as long as `nnUNetTrainerMSFineTuneFlairT1`."""


class nnUNetTrainerMSDeNovoJointT1(MatchedLength, nnUNetTrainerMSJointT1):  # noqa: N801
    """The joint network without a source, as long as `nnUNetTrainerMSFineTuneJointT1`."""


class nnUNetTrainerMSDeNovoFlairT1Small(MatchedLength, nnUNetTrainerMSFlairT1Small):  # noqa: N801
    """The small network for scans without T2, without a source, as long as `nnUNetTrainerMSFineTuneFlairT1Small`."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSDeNovoJointT1Small(MatchedLength, nnUNetTrainerMSJointT1Small):  # noqa: N801
    """The small joint network without a source, as long as `nnUNetTrainerMSFineTuneJointT1Small`."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study


class nnUNetTrainerMSDeNovoNnUNet(MatchedLength):  # noqa: N801
    """nnU-Net's own network, loss, patches and augmentation, as long as the number of studies asks for."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        check_names(plans, f"the plans of {type(self).__name__}")
        super().__init__(plans, configuration, fold, dataset_json, device)


class nnUNetTrainerMSFineTuneNnUNet(FineTuning, nnUNetTrainerMSDeNovoNnUNet):  # noqa: N801
    """nnU-Net's own network as the plans have it, from nnU-Net's or nnssl's weights; a tenth of nnU-Net's rate."""

    fine_tuning_rate: ClassVar[float | None] = 1e-3


class nnUNetTrainerMSDeNovoNnUNetSmall(nnUNetTrainerMSDeNovoNnUNet):  # noqa: N801
    """Epochs of 10 batches, 40 presentations per study; network and patch are those of the plans."""

    presentations_per_study: ClassVar[int | None] = nnUNetTrainerMSBalancedSmall.presentations_per_study

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 10, 1


class nnUNetTrainerMSFineTuneNnUNetSmall(FineTuning, nnUNetTrainerMSDeNovoNnUNetSmall):  # noqa: N801
    """As `nnUNetTrainerMSFineTuneNnUNet`, in the length of `nnUNetTrainerMSDeNovoNnUNetSmall`."""

    fine_tuning_rate: ClassVar[float | None] = nnUNetTrainerMSFineTuneNnUNet.fine_tuning_rate
