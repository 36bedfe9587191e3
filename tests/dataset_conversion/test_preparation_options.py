"""Flags of the preparation: voxel edges as text, and a flag for every step."""

import argparse
from dataclasses import fields

import pytest

from nnunet_ms.dataset_conversion.preparation_options import add_step_options, chosen_steps, spacing
from nnunet_ms.dataset_conversion.steps import NO_STEPS, Steps


@pytest.mark.parametrize("text", ["1x1", "0x1x1", "1x1x99", "a", "nanx1x1"])
def test_spacings_that_cannot_be(text):
    with pytest.raises(Exception, match=r"expected 1x1x3|could not convert"):
        spacing(text)


@pytest.mark.parametrize(
    ("text", "edges"),
    [("1x1x3", (1, 1, 3)), ("1", (1, 1, 1)), ("0.9x0.9x2.5", (0.9, 0.9, 2.5)), ("isotropic", "isotropic")],
)
def test_spacings(text, edges):
    assert spacing(text) == edges


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_step_options(parser)
    return chosen_steps(parser.parse_args(words))


def test_every_flag_reaches_its_step_and_no_other():
    assert parsed() == NO_STEPS
    words = {
        "reorient": [],
        "n4": [],
        "align": ["affine"],
        "to_baseline": [],
        "to_mni": [],
        "spacing": ["1x1x3"],
        "apply_brain_mask": [],
        "hd_bet": [],
        "brain": ["deepbet"],
        "threads": ["4"],
    }
    values = {"align": "affine", "brain": "deepbet", "spacing": (1.0, 1.0, 3.0), "threads": 4}
    assert list(words) == [field.name for field in fields(Steps)]
    for name, value in words.items():
        assert parsed(f"--{name.replace('_', '-')}", *value) == Steps(**{name: values.get(name, True)})
