"""Trainings whose model is the moving average of their weights, and that use half the precision on a CPU.

An average of the last some hundred steps generalises better than the last step [1]_, and needs no choice of the best
epoch. Which is kept where: checkpoints of a running training hold both, `checkpoint_final.pth` the average alone.

References
----------
.. [1] Tarvainen & Valpola, Mean teachers are better role models. NeurIPS 2017. arXiv:1703.01780
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.optim.swa_utils import AveragedModel

from nnunet_ms.checkpoints import load_checkpoint
from nnunet_ms.trainers.safe_training import SafeTraining

AVERAGE = "averaged_weights"  # key of a checkpoint


def average_share(decay: float, steps: int) -> float:
    """Share of the old average that stays after a step: `decay`, less in the first steps, when there is little of it.

    Examples
    --------
    >>> average_share(0.999, 0), average_share(0.999, 90), average_share(0.999, 10**6)
    (0.1, 0.91, 0.999)
    """
    return min(decay, (1 + steps) / (10 + steps))


class WeightAverage(SafeTraining):
    """Exponential moving average of the weights; it is what is validated, and the trained model.

    Attributes
    ----------
    average_decay : float
        Share of the average that stays after each step, in [0, 1).
    bfloat16_on_cpu : bool
        Convolutions in bfloat16 where the processor has instructions for it (AVX-512 BF16): half the time of a step.
        Losses, normalisations and weights stay in float32. GPUs use nnU-Net's mixed precision.
    """

    average_decay: ClassVar[float] = 0.999
    bfloat16_on_cpu: ClassVar[bool] = True

    def initialize(self) -> None:
        """Also begin the average."""
        super().initialize()
        self.average = AveragedModel(self.network, multi_avg_fn=self._averaged, use_buffers=True)

    @torch.no_grad()
    def _averaged(self, average: Any, current: Any, steps: Any) -> None:
        share = average_share(self.average_decay, int(steps))
        for old, new in zip(average, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new.to(old.device), 1 - share)
            else:
                old.copy_(new)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step, in bfloat16 on a processor that has it, then the average."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._in_bfloat16()):
            result: dict[str, Any] = super().train_step(batch)
        self.average.update_parameters(self.network)
        return result

    def _in_bfloat16(self) -> bool:
        # older versions of torch cannot be asked by a public name: float32 is right everywhere, if slower
        asked: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return self.bfloat16_on_cpu and self.device.type == "cpu" and bool(asked.get("avx512_bf16"))

    def more_in_checkpoint(self) -> dict[str, Any]:
        """Weights of the average."""
        return {AVERAGE: self.average.module.state_dict(), "averaged_steps": int(self.average.n_averaged)}

    def load_checkpoint(self, filename_or_checkpoint: Any) -> None:
        """Resume with the average as well; a checkpoint without one begins it from its weights."""
        super().load_checkpoint(filename_or_checkpoint)
        known = filename_or_checkpoint
        if isinstance(known, str | Path):
            known = load_checkpoint(known, ("network_weights",), "a checkpoint to go on with")
        self.average.module.load_state_dict(known.get(AVERAGE, known["network_weights"]))
        self.average.n_averaged.fill_(int(known.get("averaged_steps", 0)))

    def on_train_end(self) -> None:
        """Take the average for the model, then as nnU-Net."""
        self.network.load_state_dict(self.average.module.state_dict())
        super().on_train_end()
