"""Figures of agreement by size group (several cohorts), visit, site and location."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_ms.analysis.evaluation.agreement_by_location import ALL_PLACES, SCHEMES
from nnunet_ms.analysis.evaluation.agreement_by_site import ALL_SITES
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.analysis.evaluation.size_groups import AVERAGING, PATIENTS, group_names
from nnunet_ms.options import chosen
from nnunet_ms.plotting.point_panels import draw_points
from nnunet_ms.plotting.style import footnote, headline, style
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS
from nnunet_ms.tables import REFERENCE

PANELS = {"lesion_dice_found": "lesion Dice (found lesions)", "ltpr": "LTPR", "lfpr": "LFPR"}
MOST_SITES = 40  # rows that a page holds
# between 0 and 1, in the order in which they are drawn, six at most
SHOWN = ("dice", "ltpr", "lfpr", "ppv", "tpr", "r_vol", "f1", "lesion_f1", "lppv", "ndsc")
MOST_METRICS = 6


def size_group_figure(table: pd.DataFrame, rule: Rule, averaging: str = PATIENTS) -> Figure:
    """Draw lesion Dice, LTPR and LFPR by size group, cohorts side by side (Krishnan 2023, Figure 3a).

    Parameters
    ----------
    table : pandas.DataFrame
        `size_groups.SIZE_GROUPS` of one rule, with a column `cohort`.
    rule : Rule
        For the groups and the description.
    averaging : {"patients", "pooled"}, optional
        Which of the two numbers of each group.

    Raises
    ------
    OptionError
        If it is neither.
    """
    chosen(averaging, AVERAGING, "averaging")
    rows = table[table["averaging"] == averaging].rename(columns={"size_bin": "group"})
    rows = rows.assign(series=_series(rows))
    cohorts = list(dict.fromkeys(rows["series"]))
    with style():
        figure = Figure(figsize=(10.5, 4.6))
        panels = figure.subplots(1, len(PANELS))
        for axes, (metric, title) in zip(panels, PANELS.items(), strict=True):
            draw_points(axes, rows[rows["metric"] == metric], group_names(rule), cohorts)
            by = "the prediction" if metric == "lfpr" else f"the {REFERENCE}"
            axes.set(title=title, xlabel=f"voxels in {by}", ylim=(-0.03, 1.03))
        if len(cohorts) > 1:
            panels[0].legend(loc="lower right", fontsize=8)
        how = "means over patients" if averaging == PATIENTS else "lesions pooled over patients"
        headline(figure, f"{_what_of_all(table)}: {how}\nrule {rule.name}: {rule.description}", 10)
        footnote(figure, _bars("A patient's rate is over all its lesions of the group. "))
    return figure


def visit_figure(table: pd.DataFrame, rule: Rule) -> Figure:
    """Draw the change of every metric from the baseline visit to the later ones, in the same patients.

    Parameters
    ----------
    table : pandas.DataFrame
        `agreement_by_visit.BY_VISIT` of one rater, lesion type and rule, with a baseline visit.
    rule : Rule
        For the description.
    """
    one = table.iloc[0]
    later = table[table["visit"] != table["baseline_visit"]]
    metrics = [name for name in SHOWN if name in set(later["metric"])][:MOST_METRICS]
    points = later.rename(columns={"visit": "group", "metric": "series", "difference": "value"})
    visits = list(dict.fromkeys(later["visit"]))
    paired = later[later["metric"] == metrics[0]].set_index("visit")["n_paired"]
    with style():
        figure = Figure(figsize=(max(7.0, 2.2 + 1.5 * len(visits)), 4.6))
        axes = figure.subplots()
        axes.axhline(0, color="0.5", linewidth=1, linestyle=":")
        draw_points(axes, points, visits, metrics)
        axes.set_xticks(range(len(visits)), [f"{name}\nn = {paired[name]}" for name in visits])
        axes.set_ylabel(f"change since {one['baseline_visit']}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        headline(
            figure, f"{_what(one)}: change since {one['baseline_visit']}\nrule {rule.name}: {rule.description}", 10
        )
        footnote(
            figure,
            f"Bars: {100 * LEVEL:g} % paired interval over patients (correlations: bootstrap). n: patients with "
            f"{metrics[0]} at both visits.",
        )
    return figure


def site_figure(table: pd.DataFrame, rule: Rule) -> Figure:
    """Draw three metrics at every site, with the interval over the site's patients.

    Parameters
    ----------
    table : pandas.DataFrame
        `agreement_by_site.BY_SITE` of one rater, lesion type and rule.
    rule : Rule
        For the description.
    """
    one = table.iloc[0]
    metrics = [name for name in SHOWN if name in set(table["metric"])][:3]
    of_sites = table[(table["site"] != ALL_SITES) & (table["metric"] == metrics[0])]
    largest = of_sites.sort_values("n_patients", ascending=False, kind="stable")["site"].head(MOST_SITES)
    sites = [name for name in of_sites["site"] if name in set(largest)]
    n = of_sites.set_index("site")["n_patients"]
    points = table.rename(columns={"site": "group", "mean": "value"}).assign(series="")
    with style():
        figure = Figure(figsize=(10.0, 2.2 + 0.32 * len(sites)))
        panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
        for axes, metric in zip(panels, metrics, strict=True):
            of_metric = points[points["metric"] == metric]
            _whole(axes, of_metric.loc[of_metric["group"] == ALL_SITES, "value"])
            draw_points(axes, of_metric, sites, lying=True)
            axes.set(title=metric, xlim=(-0.03, 1.03))
        panels[0].set_yticks(range(len(sites)), [f"{name} (n = {n[name]})" for name in sites])
        headline(figure, f"{_what(one)}: by site\nrule {rule.name}: {rule.description}", 10)
        more = len(of_sites) - len(sites)
        left_out = f"The {more} smallest sites are in the table alone. " if more else ""
        footnote(figure, _bars(f"n: patients. Dotted: all sites. {left_out}"))
    return figure


def location_figure(table: pd.DataFrame, rule: Rule) -> Figure:
    """Draw LTPR, LFPR and Dice of found lesions by location class.

    Parameters
    ----------
    table : pandas.DataFrame
        `agreement_by_location.BY_LOCATION` of one rater, lesion type, rule and scheme.
    rule : Rule
        For the description.
    """
    one = table.iloc[0]
    classes = [name for name in table["location"] if name != ALL_PLACES]
    with style():
        figure = Figure(figsize=(10.5, 2.2 + 0.4 * len(classes)))
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (metric, title) in zip(panels, PANELS.items(), strict=True):
            limits = {end: table.get(f"{metric}_{end}", pd.Series(np.nan, table.index)) for end in ("low", "high")}
            points = pd.DataFrame({"group": table["location"], "series": "", "value": table[metric], **limits})
            _whole(axes, points.loc[points["group"] == ALL_PLACES, "value"])
            draw_points(axes, points, classes, lying=True)
            axes.set(title=title, xlim=(-0.03, 1.03))
        n = table.set_index("location")[["reference_lesions", "predicted_lesions"]]
        labels = [f"{name.replace('_', ' ')} (n = {n.loc[name].iloc[0]}, {n.loc[name].iloc[1]})" for name in classes]
        panels[0].set_yticks(range(len(classes)), labels)
        headline(figure, f"{_what(one)}: by {SCHEMES[one['scheme']]}\nrule {rule.name}: {rule.description}", 10)
        footnote(
            figure, _bars(f"n: lesions of {REFERENCE}, of {one['rater']}. Lesions pooled over cases. Dotted: all. ")
        )
    return figure


def _series(rows: pd.DataFrame) -> pd.Series:
    """Name of each cohort, with what its data are where they are not all the same."""
    if len(set(rows["data_note"])) < 2:
        return rows["cohort"]
    return rows["cohort"] + " (" + rows["data_note"].where(rows["data_note"] != "", "no note") + ")"


def _what_of_all(table: pd.DataFrame) -> str:
    one = table.iloc[0].copy()
    one["rater"] = ", ".join(dict.fromkeys(table["rater"]))
    if len(set(table["data_note"])) > 1:
        one["data_note"] = ""
    return _what(one)


def _whole(axes: Axes, value: Sequence[float] | pd.Series) -> None:
    axes.axvline(float(np.asarray(value, dtype=float)[0]), color="0.5", linestyle=":", linewidth=1)


def _what(one: pd.Series) -> str:
    note = f" ({one['data_note']} data)" if one["data_note"] else ""
    return f"{one['lesion_type']}: {one['rater']} against {REFERENCE}{note}"


def _bars(more: str) -> str:
    bars = f"Bars: {100 * LEVEL:g} % bootstrap interval over patients (none with fewer than {MINIMUM_PATIENTS})."
    return f"{more}{bars}"
