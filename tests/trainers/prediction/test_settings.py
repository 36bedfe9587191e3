from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nnunet_ms.errors import SettingsError
from nnunet_ms.trainers.prediction.case_measures import DETERMINISTIC, MAPS
from nnunet_ms.trainers.prediction.model import read_model
from nnunet_ms.trainers.prediction.settings import (
    describe,
    export_settings,
    lesion_types,
    make_runner,
    resolve_measuring,
)
from nnunet_ms.trainers.prediction.voxel_uncertainty import MEASURES, PARTS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(model_folder):
    return read_model(model_folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout: expected 0 <= p < 1, found 1.0"),
        ({"step_size": 2.0}, "step_size: expected 0 < s <= 1, found 2.0"),
        ({"mc_samples": -1}, "mc_samples: expected 0 or more, found -1"),
        (
            {"dropout_site": "heads"},
            "dropout_site: expected one of 'head', 'last', .*found 'heads'. Did you mean 'head'",
        ),
    ],
)
def test_samples_that_cannot_be(model, options, message):
    with pytest.raises(SettingsError, match=message):
        make_runner(model, CPU, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold: expected 0 < t < 1, found 0.0"),
        ({"minimum_voxels": 0}, "minimum_voxels: expected 1 or more, found 0"),
        ({"fold_thresholds": (0.5,)}, "fold_thresholds: expected 2 numbers, one per fold"),
        ({"fold_thresholds": (0.5, 1.0)}, "fold_thresholds: expected 2 numbers, one per fold, 0 < t < 1"),
        ({"maps": ("entropy", "colour")}, "maps: expected one of 'entropy', .*'deterministic', found 'colour'"),
    ],
)
def test_measures_that_cannot_be(model, options, message):
    runner = make_runner(model, CPU, dropout=0.1)
    with pytest.raises(SettingsError, match=message):
        resolve_measuring(runner, **options)


def test_the_words_of_the_maps_are_those_that_there_are():
    assert (*MEASURES, *PARTS, DETERMINISTIC) == MAPS


def test_dropout_is_the_networks_own_unless_asked_for(model):
    assert make_runner(model, CPU).sampling.probability == 0  # the tiny trainer has none
    assert make_runner(model, CPU, dropout=0.25).sampling.probability == 0.25


def test_a_pass_without_dropout_is_made_where_its_map_is_asked_for(model):
    assert make_runner(model, CPU, maps=["entropy", "deterministic"]).sampling.deterministic
    assert not make_runner(model, CPU, maps=["entropy"]).sampling.deterministic


def test_closed_form_needs_dropout_and_has_no_parts_of_the_variance(model):
    options = {"closed_form": True, "dropout_site": "head"}
    with pytest.raises(SettingsError, match="closed_form: expected a dropout probability above 0"):
        resolve_measuring(make_runner(model, CPU, **options, dropout=0.0))
    with pytest.raises(SettingsError, match="maps: expected no variance_masks with closed_form"):
        resolve_measuring(make_runner(model, CPU, **options, dropout=0.1), maps=("entropy", "variance_masks"))


def test_the_export_knows_of_which_fold_and_mirroring_a_sample_is(model):
    runner = make_runner(replace(model, mirror_axes=(0, 1)), CPU, dropout=0.1, mc_samples=6)
    measuring = resolve_measuring(runner, fold_thresholds=(0.4, 0.6))
    assert (measuring.samples_per_fold, measuring.flips) == (6, 4)
    assert measuring.member_thresholds == (0.4,) * 6 + (0.6,) * 6
    export = export_settings(runner, measuring, Path("out"), rater="net", note="simulated", pictures=True)
    assert (export.measuring, export.rater, export.note) == (measuring, "net", "simulated")
    assert export.background_channel == 1  # FLAIR
    assert export.samples_note.endswith("12 samples: 2 folds, dropout p = 0.1 at decoder, seed 0, threshold 0.5.")


def test_samples_are_described(model):
    assert describe(make_runner(model, CPU, mc_samples=0)) == "2 samples: 2 folds and mirrorings, no dropout"
    assert describe(make_runner(replace(model, folds=("0",)), CPU, mc_samples=0)) == "one pass, no dropout"


def test_a_lesion_is_a_t2_lesion_unless_named(model):
    assert lesion_types(model, "") == (("t2_lesions", 1),)
    assert lesion_types(model, "rim") == (("rim", 1),)
    labels = {"labels": {"background": 0, "new": 1, "old": 2}}
    several = replace(model, dataset_json={**model.dataset_json, **labels})
    assert [value for _, value in lesion_types(several, "")] == [1, 2]
    with pytest.raises(SettingsError, match="lesion_type: this model has"):
        lesion_types(several, "new")
