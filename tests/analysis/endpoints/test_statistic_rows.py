from dataclasses import replace

import numpy as np
import pytest

from nnunet_ms.analysis.endpoints.statistic_rows import (
    Statistic,
    hazard_values,
    not_estimable,
    reason_of,
    select,
    spread,
    to_frame,
    value_of,
)
from nnunet_ms.statistics.cox import Cox
from nnunet_ms.tables import ENDPOINTS

BASE = Statistic("cdp24", "cox_by_arm", rater="model", method="Cox regression")


def test_every_value_is_a_row_with_the_keys_of_its_base():
    rows = spread(BASE, {"n": (60.0, "patients"), "p": (0.04, "")})
    assert rows == [
        replace(BASE, stat_name="n", stat=60.0, unit="patients"),
        replace(BASE, stat_name="p", stat=0.04, unit=""),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_becomes_blank_and_says_why(value):
    known, blank = spread(BASE, {"n": (0.0, ""), "p": (value, "")}, not_estimable("no events"))
    assert (known.stat, known.method) == (0, "Cox regression")
    assert np.isnan(blank.stat)
    assert blank.method == "Cox regression; not estimable (no events)"
    (without,) = spread(replace(BASE, method=""), {"p": (value, "")})
    assert without.method == "not estimable (the estimate is not finite)"


def test_rows_are_found_by_their_keys():
    frame = to_frame([
        *spread(replace(BASE, arm="a"), {"n": (1.0, ""), "p": (float("nan"), "")}, not_estimable("why")),
        *spread(replace(BASE, arm="b"), {"n": (2.0, "")}),
    ])  # fmt: skip
    assert list(frame.columns) == ENDPOINTS.names
    assert frame["arm"].tolist() == ["a", "a", "b"]
    assert select(frame, arm="a", stat_name="n").index.tolist() == [0]
    assert value_of(frame, arm="b", stat_name="n") == 2
    assert np.isnan(value_of(frame, arm="a", stat_name="p"))
    assert np.isnan(value_of(frame, arm="c"))
    reasons = [reason_of(frame, arm="a", stat_name=name) for name in ("p", "n", "absent")]
    assert reasons == ["not estimable (why)", "", ""]
    assert list(to_frame([]).columns) == ENDPOINTS.names


def test_a_hazard_ratio_is_eight_values_with_their_units():
    fit = Cox(60, 9, coefficient=-0.7, se=0.2, hazard_ratio=0.5, low=0.3, high=0.8, p=0.01)
    assert hazard_values(fit, "per ml") == {
        "n": (60.0, "patients"), "events": (9.0, "patients"), "coefficient": (-0.7, "per ml"), "se": (0.2, "per ml"),
        "hazard_ratio": (0.5, "per ml"), "low": (0.3, "per ml"), "high": (0.8, "per ml"), "p": (0.01, ""),
    }  # fmt: skip
    nothing = hazard_values(Cox(2, 0, problem="no events"))
    assert [name for name, (value, _) in nothing.items() if np.isfinite(value)] == ["n", "events"]
