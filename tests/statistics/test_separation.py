import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats

from nnunet_ms.statistics.count_model import count_model, presence_p
from nnunet_ms.statistics.design_matrix import arm_design
from nnunet_ms.statistics.separation import estimable_covariates, separated_rows


def farthest_down(X, y):
    """Least fitted mean of a Poisson likelihood that is climbed within a wide box: near 0 where it has no maximum."""

    def loss(beta):
        mu = np.exp(np.clip(X @ beta, -60, 60))
        return mu.sum() - y @ (X @ beta), X.T @ (mu - y)

    found = scipy.optimize.minimize(loss, np.zeros(X.shape[1]), jac=True, bounds=[(-25, 25)] * X.shape[1])
    return np.exp(X @ found.x).min()


def test_separated_rows_against_the_likelihood_itself():
    # Oracle: the definition. With no maximum, some fitted mean goes to 0 as far as the box lets it.
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(60):
        X = np.column_stack([np.ones(14), rng.integers(0, 2, (14, 3))]).astype(float)
        y = rng.poisson(0.5, 14).astype(float)
        if np.linalg.matrix_rank(X) < 4 or not y.any():
            continue
        expected = farthest_down(X, y) < 1e-6
        assert separated_rows(X, y > 0).any() == expected
        seen.add(bool(expected))
    assert seen == {True, False}


@pytest.fixture
def sixty():
    """Sixty patients per arm, overdispersed lesions in the first arm, none yet in the second."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"arm": np.repeat(["a", "b"], 60), "scans": 2.0, "lesions": 0})
    frame.loc[:59, "lesions"] = rng.negative_binomial(1, 0.45, 60)
    frame["age"] = rng.integers(20, 60, 120).astype(float)
    for name in ("region", "sex"):
        frame[name] = rng.choice(["one", "two"], 120)
    return frame


def only_one_level(frame):
    """All lesions of the second arm in a level of a factor that is seen there only."""
    return frame.assign(baseline=np.where(frame.index >= 118, "not read", frame["sex"])), ["baseline"], []


def two_factors_together(frame):
    """Lesions of the second arm where the first arm has no patient of this site."""
    frame = frame.assign(site=np.where((frame["arm"] == "b") & (frame.index < 117), "south", "north"))
    return frame, ["site"], []


def one_age_only(frame):
    """The two patients with a lesion in the second arm are the only ones above 99 years."""
    return frame.assign(dose=np.where(frame.index >= 118, 1.0, 0.0)), [], ["dose"]


def a_level_of_each_arm(frame):
    """Each arm has a centre of its own; the second arm's lesions are all in one centre."""
    centre = np.where(frame["arm"] == "a", frame["sex"], np.where(frame.index < 110, "three", "four"))
    return frame.assign(centre=centre), ["centre"], []


@pytest.mark.parametrize("made", [only_one_level, two_factors_together, one_age_only, a_level_of_each_arm])
def test_a_separating_covariate_is_left_out_and_the_rest_is_as_without_it(sixty, made):
    # Oracle: the model that never had the covariate; its coefficients are finite, and nothing overflows.
    sixty.loc[118:, "lesions"] = 1
    frame, factors, numbers = made(sixty)
    found = count_model(frame, "lesions", "scans", ["a", "b"], ["age", *numbers], ["region", *factors])
    plain = count_model(frame, "lesions", "scans", ["a", "b"], ["age"], ["region"])
    assert (found.ratios, found.rates, found.coefficients) == (plain.ratios, plain.rates, plain.coefficients)
    assert found.notes[0].startswith(f"{(*factors, *numbers)[0]} left out (")
    assert max(c.se for c in found.coefficients) < 5


def test_a_product_goes_before_its_covariates(sixty):
    # The second arm's lesions are in women only: the product separates, sex alone does not.
    frame = sixty.assign(sex=np.where(sixty.index % 2, "f", "m"))
    frame.loc[[61, 63, 65], "lesions"] = 1
    kept = estimable_covariates(frame, "lesions", ["a", "b"], factors=["sex"], products=[("arm", "sex")])
    assert (kept.factors, kept.products) == (("sex",), ())
    assert "arm:sex left out" in kept.notes[0]


def test_nothing_is_left_out_where_the_likelihood_has_a_maximum(sixty):
    sixty.loc[[70, 80, 90, 100, 110], "lesions"] = [1, 2, 1, 1, 3]
    kept = estimable_covariates(sixty, "lesions", ["a", "b"], ["age"], ["region", "sex"])
    assert kept.notes == ()
    assert (kept.numbers, kept.factors) == (("age",), ("region", "sex"))


@pytest.mark.parametrize("weights", ["equal", "proportional"])
def test_a_level_that_stands_for_a_missing_value_has_no_weight(weights):
    # By hand: two known levels, 3 and 1 patients; the two who were not read count in neither weight.
    frame = pd.DataFrame({"arm": list("ababab"), "baseline": ["no", "no", "no", "yes", "not read", "not read"]})
    grid = arm_design(frame, ["a", "b"], factors=["baseline"], weights=weights, unknown=["not read"])
    share = 0.5 if weights == "equal" else 0.25
    assert dict(zip(grid.names, grid.arm_point("b"), strict=True)) == {
        "intercept": 1.0, "b": 1.0, "baseline: not read": 0.0, "baseline: yes": share,
    }  # fmt: skip
    first = frame.assign(baseline=frame["baseline"].replace("no", "zero"))  # now "not read" is the first level
    grid = arm_design(first, ["a", "b"], factors=["baseline"], weights=weights, unknown=["not read"])
    assert dict(zip(grid.names, grid.arm_point("a"), strict=True)) == {
        "intercept": 1.0, "b": 0.0, "baseline: yes": share, "baseline: zero": 1 - share,
    }  # fmt: skip


@pytest.mark.parametrize(("lesions", "patients"), [(40, 2), (40, 4), (9, 6), (300, 8)])
def test_the_p_of_an_arm_without_lesions_depends_on_patients_and_not_on_lesions(lesions, patients):
    # Oracle: the hypergeometric distribution; both tails are equal, because the arms are.
    counts = np.zeros(60)
    counts[:patients] = lesions
    frame = pd.DataFrame({"arm": np.repeat(["a", "b"], 60), "scans": 2.0, "lesions": [*counts, *np.zeros(60)]})
    found = count_model(frame, "lesions", "scans", ["a", "b"])
    expected = min(1.0, 2 * scipy.stats.hypergeom(120, patients, 60).pmf(0))
    assert found.ratios[0].p == pytest.approx(expected)
    assert "Fisher's exact test of patients" in found.notes[0]
    assert presence_p(np.zeros(60), counts) == pytest.approx(expected)
    assert np.isnan(presence_p([], [1.0]))


def test_patients_with_ties_against_r():
    # R 4.2.2: fisher.test(matrix(c(3, 1, 17, 25), 2))$p.value
    assert presence_p([1, 2, 9] + [0] * 17, [4] + [0] * 25) == pytest.approx(0.30293838, abs=5e-9)
