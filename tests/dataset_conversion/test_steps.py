"""Steps of the preparation by name: what one implies, and what cannot be."""

import pytest

from nnunet_ms.dataset_conversion.steps import NO_STEPS, Steps, steps_of
from nnunet_ms.errors import ConversionError, OptionError


@pytest.mark.parametrize(
    ("words", "changes", "turns"),
    [
        ({}, False, False),
        ({"threads": 4}, False, False),  # how, not what
        ({"n4": True}, True, False),
        ({"spacing": (1.0, 1.0, 1.0)}, True, False),
        ({"spacing": "isotropic"}, True, False),
        ({"spacing": (1.0, 1.0, 3.0)}, True, True),  # by the command's help: implies --reorient
        ({"spacing": (3.0, 1.0, 2.0)}, True, True),
        ({"reorient": True}, True, True),
        ({"hd_bet": True}, True, False),
    ],
)
def test_which_steps_change_images_and_which_turn_them(words, changes, turns):
    steps = steps_of(words)
    assert steps.any() == changes
    assert steps.reorients == turns


def test_no_words_are_no_steps_and_steps_stay_what_they_are():
    assert steps_of(None) is not None
    assert steps_of(None) == steps_of({}) == NO_STEPS
    steps = Steps(align="rigid")
    assert steps_of(steps) is steps


@pytest.mark.parametrize(
    "edges", [(1, 1), (1, 1, 1, 1), (0, 1, 1), (1, 1, 99), (1, float("nan"), 1), "iso", 1.0, ("1", "1", "3")]
)
def test_voxels_that_cannot_be(edges):
    with pytest.raises(OptionError, match=r"spacing: expected three edges of 0\.05 to 25 mm, 'isotropic' or None"):
        Steps(spacing=edges)


def test_words_that_cannot_be():
    with pytest.raises(OptionError, match="threads: expected a whole number >= 1, found 0"):
        Steps(threads=0)
    with pytest.raises(OptionError, match=r"align: .* found 'Rigid'. Did you mean 'rigid'\?"):
        Steps(align="Rigid")
    with pytest.raises(OptionError, match=r"steps: .* found 'algin'. Did you mean 'align'\?"):
        steps_of({"algin": "rigid"})
    with pytest.raises(ConversionError, match="expected one brain mask, found two"):
        Steps(hd_bet=True, apply_brain_mask=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"to_mni": "no"}, "to_mni: expected True or False, found 'no'. Write it without quotes"),
        ({"n4": "false"}, "n4: expected True or False, found 'false'"),
        ({"hd_bet": 1}, "hd_bet: expected True or False, found 1"),
        ({"reorient": None}, "reorient: expected True or False, found None"),
        ({"threads": "2"}, "threads: expected a whole number >= 1, found '2'"),
        ({"threads": 1.5}, "threads: expected a whole number >= 1, found 1.5"),
        ({"threads": True}, "threads: expected a whole number >= 1, found True"),
        ({"spacing": (True, 1, 1)}, "spacing: expected three edges"),
        (["to_mni"], "steps: expected names with values, such as"),
        ("to_mni", "steps: expected names with values, such as"),
    ],
)
def test_values_of_another_type_are_refused_and_not_taken_for_true(words, message):
    with pytest.raises(OptionError, match=message):
        steps_of(words)
