import math

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from scipy.special import expit

from nnunet_ms.trainers.losses import (
    AsymmetricSimilarityLoss,
    DiceCrossEntropyLoss,
    JointT1Loss,
    SmoothTruncatedLoss,
    TverskyLoss,
    VolumeWeights,
    gamma_at,
    smooth_truncated_cross_entropy,
    squared_soft_dice_loss,
)


def logit(p):
    return torch.logit(torch.as_tensor(p, dtype=torch.float64))


def by_definition(p, gamma):
    # Oracle: the formula written with probabilities in plain Python, as the paper does.
    return -math.log(gamma) + 0.5 * (1 - p**2 / gamma**2) if p < gamma else -math.log(p)


@pytest.mark.parametrize("gamma", [0.02, 0.15])
@pytest.mark.parametrize("p", [1e-6, 0.01, 0.0199, 0.02, 0.1, 0.1499, 0.15, 0.5, 0.99])
def test_values_by_the_definition(p, gamma):
    assert smooth_truncated_cross_entropy(logit(p), gamma).item() == pytest.approx(by_definition(p, gamma), rel=1e-9)


@pytest.mark.parametrize("gamma", [0.02, 0.0648, 0.15])
def test_value_and_slope_are_continuous_at_gamma(gamma):
    below, above = (logit(gamma + d).requires_grad_() for d in (-1e-6, 1e-6))
    losses = [smooth_truncated_cross_entropy(z, gamma) for z in (below, above)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-4 * gamma / 0.02)
    slopes = [torch.autograd.grad(loss, z)[0].item() for loss, z in zip(losses, (below, above), strict=True)]
    assert slopes[0] == pytest.approx(slopes[1], abs=1e-4)
    assert slopes[0] == pytest.approx(-(1 - gamma), abs=1e-4)  # dL/dz = -(1 - p)


@pytest.mark.parametrize(("gamma", "bound"), [(0.02, 4.412), (0.15, 2.397)])
def test_is_bounded(gamma, bound):
    assert smooth_truncated_cross_entropy(torch.tensor(-80.0), gamma).item() == pytest.approx(bound, abs=5e-4)


def test_gradients_by_finite_differences_on_both_branches():
    z = logit([0.003, 0.01, 0.05, 0.4, 0.9]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: smooth_truncated_cross_entropy(x, 0.03), (z,))


def test_gradient_vanishes_for_confident_mistakes():
    z = logit(0.002).requires_grad_()
    smooth_truncated_cross_entropy(z, 0.02).backward()
    assert z.grad.item() == pytest.approx(-0.0099, abs=1e-4)  # cross-entropy would give -0.998


def test_falls_with_the_probability_and_tends_to_cross_entropy():
    p = torch.linspace(1e-4, 1 - 1e-4, 2001, dtype=torch.float64)
    assert torch.all(torch.diff(smooth_truncated_cross_entropy(torch.logit(p), 0.15)) < 0)
    assert torch.allclose(smooth_truncated_cross_entropy(torch.logit(p), 1e-8), -torch.log(p))


def test_alpha_falls_from_the_papers_maximum():
    # Oracle: values of the formula worked out by hand for 3 to 3000 voxels of 3 mm3 and more.
    volumes = torch.tensor([0.0, 9, 30, 60, 150, 300, 1500, 10_000])
    expected = [100.0, 99.6, 96.2, 86.3, 50.5, 20.8, 2.0, 1.02]
    alpha = VolumeWeights().alpha(volumes)
    assert alpha.tolist() == pytest.approx(expected, abs=0.06)
    assert torch.all(torch.diff(alpha) < 0)
    assert VolumeWeights().alpha(torch.tensor(1e9)).item() == pytest.approx(1.0, abs=1e-6)


def test_beta_grows_with_the_lesion_volume_or_the_epochs():
    weights = VolumeWeights()
    assert weights.beta(torch.tensor([0.0, 150.0, 1e9])).tolist() == pytest.approx([0.1, 0.55, 1.0])
    progress = weights.beta_of_progress(torch.tensor([0.0, 0.5, 1.0])).tolist()
    assert progress == pytest.approx([0.1, 0.55, 1.0], abs=1e-6)


def test_gamma_runs_between_the_papers_end_points():
    assert [gamma_at(e, 30) for e in (0, 10, 20, 29)] == pytest.approx([0.02, 0.0648, 0.1097, 0.15], abs=5e-5)
    assert gamma_at(0, 1) == 0.02


def test_dice_is_the_squared_form():
    p, q = torch.tensor([0.8, 0.3, 0.1]), torch.tensor([1.0, 1.0, 0.0])
    assert squared_soft_dice_loss(p, q, smooth=0).item() == pytest.approx(1 - 2 * 1.1 / (0.64 + 0.09 + 0.01 + 2))


def loss_and_target(volume, shape=(1, 4, 8, 8)):
    target = torch.zeros(shape[0], 2, *shape[1:])
    target[:, 0, 1, 2:5, 2:4] = 1
    target[:, 1][target[:, 0] == 1] = volume
    return SmoothTruncatedLoss(patch_volume_mm3=4 * 8 * 8 * 3.0), target


def test_whole_loss_by_a_plain_loop():
    # Oracle: the sums of the definition, voxel by voxel.
    loss, target = loss_and_target(volume=60.0)
    loss.set_epoch(10, 30)
    torch.manual_seed(0)
    z = 3 * torch.randn(1, 1, 4, 8, 8)
    output = torch.cat((torch.zeros_like(z), z), 1)
    patch_volume = 6 * 3.0
    beta = 0.1 + 0.9 * (patch_volume / 150) ** 2 / (1 + (patch_volume / 150) ** 2)
    alpha = 1 + 99 / (1 + (60 / 150) ** 2)
    total, overlap, squares = 0.0, 0.0, 0.0
    for score, label in zip(z.flatten().tolist(), target[:, 0].flatten().tolist(), strict=True):
        p = float(expit(score))
        total += (
            alpha * by_definition(p, loss.gamma.item()) if label else beta * by_definition(1 - p, loss.gamma.item())
        )
        overlap += p * label
        squares += p**2 + label
    expected = total / z.numel() + 1 - 2 * overlap / squares
    assert loss(output, target).item() == pytest.approx(expected, rel=1e-5)


def test_small_lesion_voxels_weigh_at_least_forty_times_large_ones():
    gradients = []
    for volume in (9.0, 10_000.0):
        loss, target = loss_and_target(volume)
        z = torch.zeros(1, 2, 4, 8, 8, requires_grad=True)
        with_dice = loss(z, target)
        dice = squared_soft_dice_loss(torch.sigmoid(z[:, 1]), target[:, 0])
        (with_dice - dice).backward()
        gradients.append(z.grad[:, 1][target[:, 0] == 1].abs().mean().item())
    assert gradients[0] / gradients[1] >= 40


@pytest.mark.parametrize("score", [-80.0, 80.0])
def test_finite_in_half_precision_at_extreme_logits(score):
    loss, target = loss_and_target(30.0)
    z = torch.full((1, 2, 4, 8, 8), score, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(z, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


def test_patch_volume_is_the_same_at_every_resolution():
    coarse, fine = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 8, 8, 8)
    for target, n in ((coarse, 2), (fine, 4)):
        target[:, :, :n, :n, :n] = 1
    loss = SmoothTruncatedLoss(patch_volume_mm3=512.0, alpha_mode="patch")
    weights = [loss._weight(t, t[:, 0] == 1).unique().tolist() for t in (coarse, fine)]
    assert weights[0] == pytest.approx(weights[1])


def test_beta_can_follow_the_epochs():
    loss = SmoothTruncatedLoss(patch_volume_mm3=768.0, beta_driver="epoch")
    target = loss_and_target(30.0)[1]
    background = []
    for epoch in (0, 29):
        loss.set_epoch(epoch, 30)
        background.append(loss._weight(target, target[:, 0] == 1)[target[:, 0] == 0].unique().item())
    assert background == pytest.approx([0.1, 1.0], abs=1e-6)


def joint_case():
    rng = torch.Generator().manual_seed(0)
    output = torch.cat((torch.zeros(2, 1, 4, 6, 6), 2 * torch.randn(2, 2, 4, 6, 6, generator=rng)), dim=1)
    labels = torch.randint(0, 3, (2, 1, 4, 6, 6), generator=rng).float()
    return output, torch.cat((labels, 30 * (labels > 0)), dim=1)


@pytest.mark.parametrize("exclusivity", [0.0, 0.1, 3.0])
def test_joint_loss_is_the_sum_of_its_parts_by_definition(exclusivity):
    # Oracle: each type's own loss on a target that holds that type only, plus the mean product written out.
    output, target = joint_case()
    expected = 0.0
    for label in (1, 2):
        alone = torch.stack((target[:, 0], target[:, 1]), dim=1)
        alone[:, 0] = (target[:, 0] == label).float()
        loss = SmoothTruncatedLoss(432.0)
        expected += loss(torch.cat((output[:, :1], output[:, label : label + 1]), dim=1), alone).item()
    p = expit(output[:, 1:].double().numpy())
    expected += exclusivity * float((p[:, 0] * p[:, 1]).mean())
    assert JointT1Loss(432.0, exclusivity)(output, target).item() == pytest.approx(expected, rel=1e-5)


def test_exclusivity_pushes_both_probabilities_down_where_both_are_high():
    output, target = joint_case()
    output = output.requires_grad_()
    with_term, without = (torch.autograd.grad(JointT1Loss(432.0, x)(output, target), output)[0] for x in (1.0, 0.0))
    p = torch.sigmoid(output[:, 1:].detach())
    product = p[:, :1] * p[:, 1:]
    assert torch.allclose((with_term - without)[:, 1:], product * (1 - p) / product.numel(), rtol=1e-3, atol=1e-6)


def test_joint_loss_moves_gamma_of_both_parts():
    loss = JointT1Loss(432.0)
    loss.set_epoch(29, 30)
    assert [part.gamma.item() for part in (loss.unenhancing, loss.enhancing)] == pytest.approx([0.15, 0.15])


def test_joint_loss_is_finite_for_extreme_logits_and_absent_types():
    output = torch.full((1, 3, 2, 4, 4), 80.0, requires_grad=True)
    loss = JointT1Loss(96.0)(output, torch.zeros(1, 2, 2, 4, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()


def rival_case(seed=0, lesion_share=0.1):
    rng = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(2, 1, 4, 6, 6, generator=rng)
    lesion = (torch.rand(2, 1, 4, 6, 6, generator=rng) < lesion_share).float()
    return torch.cat((torch.zeros_like(z), z), 1), torch.cat((lesion, 30 * lesion), 1)


def soft_counts(output, target):
    """Soft TP, FP, FN over the mini-batch, in numpy."""
    p, q = expit(output[:, 1].double().numpy()), target[:, 0].numpy()
    return (p * q).sum(), (p * (1 - q)).sum(), ((1 - p) * q).sum()


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize(("seed", "share"), [(0, 0.1), (1, 0.01), (2, 0.0), (3, 1.0)])
def test_dice_and_cross_entropy_is_nnunets_own(seed, share, batch_dice):
    # Oracle: nnU-Net 2.8.1's default loss as nnUNetTrainer builds it; it adds -Dice where ours adds 1 - Dice.
    output, target = rival_case(seed, share)
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    theirs = DC_and_CE_loss(dice, {}, weight_ce=1, weight_dice=1, dice_class=MemoryEfficientSoftDiceLoss)
    ours = DiceCrossEntropyLoss(batch_dice=batch_dice)
    assert ours(output, target).item() == pytest.approx(theirs(output, target[:, :1]).item() + 1, rel=1e-5)
    assert float(ours(output, target)) >= 0


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (2.0, 3.0)])
def test_tversky_by_the_papers_formula(alpha, beta):
    # Oracle: the index of Salehi et al. 2017, in numpy.
    output, target = rival_case()
    tp, fp, fn = soft_counts(output, target)
    expected = 1 - tp / (tp + alpha * fp + beta * fn)
    assert TverskyLoss(alpha, beta)(output, target).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0])
def test_asymmetric_similarity_by_the_papers_formula(beta):
    # Oracle: F_beta as Hashemi et al. 2018 write it, in numpy; not as a Tversky index.
    output, target = rival_case()
    tp, fp, fn = soft_counts(output, target)
    expected = 1 - (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)
    assert AsymmetricSimilarityLoss(beta)(output, target).item() == pytest.approx(expected, rel=1e-4)


RIVALS = {
    "dice_ce": DiceCrossEntropyLoss(),
    "dice_ce_batch": DiceCrossEntropyLoss(batch_dice=True),
    "tversky": TverskyLoss(),
    "asymmetric": AsymmetricSimilarityLoss(),
}


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_0_for_the_reference_itself_and_learns_it(name):
    loss, (_, target) = RIVALS[name], rival_case()
    perfect = torch.stack((torch.zeros_like(target[:, 0]), 80 * (2 * target[:, 0] - 1)), 1)
    assert loss(perfect, target).item() == pytest.approx(0, abs=1e-4)
    z = torch.zeros_like(perfect, requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(z, target).backward()
        optimiser.step()
    assert torch.equal(z[:, 1] > 0, target[:, 0] > 0)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("score", [-80.0, 80.0])
def test_a_rival_is_finite_in_half_precision_at_extreme_logits_and_without_lesions(name, share, score):
    _, target = rival_case(lesion_share=share)
    z = torch.full((2, 2, 4, 6, 6), score, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = RIVALS[name](z, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_neither_reads_lesion_volumes_nor_follows_the_epochs(name):
    output, target = rival_case()
    before = RIVALS[name](output, target)
    target[:, 1] *= 7
    RIVALS[name].set_epoch(29, 30)
    assert RIVALS[name](output, target) == before


@pytest.mark.parametrize("name", ["tversky", "asymmetric"])
def test_a_missed_voxel_costs_more_than_a_false_one(name):
    _, target = rival_case()
    lesion = target[:, 0]
    right = torch.stack((torch.zeros_like(lesion), 80 * (2 * lesion - 1)), 1)
    values = []
    for wrong in (lesion.nonzero()[0], (1 - lesion).nonzero()[0]):
        flipped = right.clone()
        flipped[wrong[0], 1, wrong[1], wrong[2], wrong[3]] *= -1
        values.append(RIVALS[name](flipped, target).item())
    assert values[0] > values[1] > 0


@pytest.mark.parametrize("weights", [(-0.1, 1.0), (0.3, -0.7), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_impossible_weights_of_tversky_are_refused(weights):
    with pytest.raises(ValueError, match=r"TverskyLoss: expected weights .* >= 0, .*The paper has 0.3 and 0.7"):
        TverskyLoss(*weights)


@pytest.mark.parametrize("beta", [0.0, -1.5, float("nan"), float("inf")])
def test_impossible_beta_is_refused(beta):
    with pytest.raises(ValueError, match=r"AsymmetricSimilarityLoss: expected beta above 0, found .*best is 1.5"):
        AsymmetricSimilarityLoss(beta)
