"""Oracles: sampling with many masks, numpy's quadrature, numerical integration."""

import numpy as np
import torch
from scipy.integrate import quad
from scipy.stats import norm

from nnunet_ms.trainers.networks.closed_form import head_moments, quadrature
from nnunet_ms.trainers.networks.dropout import draw_masks


def test_moments_equal_those_of_many_samples():
    torch.manual_seed(0)
    head = torch.nn.Conv3d(32, 1, 1)
    feature = torch.rand(1, 32, 4, 4, 4)
    mean, variance = head_moments(head, feature, 0.2)
    masks = draw_masks({"h": 32}, 4000, 0.2, seed=1)["h"]
    with torch.inference_mode():
        samples = torch.conv3d(masks[:, :, None, None, None] * feature, head.weight, head.bias)
    assert torch.allclose(samples.mean(0), mean[0], atol=0.03)
    assert abs((samples.var(0) / variance[0]).median().item() - 1) < 0.05
    # a normal logit with these moments has the mean of the sampled probabilities
    expected = torch.zeros_like(mean)
    for z, weight in zip(*(x.tolist() for x in quadrature()), strict=True):
        expected += weight * torch.sigmoid(mean + z * variance.sqrt())
    assert torch.allclose(torch.sigmoid(samples).mean(0), expected[0], atol=0.01)


def test_moments_of_a_grouped_head_are_those_of_its_groups():
    torch.manual_seed(0)
    head, feature = torch.nn.Conv3d(8, 2, 1, groups=2), torch.rand(1, 8, 2, 3, 3)
    mean, variance = head_moments(head, feature, 0.3)
    assert torch.allclose(mean, head(feature), atol=1e-6)
    for group in range(2):
        own = torch.nn.Conv3d(4, 1, 1)
        own.weight.data, own.bias.data = head.weight.data[group : group + 1], head.bias.data[group : group + 1]
        expected = head_moments(own, feature[:, 4 * group : 4 * group + 4], 0.3)[1]
        assert torch.allclose(variance[:, group : group + 1], expected, atol=1e-6)


def test_no_dropout_no_variance():
    head = torch.nn.Conv3d(4, 1, 1)
    _, variance = head_moments(head, torch.rand(1, 4, 2, 2, 2), 0.0)
    assert variance.abs().max() == 0


def test_quadrature_equals_numpys():
    points, weights = quadrature(16)
    expected_points, expected_weights = np.polynomial.hermite_e.hermegauss(16)
    assert np.allclose(points, expected_points)
    assert np.allclose(weights, expected_weights / np.sqrt(2 * np.pi))


def test_quadrature_integrates_the_sigmoid():
    points, weights = quadrature()
    for mean, sd in ((0.3, 0.5), (-2.0, 1.0), (4.0, 3.0)):
        expected = quad(lambda z, m=mean, s=sd: norm.pdf(z, m, s) / (1 + np.exp(-z)), -30, 30)[0]
        assert abs((weights * torch.sigmoid(mean + sd * points)).sum().item() - expected) < 1e-3
