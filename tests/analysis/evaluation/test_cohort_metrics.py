from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nnunet_ms.analysis.evaluation.case_metrics import CASE_METRICS, case_metrics
from nnunet_ms.analysis.evaluation.cohort_metrics import (
    clustered_interval,
    correlate_cases,
    count_sizes,
    isbi_score,
    size_bin_name,
    summarise_cases,
    summarise_sizes,
)
from nnunet_ms.analysis.evaluation.matching import match_masks
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.errors import OptionError
from tests.lesions.naive_matching import dice_with_touched, found_flags, lesions_of, random_pair, scores, volume

RULE = RULES["krishnan2023"]
NAMES = [name for name in RULE.metrics if name in CASE_METRICS]
BINS = {"3 to 10": (3, 10), "11 to 50": (11, 50), "51 to 150": (51, 150), "> 150": (151, 10**9), "all": (3, 10**9)}


def metrics_of(reference, prediction, rule=RULE):
    return case_metrics(match_masks(volume(reference), volume(prediction), rule), rule)


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 200, 25)])
def test_case_metrics_against_naive_loop(seeds):
    # Oracle: naive_matching.scores, from the definitions.
    for seed in seeds:
        masks = random_pair(seed)
        values = metrics_of(*masks)
        assert values == pytest.approx(scores(*masks), nan_ok=True), seed


def test_a_mask_against_itself():
    mask = random_pair(1)[0]
    perfect = {"ppv": 1, "tpr": 1, "dice": 1, "lppv": 1, "ltpr": 1, "lfpr": 0}
    assert metrics_of(mask, mask) == perfect | {"lppv_by_reference": 1, "lfpr_complement": 0}


@pytest.mark.parametrize("seed", range(20))
def test_swapping_roles(seed):
    reference, prediction = random_pair(seed)
    there, back = metrics_of(reference, prediction), metrics_of(prediction, reference)
    for name, other in (("ltpr", "lppv"), ("tpr", "ppv"), ("dice", "dice")):
        assert there[name] == pytest.approx(back[other], nan_ok=True)


@pytest.mark.parametrize("seed", range(20))
def test_place_and_axes_do_not_matter(seed):
    masks = random_pair(seed)
    moved = [np.pad(mask.transpose(2, 0, 1), ((3, 1), (0, 4), (2, 2))) for mask in masks]
    flipped = [mask[::-1, :, ::-1] for mask in masks]
    assert metrics_of(*moved) == pytest.approx(metrics_of(*masks), nan_ok=True)
    assert metrics_of(*flipped) == pytest.approx(metrics_of(*masks), nan_ok=True)


def test_empty_masks():
    # The conventions of the module's docstring; a component of 2 voxels makes a mask as empty as none.
    some, none = np.zeros((5, 5, 5)), np.zeros((5, 5, 5))
    some[1:4, 2, 2] = 1
    none[0, 0, :2] = 1
    nan = np.nan
    blank = dict.fromkeys(NAMES, nan)
    predicted_none = blank | {"tpr": 0, "dice": 0, "ltpr": 0}
    reference_none = blank | {"ppv": 0, "dice": 0, "lppv": 0, "lfpr": 1, "lppv_by_reference": 0, "lfpr_complement": 1}
    assert metrics_of(none, none) == pytest.approx(blank, nan_ok=True)
    assert metrics_of(some, none) == pytest.approx(predicted_none, nan_ok=True)
    assert metrics_of(none, some) == pytest.approx(reference_none, nan_ok=True)


def test_one_predicted_lesion_over_two_reference_lesions():
    # By hand: one confirmed and one false predicted lesion, two found reference lesions: the two readings differ.
    reference, prediction = np.zeros((5, 5, 20)), np.zeros((5, 5, 20))
    reference[1, 1, 0:4] = reference[1, 1, 6:10] = 1
    prediction[1, 1, 0:10] = prediction[4, 4, 14:18] = 1
    values = metrics_of(reference, prediction)
    assert (values["lppv"], values["lfpr"], values["ltpr"]) == (0.5, 0.5, 1)
    assert (values["lppv_by_reference"], values["lfpr_complement"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_a_further_rule_is_an_entry():
    # Oracle: a worked ISBI 2015 example (no filter, any shared voxel): Dice 3/7, PPV 3/4, TPR 3/10, LTPR 2/3, LFPR 1/3.
    any_voxel = replace(
        RULE, name="any_voxel", minimum_voxels=lambda _: 1, found=lambda overlap: overlap.shared_voxels > 0
    )
    truth, prediction = np.zeros((5, 5, 5)), np.zeros((5, 5, 5))
    truth[1:3, 1:3, 1:3] = truth[4, 2, 4] = truth[4, 4, 4] = 1
    for x, y, z in ((1, 1, 1), (2, 1, 1), (3, 0, 4), (4, 2, 4)):
        prediction[x, y, z] = 1
    values = metrics_of(truth, prediction, any_voxel)
    expected = {"dice": 3 / 7, "ppv": 3 / 4, "tpr": 3 / 10, "ltpr": 2 / 3, "lfpr": 1 / 3}
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_cohort_summary_leaves_out_and_counts_undefined_cases():
    # By hand: mean 3 and SD sqrt(((1-3)^2 + (5-3)^2) / 1) of 1 and 5.
    summary = summarise_cases([1.0, np.nan, 5.0])
    assert (summary.mean, summary.sd, summary.n, summary.n_undefined) == (3, pytest.approx(8**0.5), 2, 1)
    one, none = summarise_cases([0.5]), summarise_cases([np.nan])
    assert (one.mean, np.isnan(one.sd), one.n) == (0.5, True, 1)
    assert (np.isnan(none.mean), none.n, none.n_undefined) == (True, 0, 1)


def test_correlation_against_scipy():
    generator = np.random.default_rng(2)
    x = generator.gamma(1, 10, size=40)
    y = x + generator.normal(0, 3, size=40)
    summary = correlate_cases(x.tolist(), y.tolist())
    assert (summary.mean, summary.n) == (pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12), 40)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([], [])])
def test_correlation_undefined(x, y):
    summary = correlate_cases(x, y)
    assert (np.isnan(summary.mean), summary.n, summary.n_undefined) == (True, 0, len(x))


def naive_records(seeds):
    rows = []
    for seed in seeds:
        reference, prediction = random_pair(seed)
        first, second = lesions_of(reference), lesions_of(prediction)
        for rater, here, there in (("reference", first, second), ("model", second, first)):
            for lesion, found in zip(here, found_flags(here, there, reference.shape), strict=True):
                values = (f"p{seed % 7}", rater, int(lesion.sum()), found, dice_with_touched(lesion, there))
                rows.append((f"c{seed}", *values))
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "rater", "voxels", "found", "lesion_dice"])


def counted(records):
    """One row per case, rater and bin, as a cohort gives them."""
    columns = ["patient_id", "rater", *count_sizes(np.zeros(0, int), np.zeros(0, bool), np.zeros(0), RULE)]
    frames = [pd.DataFrame(columns=columns)]
    for (_, patient, rater), rows in records.groupby(["case_id", "patient_id", "rater"]):
        arrays = (rows[name].to_numpy() for name in ("voxels", "found", "lesion_dice"))
        frames.append(pd.DataFrame({"patient_id": patient, "rater": rater, **count_sizes(*arrays, RULE)}))
    return pd.concat(frames[1:] or frames)


def test_size_bins_against_plain_counting():
    # Oracle: counting in a loop over the naive records.
    records = naive_records(range(40))
    table = summarise_sizes(counted(records), RULE).set_index("size_bin")
    assert list(table.index) == list(BINS)
    for name, (low, high) in BINS.items():
        rows = [row for row in records.itertuples() if low <= row.voxels <= high]
        reference = [row for row in rows if row.rater == "reference"]
        predicted = [row for row in rows if row.rater == "model"]
        false = [row for row in predicted if not row.found]
        assert len(reference) >= 1, name
        assert table.loc[name, "reference_lesions"] == len(reference)
        assert table.loc[name, "ltpr"] == pytest.approx(sum(row.found for row in reference) / len(reference))
        assert table.loc[name, "false_lesions"] == len(false)
        assert table.loc[name, "lfpr"] == pytest.approx(len(false) / len(predicted))
        assert table.loc[name, "lesion_dice"] == pytest.approx(np.mean([row.lesion_dice for row in reference]))
        found = [row.lesion_dice for row in reference if row.found]
        assert table.loc[name, "lesion_dice_found"] == pytest.approx(np.mean(found))
    assert table["reference_share"].iloc[:-1].sum() == pytest.approx(1)


def test_size_bins_without_lesions():
    records = naive_records(range(1)).iloc[:0]
    table = summarise_sizes(counted(records), RULE)
    assert (table["reference_lesions"].sum(), table["predicted_lesions"].sum()) == (0, 0)
    assert table[["ltpr", "lfpr", "lesion_dice", "ltpr_low", "reference_share"]].isna().all(axis=None)


def test_size_bin_names():
    assert [size_bin_name(3, 10), size_bin_name(151, None)] == ["3 to 10", "> 150"]


def test_interval_with_one_lesion_per_patient_is_the_binomial_bootstrap():
    # Oracle: with one lesion each, a resample's count is binomial (400, .3), so the limits are its quantiles / 400.
    events = np.array([1] * 120 + [0] * 280)
    low, high = clustered_interval(events, np.ones(400, dtype=np.int64), replicates=20000)
    expected = stats.binom.ppf([0.025, 0.975], 400, 0.3) / 400
    assert (low, high) == pytest.approx(tuple(expected), abs=0.004)


def test_interval_widens_when_lesions_of_a_patient_agree():
    # By definition: ten identical lesions per patient carry the information of one.
    events = np.array([1, 0] * 20)
    alone = clustered_interval(events, np.ones(40, dtype=np.int64))
    assert clustered_interval(10 * events, np.full(40, 10)) == alone


def test_interval_needs_five_patients_with_lesions():
    totals = np.array([3, 3, 3, 3, 0, 0])
    assert np.isnan(clustered_interval(np.array([1, 2, 3, 0, 0, 0]), totals)).all()


def test_interval_covers_the_true_rate():
    # Oracle: the definition of coverage, on patients whose own rates vary (beta); exact 95 % is not expected of it.
    generator = np.random.default_rng(4)
    covered = 0
    for seed in range(100):
        totals = generator.integers(1, 30, size=60)
        low, high = clustered_interval(generator.binomial(totals, generator.beta(6, 2, size=60)), totals, 500, seed)
        covered += low <= 0.75 <= high
    assert covered >= 88


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # by hand: (0.669 + 0.886) / 8 + (1 - 0.125 + 0.538 + 0.867) / 4, the first row of a published table with r .867
        ({"dice": 0.669, "ppv": 0.886, "lfpr": 0.125, "ltpr": 0.538, "r_vol": 0.867}, 0.194375 + 0.57),
        ({"dice": 1.0, "ppv": 1.0, "lfpr": 0.0, "ltpr": 1.0, "r_vol": 1.0}, 1.0),
        ({"dice": 0.0, "ppv": 0.0, "lfpr": 1.0, "ltpr": 0.0, "r_vol": 0.0}, 0.0),
        ({"dice": 0.5, "ppv": 0.5, "lfpr": 0.5, "ltpr": 0.5, "r_vol": float("nan")}, float("nan")),
    ],
)
def test_the_score_of_isbi_2015_by_hand(values, expected):
    assert isbi_score(values) == pytest.approx(expected, nan_ok=True)


SHARES = {"dice": 0.6, "ppv": 0.7, "lfpr": 0.2, "ltpr": 0.5, "r_vol": 0.9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dice": 60.0}, "dice: expected a number of 0 to 1, found 60.0. Give it as a share"),
        ({"lfpr": -0.1}, "lfpr: expected a number of 0 to 1, found -0.1"),
        ({"r_vol": -1.5}, "r_vol: expected a number of -1 to 1, found -1.5"),
        ({"ppv": "0.7"}, "ppv: expected a number of 0 to 1, found '0.7'"),
        ({"ltpr": None}, "ltpr: expected a number of 0 to 1, found None"),
    ],
)
def test_a_score_of_what_are_no_shares_is_refused(change, message):
    with pytest.raises(OptionError, match=message):
        isbi_score({**SHARES, **change})
    with pytest.raises(OptionError, match="expected a number"):
        isbi_score({name: value for name, value in SHARES.items() if name not in change})


def test_a_correlation_of_one_may_end_in_a_digit_above_it():
    assert isbi_score({**SHARES, "r_vol": 1 + 1e-15}) == pytest.approx((0.6 + 0.7) / 8 + (0.8 + 0.5 + 1) / 4)
