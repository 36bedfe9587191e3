"""One word of a few."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.errors import NnunetMsError, OptionError
from nnunet_ms.options import chosen, known_keywords


def test_an_allowed_word_comes_back():
    assert chosen("breslow", ("efron", "breslow"), "ties") == "breslow"


@pytest.mark.parametrize("value", ["Efron", "efron ", "", "exact", None, 1])
def test_any_other_word_is_refused_with_the_known_ones(value):
    with pytest.raises(OptionError, match="ties: expected one of 'efron', 'breslow', found") as raised:
        chosen(value, ("efron", "breslow"), "ties")
    assert repr(value) in str(raised.value)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, NnunetMsError)


def test_the_nearest_word_is_proposed():
    with pytest.raises(OptionError, match="Did you mean 'efron'"):
        chosen("EFRON", ("efron", "breslow"), "ties")


@known_keywords
def draw(path, *, colour="black", width=1):
    """Draw a line."""
    return path, colour, width


def test_known_keywords_pass_and_the_function_looks_like_itself():
    assert draw("a", width=2) == ("a", "black", 2)
    assert (draw.__name__, draw.__doc__) == ("draw", "Draw a line.")


@pytest.mark.parametrize(("name", "hint"), [("color", r" Did you mean 'colour'\?"), ("xyz", "")])
def test_an_unknown_keyword_is_refused_with_the_known_ones(name, hint):
    with pytest.raises(TypeError, match=rf"draw: unknown argument '{name}'\.{hint} It takes path, colour, width\."):
        draw("a", **{name: 1})


def test_what_is_missing_is_said_by_python():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        draw(width=2)


def loss(**words):
    from nnunet_ms.trainers.losses import SmoothTruncatedLoss

    return SmoothTruncatedLoss(1.0, **words)


def has_worsened(word):
    from nnunet_ms.analysis.trial.outcomes import PRESETS, has_worsened

    return has_worsened(np.array([4.0]), 3.0, word, PRESETS["opera"])


def progression_rule(word):
    from nnunet_ms.analysis.trial.outcomes import PRESETS

    return replace(PRESETS["opera"], open_progression=word)


def conventions(**words):
    from nnunet_ms.analysis.trial.settings import CONVENTIONS

    return replace(CONVENTIONS["r"], **words)


def settings_of_trial(**words):
    from nnunet_ms.analysis.trial.settings import TrialSettings

    values = dict.fromkeys((field.name for field in fields(TrialSettings)), None)
    return TrialSettings(**{**values, "outcome_source": "derive", **words})


def read_settings(word):
    from nnunet_ms.analysis.trial.settings import read_settings

    return read_settings(Path("trial.toml"), word)


def write_settings(word):
    from nnunet_ms.analysis.trial.settings_init import write_settings

    return write_settings(Path("trial.toml"), None, simulated=True, conventions=word)


def concordance_rows(word):
    from nnunet_ms.analysis.concordance_table import concordance_rows

    return concordance_rows(pd.DataFrame(), word)


def outcome_audit(word):
    from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit

    return outcome_audit(SimpleNamespace(times={}), word)


def joint_unet(word):
    from nnunet_ms.trainers.networks.joint_unet import JointUNet

    return JointUNet({}, cross_connections=word)


def dropout_layers(word):
    from torch import nn

    from nnunet_ms.trainers.networks.dropout import dropout_layers

    return dropout_layers(nn.Linear(1, 1), word)


def register(word):
    from nnunet_ms.images.registration import register

    return register(None, None, word)


def day_of(word):
    from nnunet_ms.dates import day_of

    return day_of("2021-12-31", word)


def label_of_masks(word):
    from nnunet_ms.dataset_conversion.cases import Mask

    return Mask({}, word)


def box_settings(**words):
    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings

    return BoxSettings(**words)


def checked_qsm(word):
    from nnunet_ms.images.qsm_units import checked_qsm

    return checked_qsm(None, word)


# what takes a word outside of the statistics and does not refuse it on its way from a command
ELSEWHERE = {
    "alpha_mode": lambda word: loss(alpha_mode=word),
    "beta_driver": lambda word: loss(beta_driver=word),
    "conventions": read_settings,
    "conventions of new settings": write_settings,
    "cross_connections": joint_unet,
    "kind": register,
    "km_interval": lambda word: conventions(km_interval=word),
    "ls_mean_weights": lambda word: conventions(ls_mean_weights=word),
    "measure": has_worsened,
    "median_of_flat_step": lambda word: conventions(median_of_flat_step=word),
    "nb_covariance": lambda word: conventions(nb_covariance=word),
    "open_progression": progression_rule,
    "order": day_of,
    "outcome": outcome_audit,
    "outcome_source": lambda word: settings_of_trial(outcome_source=word),
    "preset": lambda word: settings_of_trial(preset=word),
    "quantity": concordance_rows,
    "qsm_unit": lambda word: box_settings(qsm_unit=word),
    "rule": label_of_masks,
    "unit": checked_qsm,
    "unlabelled": lambda word: box_settings(unlabelled=word),
    "site": dropout_layers,
    "ties": lambda word: conventions(ties=word),
    "zero_volume": lambda word: settings_of_trial(zero_volume=word),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_unknown_word_falls_into_no_else_branch(name):
    with pytest.raises(OptionError, match=rf"^{name.split()[0]}: expected one of '.*', found 'other'"):
        ELSEWHERE[name]("other")


@pytest.mark.parametrize("empty", [True, False], ids=["without lesions", "with lesions"])
@pytest.mark.parametrize("found", [8, "18", None])
def test_an_unknown_connectivity_is_refused_by_all_that_label(empty, found):
    from nnunet_ms.images.volumes import Grid, Volume
    from nnunet_ms.lesions.components import find_components
    from nnunet_ms.lesions.confluent import Splitting, split_confluent
    from nnunet_ms.lesions.labelling import find_lesions
    from nnunet_ms.lesions.rows import lesions_in

    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1, 1, 1] = not empty
    grid = Grid(mask.shape, np.eye(4))
    for label in (
        lambda: find_components(mask, found),
        lambda: find_lesions(Volume(mask, grid, Path("mask.nii")), found),
        lambda: lesions_in(mask, spacing=(1, 1, 1), connectivity=found),
        lambda: split_confluent(mask, (1, 1, 1), Splitting(connectivity=found)),
    ):
        with pytest.raises(OptionError, match=f"^connectivity: expected 6, 18 or 26, found {found!r}. Choose one"):
            label()
