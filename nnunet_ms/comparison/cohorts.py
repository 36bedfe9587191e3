"""Several evaluations side by side: lesion Dice, LTPR and LFPR by size group (Krishnan 2023, Figure 3a).

Nothing is computed anew: each cohort's numbers are those of its own `size_groups.csv`, so that cohorts whose masks lie
on different machines can be put beside each other from their tables alone.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nnunet_ms.analysis.evaluation.asked import Place, check_output
from nnunet_ms.analysis.evaluation.group_figures import size_group_figure
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.analysis.evaluation.size_groups import AVERAGING, PATIENTS, RATES, SIZE_GROUPS
from nnunet_ms.errors import SettingsError, TableError
from nnunet_ms.options import by_name, chosen, known_keywords
from nnunet_ms.outputs import whole_folder
from nnunet_ms.plain_names import plain_name
from nnunet_ms.plotting.style import save_figure
from nnunet_ms.tables import Column, Table, read_table, write_table

SOURCE = "size_groups.csv"
COHORTS = Table("size groups of cohorts", (Column("cohort"), *SIZE_GROUPS.columns), key=("cohort", *SIZE_GROUPS.key))


@known_keywords
def compare_cohorts(evaluations: Mapping[str, Place], out: Place, averaging: str = PATIENTS) -> pd.DataFrame:
    """Write the size groups of several evaluations as one table, and a figure per rule and lesion type.

    Parameters
    ----------
    evaluations : mapping
        Cohort's name -> folder that `evaluate` has written, in the order in which they are drawn.
    out : path
        Folder to write, complete or not at all. An earlier one is replaced.
    averaging : {"patients", "pooled"}, optional
        What the figures show: the mean of patients' rates, as the paper, or the rate of all lesions together. The table
        has both.

    Returns
    -------
    pandas.DataFrame
        `COHORTS`, as written to `cohorts.csv`: the rules and lesion types that all cohorts have.

    Raises
    ------
    OptionError
        If there is no such averaging, or `evaluations` has no names.
    SettingsError
        If a folder is no evaluation, cohorts share no rule and lesion type, or `out` holds something else.
    TableError
        If a table is not what `evaluate` writes.

    Examples
    --------
    >>> from nnunet_ms.analysis.evaluation.evaluate import evaluate
    >>> _ = evaluate("predictions", "references", "evaluation")
    >>> table = compare_cohorts({"OPERA II": "evaluation", "MICCAI 2016": "evaluation"}, "cohorts")
    >>> table.query("metric == 'ltpr' and size_bin == 'all' and averaging == 'pooled'")[["cohort", "value"]].round(2)
             cohort  value
    29     OPERA II   0.67
    61  MICCAI 2016   0.67
    """
    chosen(averaging, AVERAGING, "averaging")
    target = Path(out).resolve()
    check_output(target, _is_ours)
    named = by_name(evaluations, "evaluations").items()
    table = _gathered({plain_name(name.strip(), "cohort"): Path(place) for name, place in named})
    with whole_folder(target, replace=True) as folder:
        write_table(table, folder / "cohorts.csv")
        for (rule, lesion_type), rows in table.groupby(["rule", "lesion_type"], sort=False):
            series = rows["cohort"] + ", " + rows["rater"] if len(set(rows["rater"])) > 1 else rows["cohort"]
            figure = size_group_figure(rows.assign(cohort=series), rules_by_name((str(rule),))[0], averaging)
            save_figure(figure, folder, f"size_groups_{rule}_{lesion_type}_{averaging}".replace("/", "_"))
    return table


def _is_ours(name: str) -> bool:
    return name == "cohorts.csv" or (name.startswith("size_groups_") and name.endswith((".svg", ".png")))


def _gathered(evaluations: Mapping[str, Path]) -> pd.DataFrame:
    frames = []
    for cohort, folder in evaluations.items():
        path = folder / SOURCE
        if not path.is_file():
            raise SettingsError(
                f"{folder}: expected an evaluation with {SOURCE}, found none. Run nnunet-ms-evaluate on this cohort."
            )
        frames.append(read_table(path, SIZE_GROUPS).assign(cohort=cohort))
        _check_words(frames[-1], path)
    if len(frames) < 2:
        raise SettingsError(f"cohorts: expected two or more, found {list(evaluations)}. Name another NAME=EVALUATION.")
    there = [set(zip(frame["rule"], frame["lesion_type"], strict=True)) for frame in frames]
    common = set.intersection(*there)
    if not common:
        raise SettingsError(
            "cohorts: expected a rule and lesion type that all have, found "
            f"{dict(zip(evaluations, map(sorted, there), strict=True))}. Evaluate them by the same rule."
        )
    whole = pd.concat(frames, ignore_index=True)
    _check_bins(whole, common)
    kept = [pair in common for pair in zip(whole["rule"], whole["lesion_type"], strict=True)]
    return whole.loc[kept, COHORTS.names].fillna({"data_note": ""}).reset_index(drop=True)


def _check_words(frame: pd.DataFrame, path: Path) -> None:
    """Raise TableError for another averaging or metric than `evaluate` writes, or where one of them is not there."""
    for column, known in (("averaging", AVERAGING), ("metric", RATES)):
        found = set(frame[column])
        if found != set(known):
            raise TableError(
                f"{path}: column {column}: expected {list(known)}, found {sorted(found)}. Repeat nnunet-ms-evaluate on "
                "this cohort."
            )


def _check_bins(whole: pd.DataFrame, common: set[tuple[str, str]]) -> None:
    """Raise SettingsError if cohorts have other groups of size under one rule: their bars would not compare."""
    for rule, lesion_type in sorted(common):
        rows = whole[(whole["rule"] == rule) & (whole["lesion_type"] == lesion_type)]
        bins = {str(cohort): list(dict.fromkeys(own["size_bin"])) for cohort, own in rows.groupby("cohort", sort=False)}
        if len({tuple(names) for names in bins.values()}) > 1:
            raise SettingsError(
                f"cohorts: expected the same groups of size in all under rule {rule}, {lesion_type}, found {bins}. "
                "Repeat nnunet-ms-evaluate with one version."
            )
