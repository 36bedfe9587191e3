"""Training of a network: loss and rates by their formulas, one seed one result, kills that change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunet_ms.classification.rim import training
from nnunet_ms.classification.rim.baselines import RimNet
from nnunet_ms.classification.rim.network import NetworkSize, QsmRimNet
from nnunet_ms.classification.rim.training import (
    Examples,
    Recipe,
    fit_network,
    loss_of,
    network_probabilities,
    rate_of,
)
from nnunet_ms.errors import ModelError, OptionError, SettingsError
from tests.classification.rim.tiny_lesions import draw_patches

RECIPE = Recipe(epochs=10, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums of several threads have other last digits, and ten epochs of large steps make much of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network():
    return QsmRimNet(3, NetworkSize((4, 4, 8, 8), 8, 8))


def examples(n=24, n_rim=6, seed=0):
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) < n_rim).astype(float)
    features = generator.normal(0, 1, (n, 3)).astype(np.float32)
    features[:, 0] += 2 * labels
    return Examples(draw_patches(labels, generator, (8, 16, 16)), features, labels)


def fit(folder, recipe=RECIPE, seed=0, train=None, **how):
    folder.mkdir(exist_ok=True)
    return fit_network(network, train or examples(), examples(seed=1), recipe, folder, seed, **how)


def same(first, second):
    return all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"))


def test_it_learns_and_keeps_the_best_epoch(whole):
    history = whole.history
    assert list(history["epoch"]) == list(range(1, 11))
    best = history.loc[whole.best_epoch, "validation_pr_auc"]
    assert best == history["validation_pr_auc"].max()
    assert best > 0.5  # a quarter are rim+
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_one_seed_one_result_and_the_callers_generator_is_left_alone(tmp_path, whole):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    assert same(fit(tmp_path / "again"), whole)
    assert torch.equal(torch.rand(1), expected)
    assert not same(fit(tmp_path / "other", seed=1), whole)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("epochs", [1, 6])
def test_a_killed_training_ends_as_one_without_the_kill(tmp_path, whole, epochs):
    def until_the_kill(items, title, name):
        for item in items:
            if item == epochs:
                raise KilledError
            yield item

    with pytest.raises(KilledError):
        fit(tmp_path, progress=until_the_kill)
    seen = []

    def noted(items, title, name):
        seen.extend(name(item) for item in items)
        return items

    assert same(fit(tmp_path, progress=noted), whole)
    assert seen == [f"epoch {number + 1}" for number in range(epochs, 10)]


def test_the_state_of_another_training_is_refused(tmp_path):
    fit(tmp_path, replace(RECIPE, epochs=1))
    with pytest.raises(SettingsError, match="expected the state of this training, found one of other lesions"):
        fit(tmp_path, replace(RECIPE, epochs=1), seed=5)
    with pytest.raises(SettingsError, match="expected the state of this training"):
        fit(tmp_path, replace(RECIPE, epochs=1), train=examples(seed=3))
    (tmp_path / training.STATE).write_bytes(b"half")
    with pytest.raises(ModelError, match="expected the state of a training"):
        fit(tmp_path, replace(RECIPE, epochs=1))


def test_it_ends_when_the_validation_gets_no_better(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "average_precision", lambda labels, probability: 0.5)
    recipe = replace(RECIPE, epochs=30, patience=2, learning_rate=0.0)  # so that nothing gets better but the norms
    trained = fit(tmp_path, recipe)
    assert len(trained.history) < 30
    assert len(trained.history) - 1 - trained.best_epoch == 2


def test_equal_precision_goes_to_the_lower_cross_entropy(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "average_precision", lambda labels, probability: 0.5)
    trained = fit(tmp_path)
    assert trained.best_epoch == trained.history["validation_loss"].idxmin()


def test_the_validation_is_of_the_weights_that_are_kept(whole):
    kept = network()
    kept.load_state_dict(whole.weights)
    held = examples(seed=1)
    found = network_probabilities(kept, held.patches, held.features)
    ahead = np.where(held.labels == 1, found, 1 - found)
    assert -np.log(ahead).mean() == pytest.approx(whole.history.loc[whole.best_epoch, "validation_loss"], rel=1e-6)
    few_at_a_time = network_probabilities(kept, held.patches, held.features, size=5)
    np.testing.assert_allclose(few_at_a_time, found, atol=1e-6)


@pytest.mark.parametrize("n_rim", [0, 24])
def test_a_validation_that_cannot_judge(tmp_path, n_rim):
    with pytest.raises(SettingsError, match=rf"validation set: expected rim\+ and rim- lesions, found {n_rim} rim\+"):
        fit_network(network, examples(), examples(n_rim=n_rim), RECIPE, tmp_path)


def test_a_loss_that_is_no_number_is_named(tmp_path):
    train = examples()
    train.features[:] = np.inf
    with pytest.raises(SettingsError, match="expected a loss that is a number, found nan in epoch 1"):
        fit(tmp_path, train=train)


def test_losses_against_their_formulas():
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 1.0, 0.0])
    right = np.array([1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(1.0)), 1 - 1 / (1 + np.exp(-0.5))])
    assert loss_of(logits, labels, "bce").item() == pytest.approx(-np.log(right).mean(), rel=1e-6)
    focal = -np.array([0.2, 0.2, 0.8]) * (1 - right) ** 2 * np.log(right)
    assert loss_of(logits, labels, "focal").item() == pytest.approx(focal.mean(), rel=1e-6)


def test_rates_of_the_published_recipe():
    recipe = training.RIMNET
    assert rate_of(0, recipe) == 1e-4
    assert rate_of(20, recipe) == pytest.approx(1e-4 * 0.5**0.9)
    assert rate_of(30, training.QSMRIMNET) == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "dice"}, "loss: expected one of 'bce', 'focal', found 'dice'"),
        ({"schedule": "step"}, "schedule: expected one of 'cosine', 'poly', found 'step'"),
        ({"augmentation": "mirror"}, "augmentation: expected one of 'none', 'flips', 'moves', found 'mirror'"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1, found 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number >= 1, found 1.5"),
        ({"patience": True}, "patience: expected a whole number >= 1, found True"),
        ({"batch_size": 2}, "batch_size: expected a whole number >= 4, found 2"),
        ({"least_rim": 32}, "least_rim: expected less than the batch of 32, found 32"),
    ],
)
def test_recipes_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        Recipe(**options)


def spheres(n, seed, shape=(8, 16, 16)):
    """Lesions of many sizes, places and brightnesses on which the rim alone decides; FLAIR shows them all alike."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    axes = np.meshgrid(*[(np.arange(cells) + 0.5 - cells / 2) * 24 / cells for cells in shape], indexing="ij")
    patches = rng.normal(0, 0.02, (n, 2, *shape))
    for patch, label in zip(patches, labels, strict=True):
        centre, radius = rng.uniform(-1, 1, 3), rng.uniform(6, 8)
        distance = np.sqrt(sum((axis - x) ** 2 for axis, x in zip(axes, centre, strict=True))) / radius
        patch[0] += rng.uniform(0.15, 0.35) * ((distance < 1) & ((distance > 0.6) | (label == 0)))
        patch[1] += 2.0 * (distance < 1)
    return Examples(patches.astype(np.float32), np.zeros((n, 1), dtype=np.float32), labels.astype(float))


def encoder_alone(**how):
    return QsmRimNet(1, NetworkSize((8, 16, 32, 32), 8, 16), **how)  # of its features none tells anything


@pytest.mark.parametrize(
    ("make", "recipe"),
    [
        (lambda: RimNet((4, 8, 8), (8, 16, 16)), replace(training.RIMNET, epochs=10, learning_rate=1e-3)),
        (encoder_alone, replace(training.QSMRIMNET, epochs=8, learning_rate=5e-3, least_rim=8)),
        (lambda: encoder_alone(oversampling=False), replace(training.QSMRIMNET, epochs=8, learning_rate=5e-3)),
    ],
    ids=["rimnet", "qsmrimnet", "qsmrimnet-no-oversampling"],
)
def test_image_networks_tell_rims_of_new_lesions_where_the_rim_alone_decides(tmp_path, make, recipe):
    # A network, loss, augmentation or scale that is wrong could learn lesions by heart, but not rank new ones.
    trained = fit_network(make, spheres(256, 0), spheres(60, 1), recipe, tmp_path)
    network = make()
    network.load_state_dict(trained.weights)
    new = spheres(100, 2)
    found = network_probabilities(network, new.patches, new.features)
    assert training.average_precision(new.labels, found) > 0.9  # chance: 0.5; RimNet has 1.00 with three seeds
