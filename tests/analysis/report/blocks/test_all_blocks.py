"""Blocks made from the numbers, without drawing: what is shown, when, and beside what."""

import re

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.endpoints.recipe import compute_endpoints
from nnunet_ms.analysis.report.blocks.all_blocks import build_blocks
from nnunet_ms.analysis.report.effect_names import effect_text
from nnunet_ms.analysis.report.figures.all_figures import trial_drawings
from nnunet_ms.analysis.report.figures.rater_figures import effects_figure
from nnunet_ms.analysis.report.figures.treatment_figures import forest_figure
from nnunet_ms.analysis.report.notes import rule_note
from nnunet_ms.analysis.trial.data import read_trial
from nnunet_ms.analysis.trial.outcomes import OUTCOMES, PRESETS
from nnunet_ms.analysis.trial.published import PUBLISHED
from nnunet_ms.analysis.trial.settings import read_settings
from tests.analysis.synthetic_trial import (
    SETTINGS,
    all_lesion_types,
    assessments,
    patients,
    timed_assessments,
    visits,
    write_trial,
)


def computed(folder, settings, **tables):
    trial = read_trial(read_settings(write_trial(folder, settings, **tables)))
    return trial, compute_endpoints(trial)


def blocks_of(folder, settings, **tables):
    trial, results = computed(folder, settings, **tables)
    return {block.key: block for block in build_blocks(trial, results.endpoints, [])}


def row(table, label, part=None):
    """The cells of a labelled row, by column head; `part`: only below that inner heading."""
    inside = part is None
    for line in table.lines:
        inside = inside or line == [part]
        if inside and len(line) > 1 and line[0] == label:
            return dict(zip(table.head, line, strict=True))
    raise AssertionError(f"{table.title} has no row {label}: {table.lines}")


def by_stem(block, stem):
    return next(table for table in block.all_tables if table.stem == stem)


@pytest.fixture(scope="module")
def opera2(tmp_path_factory):
    table = patients()
    return blocks_of(tmp_path_factory.mktemp("opera2"), SETTINGS, visits=all_lesion_types(table))


def test_published_counts_stand_in_their_column(opera2):
    # Oracle: Krishnan et al., Radiology 2022, abstract: 141 lesions in 355 patients vs 10 in 366 at week 24, 93 %.
    by_visit = by_stem(opera2["enhancing_lesions"], "enhancing_lesions_by_visit")
    assert row(by_visit, "placebo", "Week 24")["published"] == "141 / 355 (manual); 128 / 354 (model)"
    assert row(by_visit, "active", "Week 24")["published"] == "10 / 366 (manual); 19 / 365 (model)"
    reduction = row(by_visit, "percent reduction, active / placebo (95 % CI)", "Week 24")
    assert reduction["published"] == "93 (manual); 86 (model)"
    new = by_stem(opera2["new_t1_lesions"], "new_t1_lesions_by_visit")
    assert row(new, "active", "All follow-up visits")["published"] == "504 / 1060 (manual); 205 / 1053 (model)"
    assert "Radiology 2022" in " ".join(opera2["enhancing_lesions"].notes)


def test_published_models_stand_beside_the_same_terms(opera2):
    joint = by_stem(opera2["cdp24"], "cdp24_multivariable")
    assert row(joint, "log TLV")["published"].startswith("1.49 (1.153 to 1.926), p .002 (manual)")
    assert row(joint, "arm × log TLV, active / placebo")["published"].startswith("0.65 (0.459 to 0.927)")
    effect = by_stem(opera2["cdp24_by_arm"], "cdp24_treatment_effect")
    assert row(effect, "hazard ratio, active / placebo")["published"].startswith("0.60 (0.43 to 0.84)")
    assert "N Engl J Med" in " ".join(opera2["cdp24_by_arm"].notes)
    assert row(by_stem(opera2["baseline"], "baseline"), "patients")["published"] == "798"


def test_published_numbers_are_those_of_the_papers(shared):
    # Oracle: the list of published numbers beside the checkout; a number here must be printed there.
    text = (shared / "papers.md").read_text(encoding="utf-8")
    known = {number.lstrip("0") for number in re.findall(r"\d*\.?\d+", text)}
    known |= {f"{float('0' + n):.2f}".lstrip("0") for n in known if n.count(".") == 1}
    sources = ("trial_source", "title")
    for preset, trial in PUBLISHED.items():
        values = {name: value for name, value in vars(trial).items() if name not in sources}
        labels = re.compile(r"'[^']*':")  # keys of mappings are names of ours
        for name, value in values.items():
            for number in re.findall(r"\d*\.?\d+", labels.sub("", repr(value))):
                assert number.lstrip("0") in known, (preset, name, number)


def onset_by_volume(table, masks):
    """EDSS rises for good, the earlier the larger the baseline volume."""
    first = masks[(masks["week"] == 0) & (masks["rater"] == "reference")].set_index("patient_id")["volume_ml"]
    onset = table["patient_id"].map(first.rank(ascending=False)).to_numpy() * 3
    frame = assessments(table)
    edss = frame["patient_id"].map(table.set_index("patient_id")["edss_baseline"])
    late = frame["week"] >= frame["patient_id"].map(dict(zip(table["patient_id"], onset, strict=True)))
    frame["edss"] = np.minimum(edss + late, 10.0)
    return frame


@pytest.mark.parametrize("associated", [True, False])
def test_halves_at_the_median_are_shown_where_p_is_below_a_tenth(tmp_path, associated):
    table, masks = patients(), visits(patients())
    tables = {"assessments": onset_by_volume(table, masks)} if associated else {}
    trial, results = computed(tmp_path, SETTINGS, **tables)
    cox = results.endpoints[(results.endpoints["analysis"] == "cox_univariable")]
    p = cox.loc[cox["stat_name"] == "p", "stat"]
    assert (p < 0.1).any() == associated
    block = {b.key: b for b in build_blocks(trial, results.endpoints, [])}["cdp24"]
    stems = [drawing.stem for drawing in trial_drawings(trial, results)]
    assert ("cdp24_km" in {t.stem for t in block.all_tables}) == associated
    assert ("km_cdp24_at_median_tlv" in stems) == associated
    assert ("are shown" if associated else "are not shown") in block.notes[0]
    assert f"p {p.iloc[0]:.3f}".replace("0.", ".") in block.notes[0] or associated


def three_arms():
    table = patients(90)
    table["arm"] = np.array(["placebo", "low dose", "high dose"])[np.arange(90) % 3]
    settings = SETTINGS.replace('["active"]', '["low dose", "high dose"]').replace('truth = "truth.json"\n', "")
    tables = {"patients": table, "visits": all_lesion_types(table), "assessments": timed_assessments(table)}
    return settings.replace('["cdp24"]', '["ccdp12"]'), tables


def test_every_compared_arm_has_its_forest_plot_and_its_rows(tmp_path):
    settings, tables = three_arms()
    trial, results = computed(tmp_path, settings, **tables)
    rows = results.endpoints
    stems = [forest_figure(rows, trial.settings, "ccdp12", arm).stem for arm in trial.settings.compared_arms]
    assert stems == ["forest_ccdp12", "forest_ccdp12_2"]
    blocks = {b.key: b for b in build_blocks(trial, rows, stems)}
    assert blocks["ccdp12_by_arm"].figures == stems
    assert len(blocks["ccdp12_by_arm"].main) == 2
    heads = [line[0] for line in by_stem(blocks["ccdp12_by_arm"], "ccdp12_subgroups").lines if len(line) == 1]
    assert heads == ["low dose / placebo", "high dose / placebo"]
    assert len([h for h in by_stem(blocks["baseline"], "baseline").head if h.startswith("std. difference")]) == 2
    # published numbers are of two arms: with three, none of them stands beside an effect
    assert "published" not in by_stem(blocks["ccdp12_by_arm"], "ccdp12_treatment_effect").head
    assert "published" not in by_stem(blocks["enhancing_lesions"], "enhancing_lesions_by_visit").head


def test_effects_of_both_raters_are_drawn_where_they_are(tmp_path):
    table = patients()
    trial, results = computed(tmp_path, SETTINGS, visits=all_lesion_types(table))
    figure = effects_figure(results.endpoints, trial.settings, trial.raters).figure
    volume, counts, hazard = figure.axes
    rows = results.endpoints
    found = rows[(rows["stat_name"] == "rate_ratio") & (rows["analysis"] == "negative_binomial")]
    expected = [
        [found.loc[(found["rater"] == rater) & (found["endpoint"] == e), "stat"].iloc[0] for rater in trial.raters]
        for e in (
            "enhancing_lesions",
            "new_t1_lesions",
            "new_t2_lesions",
            "enlarging_t2_lesions",
            "new_or_enlarging_t2_lesions",
        )
    ]
    points = [container.lines[0].get_xydata()[0] for container in counts.containers]
    assert np.array(points) == pytest.approx(np.array(expected))
    assert len(volume.containers) == 4  # three visits and the ANCOVA
    assert len(hazard.containers) == 1


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("cdp12", "EDSS +1 up to a baseline of 5.5, +0.5 above"),
        ("cdi12", "EDSS −1 up to a baseline of 5.5, −0.5 above"),
        ("9hpt24", "+20 % or unable"),
        ("ccdp12", "the first of CDP12, T25FW12 and 9HPT12"),
    ],
)
def test_the_rule_is_said_in_words(outcome, words):
    assert words in rule_note(PRESETS["opera"], OUTCOMES[outcome])


def test_effects_in_words():
    keys = {"contrast": "active - placebo", "visit": "96", "term": ""}
    assert effect_text({**keys, "analysis": "t2_volume_ancova"}) == "T2 volume, ANCOVA difference, week 96"
    for name, title in (
        ("new_t2_lesions", "New T2 lesions"),
        ("enlarging_t2_lesions", "Enlarging T2 lesions"),
        ("new_or_enlarging_t2_lesions", "New or enlarging T2 lesions"),
    ):
        counts = {**keys, "analysis": name, "visit": "all"}
        assert effect_text(counts, with_contrast=True) == f"{title}, log ratio, active − placebo"
    cox = {"contrast": "", "visit": "", "term": "log_tlv", "analysis": "cdp24_multivariable"}
    assert effect_text(cox) == "CDP24, multivariable, log hazard ratio of log TLV"


def test_other_populations_repeat_the_main_effects(tmp_path):
    trial, results = computed(tmp_path, SETTINGS)
    main = results.endpoints[
        results.endpoints["analysis"].isin(["ancova", "cox_by_arm"]) & (results.endpoints["term"] == "arm")
    ]
    beside = main.assign(endpoint="populations", analysis="per protocol", term=main["endpoint"])
    sizes = main.iloc[:2].assign(
        endpoint="populations", analysis="per protocol", term="patients", stat_name="n", stat=[20.0, 21.0], rater="",
        contrast="", arm=["placebo", "active"],
    )  # fmt: skip
    rows = pd.concat([results.endpoints, sizes, beside], ignore_index=True)
    blocks = {b.key: b for b in build_blocks(trial, rows, [])}
    inside, effects = blocks["populations"].all_tables
    assert inside.lines == [["per protocol", "20", "21"]]
    by_rater = row(
        by_stem(blocks["t2_volume_percent_change"], "t2_volume_ancova"), "active − placebo, percentage points"
    )
    label = "t2 volume percent change, ANCOVA difference, percentage points, active − placebo, model"
    assert next(line for line in effects.lines if line[0] == label)[1] == by_rater["model"]
    assert any(line[0].startswith("cdp24, hazard ratio, active / placebo") for line in effects.lines)
    assert "populations" not in {b.key for b in build_blocks(trial, results.endpoints, [])}
