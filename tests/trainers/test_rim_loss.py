"""The loss of core and rim against its definition, and against what made everything a rim before."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from nnunet_ms.trainers.losses import JointT1Loss, VolumeWeights
from nnunet_ms.trainers.rim_loss import RimLoss, lesion_logit

PATCH_MM3 = 4 * 8 * 8 * 1.7


def batch(seed=0, shape=(2, 4, 8, 8)):
    """Random logits and a target with a lesion of core and rim in each patch; the same volume in both."""
    rng = np.random.default_rng(seed)
    output = torch.tensor(rng.normal(0, 2, (shape[0], 3, *shape[1:])), dtype=torch.float64)
    output[:, 0] = 0
    labels, volumes = np.zeros(shape), np.zeros(shape)
    labels[:, 1:3, 2:6, 2:7], labels[:, 1:3, 3:5, 3:6] = 2, 1
    labels[1][labels[1] == 2] = 1  # the lesion of the second patch has no rim
    volumes[labels > 0] = 68.0
    return output, torch.tensor(np.stack((labels, volumes), axis=1))


def by_definition(output, target, gamma=0.02):
    """A second, plain implementation, voxel by voxel."""
    weights, loss, entropy, inside = VolumeWeights(), 0.0, 0.0, 0
    sums = {"lesion": [0.0, 0.0, 0.0], "rim": [0.0, 0.0, 0.0]}
    z, t = output.numpy(), target.numpy()
    for b in range(len(z)):
        share = (t[b, 0] > 0).mean() * PATCH_MM3
        beta = float(weights.beta(torch.tensor(share)))
        for at in np.ndindex(*t.shape[2:]):
            core, rim, label = expit(z[(b, 1, *at)]), expit(z[(b, 2, *at)]), t[(b, 0, *at)]
            p, y = 1 - (1 - core) * (1 - rim), label > 0
            true = p if y else 1 - p
            cost = -math.log(true) if true >= gamma else -math.log(gamma) + 0.5 * (1 - (true / gamma) ** 2)
            loss += cost * (float(weights.alpha(torch.tensor(t[(b, 1, *at)]))) if y else beta)
            pairs = [("lesion", p, y)]
            if y:
                inside += 1
                entropy -= math.log(rim if label == 2 else 1 - rim) + math.log(1 - core if label == 2 else core)
                pairs.append(("rim", rim, label == 2))
            for name, probability, truth in pairs:
                sums[name] = [
                    a + b for a, b in zip(sums[name], (probability * truth, probability**2, truth), strict=True)
                ]
    dice = sum(1 - 2 * both / (squares + truth) for both, squares, truth in sums.values())
    return loss / t[:, 0].size + entropy / inside + dice


@pytest.mark.parametrize("seed", range(4))
def test_it_is_its_definition(seed):
    output, target = batch(seed)
    assert float(RimLoss(PATCH_MM3)(output, target)) == pytest.approx(by_definition(output, target), rel=1e-5)


@pytest.mark.parametrize(("core", "rim"), [(0, 0), (3, -4), (-6, 5), (-9, -8), (12, 12)])
def test_lesion_is_core_or_rim(core, rim):
    z = lesion_logit(torch.tensor(float(core)), torch.tensor(float(rim)))
    assert float(torch.sigmoid(z)) == pytest.approx(1 - (1 - expit(core)) * (1 - expit(rim)), rel=1e-4)


@pytest.mark.parametrize("size", [80.0, 300.0, 3e4])
def test_extreme_logits_stay_finite_with_their_gradients(size):
    output, target = batch()
    output = (output.sign() * size).float().requires_grad_()
    RimLoss(PATCH_MM3)(output, target.float()).backward()
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("wrong", [4.0, 8.0, 12.0])
def test_a_confident_mistake_within_a_lesion_keeps_its_gradient(wrong):
    # Oracle: d/dz of -log(1 - p) is p. The truncated loss has p (1 - p)^2 / gamma^2 of it, and hardly that.
    output, target = torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 2, 4, 8, 8)
    target[0, 0, :2, :4, :4], target[0, 1, :2, :4, :4] = 1, 54.0  # 32 voxels of core, which are called rim
    output[0, 1], output[0, 2] = -wrong, wrong
    pulls = {}
    for name, loss in (("now", RimLoss(PATCH_MM3).label_part), ("before", JointT1Loss(PATCH_MM3).enhancing)):
        logits = output.clone().requires_grad_()
        loss(logits, target).backward()
        pulls[name] = float(logits.grad[0, 2][target[0, 0] == 1].sum())
    assert pulls["now"] == pytest.approx(expit(wrong), abs=0.05)
    assert pulls["before"] < 0.03 * pulls["now"]


def who_cannot_tell(loss, rim_share, together):
    """P(rim) in lesions of the best network that sees lesions, but not which of their voxels are rim.

    Of four lesions of 435 mm3 one has a rim. Volumes are those of the whole lesion, or of rim and core by themselves.
    """
    target = torch.zeros(4, 2, 8, 16, 16)
    target[:, 0, 2:6, 4:12, 4:12], target[:, 1, 2:6, 4:12, 4:12] = 1, 435.0
    rims = (target[0, 0] > 0).nonzero()[: round(4 * rim_share * 256)].unbind(1)
    target[0, 0][rims] = 2
    if not together:
        target[0, 1][rims], target[0, 1][target[0, 0] == 1] = len(rims[0]) * 1.7, 435 - len(rims[0]) * 1.7
    logits = torch.zeros(2, requires_grad=True)
    lesion = (target[:, 0] > 0).float()
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        heads = torch.stack([lesion * z - 12 * (1 - lesion) for z in logits], dim=1)
        value = loss(torch.cat((torch.zeros_like(heads[:, :1]), heads), dim=1), target)
        value.backward()
        return value

    optimizer.step(step)
    return float(torch.sigmoid(logits[1].detach()))


@pytest.mark.parametrize("rim_share", [0.03, 0.06, 0.1])
def test_a_network_that_cannot_tell_says_no_rim_where_it_said_rim_before(rim_share):
    # Oracle: the odds of P(rim) that cross-entropy ends at are the odds of a rim, here 1 to 32 .. 9, times the weight
    # of its voxels (VolumeWeights: 43 to 89 here) over that of others (0.1 to 0.6). Soft Dice moves both a little.
    mm3 = 8 * 16 * 16 * 1.7
    assert who_cannot_tell(JointT1Loss(mm3), rim_share, together=False) > 0.75
    assert who_cannot_tell(RimLoss(mm3), rim_share, together=True) < 0.3


def test_background_says_nothing_of_rims_and_no_lesion_costs_nothing_there():
    output, target = batch()
    part = RimLoss(PATCH_MM3).label_part
    moved = torch.where(target[:, :1] > 0, output, output + torch.randn(output.shape, dtype=output.dtype))
    assert float(part(output, target)) == float(part(moved, target))
    empty = output.clone().requires_grad_()
    value = part(empty, torch.zeros_like(target))
    value.backward()
    assert float(value.detach()) == 0
    assert (empty.grad == 0).all()


def test_the_weights_follow_the_epochs():
    loss = RimLoss(PATCH_MM3)
    loss.set_epoch(9, 10)
    assert float(loss.lesion.gamma) == pytest.approx(0.15)
