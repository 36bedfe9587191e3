"""Does agreement hold at every scanner site? Every metric by the site that `cases.csv` names, and a test over sites.

The site is a column of the table of cases (`site`, or the one that is asked for); where it is blank, or there is no
such column, the site is not known and nothing is guessed from file names or headers. A site's interval is a bootstrap
over its patients, as in `agreement.csv`; a site with fewer than `MINIMUM_PATIENTS` has none. The row of all sites has
the Kruskal-Wallis test of patients' means over the sites that have so many; it takes samples to be independent, so that
patients with values at several sites are not in it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from nnunet_ms.analysis.evaluation.cohort_metrics import COHORT_METRICS, ISBI_SCORE, summarise_cohort
from nnunet_ms.analysis.evaluation.matching import Rule
from nnunet_ms.cases_table import read_cases
from nnunet_ms.errors import TableError
from nnunet_ms.statistics.bootstrap_interval import LEVEL, MINIMUM_PATIENTS
from nnunet_ms.table_columns import check_spellings
from nnunet_ms.tables import REFERENCE, Column, Table

SITE_COLUMN, ALL_SITES, NO_SITE = "site", "all sites", "site not given"
BY_SITE = Table(
    "agreement by site",
    (
        *(Column(name) for name in ("rater", "lesion_type", "rule", "metric", "site")),
        *(Column(name, "integer", minimum=0) for name in ("n_cases", "n_patients")),
        *(Column(name, "number", blank=True) for name in ("mean", "sd")),
        *(Column(name, "integer", minimum=0) for name in ("n", "n_undefined")),
        *(Column(name, "number", blank=True) for name in ("low", "high")),
        Column("level", "number", minimum=0),
        Column("p", "number", blank=True, minimum=0),
        *(Column(name, blank=True) for name in ("note", "data_note")),
    ),
    key=("rater", "lesion_type", "rule", "metric", "site"),
)


def read_sites(cases: Path | None, column: str | None = None) -> dict[str, str]:
    """Site of every case that has one, by case id; empty without the table or without the column `site`.

    Parameters
    ----------
    cases : Path or None
        The table of cases.
    column : str, optional
        Another column than `site`; it must then be there.

    Raises
    ------
    TableError
        If a column that is asked for is not there or has no site, one site has two spellings or bears the name of
        another row, or there is no table.

    Examples
    --------
    >>> from nnunet_ms.tables import CASES, write_table
    >>> rows = [("P1_base", "P1", "base", 0, "test", "Oslo"), ("P2_base", "P2", "base", 0, "test", None)]
    >>> write_table(pd.DataFrame(rows, columns=[*CASES.names, "site"]), "sites.csv")
    >>> read_sites(Path("sites.csv"))
    {'P1_base': 'Oslo'}
    """
    if cases is None:
        if column is not None:
            raise TableError(f"site_column {column}: expected a table of cases with it, found no table. Name one.")
        return {}
    frame = read_cases(cases)
    name = column or SITE_COLUMN
    if name not in frame:
        if column is not None:
            raise TableError(f"{cases}: expected a column {column!r}, found {list(frame)}. Correct site_column.")
        return {}
    known = frame[frame[name].notna()]
    if known.empty and column is not None:
        raise TableError(f"{cases}: column {name}: expected a site, found {len(frame)} blanks. Fill in those known.")
    check_spellings(known[name], cases)
    sites = {case: str(site) for case, site in zip(known["case_id"], known[name], strict=True)}
    for taken in {ALL_SITES, NO_SITE} & set(sites.values()):
        raise TableError(f"{cases}: column {name}: {taken!r} is the name of another row. Rename this site.")
    return sites


def agreement_by_site(
    metrics: pd.DataFrame, totals: pd.DataFrame, rule: Rule, sites: Mapping[str, str]
) -> pd.DataFrame:
    """Summarise every metric of a rule at every site.

    Parameters
    ----------
    metrics : pandas.DataFrame
        `case_id, patient_id, metric, value` of one rater, lesion type and rule.
    totals : pandas.DataFrame
        `case_id, patient_id, rater, lesion_count, volume_ml` of the reference and that rater.
    rule : Rule
        Whose metrics are summarised, in its order.
    sites : mapping
        Case -> site; cases without one are together in the row `NO_SITE`.

    Returns
    -------
    pandas.DataFrame
        `BY_SITE` without `rater`, `lesion_type`, `rule` and `data_note`; no rows where no case has a site.
    """
    if not set(sites) & set(totals["case_id"]):
        return pd.DataFrame()
    of_metrics, of_totals = (frame["case_id"].map(sites).fillna(NO_SITE) for frame in (metrics, totals))
    names = sorted({*of_totals} - {NO_SITE}) + [NO_SITE] * bool((of_totals == NO_SITE).any())
    rows = [_one_site(metrics[of_metrics == name], totals[of_totals == name], rule).assign(site=name) for name in names]
    whole = _one_site(metrics, totals, rule).assign(site=ALL_SITES)
    tests = {metric: _over_sites(metrics[metrics["metric"] == metric], sites) for metric in rule.metrics}
    whole["p"] = [tests[metric]["p"] for metric in whole["metric"]]
    whole["note"] = [tests[metric]["note"] for metric in whole["metric"]]
    frame = pd.concat([*rows, whole], ignore_index=True)
    order = {metric: place for place, metric in enumerate(rule.metrics)}
    return frame.sort_values("metric", key=lambda m: m.map(order), kind="stable", ignore_index=True)


def _one_site(metrics: pd.DataFrame, totals: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    cases = totals[totals["rater"] == REFERENCE]
    patients = int(cases["patient_id"].nunique())
    note = ""
    if patients < MINIMUM_PATIENTS:
        note = f"{patients} patient{'s' * (patients != 1)}: no interval below {MINIMUM_PATIENTS}"
    summary = summarise_cohort(metrics, totals, rule).drop(columns="se")
    return summary.assign(n_cases=len(cases), n_patients=patients, level=LEVEL, p=np.nan, note=note)


def _over_sites(values: pd.DataFrame, sites: Mapping[str, str]) -> dict[str, Any]:
    """Kruskal-Wallis p of patients' means over sites with enough of them, and what it is of, or why there is none."""
    metric = values["metric"].iloc[0] if len(values) else ""
    if metric in (*COHORT_METRICS, ISBI_SCORE, ""):
        return {"p": np.nan, "note": "a value of the whole cohort: no test"}
    at_site = values.assign(site=values["case_id"].map(sites)).dropna(subset=["site", "value"])
    by_patient = at_site.groupby(["site", "patient_id"])["value"].mean()
    at_sites = by_patient.groupby("patient_id").transform("size")
    moved = by_patient[at_sites > 1].index.get_level_values("patient_id").nunique()
    by_patient = by_patient[at_sites == 1]
    groups = [list(group) for _, group in by_patient.groupby("site") if len(group) >= MINIMUM_PATIENTS]
    if len(groups) < 2:
        alone = f" at one site ({moved} at several)" if moved else ""
        return {
            "p": np.nan,
            "note": f"fewer than two sites of {MINIMUM_PATIENTS} patients with a value{alone}: no test",
        }
    if len({value for group in groups for value in group}) < 2:
        return {"p": np.nan, "note": "every patient has the same value: no test"}
    left_out = by_patient.index.get_level_values("site").nunique() - len(groups)
    note = f"p: Kruskal-Wallis test of patients' means over {len(groups)} sites"
    note += f", without {left_out} of fewer than {MINIMUM_PATIENTS} patients" if left_out else ""
    note += f", without {moved} patient{'s' * (moved != 1)} at several sites" if moved else ""
    return {"p": float(scipy.stats.kruskal(*groups).pvalue), "note": note}
