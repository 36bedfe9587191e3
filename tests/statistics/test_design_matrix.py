import numpy as np
import pandas as pd
import patsy
import pytest

from nnunet_ms.errors import OptionError
from nnunet_ms.statistics.design_matrix import arm_design, design, factor, few_in_an_arm, number

ARMS = ["placebo", "low", "high"]
FRAME = pd.DataFrame(
    {
        "arm": ["placebo", "low", "high", "high", "low", "placebo", "high"],
        "age": [30.0, 45, 28, 51, 39, 40, 33],
        "region": ["US", "EU", "ROW", "EU", "US", "EU", "ROW"],
        "sex": ["F", "M", "F", "F", "M", "F", "M"],
        "site": "one",
    }
)


def test_columns_are_those_of_treatment_contrasts():
    # Oracle: patsy's treatment coding, which is R's contr.treatment.
    found = arm_design(FRAME, ARMS, ["age"], ["region", "sex"])
    formula = "C(arm, Treatment('placebo'), levels=['placebo', 'low', 'high']) + age + region + sex"
    peer = patsy.dmatrix(formula, FRAME)
    wanted = [next(n for n in peer.design_info.column_names if end in n)
              for end in ("Intercept", "[T.low]", "[T.high]", "age", "[T.ROW]", "[T.US]", "[T.M]")]  # fmt: skip
    assert found.names == ("intercept", "low", "high", "age", "region: ROW", "region: US", "sex: M")
    np.testing.assert_array_equal(
        found.X, np.asarray(peer)[:, [peer.design_info.column_names.index(n) for n in wanted]]
    )
    assert found.dropped == ()


@pytest.mark.parametrize(
    ("weights", "shares"),
    [("equal", [1 / 3, 1 / 3, 1 / 2]), ("proportional", [2 / 7, 2 / 7, 3 / 7])],  # ROW, US of three regions; M of two
)
def test_means_are_taken_at_the_mean_number_and_the_levels_weights(weights, shares):
    # Oracle: emmeans' reference grid, by hand.
    found = arm_design(FRAME, ARMS, ["age"], ["region", "sex"], weights)
    for arm, flags in (("placebo", [0, 0]), ("low", [1, 0]), ("high", [0, 1])):
        assert found.arm_point(arm) == pytest.approx([1, *flags, 38, *shares])
    assert found.grid[1:3].tolist() == [0, 0]  # asking for an arm does not change the grid


def test_constant_covariates_are_named_and_left_out():
    found = arm_design(FRAME.assign(age=40.0), ARMS, ["age"], ["site", "sex"])
    assert found.names == ("intercept", "low", "high", "sex: M")
    assert found.dropped == ("age", "site")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"age": lambda f: (f["sex"] == "M") * 1e-7 + 5}, ""),  # rounding apart, a constant: still a column of its own
        ({"sex": lambda f: np.where(f["arm"] == "high", "M", "F")}, "arm and covariates are confounded"),
        ({"arm": lambda f: f["arm"].replace("low", "placebo")}, "nobody in low"),
    ],
)
def test_what_cannot_be_told_apart_is_said(change, problem):
    numbers = [] if "age" in change else ["age"]
    design = arm_design(FRAME.assign(**change), ARMS, numbers, ["sex"])
    assert design.rank_problem() == problem


def test_units_do_not_make_columns_confounded():
    # ages in years beside volumes 13 orders of magnitude away
    tiny = FRAME.assign(age=FRAME["age"] * 1e-7, other=np.arange(7.0) ** 2 * 1e6)
    assert arm_design(tiny, ARMS, ["age", "other"]).rank_problem() == ""
    assert arm_design(FRAME.iloc[:0], ARMS, ["age"]).rank_problem() != ""


def test_arms_with_too_few_patients_are_named():
    assert few_in_an_arm(FRAME, ARMS) == ""
    assert few_in_an_arm(FRAME.iloc[1:], ARMS) == "1 patient in arm placebo, needs 2"
    assert few_in_an_arm(FRAME, ARMS, needed=3) == "2 patients in arm placebo, needs 3"
    assert few_in_an_arm(FRAME, [*ARMS, "none"]) == "0 patients in arm none, needs 2"


def test_product_with_the_arms_is_theirs_alone_in_the_reference_grid():
    # Oracle: emmeans at the mean age, 38: an arm's own slope counts at its own point only.
    found = arm_design(FRAME, ARMS, ["age"], products=[("arm", "age")])
    assert found.names == ("intercept", "low", "high", "age", "low:age", "high:age")
    np.testing.assert_array_equal(found.X[:, 4:], found.X[:, 1:3] * FRAME["age"].to_numpy()[:, None])
    points = [found.arm_point(arm).tolist() for arm in ARMS]
    assert points == [[1, 0, 0, 38, 0, 0], [1, 1, 0, 38, 38, 0], [1, 0, 1, 38, 0, 38]]
    assert found.columns_of() == {"intercept": [0], "arm": [1, 2], "age": [3], "arm:age": [4, 5]}


@pytest.mark.parametrize(
    ("weights", "cells"),
    [
        ("equal", [1 / 6, 1 / 6]),
        ("proportional", [1 / 7, 1 / 7]),
    ],  # M among ROW and among US: one patient of seven each
)
def test_product_of_two_factors_is_weighed_by_cells_or_equally(weights, cells):
    # Oracle: emmeans(weights = ...), by hand: three regions of two sexes, or the cells' own frequencies.
    found = arm_design(FRAME, ARMS, [], ["region", "sex"], weights, [("region", "sex")])
    assert found.names[-2:] == ("region: ROW:sex: M", "region: US:sex: M")
    assert found.grid[-2:] == pytest.approx(cells)
    of_arm = arm_design(FRAME, ARMS, [], ["sex"], weights, [("arm", "sex")])
    share = 1 / 2 if weights == "equal" else 3 / 7  # never a cell's: the arm is set, not averaged over
    assert of_arm.arm_point("low")[-2:] == pytest.approx([share, 0])


def test_products_of_constant_terms_go_with_them():
    found = arm_design(FRAME, ARMS, [], ["site", "sex"], products=[("arm", "site"), ("arm", "sex")])
    assert [name for name in found.names if "site" in name] == []
    assert found.names[-1] == "high:sex: M"


def test_another_reference_level_comes_first():
    term = factor("region", FRAME["region"], reference="US")
    assert term.names == ("region: EU", "region: ROW")
    assert term.columns[:3].tolist() == [[0, 0], [1, 0], [0, 1]]
    with pytest.raises(OptionError, match=r"reference of region: expected one of .*found 'UK'"):
        factor("region", FRAME["region"], reference="UK")


def test_columns_that_vary_are_kept_and_the_others_named():
    terms = [factor("sex", FRAME["sex"]), number("age", [40.0] * 7), number("dose", range(7))]
    found = design(terms, 7, intercept=False).varying()
    assert (found.names, found.terms, found.dropped) == (("sex: M", "dose"), ("sex", "dose"), ("age",))
    assert found.X.shape == (7, 2)
    assert found.grid == pytest.approx([0.5, 3])
    nobody = design([number("age", [])], 0, intercept=False).varying()
    assert (nobody.names, nobody.dropped) == ((), ("age",))
