"""Loss of lesion core and rim: the lesion against all else, and rim against core within lesions.

Two questions with two losses. Whether a voxel is lesion is asked of every voxel, and lesions are rare and small: core
and rim together have the smooth-truncated loss with the weights of their whole lesion's volume (`losses`), as T2
lesions have. Whether a lesion's voxel is rim or core is asked within lesions only, where no class is so rare that a
hundredfold weight is called for: cross-entropy of both logits, and soft Dice of the rim. The split is ours.

The same weights on the rim (`JointT1Loss`, 0.2.0's first form) make everything a rim: a rim voxel weighs up to 100,
a voxel of a lesion without a rim 0.1 to 1, so that whoever cannot tell does best to say "rim" wherever its chance is
above a few per mille; and confident mistakes, which all of those then are, have no gradient below gamma.
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from nnunet_ms.lesions.rims import CORE, RIM
from nnunet_ms.trainers.losses import SmoothTruncatedLoss, squared_soft_dice_loss
from nnunet_ms.trainers.networks.blocks import with_background


def lesion_logit(core: torch.Tensor, rim: torch.Tensor) -> torch.Tensor:
    """Logit of "core or rim" where the two are read as independent, as prediction reads them.

    1 - P = (1 - P(core)) (1 - P(rim)), so the odds are e^core + e^rim + e^(core + rim).

    Examples
    --------
    >>> core, rim = torch.tensor([0.0, -2.0, 90.0]), torch.tensor([0.0, 1.0, -300.0])
    >>> torch.sigmoid(lesion_logit(core, rim))
    tensor([0.7500, 0.7631, 1.0000])
    """
    return torch.logsumexp(torch.stack((core, rim, core + rim)), dim=0)


class RimLoss(nn.Module):
    """Loss of one resolution: L = L_lesion + L_labels + L_Dice, each with weight 1.

    L_lesion is a `SmoothTruncatedLoss` of `lesion_logit`. L_labels is the mean over the lesion voxels of the mini-batch
    of the cross-entropies of rim (against core) and of core (against rim), so that core and rim exclude each other and
    nnU-Net's own commands, which take the larger logit, see the same rims. L_Dice is that of P(rim) in these voxels.
    Without a lesion in the mini-batch the last two are 0.

    Parameters
    ----------
    patch_volume_mm3 : float
        Volume of a whole patch.

    Examples
    --------
    >>> output, target = torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    >>> target[:, 0, :2, :4], target[:, 1, :2, :4] = 1, 192.0
    >>> target[:, 0, :2, 0] = 2
    >>> loss = RimLoss(768.0)(output, target)
    >>> round(float(loss - RimLoss(768.0).lesion_part(output, target)), 4)  # 2 log 2 + 1 - Dice
    1.8863
    """

    def __init__(self, patch_volume_mm3: float) -> None:
        super().__init__()
        self.lesion = SmoothTruncatedLoss(patch_volume_mm3)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Move gamma of the lesion's part, see `SmoothTruncatedLoss.set_epoch`."""
        self.lesion.set_epoch(epoch, epochs)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Parameters
        ----------
        output : tensor
            (B, 3, Z, Y, X) logits of background, core and rim.
        target : tensor
            (B, 2, Z, Y, X): labels 0, 1, 2, then the volume in mm3 of the whole lesion of core and rim.
        """
        return self.lesion_part(output, target) + self.label_part(output, target)

    def lesion_part(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of the lesion, core and rim together, against the background."""
        with torch.autocast(output.device.type, enabled=False):
            lesion = lesion_logit(output[:, CORE].float(), output[:, RIM].float())
            together = torch.stack(((target[:, 0] > 0).to(target.dtype), target[:, 1]), dim=1)
            loss: torch.Tensor = self.lesion(with_background(lesion[:, None]), together)
            return loss

    def label_part(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of rim against core in the voxels of lesions."""
        with torch.autocast(output.device.type, enabled=False):
            inside = target[:, 0] > 0
            core, rim = output[:, CORE].float()[inside], output[:, RIM].float()[inside]
            truth = (target[:, 0][inside] == RIM).float()
            if truth.numel() == 0:
                return output.sum() * 0.0
            entropy = binary_cross_entropy_with_logits(rim, truth) + binary_cross_entropy_with_logits(core, 1 - truth)
            return entropy + squared_soft_dice_loss(torch.sigmoid(rim), truth)
