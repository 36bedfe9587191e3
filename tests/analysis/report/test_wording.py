import numpy as np
import pytest

from nnunet_ms.analysis.report.wording import interval, joined, minus, number, over, p_text, term_text


@pytest.mark.parametrize(("p", "text"), [(0.0004, "p < .001"), (0.0571, "p .057"), (0.5, "p .500"), (1.0, "p 1.000")])
def test_p_values(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"), [(-0.04, 1, "0.0"), (-1.25, 2, "−1.25"), (np.nan, 1, "–"), (3, 0, "3")]
)
def test_number(value, digits, text):
    assert number(value, digits) == text


def test_signed_number_has_a_plus_but_zero_has_no_sign():
    assert [number(v, 1, signed=True) for v in (1.0, -1.0, 0.0)] == ["+1.0", "−1.0", "0.0"]


def test_interval():
    assert interval(-1.04, -2.0, 0.02) == "−1.0 (−2.0 to 0.0)"
    assert interval(0.5, np.nan, np.nan) == "0.5"


def test_contrasts_lists_and_terms():
    assert (minus("active - placebo"), over("active - placebo")) == ("active − placebo", "active / placebo")
    assert (joined(["a"]), joined(["a", "b", "c"], "or")) == ("a", "a, b or c")
    assert [term_text(t) for t in ("age_group: <= 45", "edss_stratum: >= 4", "log_tlv", "region: US")] == [
        "age group: ≤ 45",
        "EDSS stratum: ≥ 4",
        "log TLV",
        "region: US",
    ]
