"""A simulated trial whose treatment works by the number of rim lesions: the interaction is found, and only there."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.progression_by_rims import rim_statistics
from nnunet_ms.analysis.endpoints.progression_by_t2_volume import outcome_audit
from nnunet_ms.analysis.endpoints.progression_subgroups import subgroup_statistics
from nnunet_ms.analysis.endpoints.statistic_rows import to_frame
from nnunet_ms.analysis.report.blocks.progression_by_rims import rim_tables
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.settings import read_settings
from nnunet_ms.analysis.trial.settings_init import find_tables, write_settings
from nnunet_ms.errors import OptionError, SettingsError, TableError
from nnunet_ms.simulation.simulate import simulate

OUTCOME, ARM = "ccdp24", "active - placebo"
STRATA = ("0", "1-3", ">= 4")
RATIOS = (1.2, 0.6, 0.2)


SEEDS = {RATIOS: 20, (0.6, 0.6, 0.6): 12}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A trial of 600 patients whose treatment's hazard ratio falls with the number of rim lesions."""
    home = tmp_path_factory.mktemp("rims")
    simulate(home / "interaction", patients=600, seed=11, prl_hazard_ratios=RATIOS)
    return home


@pytest.fixture(scope="module", params=list(SEEDS), ids=["interaction", "none"])
def many(request, tmp_path_factory):
    """Ratios of small trials, and what is found in the trial of each seed."""
    home, found = tmp_path_factory.mktemp("many"), []
    for seed in range(SEEDS[request.param]):
        simulate(home / f"{seed}", patients=120, seed=seed, prl_hazard_ratios=request.param)
        trial = read(home / f"{seed}")
        found.append(to_frame(list(rim_statistics(trial, OUTCOME, outcome_audit(trial, OUTCOME)))))
    return request.param, found


def read(folder):
    return read_trial(read_settings(folder / "trial.toml"))


def statistics(trial):
    audit = outcome_audit(trial, OUTCOME)
    return to_frame([*rim_statistics(trial, OUTCOME, audit), *subgroup_statistics(trial, OUTCOME, audit)])


def stat(frame, name, **keys):
    chosen = frame[frame["stat_name"] == name]
    for column, value in keys.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1, (keys, name, len(chosen))
    return float(chosen["stat"].iloc[0])


def logs(frames, stratum):
    """Log of the ratio of hazard ratios, and of its limits, in each trial: (seeds, 3)."""
    keys = {"analysis": "cox_by_prl_stratum", "term": f"arm:prl_stratum: {stratum}", "contrast": ARM}
    return np.log([[stat(frame, name, **keys) for name in ("hazard_ratio", "low", "high")] for frame in frames])


def test_the_interaction_is_found_over_seeds_with_its_sign_and_size(many):
    # A statement about one trial rests on its seed. Over 20 of them (12 without an interaction): the mean lies within 3
    # standard errors of the truth, intervals of 95 % hold it but in 4 or fewer (3; more: p < .003), the sign is right.
    ratios, frames = many
    for stratum, true in zip(STRATA[1:], np.log(ratios[1:]) - np.log(ratios[0]), strict=True):
        estimate, low, high = logs(frames, stratum).T
        assert abs(np.mean(estimate) - true) < 3 * np.std(estimate, ddof=1) / np.sqrt(len(frames)), stratum
        assert np.sum((low <= true) & (true <= high)) >= (16 if ratios == RATIOS else 9), stratum
    works_better = int(np.sum(logs(frames, ">= 4")[:, 0] < 0))
    assert (
        works_better >= 18 if ratios == RATIOS else 2 <= works_better <= 10
    )  # of 12, by a fair coin: p = .006 outside


def test_a_large_trial_shows_the_interaction_and_the_risk_of_rims(folders):
    frame = statistics(read(folders / "interaction"))
    assert stat(frame, "p", term="prl_stratum: interaction") < 0.001
    for stratum in STRATA[1:]:
        keys = {"analysis": "cox_by_prl_stratum", "term": f"arm:prl_stratum: {stratum}", "contrast": ARM}
        assert stat(frame, "hazard_ratio", **keys) < 1  # the treatment works better there
    within = [stat(frame, "hazard_ratio", analysis="subgroup", term=f"prl_stratum: {stratum}") for stratum in STRATA]
    assert within == sorted(within, reverse=True)
    risk = stat(frame, "hazard_ratio", analysis="cox_by_prl_stratum", term="prl_stratum: >= 4")
    assert risk > 1  # of the reference arm, exp(0.5) in the model


def test_product_of_arm_and_stratum_is_the_ratio_within(folders):
    # Oracle: a model with all products has one baseline hazard, so it only comes near the Cox models of each stratum.
    frame = statistics(read(folders / "interaction"))
    arm = stat(frame, "hazard_ratio", analysis="cox_by_prl_stratum", term="arm")
    for stratum in STRATA:
        product = 1.0
        if stratum != "0":
            product = stat(frame, "hazard_ratio", analysis="cox_by_prl_stratum", term=f"arm:prl_stratum: {stratum}")
        within = stat(frame, "hazard_ratio", analysis="subgroup", term=f"prl_stratum: {stratum}")
        assert arm * product == pytest.approx(within, rel=0.05)


def test_truth_holds_the_ratios_that_were_asked_for(folders):
    truth = pd.DataFrame(json.loads((folders / "interaction" / "truth.json").read_text())["truth"])
    for stratum, true in zip(STRATA, RATIOS, strict=True):
        found = stat(truth, "hazard_ratio", endpoint="cdp24", analysis="subgroup", term=f"prl_stratum: {stratum}")
        assert np.log(found) == pytest.approx(np.log(true), abs=0.1)  # marginal over lesion volume: nearer to 1
    rows = truth[truth["analysis"] == "cox_by_prl_stratum"]
    assert {f"arm:prl_stratum: {s}" for s in STRATA[1:]} < set(rows["term"])


def test_a_trial_without_rim_lesions_is_as_it_was(tmp_path):
    simulate(tmp_path / "plain", patients=8, seed=0)
    assert "rims" not in json.loads((tmp_path / "plain" / "truth.json").read_text())["parameters"]
    for name in ("visits", "patients"):
        assert "prl_count" not in pd.read_csv(tmp_path / "plain" / f"{name}.csv")
    trial = read(tmp_path / "plain")
    assert "prl_counts" not in trial.listings
    assert list(rim_statistics(trial, "cdp24", outcome_audit(trial, "cdp24"))) == []
    assert "prl_stratum" not in (tmp_path / "plain" / "trial.toml").read_text()


# tables of users ---------------------------------------------------------------------------------------------------


@pytest.fixture
def edited(folders, tmp_path):
    """A copy of a trial, and a way to edit a table of it."""
    home = shutil.copytree(folders / "interaction", tmp_path / "edited")

    def edit(name, how):
        table = pd.read_csv(home / f"{name}.csv")
        how(table).to_csv(home / f"{name}.csv", index=False)

    return home, edit


def without(table):
    return table.drop(columns="prl_count")


def test_visits_alone_give_the_same_strata(folders, edited):
    home, edit = edited
    edit("patients", without)
    trial, whole = read(home), read(folders / "interaction")
    assert trial.groups("prl_stratum").tolist() == whole.groups("prl_stratum").tolist()
    listing = trial.listings["prl_counts"]
    assert set(listing["source"]) == {"visits, reference"}
    assert listing["note"].str.contains("simulated_reader: ").any()  # who counts differently is named


def test_a_rater_can_be_chosen_and_must_be_there(edited):
    home, edit = edited
    edit("patients", without)
    text = (home / "trial.toml").read_text()
    (home / "trial.toml").write_text(text + 'prl_rater = "simulated_reader"\n')
    assert set(read(home).listings["prl_counts"]["source"]) == {"visits, simulated_reader"}
    (home / "trial.toml").write_text(text + 'prl_rater = "nobody"\n')
    with pytest.raises(SettingsError, match=r"prl_rater: expected one of \['reference', 'simulated_reader'\].*nobody"):
        read(home)


def blank_some(table):
    return table.assign(prl_count=table["prl_count"].where(np.arange(len(table)) % 5 != 0).astype("Int64"))


def test_patients_without_a_count_are_missing_told_and_in_no_model(edited):
    home, edit = edited
    edit("patients", blank_some)
    edit("visits", without)
    trial = read(home)
    assert (trial.groups("prl_stratum") == "missing").sum() == 120
    listing = trial.listings["prl_counts"]
    assert listing["note"].str.startswith("no prl_count at baseline: stratum missing").sum() == 120
    frame = statistics(trial)
    rows = frame[frame["analysis"] == "cox_by_prl_stratum"]
    assert rows["method"].str.contains("patients without a count of rim lesions left out").all()
    assert stat(frame, "n", analysis="cox_by_prl_stratum", term="arm") <= 480
    assert "left out" in frame.loc[frame["term"] == "prl_stratum: interaction", "method"].iloc[0]
    assert stat(frame, "df", term="prl_stratum: interaction") == 2


def test_blank_in_the_patient_table_is_filled_from_visits_and_told(edited):
    home, edit = edited
    edit("patients", blank_some)
    listing = read(home).listings["prl_counts"]
    assert listing["source"].value_counts().to_dict() == {"patients.csv": 480, "visits, reference": 120}


FEW = {
    "two of a stratum": lambda t: t.assign(prl_count=np.where(np.arange(len(t)) < 2, 9, t["prl_count"].clip(upper=3))),
    "one stratum": lambda t: t.assign(prl_count=0),
    "two strata": lambda t: t.assign(prl_count=t["prl_count"].clip(upper=2)),
}


@pytest.mark.parametrize("how", FEW.values(), ids=FEW.keys())
def test_strata_with_few_patients_are_named_not_hidden(edited, how):
    home, edit = edited
    edit("patients", how)
    edit("visits", without)
    trial = read(home)
    frame = statistics(trial)
    rows = frame[frame["analysis"] == "cox_by_prl_stratum"]
    assert len(rows)
    blank = rows[rows["stat"].isna()]
    assert blank["method"].str.contains("not estimable").all()
    assert rows["method"].str.contains("events / patients of placebo, active by stratum: 0: ").all()
    levels = set(trial.groups("prl_stratum"))
    assert {f"prl_stratum: {level}" for level in levels} <= set(frame["term"])
    if len(levels) == 1:
        assert rows["method"].str.contains("1 strata with patients, needs 2").all()


@pytest.mark.parametrize("bounds", ["[1, 3]", "[2]", "[1, 2, 5]"])
def test_strata_begin_where_the_settings_say(edited, bounds):
    home, _ = edited
    text = (home / "trial.toml").read_text()
    (home / "trial.toml").write_text(text.replace("prl_strata = [1, 4]", f"prl_strata = {bounds}"))
    trial = read(home)
    counts = trial.patients.set_index("patient_id")["prl_count"]
    wanted = np.searchsorted(json.loads(bounds), counts, side="right")
    pairs = set(zip(trial.groups("prl_stratum").to_numpy(), wanted.tolist(), strict=True))
    assert len(pairs) == len(set(wanted.tolist())) == len({name for name, _ in pairs})


@pytest.mark.parametrize("bounds", ["[]", "[0, 4]", "[4, 1]", "[1.5]", '["a"]', "4"])
def test_other_strata_are_refused(edited, bounds):
    home, _ = edited
    text = (home / "trial.toml").read_text()
    (home / "trial.toml").write_text(text.replace("prl_strata = [1, 4]", f"prl_strata = {bounds}"))
    with pytest.raises(SettingsError, match="prl_strata"):
        read(home)


@pytest.mark.parametrize("value", [-1, 2.5, "many"])
def test_counts_are_whole_numbers(edited, value):
    home, edit = edited
    edit("patients", lambda t: t.astype({"prl_count": object}).assign(prl_count=[value, *t["prl_count"][1:]]))
    with pytest.raises(TableError, match=r"patients.csv: row 1, column prl_count"):
        read(home)


def test_a_stratum_that_nobody_counted_is_refused_with_what_is_needed(edited):
    home, edit = edited
    for name in ("patients", "visits"):
        edit(name, without)
    with pytest.raises(SettingsError, match="where prl_count is known at baseline"):
        read(home)


@pytest.mark.parametrize("ratios", [(1.0, 0.5), (1.0, 0.5, 0.0), (1.0, -1.0, 0.5), (1.0, 0.5, float("nan"))])
def test_three_ratios_above_0(tmp_path, ratios):
    with pytest.raises(OptionError, match="prl_hazard_ratios: expected three numbers > 0"):
        simulate(tmp_path / "out", patients=4, prl_hazard_ratios=ratios)


def test_rims_of_images_are_drawn_elsewhere(tmp_path):
    with pytest.raises(OptionError, match="expected a trial without images"):
        simulate(tmp_path / "out", patients=2, images=True, prl_hazard_ratios=RATIOS)


def test_the_report_prints_what_was_computed(folders):
    trial = read(folders / "interaction")
    frame = statistics(trial)
    (table,) = rim_tables(trial, frame, OUTCOME)
    ratio = stat(frame, "hazard_ratio", analysis="cox_by_prl_stratum", term="arm:prl_stratum: >= 4")
    (line,) = [row for row in table.lines if row[0] == "arm × PRL: ≥ 4, active / placebo"]
    assert line[1].startswith(f"{ratio:.2f} (")
    assert rim_tables(trial, frame[frame["analysis"] == "subgroup"], OUTCOME) == []


# whose counts, and from ADaM -----------------------------------------------------------------------------------------


def as_adam(home, more=""):
    """The settings of a trial with its ADaM copies in the place of its own tables of patients and assessments."""
    text = (home / "trial.toml").read_text()
    for name in ("patients", "assessments"):
        text = text.replace(f'{name} = "{name}.csv"\n', "")
    (home / "adam.toml").write_text(text.replace("[arms]", f'[adam]\nfolder = "adam"\n{more}[arms]'))
    return read_trial(read_settings(home / "adam.toml"))


def adsl(home, how):
    """Edit the CSV copy of ADSL; the transport file, which would be read before it, goes."""
    for path in (home / "adam").glob("*.xpt"):
        path.unlink()
    path = home / "adam" / "adsl.csv"
    how(pd.read_csv(path)).to_csv(path, index=False)


def test_adam_gives_the_same_strata_and_rows_as_the_own_tables(folders):
    # Oracle: the tables of the same simulated trial, which the ADaM files copy.
    own, adam = read(folders / "interaction"), as_adam(folders / "interaction")
    assert adam.groups("prl_stratum").tolist() == own.groups("prl_stratum").tolist()
    frames = [to_frame(rim_statistics(trial, OUTCOME, outcome_audit(trial, OUTCOME))) for trial in (own, adam)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    assert frames[1]["method"].str.contains("as counted in the patient table \\(600 patients\\)").all()
    variables = adam.listings["adam_variables"].set_index("name")["variable"]
    assert variables["prl_count"] == "PRLBL"


@pytest.mark.parametrize("name", ["PRLCNT", "NPRL", "MYRIMS"])
def test_a_variable_of_another_name_is_named(edited, name):
    home, _ = edited
    adsl(home, lambda table: table.rename(columns={"PRLBL": name}))
    trial = as_adam(home, f'prl_count = "{name}"\n')
    assert trial.patients["prl_count"].sum() == pd.read_csv(home / "patients.csv")["prl_count"].sum()


@pytest.mark.parametrize(("value", "found"), [(-1, "-1"), (1.5, "1.5"), ("many", "'many'")])
def test_what_is_no_number_of_lesions_is_refused(edited, value, found):
    home, _ = edited
    adsl(home, lambda table: table.astype({"PRLBL": object}).assign(PRLBL=[value, *table["PRLBL"][1:]]))
    with pytest.raises(TableError, match=rf"adsl.csv: row 1, column PRLBL: expected a number.*found {found}"):
        as_adam(home)


def test_false_and_an_absent_variable_leave_the_visits_to_say(edited):
    home, _ = edited
    assert set(as_adam(home, "prl_count = false\n").listings["prl_counts"]["source"]) == {"visits, reference"}
    adsl(home, lambda table: table.drop(columns="PRLBL"))
    trial = as_adam(home)
    assert set(trial.listings["prl_counts"]["source"]) == {"visits, reference"}
    assert "prl_count" not in set(trial.listings["adam_variables"]["name"])
    with pytest.raises(TableError, match="NORIMS"):
        as_adam(home, 'prl_count = "NORIMS"\n')


def test_blank_counts_of_adam_are_those_of_the_visits_or_missing(edited):
    home, edit = edited
    adsl(home, lambda table: table.assign(PRLBL=table["PRLBL"].where(np.arange(len(table)) % 5 != 0)))
    listing = as_adam(home).listings["prl_counts"]
    assert listing["source"].tolist() == ["visits, reference" if i % 5 == 0 else "adsl.csv" for i in range(600)]
    edit("visits", without)
    assert as_adam(home).groups("prl_stratum").tolist().count("missing") == 120


@pytest.mark.parametrize("rater", ["reference", "simulated_reader"])
def test_method_table_and_notes_say_whose_counts_make_the_strata(edited, rater):
    home, edit = edited
    edit("patients", without)
    text = (home / "trial.toml").read_text()
    (home / "trial.toml").write_text(text + f'prl_rater = "{rater}"\n')
    trial = read(home)
    counts = pd.read_csv(home / "visits.csv").query("week == 0 and lesion_type == 't2_lesions'")
    counts = counts.pivot_table(index="patient_id", columns="rater", values="prl_count")
    differ = int((counts["reference"] != counts["simulated_reader"]).sum())
    said = f"as counted in visits, {rater} (600 patients); others count otherwise in {differ} patients"
    frame = to_frame(rim_statistics(trial, OUTCOME, outcome_audit(trial, OUTCOME)))
    assert frame["method"].str.contains(said, regex=False).all()
    table = rim_tables(trial, frame, OUTCOME)[0]
    assert f"{said} ([analysis] prl_rater: another's)." in table.note


def test_settings_that_are_written_offer_the_choice(edited):
    home, edit = edited
    edit("patients", without)
    write_settings(home / "new.toml", find_tables(home, {}, ()), simulated=True)
    text = (home / "new.toml").read_text()
    assert '# prl_rater = "reference"  # whose counts where the patients have none; one of raters' in text
    (home / "new.toml").write_text(text.replace('# prl_rater = "reference"', 'prl_rater = "simulated_reader"'))
    listing = read_trial(read_settings(home / "new.toml")).listings["prl_counts"]
    assert set(listing["source"]) == {"visits, simulated_reader"}
