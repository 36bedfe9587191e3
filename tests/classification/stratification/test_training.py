"""Oracle: an uninterrupted run, a plain computation of loss and balanced accuracy, and images that tell the class."""

import numpy as np
import pytest
import torch

from nnunet_ms.classification.stratification import training
from nnunet_ms.classification.stratification.inputs import Augmentation
from nnunet_ms.classification.stratification.networks import stratification_network
from nnunet_ms.classification.stratification.training import (
    SMALL,
    Examples,
    Recipe,
    Task,
    augmentation_of,
    batches,
    classification_task,
    fit_network,
    network_logits,
)
from nnunet_ms.errors import ModelError, OptionError, SettingsError

SHAPE = (20, 24, 20)
TWO = Recipe(epochs=2, batch_size=4, learning_rate=1e-3, patience=5)


@pytest.fixture(scope="module")
def examples():
    """Twelve scans; in those of the class, the middle is brighter."""
    rng = np.random.default_rng(0)
    truth = np.arange(12) % 2
    images = rng.normal(0, 0.5, (12, 2, *SHAPE)).astype(np.float32)
    images[truth == 1, 0, 6:14, 6:16, 6:14] += 2.0
    return Examples(images, truth[:, None].astype(np.float32))


TRAIN, VALIDATION = np.arange(8), np.arange(8, 12)


def network():
    return stratification_network("densenet121", small=True)


def fitted(examples, folder, recipe=TWO, seed=0, make=network, task=None, **options):
    task = task or classification_task(examples.targets[TRAIN])
    return fit_network(make, examples, TRAIN, VALIDATION, task, recipe, folder, seed, **options)


def same(one, other):
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


@pytest.fixture(scope="module")
def whole(examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return fitted(examples, folder, augment=Augmentation(4.0)), (folder / training.STATE).read_bytes()


def test_two_runs_give_the_same_bytes_and_another_seed_others(examples, whole, tmp_path):
    again = fitted(examples, tmp_path, augment=Augmentation(4.0))
    assert same(again, whole[0])
    assert again.history.equals(whole[0].history)
    assert (tmp_path / training.STATE).read_bytes() == whole[1]
    other = fitted(examples, tmp_path / "other", seed=1, recipe=Recipe(epochs=1, batch_size=4))
    assert not same(other, whole[0])


def test_a_killed_training_ends_with_the_same_bytes(examples, whole, tmp_path):
    def kill(items, title, name):
        yield items[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(examples, tmp_path, augment=Augmentation(4.0), progress=kill)
    torch.rand(7)  # what others draw in between does not matter
    resumed = fitted(examples, tmp_path, augment=Augmentation(4.0))
    assert same(resumed, whole[0])  # the model's bytes are compared in test_train_models
    assert resumed.history.equals(whole[0].history)


def test_a_network_learns_what_is_plain_to_see(examples, tmp_path):
    recipe = Recipe(epochs=8, batch_size=4, learning_rate=1e-2, patience=8, augmentation=False)
    trained = fitted(examples, tmp_path, recipe)
    assert trained.history["validation_balanced_accuracy"].max() == 1
    # the kept weights are those of the best epoch, of equals the one with the highest likelihood
    scores = trained.history[["validation_balanced_accuracy", "validation_log_likelihood"]].to_numpy().tolist()
    assert trained.best_epoch == scores.index(max(scores))
    kept = network()
    kept.load_state_dict(trained.weights)
    logits = network_logits(kept, examples.images, VALIDATION)
    assert ((logits[:, 0] > 0) == (examples.targets[VALIDATION, 0] == 1)).all()


def test_training_ends_when_the_validation_gets_no_better(examples, tmp_path):
    recipe = Recipe(epochs=9, batch_size=4, learning_rate=0.0, weight_decay=0.0, patience=2, augmentation=False)
    flat = Task(1, classification_task([0, 1]).loss, lambda logits, targets: {"constant": 1.0})
    assert fitted(examples, tmp_path, recipe, task=flat).history["epoch"].tolist() == [1, 2, 3]


def test_another_task_brings_its_own_outputs_loss_and_scores(examples, tmp_path):
    # three hazards per scan, targets of four columns: what time to progression needs
    targets = np.tile(examples.targets, (1, 4))
    task = Task(3, lambda logits, targets: ((logits - targets[:, 1:]) ** 2).mean(), lambda a, b: {"less": -len(a)})
    make = lambda: stratification_network("compact", small=True, outputs=3, shape=SHAPE)  # noqa: E731
    trained = fitted(Examples(examples.images, targets), tmp_path, make=make, task=task)
    assert trained.history["validation_less"].tolist() == [-4, -4]
    assert trained.best_epoch == 0


def test_loss_weighs_both_classes_the_same_and_scores_are_those_of_the_definition():
    rng = np.random.default_rng(3)
    truth, logits = np.array([1.0, 0, 0, 0, 0]), rng.normal(size=5)
    p = 1 / (1 + np.exp(-logits))
    by_hand = np.mean(-4 * truth * np.log(p) - (1 - truth) * np.log(1 - p))  # four others for each of the class
    task = classification_task(truth)
    found = task.loss(torch.tensor(logits)[:, None].float(), torch.tensor(truth)[:, None].float())
    assert found.item() == pytest.approx(by_hand, abs=1e-6)
    scores = task.scores(logits[:, None], truth[:, None])
    right = (p > 0.5) == (truth == 1)
    assert scores["balanced_accuracy"] == pytest.approx((right[0] + right[1:].mean()) / 2)
    assert scores["log_likelihood"] == pytest.approx(np.log(np.where(truth == 1, p, 1 - p)).mean())


def test_every_row_is_in_one_batch_and_none_is_alone():
    for n in range(2, 30):
        parts = list(batches(np.arange(100, 100 + n), 4, np.random.default_rng(n)))
        assert sorted(np.concatenate(parts)) == list(range(100, 100 + n))
        assert min(map(len, parts)) >= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number >= 1, found 0"),
        ({"batch_size": 1}, "batch_size: expected a whole number >= 2, found 1"),
        ({"patience": True}, "patience: expected a whole number >= 1, found True"),
        ({"epochs": 2.0}, "epochs: expected a whole number"),
        ({"learning_rate": -1e-3}, "learning_rate: expected a number from 0 to 1, found -0.001"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number from 0 to 1, found nan"),
        ({"weight_decay": "0.1"}, "weight_decay: expected a number from 0 to 1, found '0.1'"),
    ],
)
def test_recipes_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Recipe(**options)


@pytest.mark.parametrize("truth", [[1, 1, 1], [0, 0], []])
def test_one_class_only_is_refused(truth):
    with pytest.raises(SettingsError, match="training set: expected scans of both classes"):
        classification_task(truth)


def test_a_state_of_another_training_or_a_damaged_one_is_refused(examples, whole, tmp_path):
    path = tmp_path / training.STATE
    path.write_bytes(whole[1])
    for options in ({"seed": 1}, {"marks": "other scans"}, {"recipe": Recipe(epochs=3)}):
        with pytest.raises(SettingsError, match=r"other scans or settings\. Remove its folder"):
            fitted(examples, tmp_path, **options)
    path.write_bytes(whole[1][:3000])
    with pytest.raises(ModelError, match=r"last_epoch\.pth: expected the state of a training, cannot read it"):
        fitted(examples, tmp_path)


def test_a_loss_that_is_no_number_ends_the_training_with_its_epoch(examples, tmp_path):
    broken = Task(1, lambda logits, targets: logits.sum() * float("nan"), lambda a, b: {"x": 0.0})
    with pytest.raises(SettingsError, match=r"found nan in epoch 1\. Lower the learning rate"):
        fitted(examples, tmp_path, task=broken)


def test_augmentation_is_that_of_the_recipe():
    assert augmentation_of(SMALL, 4.0) == Augmentation(4.0)
    assert augmentation_of(Recipe(augmentation=False), 4.0) is None
