"""The check with random weights. Oracles: scipy's rank correlation, and a linear network."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from nnunet_ms.classification.stratification.explain_randomised import (
    LEARNT,
    RANDOM,
    RANDOMISATION,
    compare_with_random,
    likeness,
    randomised,
    stages,
    verdicts,
    weighted_layers,
)
from nnunet_ms.classification.stratification.networks import stratification_network


@pytest.mark.parametrize("name", ["compact", "resnet18", "densenet121"])
@pytest.mark.parametrize("count", [1, 3])
def test_only_the_last_layers_lose_their_weights(name, count):
    torch.manual_seed(0)
    network = stratification_network(name, small=True, shape=(20, 24, 20))
    for module in weighted_layers(network):  # what was learnt is nowhere as it begins
        nn.init.constant_(module.weight, 0.123)
    state = torch.get_rng_state()
    other = randomised(network, count, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    changed = [
        not torch.equal(old.weight, new.weight)
        for old, new in zip(weighted_layers(network), weighted_layers(other), strict=True)
    ]
    assert changed == [False] * (len(changed) - count) + [True] * count
    again, third = randomised(network, count, seed=5), randomised(network, count, seed=6)
    last = [weighted_layers(one)[-1].weight for one in (other, again, third)]
    assert torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])


@pytest.mark.parametrize(("layers", "expected"), [(1, [1]), (2, [1, 2]), (5, [1, 3, 5]), (121, [1, 61, 121])])
def test_a_cascade_goes_from_the_last_layer_to_all(layers, expected):
    assert stages(layers) == expected


def test_likeness_is_scipys_where_something_was_seen():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 9, 9, 9)).astype(np.float32)
    second += first
    seen = rng.random((9, 9, 9)) < 0.5
    spearman, absolute, ssim = likeness(first, second, seen)
    assert spearman == pytest.approx(spearmanr(first[seen], second[seen]).statistic)
    assert absolute == pytest.approx(spearmanr(np.abs(first[seen]), np.abs(second[seen])).statistic)
    assert 0 < ssim < 1
    assert likeness(first, first * 3, seen) == pytest.approx((1, 1, 1))  # the scale of a map does not count


@pytest.mark.parametrize("seen", [np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)])
def test_likeness_of_a_map_that_is_the_same_everywhere_is_not_defined(seen):
    assert np.isnan(likeness(np.ones((4, 4, 4), np.float32), np.ones((4, 4, 4), np.float32), seen)).all()


def made_images():
    return np.random.default_rng(1).normal(0, 1, (1, 8, 8, 8)).astype(np.float32)


def linear(weight):
    network = nn.Sequential(nn.Flatten(), nn.Linear(512, 1, bias=False))
    network[1].weight = nn.Parameter(weight.reshape(1, -1))
    return network


def test_maps_of_learnt_weights_fall_away_where_the_image_does_not_decide():
    # a linear network: relevance is w * x, of learnt and of random w; their rank correlation is near 0 by construction
    rows = compare_with_random(linear(torch.linspace(-1, 1, 512)), made_images(), "ig", steps=2).rows
    assert rows["compared"].tolist() == [LEARNT, RANDOM]
    assert rows["spearman"].abs().max() < 0.2
    # the sizes of both are led by the same |x|: a check of absolute values has to see that
    assert rows["spearman_absolute"].min() > 0.2


def table(rows):
    return pd.DataFrame(rows, columns=RANDOMISATION.names)


@pytest.mark.parametrize(
    ("spearman", "absolute", "told"),
    [
        (0.1, 0.2, "maps depend on the weights (all 6 layers"),
        (0.1, 0.8, "depend on the weights in their signs, but their sizes do NOT"),
        (0.7, 0.8, "maps do NOT depend on the weights"),
        (-0.9, 0.9, "maps do NOT depend on the weights"),
        (np.nan, np.nan, "not known: a map was the same everywhere"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(spearman, absolute, told):
    who = ("a", "a", "base", "gradcam")
    rows = table(
        [
            (*who, LEARNT, 1, 6, 0.99, 0.99, 0.9),  # with one random layer it is no verdict yet
            (*who, LEARNT, 6, 6, spearman, absolute, 0.5),
            (*who, RANDOM, 6, 6, 0.0, 0.0, 0.5),
        ]
    )
    (line,) = verdicts(rows)
    assert line.startswith("Grad-CAM: ")
    assert told in line
