"""New, enlarging, and new or enlarging T2 lesions: from masks drawn by hand to rate ratios that R has too."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.lesion_counts import ENDPOINTS, lesion_count_statistics, patient_counts
from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.endpoints.statistic_rows import reason_of, select, to_frame, value_of
from nnunet_ms.analysis.evaluation.measure import measure
from nnunet_ms.analysis.report.blocks.all_blocks import build_blocks
from nnunet_ms.analysis.report.figures.treatment_figures import count_figure
from nnunet_ms.analysis.trial.change_counts import NO_EARLIER
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.errors import SettingsError, TableError

ORACLE = Path(__file__).parents[2] / "statistics" / "t2_lesion_counts"
EXPECTED = pd.read_csv(ORACLE / "expected.csv")
T2 = {e.name: e for e in ENDPOINTS if e.lesion_type == "t2_lesions"}
SETTINGS = """
[trial]
name = "T2 lesions"
simulated = true
[tables]
patients = "patients.csv"
visits = "visits.csv"
[arms]
reference = "control"
compared = ["treated"]
[lesions]
type = "t2_lesions"
zero_volume = "exclude"
[visits]
baseline_week = 0
weeks = [24, 48, 96]
[disability]
[conventions]
preset = "r"
[analysis]
bootstrap_draws = 0
"""


def trial_of(folder, visits=None, settings=SETTINGS, patients=None):
    folder.mkdir(exist_ok=True)
    for name, frame in (("patients", patients), ("visits", visits)):
        if frame is None:
            shutil.copy(ORACLE / f"{name}.csv", folder)
        else:
            frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "trial.toml").write_text(settings)
    return folder / "trial.toml"


def read(folder, visits=None, settings=SETTINGS, patients=None):
    return read_trial(read_settings(trial_of(folder, visits, settings, patients)))


def oracle_visits():
    return pd.read_csv(ORACLE / "visits.csv", dtype={"new_lesion_count": "Int64", "enlarging_lesion_count": "Int64"})


@pytest.mark.parametrize("row", EXPECTED.to_dict("records"), ids=lambda row: f"{row['endpoint']}-{row['exposure']}")
def test_models_and_tests_against_r(tmp_path, row):
    # Oracle: R 4.2.2, MASS 7.3.58.2, tests/statistics/t2_lesion_counts/t2_lesion_counts.R on the tables beside it.
    settings = SETTINGS.replace("[visits]", f'exposure = "{row["exposure"]}"\n[visits]')
    trial = read(tmp_path / "in", settings=settings)
    rows = to_frame(lesion_count_statistics(trial, T2[row["endpoint"]]))
    model = {"analysis": "negative_binomial", "contrast": "treated - control", "term": "arm"}
    for name, at in (("rate_ratio", 1e-7), ("low", 1e-6), ("high", 1e-6), ("se_log", 1e-6), ("p", 1e-6)):
        assert value_of(rows, stat_name=name, **model) == pytest.approx(row[name], rel=at)
    found = value_of(rows, analysis="negative_binomial", term="model", stat_name="dispersion")
    assert found == pytest.approx(row["dispersion"], rel=1e-5)
    for name, of in (("rate_ratio", "ratio"), ("low", "low"), ("high", "high"), ("p", "p")):
        exact = value_of(rows, analysis="exact_poisson", stat_name=name, contrast="treated - control")
        assert exact == pytest.approx(row[f"exact_{of}"], rel=1e-6)
    ranks = value_of(rows, analysis="wilcoxon", stat_name="p", contrast="treated - control")
    assert ranks == pytest.approx(row["rank_p"], rel=1e-9)
    for arm in ("control", "treated"):
        keys = {"analysis": "by_visit", "visit": "all", "arm": arm}
        assert value_of(rows, stat_name="lesions", **keys) == row[f"lesions_{arm}"]
        unit = "years" if row["exposure"] == "years" else "visits"
        assert value_of(rows, stat_name=unit, **keys) == pytest.approx(row[f"time_{arm}"])
    rates = select(rows, analysis="negative_binomial", stat_name="rate")
    assert set(rates["unit"]) == {f"lesions per {row['exposure'][:-1]}"}
    said = "log(years from the scan before" if row["exposure"] == "years" else "offset log(scans)"
    assert rates["method"].str.contains(said, regex=False).all()


def box(mask, x, y, z, dx=3, dy=3, dz=3):
    mask[x : x + dx, y : y + dy, z : z + dz] = 1


def drawn(*boxes):
    mask = np.zeros((24, 24, 16), dtype=np.uint8)
    for one in boxes:
        box(mask, *one)
    return mask


OLD = (2, 2, 2, 6, 6, 6)  # 216 mm3
GROWN = (2, 2, 2, 6, 6, 8)  # 288 mm3
FAR = (15, 15, 10)
BAR = (2, 2, 2, 12, 3, 3)
# week -> mask; then (new, enlarging) of each follow-up scan, counted by hand with the rule of docs/lesion_metrics.md
SCENARIOS = {
    "nothing": ({0: drawn(OLD), 24: drawn(OLD)}, {24: (0, 0)}),
    "new": ({0: drawn(OLD), 24: drawn(OLD, FAR)}, {24: (1, 0)}),
    "enlarging": ({0: drawn(OLD), 24: drawn(GROWN)}, {24: (0, 1)}),
    "both": ({0: drawn(OLD), 24: drawn(GROWN, FAR), 48: drawn(GROWN, FAR)}, {24: (1, 1), 48: (0, 0)}),
    "one lesion grows twice": (
        {0: drawn(OLD), 24: drawn(GROWN), 48: drawn((2, 2, 2, 6, 6, 10))}, {24: (0, 1), 48: (0, 1)},
    ),
    "split": ({0: drawn(BAR), 24: drawn((2, 2, 2, 5, 3, 3), (9, 2, 2, 5, 3, 3))}, {24: (0, 0)}),
    "split, and a part grows": (
        {0: drawn(BAR), 24: drawn((2, 2, 2, 5, 3, 3), (9, 2, 2, 5, 3, 4))}, {24: (0, 1)},  # 15 on 45
    ),
    "merged": (  # two of 27, and a bridge of 18 between: one lesion, a third larger
        {0: drawn((2, 2, 2), (7, 2, 2)), 24: drawn((2, 2, 2, 8, 3, 3))}, {24: (0, 1)},
    ),
    "merged by a new lesion": (  # the bridge is 36 and more than half of the 54: new
        {0: drawn((2, 2, 2), (9, 2, 2)), 24: drawn((2, 2, 2, 10, 3, 3))}, {24: (1, 0)},
    ),
    "shrinking": ({0: drawn(GROWN), 24: drawn(OLD)}, {24: (0, 0)}),
    "resolved and back": ({0: drawn(FAR), 24: drawn(OLD), 48: drawn(OLD, FAR)}, {24: (1, 0), 48: (1, 0)}),
    "a scan missed": ({0: drawn(OLD), 96: drawn(GROWN, FAR)}, {96: (1, 1)}),
    "a scan missed between": (
        {0: drawn(OLD), 24: drawn(OLD), 96: drawn(GROWN)}, {24: (0, 0), 96: (0, 1)},
    ),
    "no baseline": ({24: drawn(OLD), 48: drawn(GROWN)}, {48: (0, 1)}),
}  # fmt: skip


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """The scenarios, one patient each, as masks on disk, measured; and the trial read from that."""
    folder = tmp_path_factory.mktemp("hand")
    (folder / "masks").mkdir()
    cases = []
    for i, (weeks, _) in enumerate(SCENARIOS.values()):
        for week, mask in weeks.items():
            case = f"H{i:02d}_{week}"
            nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "masks" / f"{case}.nii.gz")
            cases.append((case, f"H{i:02d}", f"w{week}", week, "test"))
    pd.DataFrame(cases, columns=["case_id", "patient_id", "visit", "week", "role"]).to_csv(
        folder / "cases.csv", index=False
    )
    done = measure(folder / "masks", folder / "measured", folder / "cases.csv", workers=1)
    n = len(SCENARIOS)
    people = pd.DataFrame(
        {
            "patient_id": [f"H{i:02d}" for i in range(n)], "arm": ["control", "treated"] * (n // 2), "age_years": 40,
            "sex": "F", "region": "EU", "edss_baseline": 3.0,
        }
    )  # fmt: skip
    return done.visits, read(folder / "trial", done.visits, patients=people)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(("endpoint", "weights"), [("new_t2_lesions", (1, 0)), ("enlarging_t2_lesions", (0, 1)),
                                                   ("new_or_enlarging_t2_lesions", (1, 1))])  # fmt: skip
def test_masks_drawn_by_hand(by_hand, name, endpoint, weights):
    weeks, expected = SCENARIOS[name]
    patient = f"H{list(SCENARIOS).index(name):02d}"
    measured, trial = by_hand
    of_patient = measured[measured["patient_id"] == patient].set_index("week")
    for week, pair in expected.items():
        found = of_patient.loc[week, ["new_lesion_count", "enlarging_lesion_count"]]
        assert tuple(int(value) for value in found) == pair
    counts = patient_counts(trial, T2[endpoint], trial.raters[0]).set_index("patient_id")
    one = counts.loc[patient]
    assert one["lesions"] == sum(np.dot(pair, weights) for pair in expected.values())
    assert one["scans"] == len(expected)  # a scan without an earlier one has no count, and is not a 0
    covered = max(weeks) - min(weeks)  # all the time between scans, however many were missed
    assert one["years"] == pytest.approx(covered * 7 / 365.25)
    assert one["exposure"] == one["years"]


def test_the_scan_without_an_earlier_one_is_listed_and_not_zero(by_hand):
    _, trial = by_hand
    patient = f"H{list(SCENARIOS).index('no baseline'):02d}"
    listed = trial.exclusions[trial.exclusions["patient_id"] == patient]
    change = listed[listed["analysis"] == "change of t2_lesions"]
    reason = f"new_lesion_count is blank for {trial.raters[0]}; enlarging_lesion_count is blank for {trial.raters[0]}"
    assert change[["week", "reason"]].to_numpy().tolist() == [["24", reason]]


def test_a_zero_without_an_earlier_scan_is_missing_too(tmp_path):
    # By hand: N03's row of week 0 removed; the 0 of a person's table at the next scan is no count.
    visits = oracle_visits()
    visits = visits[~((visits["patient_id"] == "N03") & (visits["week"] == 0))]
    first = visits[visits["patient_id"] == "N03"].index[0]
    week = visits.loc[first, "week"]
    visits.loc[first, ["new_lesion_count", "enlarging_lesion_count"]] = 0
    trial = read(tmp_path / "in", visits)
    rest = visits[(visits["patient_id"] == "N03") & (visits["week"] > week)]
    counts = patient_counts(trial, T2["new_or_enlarging_t2_lesions"], "reader").set_index("patient_id")
    assert counts.loc["N03", "scans"] == len(rest)
    assert counts.loc["N03", "years"] == pytest.approx((rest["week"].max() - week) * 7 / 365.25)
    listed = trial.exclusions[trial.exclusions["reason"] == NO_EARLIER]
    assert listed[["patient_id", "week"]].to_numpy().tolist() == [["N03", f"{week}"]]


def test_what_the_table_says_of_the_scan_before_holds(tmp_path):
    # The reader compared N05's last scan with the baseline alone: by hand, all the weeks since.
    visits = oracle_visits()
    of = visits[visits["patient_id"] == "N05"]
    last = of.index[-1]
    visits["previous_week"] = np.nan
    visits.loc[last, "previous_week"] = 0
    visits.loc[of.index[:-1], ["new_lesion_count", "enlarging_lesion_count"]] = pd.NA
    years = patient_counts(read(tmp_path / "in", visits), T2["new_t2_lesions"], "reader").set_index("patient_id")[
        "years"
    ]
    assert years["N05"] == pytest.approx(of["week"].iloc[-1] * 7 / 365.25)


# tables that have one kind of change and not the other: which endpoints can be counted, and what the others say
LACKING = {
    "no column": (lambda v: v.drop(columns="enlarging_lesion_count"), ["enlarging_lesion_count"]),
    "all blank": (lambda v: v.assign(enlarging_lesion_count=pd.NA), ["enlarging_lesion_count"]),
    "only at baseline": (
        lambda v: v.assign(enlarging_lesion_count=np.where(v["week"] == 0, "0", "")), ["enlarging_lesion_count"],
    ),
    "no new ones": (lambda v: v.drop(columns="new_lesion_count"), ["new_lesion_count"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LACKING)
def test_a_table_with_one_kind_says_so_and_does_not_count_the_other(tmp_path, case):
    damage, lacking = LACKING[case]
    trial = read(tmp_path / "in", damage(oracle_visits()))
    for name, endpoint in T2.items():
        rows = to_frame(lesion_count_statistics(trial, endpoint))
        ratio = {"analysis": "negative_binomial", "stat_name": "rate_ratio", "contrast": "treated - control"}
        if set(endpoint.columns) & set(lacking):
            assert np.isnan(value_of(rows, **ratio)), name
            assert f"visits.csv: no {lacking[0]} of reader after baseline" in reason_of(rows, **ratio)
            assert select(rows, analysis="by_visit").empty
        else:
            assert value_of(rows, **ratio) > 0


def test_the_report_says_it_too_where_an_old_table_has_new_lesions_alone(tmp_path):
    trial = read(tmp_path / "in", oracle_visits().drop(columns="enlarging_lesion_count"))
    blocks = {block.key: block for block in build_blocks(trial, compute_endpoints(trial).endpoints, [])}
    for name in ("enlarging_t2_lesions", "new_or_enlarging_t2_lesions"):
        assert "visits.csv: no enlarging_lesion_count of reader after baseline" in blocks[name].main[0]
        assert blocks[name].all_tables == []
    assert "percent reduction" in blocks["new_t2_lesions"].main[0]


def test_one_blank_cell_is_one_visit_less_and_listed(tmp_path):
    visits = oracle_visits()
    row = visits[visits["week"] == 24].index[4]
    visits.loc[row, "enlarging_lesion_count"] = pd.NA
    whole, less = read(tmp_path / "a"), read(tmp_path / "b", visits)
    for name, scans in (("new_t2_lesions", 0), ("enlarging_t2_lesions", 1), ("new_or_enlarging_t2_lesions", 1)):
        before, after = (patient_counts(t, T2[name], "reader")["scans"].sum() for t in (whole, less))
        assert before - after == scans
    listed = less.exclusions[less.exclusions["analysis"] == "change of t2_lesions"]
    assert listed[["patient_id", "week", "reason"]].to_numpy().tolist() == [
        [visits.loc[row, "patient_id"], "24", "enlarging_lesion_count is blank for reader"]
    ]


def test_two_raters_have_the_same_visits_and_one_who_counts_less_says_so(tmp_path):
    mine = oracle_visits()
    other = mine.assign(rater="other", enlarging_lesion_count=pd.array([pd.NA] * len(mine), dtype="Int64"))
    blank = other[other["week"] == 48].index[0]
    other.loc[blank, "new_lesion_count"] = pd.NA
    trial = read(tmp_path / "in", pd.concat([mine, other]))
    new = [patient_counts(trial, T2["new_t2_lesions"], rater) for rater in ("other", "reader")]
    assert new[0]["scans"].tolist() == new[1]["scans"].tolist()
    assert new[0]["scans"].sum() == (mine["week"] > 0).sum() - 1
    grown = to_frame(lesion_count_statistics(trial, T2["enlarging_t2_lesions"]))
    assert select(grown, rater="other", stat_name="rate_ratio")["stat"].isna().all()
    assert select(grown, rater="reader", stat_name="rate_ratio", analysis="negative_binomial")["stat"].notna().all()
    # reader's enlarging lesions do not need other's
    scans = patient_counts(trial, T2["enlarging_t2_lesions"], "reader")["scans"].sum()
    assert scans == (mine["week"] > 0).sum()


def test_a_sequence_may_name_each_of_the_three_and_takes_its_own_p(tmp_path):
    # Oracle: R's p values, in the order of the sequence; the second is above alpha, so that the third is not tested.
    names = ["new_or_enlarging_t2_lesions", "enlarging_t2_lesions", "new_t2_lesions"]
    rows = compute_endpoints(
        read(tmp_path / "in", settings=SETTINGS + f"sequence = {names}".replace("'", '"'))
    ).endpoints
    p = EXPECTED[EXPECTED["exposure"] == "years"].set_index("endpoint")["p"]
    for name, tested, rejected in zip(names, (1, 1, 0), (1, 0, 0), strict=True):
        keys = {"endpoint": "multiplicity", "term": name}
        assert value_of(rows, stat_name="p", **keys) == pytest.approx(p[name], rel=1e-6)
        assert [value_of(rows, stat_name=stat, **keys) for stat in ("tested", "rejected")] == [tested, rejected]


def test_the_report_of_a_model_that_counts_what_the_reference_does_not(tmp_path):
    # Enlarging lesions of the model alone: its numbers are there, the reference's are said to be missing, nothing is
    # drawn or compared in their place.
    reference = oracle_visits().assign(rater="reference").drop(columns="enlarging_lesion_count")
    model = oracle_visits().assign(rater="model")
    model.loc[model[model["week"] == 96].index[0], ["new_lesion_count", "enlarging_lesion_count"]] = pd.NA
    settings = SETTINGS.replace("bootstrap_draws = 0", "bootstrap_draws = 20")
    trial = read(tmp_path / "in", pd.concat([reference, model]), settings)
    results = compute_endpoints(trial)
    found = select(results.endpoints, endpoint="effect_agreement", stat_name="difference")
    of = {name: select(found, analysis=name) for name in (*T2, *(f"{name}_negative_binomial" for name in T2))}
    for name, rows in of.items():
        assert rows["stat"].notna().all() == name.startswith("new_t2"), name
        if not name.startswith("new_t2"):
            assert rows["method"].str.contains("no enlarging_lesion_count of reference").all()
    blocks = {block.key: block for block in build_blocks(trial, results.endpoints, [])}
    main = blocks["enlarging_t2_lesions"].main
    assert "no enlarging_lesion_count of reference" in main[0]
    assert "percent reduction" in main[1]
    drawing = count_figure(results.endpoints, trial.settings, trial.raters, T2["enlarging_t2_lesions"])
    assert [axes.get_title(loc="left") for axes in drawing.figure.axes] == ["model"]
    assert f"n = {(oracle_visits()['week'] > 0).sum() - 1} follow-up visits" in drawing.caption


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_files_with_the_same_rows_the_fuller_one_counts(tmp_path, order):
    old = oracle_visits().drop(columns="enlarging_lesion_count")
    toml = trial_of(tmp_path / "in")
    old.to_csv(tmp_path / "in" / "old.csv", index=False)
    names = ["old.csv", "visits.csv"][::order]
    toml.write_text(SETTINGS.replace('visits = "visits.csv"', f"visits = {names}".replace("'", '"')))
    counts = patient_counts(read_trial(read_settings(toml)), T2["enlarging_t2_lesions"], "reader")
    assert (
        counts["lesions"].sum()
        == EXPECTED.set_index(["endpoint", "exposure"])
        .loc[("enlarging_t2_lesions", "years"), ["lesions_control", "lesions_treated"]]
        .sum()
    )


# counts whose time is not known
UNDATED = {
    "a blank week": (
        {"week": np.nan},
        r"row 3, column week: expected a week after randomisation.*years? need the weeks",
    ),
    "a scan before that is later": ({"previous_week": 50}, r"row 3, column previous_week: expected a week before that"),
    "a scan compared with itself": ({"previous_week": 48}, r"row 3, column previous_week: .*found 48 .*leave it blank"),
    "a date for a week": ({"previous_week": "2021-03-04"}, r"row 3, column previous_week: expected a number"),
    "half a lesion": (
        {"enlarging_lesion_count": 0.5},
        r"row 3, column enlarging_lesion_count: expected a whole number",
    ),
    "fewer than none": ({"enlarging_lesion_count": -1}, r"row 3, column enlarging_lesion_count: expected .*>= 0"),
}


@pytest.mark.parametrize("case", UNDATED)
def test_counts_without_a_time_are_refused_by_row(tmp_path, case):
    cells, message = UNDATED[case]
    visits = oracle_visits().astype(object).assign(previous_week="")
    assert visits.loc[2, "week"] == 48
    for name, value in cells.items():
        visits.loc[2, name] = value
    with pytest.raises(TableError, match=message):
        read(tmp_path / "in", visits)


def test_an_exposure_that_there_is_not(tmp_path):
    settings = SETTINGS.replace("[visits]", 'exposure = "months"\n[visits]')
    with pytest.raises(
        SettingsError, match=r"\[lesions\] exposure: expected one of \['years', 'scans'\], found 'months'"
    ):
        read(tmp_path / "in", settings=settings)


def test_a_window_keeps_the_weeks_that_really_passed(tmp_path):
    # By hand: scans two weeks late count as planned, over the weeks between the scans as they were.
    visits = oracle_visits().astype({"week": float})
    late = (visits["patient_id"] == "N01") & (visits["week"] == 24)
    visits.loc[late, "week"] = 26
    windows = "[visits.windows]\n24 = [20, 30]\n[disability]"
    trial = read(tmp_path / "in", visits, SETTINGS.replace("[disability]", windows))
    rows = trial.counts[(trial.counts["patient_id"] == "N01")].set_index("week")["interval_weeks"]
    assert rows[24] == 26
    following = visits[(visits["patient_id"] == "N01") & (visits["week"] > 26)]["week"].iloc[0]
    assert rows[following] == following - 26


def two_files(folder, second):
    """Settings of a trial whose second table of visits is that."""
    toml = trial_of(folder, settings=SETTINGS.replace('"visits.csv"', '["visits.csv", "second.csv"]'))
    second.to_csv(folder / "second.csv", index=False)
    return toml


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("column", ["lesion_count", "new_lesion_count", "enlarging_lesion_count", "volume_ml"])
@pytest.mark.parametrize("kind", ["t2_lesions", "t1_enhancing"])
def test_two_files_that_contradict_each_other_are_refused_in_either_order(tmp_path, column, kind, reverse):
    both = oracle_visits()
    both = pd.concat([both, both.assign(lesion_type="t1_enhancing")])
    other = both.copy()
    other.loc[(other["patient_id"] == "N01") & (other["week"] == 48) & (other["lesion_type"] == kind), column] = 9
    toml = two_files(tmp_path, both if reverse else other)
    (other if reverse else both).to_csv(tmp_path / "visits.csv", index=False)
    named = "volumes" if column == "volume_ml" else column
    message = f"patient N01, week 48, rater reader, {kind} has different {named} in two files"
    with pytest.raises(TableError, match=message):
        read_trial(read_settings(toml))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_a_file_that_missed_a_scan_does_not_count_its_lesions_twice(tmp_path, told, reverse):
    # By hand: the second evaluation lacks week 24, so that its week 48 counts what the first says of both.
    whole = oracle_visits()
    short = whole[whole["week"] != 24].copy()
    before = whole[whole["week"] == 24].set_index("patient_id")
    for column in ("new_lesion_count", "enlarging_lesion_count"):
        more = short["patient_id"].map(before[column]).where(short["week"] == 48, 0).fillna(0).astype("Int64")
        short[column] += more
    if told:
        short["previous_week"] = short.groupby("patient_id")["week"].shift()
    toml = two_files(tmp_path, whole if reverse else short)
    (short if reverse else whole).to_csv(tmp_path / "visits.csv", index=False)
    found = patient_counts(read_trial(read_settings(toml)), T2["new_or_enlarging_t2_lesions"], "reader")
    alone = patient_counts(read(tmp_path / "one"), T2["new_or_enlarging_t2_lesions"], "reader")
    pd.testing.assert_frame_equal(found, alone)


# weeks that the table says its counts are since, by the week of the scan
OVERLAPPING = {
    "all since baseline": ({24: 0, 48: 0, 96: 0}, "one of weeks 0 to 48 beside one up to week 24"),
    "the last since baseline": ({96: 0}, "one of weeks 0 to 96 beside one up to week 48"),
    "since between two scans": ({48: 12}, "one of weeks 12 to 48 beside one up to week 24"),
    "since before the follow-up": ({24: -50}, r"column previous_week: expected a week >= 0.*found -50"),
}


@pytest.mark.parametrize("case", OVERLAPPING)
def test_counts_that_cover_the_same_weeks_are_refused(tmp_path, case):
    since, message = OVERLAPPING[case]
    visits = oracle_visits()
    with pytest.raises(TableError, match=message):
        read(tmp_path / "in", visits.assign(previous_week=visits["week"].map(since)))
