"""Smooth-truncated cross-entropy with lesion-volume weights plus squared soft Dice, in pure torch; and its rivals.

Source: Krishnan et al., Sci Rep 13:4102, 2023, eq. 1-3. Equation 2 prints its second case as -log(gamma), which would
have no gradient for any confident voxel; it must read -log(p), as in both public implementations of the loss.
Where the paper gives a maximum or an end point only, the constants below are this project's choice and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from nnunet_ms.options import chosen

AlphaMode = Literal["lesion", "patch"]
BetaDriver = Literal["volume", "epoch"]


@dataclass(frozen=True)
class VolumeWeights:
    """Constants of the weights alpha (lesion voxels) and beta (background voxels).

    `alpha_max` = 100 is the paper's. Ours: `alpha_min`, `beta_min`, `beta_max`, the steepness, and the half-way volume
    v0 = 150 mm3, which is 50 voxels of 3 mm3, the paper's border between small and large lesions.

    Examples
    --------
    >>> weights = VolumeWeights()
    >>> weights.alpha(torch.tensor([3.0, 150.0, 15_000.0]))
    tensor([99.9604, 50.5000,  1.0099])
    >>> weights.beta(torch.tensor([0.0, 150.0, 15_000.0]))
    tensor([0.1000, 0.5500, 0.9999])
    """

    alpha_max: float = 100.0
    alpha_min: float = 1.0
    beta_max: float = 1.0
    beta_min: float = 0.1
    half_volume_mm3: float = 150.0
    steepness: float = 2.0

    def alpha(self, volume_mm3: torch.Tensor) -> torch.Tensor:
        """Weight of a lesion voxel: sigmoid decay in the logarithm of its lesion's volume."""
        ratio = (volume_mm3 / self.half_volume_mm3) ** self.steepness
        return self.alpha_min + (self.alpha_max - self.alpha_min) / (1 + ratio)

    def beta(self, volume_mm3: torch.Tensor) -> torch.Tensor:
        """Weight of a background voxel: sigmoid growth with the lesion volume in the patch."""
        ratio = (volume_mm3 / self.half_volume_mm3) ** self.steepness
        return self.beta_min + (self.beta_max - self.beta_min) * ratio / (1 + ratio)

    def beta_of_progress(self, progress: torch.Tensor, steepness: float = 10.0) -> torch.Tensor:
        """Weight of a background voxel as logistic growth over training, `progress` from 0 to 1 (the other reading)."""
        low, high = (torch.sigmoid(torch.tensor(steepness * x)) for x in (-0.5, 0.5))
        share = (torch.sigmoid(steepness * (progress - 0.5)) - low) / (high - low)
        return self.beta_min + (self.beta_max - self.beta_min) * share


def gamma_at(epoch: int, epochs: int, first: float = 0.02, last: float = 0.15) -> float:
    """Truncation point gamma of an epoch: linear from 0.02 to 0.15 (the paper gives the end points).

    Parameters
    ----------
    epoch : int
        Current epoch, 0 to `epochs` - 1.
    epochs : int
        Number of epochs; with a single one gamma stays at `first`.

    Examples
    --------
    >>> gamma_at(0, 200), round(gamma_at(199, 200), 3)
    (0.02, 0.15)
    """
    return first + (last - first) * epoch / max(epochs - 1, 1)


def smooth_truncated_cross_entropy(true_class_logit: torch.Tensor, gamma: torch.Tensor | float) -> torch.Tensor:
    """Cross-entropy that stops growing for confident mistakes, per voxel.

    Parameters
    ----------
    true_class_logit : tensor
        Any shape; the logit z of the voxel's true class, p = sigmoid(z). For a background voxel it is minus the
        lesion logit.
    gamma : float or scalar tensor
        Truncation point in (0, 1).

    Returns
    -------
    tensor
        -log p where p >= gamma, -log gamma + (1 - p^2 / gamma^2) / 2 below; same shape. The value and the slope are
        continuous at gamma, and nothing exceeds -log gamma + 1/2.

    Examples
    --------
    >>> logits = torch.tensor([4.0, 0.0, -4.0, -40.0])
    >>> smooth_truncated_cross_entropy(logits, gamma=0.15)
    tensor([0.0181, 0.6931, 2.3899, 2.3971])
    """
    gamma = torch.as_tensor(gamma, dtype=true_class_logit.dtype, device=true_class_logit.device)
    p = torch.sigmoid(true_class_logit)
    truncated = p < gamma
    # each branch sees harmless values where it is not used, so that no NaN or infinity enters the gradient
    p_below = torch.where(truncated, p, torch.zeros_like(p))
    logit_above = torch.where(truncated, torch.zeros_like(true_class_logit), true_class_logit)
    quadratic = -torch.log(gamma) + 0.5 * (1 - (p_below / gamma) ** 2)
    return torch.where(truncated, quadratic, -logsigmoid(logit_above))


def squared_soft_dice_loss(probability: torch.Tensor, reference: torch.Tensor, smooth: float = 1e-5) -> torch.Tensor:
    """1 - 2 sum(p q) / (sum(p^2) + sum(q^2)) over the whole mini-batch (V-Net; Milletari et al. 2016).

    Both arguments have one shape. Sums run over the batch, because a patch may hold a single small lesion.

    Examples
    --------
    >>> reference = torch.tensor([1.0, 1.0, 0.0, 0.0])
    >>> round(float(squared_soft_dice_loss(reference, reference)), 6)
    0.0
    >>> round(float(squared_soft_dice_loss(1 - reference, reference)), 4)
    1.0
    """
    overlap = (probability * reference).sum()
    return 1 - (2 * overlap + smooth) / ((probability**2).sum() + (reference**2).sum() + smooth)


class SmoothTruncatedLoss(nn.Module):
    """Loss of one lesion type at one resolution.

    L = (1/N) [sum over lesion voxels of alpha L_ST(p) + beta sum over background voxels of L_ST(1 - p)] + L_Dice,
    N all voxels of the mini-batch, so that alpha = 100 offsets a lesion share near 1 %.

    Parameters
    ----------
    patch_volume_mm3 : float
        Volume of a whole patch, which turns the share of lesion voxels into the lesion volume of the patch.
    label : int
        Value of this lesion type in the target, and its channel in the output.
    weights : VolumeWeights
        Constants of alpha and beta.
    alpha_mode : {"lesion", "patch"}
        Whether alpha follows the volume of the voxel's own lesion or the lesion volume of the patch.
    beta_driver : {"volume", "epoch"}
        Whether beta grows with the lesion volume of the patch or with training progress; the paper's sentence can
        be read both ways.

    Examples
    --------
    >>> output = torch.zeros(1, 2, 4, 8, 8, requires_grad=True)
    >>> target = torch.zeros(1, 2, 4, 8, 8)
    >>> target[:, 0, 1:3, 2:4, 2:4], target[:, 1, 1:3, 2:4, 2:4] = 1, 24.0
    >>> loss = SmoothTruncatedLoss(patch_volume_mm3=4 * 8 * 8 * 3.0)(output, target)
    >>> round(loss.item(), 3)
    3.084
    >>> loss.backward()
    >>> bool((output.grad[0, 1][target[0, 0] == 1] < 0).all())
    True
    """

    def __init__(
        self,
        patch_volume_mm3: float,
        label: int = 1,
        weights: VolumeWeights | None = None,
        alpha_mode: AlphaMode = "lesion",
        beta_driver: BetaDriver = "volume",
    ) -> None:
        super().__init__()
        chosen(alpha_mode, get_args(AlphaMode), "alpha_mode")
        chosen(beta_driver, get_args(BetaDriver), "beta_driver")
        self.patch_volume_mm3 = patch_volume_mm3
        self.label = label
        self.weights = weights or VolumeWeights()
        self.alpha_mode = alpha_mode
        self.beta_driver = beta_driver
        self.gamma: torch.Tensor
        self.progress: torch.Tensor
        self.register_buffer("gamma", torch.tensor(0.02), persistent=False)
        self.register_buffer("progress", torch.tensor(0.0), persistent=False)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Move gamma (and beta, when it follows the epochs) to where `epoch` of `epochs` has them."""
        self.gamma = torch.as_tensor(gamma_at(epoch, epochs), device=self.gamma.device)
        self.progress = torch.as_tensor(epoch / max(epochs - 1, 1), device=self.progress.device)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss.

        Parameters
        ----------
        output : tensor
            (B, 1 + T, Z, Y, X) logits, background first.
        target : tensor
            (B, 2, Z, Y, X): labels, then the volume in mm3 of the lesion that a voxel belongs to (0 outside).
        """
        with torch.autocast(output.device.type, enabled=False):  # half precision would lose confident voxels
            logit = output[:, self.label].float()
            lesion = target[:, 0] == self.label
            signed = torch.where(lesion, logit, -logit)
            voxel_loss = smooth_truncated_cross_entropy(signed, self.gamma)
            cross_entropy = (voxel_loss * self._weight(target, lesion)).mean()
            return cross_entropy + squared_soft_dice_loss(torch.sigmoid(logit), lesion.float())

    def _weight(self, target: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
        volume = target[:, 1].float()
        # the share, not the count, so that every resolution of deep supervision sees the same volume
        patch_volume = lesion.float().mean((1, 2, 3), keepdim=True) * self.patch_volume_mm3
        alpha = self.weights.alpha(volume if self.alpha_mode == "lesion" else patch_volume)
        if self.beta_driver == "volume":
            beta = self.weights.beta(patch_volume)
        else:
            beta = self.weights.beta_of_progress(self.progress)
        return torch.where(lesion, alpha, beta)


class OneLesionLoss(nn.Module):
    """What the losses of the ablation share: one lesion type's logit and mask, and no schedule.

    Parameters
    ----------
    label : int
        Value of this lesion type in the target, and its channel in the output.
    """

    def __init__(self, label: int = 1) -> None:
        super().__init__()
        self.label = label

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Do nothing: this loss is the same in every epoch."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss; arguments as `SmoothTruncatedLoss.forward`, lesion volumes are not read."""
        with torch.autocast(output.device.type, enabled=False):
            return self.of(output[:, self.label].float(), (target[:, 0] == self.label).float())

    def of(self, logit: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
        """Loss of the lesion logits (B, Z, Y, X) against 0 and 1."""
        raise NotImplementedError(f"{type(self).__name__} defines no loss")


class DiceCrossEntropyLoss(OneLesionLoss):
    """Soft Dice loss plus cross-entropy, each with weight 1: nnU-Net's default [1]_.

    Dice sums unsquared terms, of each sample by itself or, with `batch_dice`, of the mini-batch. The value is nnU-Net's
    plus 1, because nnU-Net adds -Dice where this adds 1 - Dice.

    References
    ----------
    .. [1] Isensee et al., nnU-Net. Nat Methods 18:203-211, 2021. doi:10.1038/s41592-020-01008-z

    Examples
    --------
    >>> output, target = torch.zeros(1, 2, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    >>> target[:, 0, :2] = 1
    >>> round(float(DiceCrossEntropyLoss()(output, target)), 4)  # Dice 1/2, cross-entropy log 2
    1.1931
    """

    def __init__(self, label: int = 1, batch_dice: bool = False, smooth: float = 1e-5) -> None:
        super().__init__(label)
        self.axes = (0, 1, 2, 3) if batch_dice else (1, 2, 3)
        self.smooth = smooth

    def of(self, logit: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
        """See `OneLesionLoss.of`."""
        probability = torch.sigmoid(logit)
        overlap = (probability * lesion).sum(self.axes)
        dice = (2 * overlap + self.smooth) / (probability.sum(self.axes) + lesion.sum(self.axes) + self.smooth)
        cross_entropy = -logsigmoid(torch.where(lesion > 0, logit, -logit)).mean()
        return cross_entropy + 1 - dice.mean()


class TverskyLoss(OneLesionLoss):
    """1 - TP / (TP + alpha FP + beta FN), soft counts over the mini-batch [1]_.

    Parameters
    ----------
    false_positives, false_negatives : float
        alpha and beta, >= 0, not both 0; 0.3 and 0.7 did best in the paper. 0.5 and 0.5 is Dice.
    label : int
        See `OneLesionLoss`.

    Raises
    ------
    ValueError
        If a weight is negative or both are 0.

    References
    ----------
    .. [1] Salehi, Erdogmus, Gholipour, Tversky loss function for image segmentation using 3D fully convolutional deep
       networks. MLMI 2017. arXiv:1706.05721

    Examples
    --------
    >>> output, target = torch.zeros(1, 2, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    >>> target[:, 0, :2] = 1
    >>> round(float(TverskyLoss()(output, target)), 4)
    0.5
    """

    def __init__(
        self, false_positives: float = 0.3, false_negatives: float = 0.7, label: int = 1, smooth: float = 1e-5
    ) -> None:
        super().__init__(label)
        if not (false_positives >= 0 and false_negatives >= 0 and 0 < false_positives + false_negatives < float("inf")):
            raise ValueError(
                "TverskyLoss: expected weights of false positives and false negatives >= 0, one of them above 0, found "
                f"{false_positives} and {false_negatives}. The paper has 0.3 and 0.7."
            )
        self.false_positives, self.false_negatives, self.smooth = false_positives, false_negatives, smooth

    def of(self, logit: torch.Tensor, lesion: torch.Tensor) -> torch.Tensor:
        """See `OneLesionLoss.of`."""
        probability = torch.sigmoid(logit)
        found = (probability * lesion).sum()
        wrong = self.false_positives * (probability.sum() - found) + self.false_negatives * (lesion.sum() - found)
        return 1 - (found + self.smooth) / (found + wrong + self.smooth)


class AsymmetricSimilarityLoss(TverskyLoss):
    """1 - F_beta, the asymmetric similarity loss [1]_, soft counts over the mini-batch.

    F_beta = (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP) is Tversky's index with the weights 1 / (1 + beta^2)
    and beta^2 / (1 + beta^2); at the paper's best beta, 1.5, they are 0.308 and 0.692, next to Tversky's 0.3 and 0.7.

    Parameters
    ----------
    beta : float
        Above 0; above 1, a missed voxel costs more than a false one.
    label : int
        See `OneLesionLoss`.

    Raises
    ------
    ValueError
        If `beta` is not above 0.

    References
    ----------
    .. [1] Hashemi et al., Asymmetric loss functions and deep densely-connected networks for highly-imbalanced medical
       image segmentation: application to multiple sclerosis lesion detection. IEEE Access 7:1721-1735, 2019 (2018).
       arXiv:1803.11078

    Examples
    --------
    >>> AsymmetricSimilarityLoss(beta=2.0).false_negatives
    0.8
    """

    def __init__(self, beta: float = 1.5, label: int = 1) -> None:
        if not 0 < beta < float("inf"):
            raise ValueError(
                f"AsymmetricSimilarityLoss: expected beta above 0, found {beta}. The paper's best is 1.5; 1 is Dice."
            )
        super().__init__(1 / (1 + beta**2), beta**2 / (1 + beta**2), label)


class JointT1Loss(nn.Module):
    """Loss of the joint T1 network at one resolution: one loss per lesion type plus their exclusivity.

    L = L_U + L_C + lambda mean(p_U p_C), because a voxel is unenhancing or enhancing, never both. The paper says that
    the loss is combined; its form is ours. Each part is a `SmoothTruncatedLoss`.

    Parameters
    ----------
    patch_volume_mm3 : float
        Volume of a whole patch.
    exclusivity : float
        lambda, >= 0; 0 leaves the last term out.

    Examples
    --------
    >>> output, target = torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    >>> plain = JointT1Loss(768.0, exclusivity=0.0)(output, target)
    >>> round(float(JointT1Loss(768.0, exclusivity=0.1)(output, target) - plain), 3)
    0.025
    """

    def __init__(self, patch_volume_mm3: float, exclusivity: float = 0.1) -> None:
        super().__init__()
        self.unenhancing = SmoothTruncatedLoss(patch_volume_mm3, label=1)
        self.enhancing = SmoothTruncatedLoss(patch_volume_mm3, label=2)
        self.exclusivity = exclusivity

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Move gamma of both parts, see `SmoothTruncatedLoss.set_epoch`."""
        for part in (self.unenhancing, self.enhancing):
            part.set_epoch(epoch, epochs)

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of (B, 3, Z, Y, X) logits; `target` as `SmoothTruncatedLoss.forward`, labels 0, 1, 2."""
        loss: torch.Tensor = self.unenhancing(output, target) + self.enhancing(output, target)
        if self.exclusivity == 0:
            return loss
        with torch.autocast(output.device.type, enabled=False):
            p = torch.sigmoid(output[:, 1:].float())
            return loss + self.exclusivity * (p[:, 0] * p[:, 1]).mean()


class SigmoidCrossEntropy(nn.Module):
    """Cross-entropy of each lesion type against all else, summed over the types; mean over voxels, no weights.

    With one lesion type it is the cross-entropy over background and lesion, since the background logit is 0. With
    several it reads each logit as a sigmoid, as prediction does.

    Parameters
    ----------
    labels : sequence of int
        Values of the lesion types in the target, in the order of the foreground channels.

    Examples
    --------
    >>> output, target = torch.zeros(1, 2, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    >>> round(float(SigmoidCrossEntropy([1])(output, target)), 4)
    0.6931
    """

    def __init__(self, labels: Sequence[int]) -> None:
        super().__init__()
        self.labels = tuple(labels)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Do nothing: it is the same in every epoch."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of (B, 1 + T, Z, Y, X) logits; `target` as `SmoothTruncatedLoss.forward`."""
        with torch.autocast(output.device.type, enabled=False):
            losses = [
                binary_cross_entropy_with_logits(output[:, channel].float(), (target[:, 0] == label).float())
                for channel, label in enumerate(self.labels, start=1)
            ]
            return torch.stack(losses).sum()
