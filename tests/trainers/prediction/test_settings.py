from dataclasses import replace

import pytest
import torch

from nnunet_ms.errors import SettingsError
from nnunet_ms.trainers.prediction.model import open_model
from nnunet_ms.trainers.prediction.settings import (
    PredictSettings,
    check_sample_set,
    describe,
    export_settings,
    lesion_types,
    resolve_sampling,
)
from nnunet_ms.trainers.prediction.tiles import TileRunner


@pytest.fixture(scope="module")
def model(model_folder):
    return open_model(model_folder)


def asked(tmp_path, **options):
    return PredictSettings(tmp_path, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dropout", 1.0, "--dropout: expected 0 <= p < 1, found 1.0"),
        ("threshold", 0.0, "--threshold: expected 0 < t < 1, found 0.0"),
        ("step_size", 2.0, "--step-size: expected 0 < s <= 1, found 2.0"),
        ("samples", -1, "--mc-samples: expected 0 or more, found -1"),
        ("fold_thresholds", (0.5,), "--fold-thresholds: expected 2 numbers, one per fold"),
        ("fold_thresholds", (0.5, 1.0), "--fold-thresholds: expected 2 numbers, one per fold, 0 < t < 1"),
    ],
)
def test_numbers_outside_their_range(model, tmp_path, field, value, message):
    with pytest.raises(SettingsError, match=message):
        resolve_sampling(model, asked(tmp_path, **{field: value}))


def test_dropout_is_the_networks_own_unless_asked_for(model, tmp_path):
    assert resolve_sampling(model, asked(tmp_path)).probability == 0  # the tiny trainer has none
    assert resolve_sampling(model, asked(tmp_path, dropout=0.25)).probability == 0.25


def test_closed_form_needs_dropout_and_has_no_parts_of_the_variance(model, tmp_path):
    settings = asked(tmp_path, closed_form=True, site="head", dropout=0.0)
    with pytest.raises(SettingsError, match="--closed-form: expected a dropout probability above 0"):
        check_sample_set(model, settings, resolve_sampling(model, settings), 2)
    settings = replace(settings, dropout=0.1, maps=("entropy", "variance_masks"))
    with pytest.raises(SettingsError, match="--maps: expected no variance_masks with --closed-form"):
        check_sample_set(model, settings, resolve_sampling(model, settings), 2)


def test_the_export_knows_of_which_fold_and_mirroring_a_sample_is(model, tmp_path):
    flipping = replace(model, mirror_axes=(0, 1))
    settings = asked(tmp_path, dropout=0.1, samples=6, fold_thresholds=(0.4, 0.6))
    runner = TileRunner(flipping, resolve_sampling(flipping, settings), torch.device("cpu"))
    export = export_settings(flipping, settings, runner)
    assert (export.samples_per_fold, export.flips) == (6, 4)
    assert export.member_thresholds == (0.4,) * 6 + (0.6,) * 6
    assert export.background_channel == 1  # FLAIR
    assert export.samples_note.endswith("12 samples: 2 folds, dropout p = 0.1 at decoder, seed 0, threshold 0.5.")


def test_samples_are_described(model, tmp_path):
    plain = resolve_sampling(model, asked(tmp_path, samples=0))
    assert describe(model, plain, 2) == "2 samples: 2 folds and mirrorings, no dropout"
    assert describe(replace(model, folds=("0",)), plain, 1) == "one pass, no dropout"


def test_a_lesion_is_a_t2_lesion_unless_named(model):
    assert lesion_types(model, "") == (("t2_lesions", 1),)
    assert lesion_types(model, "rim") == (("rim", 1),)
    labels = {"labels": {"background": 0, "new": 1, "old": 2}}
    several = replace(model, dataset_json={**model.dataset_json, **labels})
    assert [value for _, value in lesion_types(several, "")] == [1, 2]
    with pytest.raises(SettingsError, match="--lesion-type: this model has"):
        lesion_types(several, "new")
