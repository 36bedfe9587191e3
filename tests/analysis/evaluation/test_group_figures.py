"""Oracle: the tables that the figures are drawn from; what is read off the axes must be their numbers."""

import numpy as np
import pandas as pd
import pytest

from nnunet_ms.analysis.evaluation.agreement_by_site import ALL_SITES, agreement_by_site
from nnunet_ms.analysis.evaluation.agreement_by_visit import Visits, agreement_by_visit
from nnunet_ms.analysis.evaluation.group_figures import (
    MOST_SITES,
    PANELS,
    location_figure,
    site_figure,
    size_group_figure,
    visit_figure,
)
from nnunet_ms.analysis.evaluation.rules import RULES
from nnunet_ms.analysis.evaluation.size_groups import SIZE_GROUPS, group_names
from tests.analysis.evaluation.test_agreement_by_visit import WEEKS, cohort
from tests.analysis.evaluation.test_size_bin_figure import texts

RULE = RULES["krishnan2023"]
LABELS = {"rater": "net", "lesion_type": "t2_lesions", "rule": RULE.name, "data_note": "simulated"}


def groups(cohorts=("OPERA II", "ORATORIO", "MICCAI 2016")):
    rng = np.random.default_rng(0)
    rows = []
    for name in cohorts:
        for size in group_names(RULE):
            for metric in ("lesion_dice_found", "lesion_dice", "ltpr", "lfpr"):
                for averaging in ("patients", "pooled"):
                    value = rng.uniform(0.3, 0.9)
                    limits = {"low": value - 0.05, "high": value + 0.05}
                    rows.append({"cohort": name, "size_bin": size, "metric": metric, "averaging": averaging,
                                 "value": value, **limits, **LABELS})  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=["cohort", *SIZE_GROUPS.names])


def drawn(axes, number=0, *, lying=False):
    points = axes.containers[number].lines[0]
    return points.get_xdata() if lying else points.get_ydata()


@pytest.mark.parametrize("averaging", ["patients", "pooled"])
def test_three_panels_with_cohorts_side_by_side(averaging):
    table = groups()
    figure = size_group_figure(table, RULE, averaging)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(PANELS.values())
    for axes, metric in zip(figure.axes, PANELS, strict=True):
        for number, name in enumerate(("OPERA II", "ORATORIO", "MICCAI 2016")):
            rows = table[(table["cohort"] == name) & (table["metric"] == metric) & (table["averaging"] == averaging)]
            assert drawn(axes, number) == pytest.approx(rows["value"].to_numpy())
        assert [t.get_text() for t in axes.get_xticklabels()] == ["3 to 10", "11 to 50", "> 50", "all"]
    said = figure.get_suptitle()
    assert ("means over patients" in said) == (averaging == "patients")
    assert ("lesions pooled over patients" in said) == (averaging == "pooled")
    assert "(simulated data)" in said
    assert {"OPERA II", "ORATORIO", "MICCAI 2016"} <= {t.get_text() for t in figure.axes[0].get_legend().get_texts()}


def test_cohorts_of_other_data_and_of_other_models_are_told_apart():
    table = groups(("OPERA II", "phantoms"))
    table["data_note"] = table["cohort"].map({"OPERA II": "", "phantoms": "simulated"})
    table["rater"] = table["cohort"].map({"OPERA II": "net", "phantoms": "other"})
    figure = size_group_figure(table, RULE)
    legend = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert legend == {"OPERA II (no note)", "phantoms (simulated)"}
    assert figure.get_suptitle().startswith("t2_lesions: net, other against reference: means")


def test_one_cohort_needs_no_legend():
    assert size_group_figure(groups(("net",)), RULE).axes[0].get_legend() is None


def test_changes_by_visit_are_those_of_the_table():
    table = agreement_by_visit(*cohort(RULE), RULE, Visits(WEEKS, "base")).assign(**LABELS)
    figure = visit_figure(table, RULE)
    (axes,) = figure.axes
    names = [t.get_text() for t in axes.get_legend().get_texts()]
    assert names == ["dice", "ltpr", "lfpr", "ppv", "tpr", "r_vol"]
    for number, name in enumerate(names):
        later = table[(table["metric"] == name) & (table["visit"] != "base")]
        assert drawn(axes, number) == pytest.approx(later["difference"].to_numpy())
    assert [t.get_text() for t in axes.get_xticklabels()] == ["w24\nn = 12", "w96\nn = 10", "all follow-up\nn = 12"]
    assert axes.get_ylabel() == "change since base"


def test_sites_lie_below_each_other_with_their_patients():
    metrics, totals = cohort(RULE)
    sites = {case: ("Oslo", "Rome")[int(case[1]) % 2] for case in totals["case_id"]}
    table = agreement_by_site(metrics, totals, RULE, sites).assign(**LABELS)
    figure = site_figure(table, RULE)
    for axes, metric in zip(figure.axes, ("dice", "ltpr", "lfpr"), strict=True):
        rows = table[(table["metric"] == metric) & (table["site"] != ALL_SITES)]
        assert drawn(axes, lying=True) == pytest.approx(rows["mean"].to_numpy())
    numbers = table[table["metric"] == "dice"].set_index("site")["n_patients"]
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name} (n = {numbers[name]})" for name in ("Oslo", "Rome")]


def test_of_very_many_sites_the_largest_are_drawn_and_the_rest_is_said():
    names = [f"site {i:02d}" for i in range(MOST_SITES + 3)]
    rows = [
        {"site": name, "metric": metric, "n_patients": 5 + i, "mean": 0.5, **LABELS}
        for metric in ("dice", "ltpr", "lfpr")
        for i, name in enumerate([*names, ALL_SITES])
    ]
    figure = site_figure(pd.DataFrame(rows).assign(low=0.4, high=0.6), RULE)
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert (len(labels), labels[0]) == (MOST_SITES, "site 03 (n = 8)")
    assert "The 3 smallest sites are in the table alone" in texts(figure)


def test_locations_have_detection_and_dice_of_the_table():
    rows = [("periventricular", 0.9, 0.1, 0.7), ("deep_white_matter", 0.6, np.nan, 0.5), ("all", 0.8, 0.1, 0.6)]
    table = pd.DataFrame(rows, columns=["location", "ltpr", "lfpr", "lesion_dice_found"])
    table = table.assign(**LABELS, scheme="location", reference_lesions=[9, 4, 13], predicted_lesions=[8, 0, 8])
    for end, step in (("low", -0.1), ("high", 0.1)):
        table[f"ltpr_{end}"], table[f"lfpr_{end}"] = table["ltpr"] + step, table["lfpr"] + step
    figure = location_figure(table, RULE)
    for axes, metric in zip(figure.axes, PANELS, strict=True):
        assert drawn(axes, lying=True) == pytest.approx(table[metric].to_numpy()[:2], nan_ok=True)
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["periventricular (n = 9, 8)", "deep white matter (n = 4, 0)"]
    assert "by distance to region masks" in figure.get_suptitle()
