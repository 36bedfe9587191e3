"""Tables of several trials as they are shown: cohorts, test sets, lesion sizes, effects, and what differs.

Cohorts and effects have the trials in columns, each with its published column beside it, as Table 1 of Krishnan et al.,
Sci Rep 2023;13:4102; test sets and sizes have them in rows, as its Table 2.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from nnunet_ms.analysis.endpoints import baseline_table, disposition, lesion_counts
from nnunet_ms.analysis.endpoints.statistic_rows import NOT_ESTIMABLE, select, value_of
from nnunet_ms.analysis.report.blocks.agreement import METRICS
from nnunet_ms.analysis.report.blocks.patients import INDENT, TITLES
from nnunet_ms.analysis.report.parts import PUBLISHED_COLUMN, TextTable
from nnunet_ms.analysis.report.wording import interval, number, over, p_text, term_text
from nnunet_ms.analysis.trial.published import MICCAI_2016, PublishedTrial
from nnunet_ms.comparison.compared_trial import ComparedTrial
from nnunet_ms.comparison.effects import HAZARD, OF_LESIONS, RATE, RATIO, SEPARATION, UNITS, VOLUME
from nnunet_ms.comparison.evaluations import MaskAgreement
from nnunet_ms.disability.confirmed_progression import OUTCOMES
from nnunet_ms.tables import REFERENCE

ABSENT = "–"
SIZES = (10, 50)  # voxels: the paper's small lesions, and its small and medium ones
NAMES = {
    RATIO: "ratio of geometric means",
    SEPARATION: "separation",
    RATE: "rate ratio",
    HAZARD: "hazard ratio",
}
Cell = Callable[[ComparedTrial], str]


def endpoint_title(endpoint: str) -> str:
    """An endpoint in words.

    Examples
    --------
    >>> endpoint_title("cdp24"), endpoint_title("enhancing_lesions")
    ('24-week confirmed disability progression (EDSS)', 'Enhancing lesions')
    """
    titles = {VOLUME: "T2 lesion volume", **{one.name: one.title for one in lesion_counts.ENDPOINTS}}
    return titles.get(endpoint) or (OUTCOMES[endpoint].title if endpoint in OUTCOMES else endpoint)


def heading(trials: Sequence[ComparedTrial], endpoint: str, *, short: bool = False) -> str:
    """An endpoint in words, with what makes it another thing in another trial."""
    odd = "rule" if endpoint not in OF_LESIONS else "lesion_type" if endpoint == VOLUME else ""
    settings = [trial.settings.get(odd) for trial in trials]
    apart = bool(odd) and any(value != settings[0] for value in settings[1:])
    what = {"rule": "rules of progression", "lesion_type": "lesion types"}.get(odd, "")
    title = endpoint.upper() if short and endpoint in OUTCOMES else endpoint_title(endpoint)
    return title + (f" ({what} differ)" if apart else "")


def cohort_table(trials: Sequence[ComparedTrial], raters: Sequence[str]) -> TextTable:
    """Patients, visits and baseline characteristics, one column per trial.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        In the order of the columns.
    raters : sequence of str
        Whose lesions are shown.
    """
    lines = [
        _line("patients", trials, _patients, "patients"),
        _line(f"{INDENT}by arm", trials, _by_arm, "arms"),
        _line("visits with masks", trials, _visits, "visits"),
    ]
    for rater in ("", *raters):
        part = [line for term in _terms(trials, rater) for line in _term_lines(trials, rater, term)]
        lines += ([[f"Lesions by {rater}"]] if rater and part else []) + part
    note = "Numbers: mean (SD), median (quartiles); factors: n (%). A visit counts when every rater has a mask."
    head = [""]
    for trial, printed in with_published(trials):
        head += [trial.head, *([f"{printed.title}, {PUBLISHED_COLUMN}"] if printed else [])]
    return TextTable("cohorts", "Cohorts", head, lines, note)


def with_published(trials: Sequence[ComparedTrial]) -> list[tuple[ComparedTrial, PublishedTrial | None]]:
    """Each trial, and whose published column stands behind it: of several of one preset, behind the last."""
    last = {trial.settings["preset"]: trial.name for trial in trials}
    return [(t, t.published if last[t.settings["preset"]] == t.name else None) for t in trials]


def _line(label: str, trials: Sequence[ComparedTrial], cell: Cell, printed: str = "") -> list[str]:
    """A line with a cell per trial, and what is printed about it under the key `printed`."""
    cells = [label]
    for trial, beside in with_published(trials):
        cells += [cell(trial), *([beside.baseline.get(printed, ABSENT)] if beside else [])]
    return cells


def _disposition(trial: ComparedTrial, term: str) -> pd.DataFrame:
    return select(trial.rows, endpoint=disposition.ENDPOINT, term=term, stat_name="n")


def _patients(trial: ComparedTrial) -> str:
    return number(float(_disposition(trial, disposition.IN_TABLE)["stat"].sum()), 0)


def _by_arm(trial: ComparedTrial) -> str:
    found = _disposition(trial, disposition.IN_TABLE).set_index("arm")["stat"]
    return ", ".join(f"{arm} {number(float(found[arm]), 0)}" for arm in trial.arms if arm in found)


def _visits(trial: ComparedTrial) -> str:
    found = _disposition(trial, disposition.AT_VISIT)["stat"]
    return number(float(found.sum()), 0) if len(found) else ABSENT


def _baseline(trial: ComparedTrial, rater: str) -> pd.DataFrame:
    """Rows of all patients of a trial, whatever their arm."""
    return select(trial.rows, endpoint=baseline_table.ENDPOINT, rater=rater, arm="", contrast="")


def _terms(trials: Sequence[ComparedTrial], rater: str) -> list[str]:
    """Characteristics of any trial; the levels of a factor together."""
    terms = list(dict.fromkeys(term for trial in trials for term in _baseline(trial, rater)["term"]))
    first = {name: i for i, name in reversed(list(enumerate(term.split(": ")[0] for term in terms)))}
    return sorted(terms, key=lambda term: first[term.split(": ")[0]])


def _term_lines(trials: Sequence[ComparedTrial], rater: str, term: str) -> Iterator[list[str]]:
    def get(trial: ComparedTrial, stat: str) -> float:
        return value_of(_baseline(trial, rater), term=term, stat_name=stat)

    name, _, level = term.partition(": ")
    title = TITLES.get(name, term_text(name))
    if level:
        yield _line(
            f"{title}: {term_text(level)}",
            trials,
            lambda t: _pair(number(get(t, "n"), 0), get(t, "n"), get(t, "percent")),
        )
        return
    digits = 0 if term == baseline_table.COUNT else 1
    printed = term if rater in ("", REFERENCE) else ""
    yield _line(
        f"{title}, mean (SD)", trials, lambda t: _pair(number(get(t, "mean")), get(t, "mean"), get(t, "sd")), printed
    )
    yield _line(
        f"{INDENT}median (quartiles)", trials, lambda t: interval(get(t, "median"), get(t, "q1"), get(t, "q3"), digits)
    )


def _pair(text: str, value: float, second: float) -> str:
    return ABSENT if np.isnan(value) else f"{text} ({number(second)})"


def test_set_table(trials: Sequence[ComparedTrial], masks: Sequence[MaskAgreement]) -> TextTable:
    """Agreement of masks with the reference, one row per test set and rater, one part per rule of detection.

    The published rows are those of the trials that the settings name, and of the challenge data beside them.
    """
    lines: list[list[str]] = []
    rules = dict.fromkeys(rule for one in masks for rule in one.agreement["rule"])
    for rule in rules:
        lines.append([f"rule {rule}"])
        for one in masks:
            here = one.agreement[one.agreement["rule"] == rule]
            several = len(set(here["lesion_type"])) > 1
            for (rater, kind), found in here.groupby(["rater", "lesion_type"], sort=False):
                label = ", ".join([_set_head(one), rater, *([kind] if several else [])])
                lines.append([label, _cases(found), *(_mean_sd(found, metric) for metric in METRICS)])
    printed = [*dict.fromkeys(t.published.title for t in trials if t.published and t.published.agreement)]
    if printed and lines:
        published = {t.published.title: t.published for t in trials if t.published} | {MICCAI_2016.title: MICCAI_2016}
        lines.append([f"{PUBLISHED_COLUMN}, their own images and rule"])
        lines += [_printed_agreement(published[title]) for title in (*printed, MICCAI_2016.title)]
    note = (
        "Mean ± SD over visits. PPV, TPR, Dice: voxels. LPPV, LTPR, LFPR: lesions. r: correlation over visits of "
        "volume and lesion count. Numbers of different rules do not compare."
    )
    return TextTable("test_sets", "Agreement of masks by test set", ["", "visits", *METRICS.values()], lines, note)


def _set_head(one: MaskAgreement) -> str:
    return one.trial.head if one.trial else one.name


def _cases(found: pd.DataFrame) -> str:
    dice = found.loc[found["metric"] == "dice", ["n", "n_undefined"]]
    return number(float(dice.to_numpy(float).sum()), 0) if len(dice) else ABSENT


def _mean_sd(found: pd.DataFrame, metric: str) -> str:
    row = found[found["metric"] == metric]
    if row.empty or pd.isna(row["mean"].iloc[0]):
        return ABSENT
    mean, sd = float(row["mean"].iloc[0]), row["sd"].iloc[0]
    return number(mean, 3) if pd.isna(sd) else f"{number(mean, 3)} ± {number(float(sd), 3)}"


def _printed_agreement(printed: PublishedTrial) -> list[str]:
    return [printed.title, ABSENT, *(printed.agreement.get(metric, ABSENT) for metric in METRICS)]


def size_table(trials: Sequence[ComparedTrial], masks: Sequence[MaskAgreement]) -> TextTable:
    """Share of lesions of at most 10 and at most 50 voxels, of the reference and of each rater, by rule.

    A rule whose size groups do not end at 10 or 50 voxels has a dash there.
    """
    lines: list[list[str]] = []
    for rule in dict.fromkeys(rule for one in masks for rule in one.sizes["rule"]):
        lines.append([f"rule {rule}"])
        for one in masks:
            here = one.sizes[(one.sizes["rule"] == rule) & (one.sizes["size_bin"] != "all")]
            for kind, of_kind in here.groupby("lesion_type", sort=False):
                more = [str(kind)] if len(set(here["lesion_type"])) > 1 else []
                seen = set()  # every rater's rows have the reference's lesions beside its own
                for rater, found in of_kind.groupby("rater", sort=False):
                    for column, who in (("reference_lesions", REFERENCE), ("predicted_lesions", str(rater))):
                        if who not in seen and found[column].notna().all():
                            lines.append([", ".join([_set_head(one), who, *more]), *size_cells(found, column)])
                            seen.add(who)
    printed = {t.published.title: t.published for t in trials if t.published} | {MICCAI_2016.title: MICCAI_2016}
    shown = [one for one in printed.values() if one.size_share]
    if lines and len(shown) > 1:
        lines.append([f"{PUBLISHED_COLUMN}, reference"])
        lines += [[one.title, ABSENT, *(one.size_share.get(str(size), ABSENT) for size in SIZES)] for one in shown]
    note = "Sizes count voxels: compare images of one voxel size only. The paper's are of 1 x 1 x 3 mm."
    head = ["", "lesions", *(f"at most {size} voxels (%)" for size in SIZES)]
    return TextTable("lesion_sizes", "Sizes of lesions", head, lines, note)


def size_cells(found: pd.DataFrame, column: str) -> list[str]:
    """Number of lesions and percent of at most 10 and 50 voxels, from the groups of one rater and rule.

    Examples
    --------
    >>> bins = pd.DataFrame({"voxels_max": [10, 50, np.nan], "reference_lesions": [41, 42, 17]})
    >>> size_cells(bins, "reference_lesions")
    ['100', '41.0', '83.0']
    """
    counts, ends = found[column].to_numpy(float), found["voxels_max"].to_numpy(float, na_value=np.nan)
    total = counts.sum()
    shares = [
        number(100 * float(counts[ends <= size].sum() / total)) if size in ends and total else ABSENT for size in SIZES
    ]
    return [number(float(total), 0), *shares]


def effect_table(trials: Sequence[ComparedTrial], effects: pd.DataFrame) -> TextTable:
    """Main effects of treatment with their limits, one column per trial and compared arm.

    Parameters
    ----------
    trials : sequence of ComparedTrial
        In the order of the columns.
    effects : pandas.DataFrame
        Columns of `effects.EFFECTS`.
    """
    columns = [
        (trial, contrast, printed if _is_single(trial) else None)
        for trial, printed in with_published(trials)
        for contrast in _contrasts(effects, trial)
    ]
    head = [""]
    for trial, contrast, printed in columns:
        head += [f"{trial.head}: {over(contrast)}", *([f"{printed.title}, {PUBLISHED_COLUMN}"] if printed else [])]
    lines: list[list[str]] = []
    for endpoint, found in effects.groupby("endpoint", sort=False):
        lines.append([heading(trials, str(endpoint))])
        for (_, name, rater), rows in found.groupby(["analysis", "stat_name", "rater"], sort=False):
            unit = rows["unit"].iloc[0] if name == SEPARATION else ""
            line = [", ".join(filter(None, (NAMES[str(name)], unit, str(rater))))]
            for trial, contrast, printed in columns:
                line.append(_effect(rows[(rows["trial"] == trial.name) & (rows["contrast"] == contrast)]))
                if printed:
                    line.append(_printed_effect(printed, trial.last_week, str(endpoint), str(name), unit))
            lines.append(line)
    level = f"{100 * float(trials[0].settings['level']):.6g} %"
    note = f"Estimates with {level} limits, each from its own trial's output; p two-sided and unadjusted."
    return TextTable("effects", "Effects of treatment", head, lines, note)


def _is_single(trial: ComparedTrial) -> bool:
    return len(trial.settings["compared_arms"]) == 1


def _contrasts(effects: pd.DataFrame, trial: ComparedTrial) -> list[str]:
    return list(dict.fromkeys(effects.loc[effects["trial"] == trial.name, "contrast"]))


def _effect(rows: pd.DataFrame) -> str:
    row = rows.iloc[0]
    if np.isnan(row["estimate"]):
        reason = str(row["method"]).split("; ")[-1]
        return reason if reason.startswith(NOT_ESTIMABLE) else f"{NOT_ESTIMABLE} ({reason})"
    digits = 1 if row["unit"] == UNITS["by_visit"] else 2
    week = f", week {row['visit']}" if row["visit"] else ""
    p = f", {p_text(row['p'])}" if np.isfinite(row["p"]) else ""
    return f"{interval(row['estimate'], row['low'], row['high'], digits)}{p}{week}"


def _printed_effect(printed: PublishedTrial, week: float, endpoint: str, name: str, unit: str) -> str:
    if name == SEPARATION:
        return str(printed.separation.get(f"{week:g}", ABSENT)) if unit == UNITS["by_visit"] else ABSENT
    if name == RATE:
        return printed.lesions_per_scan.get(endpoint, ABSENT)
    return printed.arm_hazard_ratio.get(endpoint, ABSENT) if name == HAZARD else ABSENT


def pooled_table(pooled: pd.DataFrame) -> TextTable:
    """Pooled ratios, for whoever asked for them."""
    lines = []
    for row in pooled.to_dict("records"):
        label = ", ".join(filter(None, (endpoint_title(row["endpoint"]), NAMES[row["stat_name"]], row["rater"])))
        heterogeneity = f"Q {number(row['q'], 2)}, {p_text(row['q_p'])}; I² {number(100 * row['i_squared'], 0)} %"
        cells = [str(row["n_trials"]), interval(row["estimate"], row["low"], row["high"], 2), heterogeneity]
        lines.append([f"{label}, {row['model']}", *cells])
    note = (
        "Log ratios weighted by the inverse of their variances; random effects by DerSimonian and Laird. The trials "
        "were not randomised together, and their treatments may differ."
    )
    return TextTable(
        "pooled", "Pooled over the trials, as asked", ["", "trials", "estimate", "heterogeneity"], lines, note
    )


def difference_table(trials: Sequence[ComparedTrial], found: pd.DataFrame) -> TextTable:
    """What differs, one row each, with a column per trial or test set."""
    names = list(dict.fromkeys([*(trial.name for trial in trials), *found["trial"]]))
    lines = []
    for what, rows in found.groupby("what", sort=False):
        has = dict(zip(rows["trial"], rows["has"], strict=True))
        lines.append([str(what), *(has.get(name, ABSENT) for name in names), rows["consequence"].iloc[0]])
    return TextTable("differences", "What the trials do not have in common", ["", *names, "so"], lines)
