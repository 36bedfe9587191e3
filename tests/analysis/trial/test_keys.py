import pytest

from nnunet_ms.analysis.trial.keys import contrast_text, week_list, week_text


@pytest.mark.parametrize(("week", "text"), [(96.0, "96"), (24.5, "24.5"), (0, "0"), (-4.0, "-4"), (120, "120")])
def test_weeks_are_written_without_a_needless_point(week, text):
    assert week_text(week) == text


def test_lists_and_contrasts():
    assert (week_list([0.0, 24.5]), week_list([])) == ("[0, 24.5]", "[]")
    assert contrast_text("active", "placebo") == "active - placebo"
