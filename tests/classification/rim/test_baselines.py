"""The models of comparison: scikit-learn itself as the oracle of what is stored as arrays; sizes by hand."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from nnunet_ms.classification.rim.baselines import (
    RimNet,
    fit_forest,
    fit_regression,
    forest_probabilities,
    oversampled,
    regression_probabilities,
)
from nnunet_ms.errors import OptionError


def lesions(n=120, features=6, seed=0):
    generator = np.random.default_rng(seed)
    rim = generator.random(n) < 0.2
    values = generator.normal(0, 1, (n, features)).astype(np.float32)
    values[:, 0] += 1.5 * rim
    return values, rim


@pytest.mark.parametrize("trees", [1, 40])
def test_a_forest_as_arrays_judges_as_scikit_learn_does(trees):
    values, rim = lesions()
    forest = RandomForestClassifier(trees, random_state=3).fit(values, rim)
    new, _ = lesions(seed=1)
    found = forest_probabilities(fit_forest(values, rim, seed=3, trees=trees), new)
    np.testing.assert_allclose(found, forest.predict_proba(new)[:, 1], atol=1e-12)


def test_a_regression_judges_as_scikit_learn_does():
    (values, rim), (held, held_rim) = lesions(), lesions(seed=2)
    fitted = fit_regression(values, rim, held, held_rim)
    peer = LogisticRegression(C=float(fitted["strength"]), max_iter=5000).fit(values, rim)
    np.testing.assert_allclose(regression_probabilities(fitted, held), peer.predict_proba(held)[:, 1], rtol=1e-5)


def test_oversampled_features_lie_between_rim_lesions():
    values, rim = lesions(n=40)
    new, labels = oversampled(values, rim, seed=1)
    count = int(rim.sum())
    assert new.shape == (40 + 2 * count, 6)
    assert np.array_equal(new[:40], values)
    assert labels[40:].all()
    low, high = values[rim].min(axis=0), values[rim].max(axis=0)
    assert ((new[40:] >= low - 1e-6) & (new[40:] <= high + 1e-6)).all()
    assert np.array_equal(oversampled(values, rim, seed=1)[0], new)
    assert not np.array_equal(oversampled(values, rim, seed=2)[0], new)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_rim_lesions_to_lie_between(count):
    values, _ = lesions(n=10)
    rim = np.arange(10) < count
    new, labels = oversampled(values, rim)
    assert np.array_equal(new, values)
    assert np.array_equal(labels, rim)


def test_rimnet_has_the_layers_of_its_description():
    # By hand: convolutions w^3 * in * out + out, norms 2 * out; two branches, the QSM's second block takes both.
    def block(inputs, outputs):
        return 27 * inputs * outputs + outputs + 27 * outputs**2 + outputs + 4 * outputs

    flair = block(1, 32) + block(32, 64) + block(64, 128) + 129
    qsm = block(1, 32) + block(64, 64) + block(64, 128) + 129
    dense = (128 * 256 + 256) + (256 * 128 + 128) + (128 * 64 + 64) + (64 * 2 + 2)
    assert sum(weight.numel() for weight in RimNet().parameters()) == flair + qsm + dense


@pytest.mark.parametrize("cells", [(28, 28, 28), (8, 28, 28), (14, 14, 14), (9, 16, 20)])
@pytest.mark.parametrize("patch", [(8, 32, 32), (32, 32, 32)])
def test_rimnet_takes_both_geometries(cells, patch):
    network = RimNet((2, 2, 3), cells).eval()
    with torch.no_grad():
        logits, _ = network(torch.randn(3, 2, *patch), torch.zeros(3, 0), torch.zeros(3))
    assert logits.shape == (3,)


def test_no_cell_of_a_patch_is_passed_over_where_the_network_has_fewer():
    network = RimNet((2, 2, 3), (8, 28, 28)).eval()
    patches = torch.randn(1, 2, 32, 32, 32, requires_grad=True)
    network(patches, torch.zeros(1, 0), torch.zeros(1))[0].sum().backward()
    assert (patches.grad.abs().sum((0, 1)) > 0).double().mean() > 0.9  # read at points it would be a quarter of them


def test_rimnets_branches_are_joined_after_the_first_block_only_into_qsm():
    network = RimNet((2, 2, 3), (14, 14, 14)).eval()
    patches = torch.randn(2, 2, 8, 32, 32, requires_grad=True)
    network(patches, torch.zeros(2, 0), torch.zeros(2))[0].sum().backward()
    assert (patches.grad.abs().sum((0, 2, 3, 4)) > 0).all()
    assert network.qsm[1][0].in_channels == 4
    assert network.flair[1][0].in_channels == 2


@pytest.mark.parametrize(("oversampling", "rows"), [(True, 14), (False, 6)])
def test_rimnet_oversamples_while_training_only(oversampling, rows):
    network = RimNet((2, 2, 3), (14, 14, 14), oversampling=oversampling)
    given = torch.randn(6, 2, 8, 32, 32), torch.zeros(6, 0), torch.tensor([1.0, 1, 1, 1, 0, 0])
    assert [len(part) for part in network(*given)] == [rows, rows]
    assert [len(part) for part in network.eval()(*given)] == [6, 6]


def test_a_switch_that_is_none():
    with pytest.raises(OptionError, match="oversampling: expected True or False, found 'yes'"):
        RimNet(oversampling="yes")
