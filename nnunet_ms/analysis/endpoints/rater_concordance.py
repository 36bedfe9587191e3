"""Concordance of volumes and counts between each model and the reference, on the trial's own visits.

The statistics are those of `nnunet-ms-evaluate` (`volume_concordance`); here they are part of the trial's tidy table.
"""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from nnunet_ms.analysis.concordance_table import concordance_rows
from nnunet_ms.analysis.endpoints.statistic_rows import Statistic, not_estimable, spread
from nnunet_ms.analysis.trial.data import TrialData
from nnunet_ms.tables import REFERENCE

ENDPOINT = "concordance"
VOLUME, COUNT = "volume_ml", "lesion_count"
QUANTITIES = {VOLUME: "T2 lesion volume", COUNT: "T2 lesion count"}
COLUMNS = ["patient_id", "arm", "week", "rater", "quantity", "reference", "prediction"]
POPULATION = "visits with a mask of every rater"


def rater_pairs(trial: TrialData) -> pd.DataFrame:
    """Return one row per visit, model and quantity with both raters' values (`COLUMNS`); empty without a reference."""
    if REFERENCE not in trial.raters:
        return pd.DataFrame(columns=COLUMNS)
    counts = trial.counts[trial.counts["lesion_type"] == trial.settings.lesion_type]
    frames = [
        _pairs(trial, table.rename(columns={column: "value"}), quantity)
        for table, column, quantity in ((trial.volumes, "volume_ml", VOLUME), (counts, "lesion_count", COUNT))
    ]
    found = [frame for frame in frames if len(frame)]
    return pd.concat(found, ignore_index=True)[COLUMNS] if found else pd.DataFrame(columns=COLUMNS)


def concordance_statistics(pairs: pd.DataFrame) -> Iterator[Statistic]:
    """Yield Pearson's r, Lin's CCC, ICC(2,1), Bland-Altman bias and limits as difference and as ratio.

    Parameters
    ----------
    pairs : pandas.DataFrame
        From `rater_pairs`.
    """
    for (rater, quantity), rows in pairs.groupby(["rater", "quantity"], sort=False):
        base = Statistic(ENDPOINT, str(quantity), population=POPULATION, rater=str(rater))
        for found in concordance_rows(rows, quantity).to_dict("records"):
            unit = "" if found["unit"] == "1" else str(found["unit"])
            stats = {name: (float(found[name]), unit) for name in ("estimate", "low", "high")}
            stats |= {name: (float(found[name]), "visits") for name in ("n", "n_left_out")}
            if found["statistic"] in ("pearson_r", "lin_ccc"):
                stats |= {name: (float(found[name]), unit) for name in ("patient_low", "patient_high")}
            keys = replace(base, term=str(found["statistic"]), method=_method(str(found["statistic"])))
            yield from spread(keys, stats, not_estimable("fewer than three visits, or values that do not vary"))


def _pairs(trial: TrialData, table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    known = table.dropna(subset="value")
    wide = known.pivot_table(index=["patient_id", "arm", "week"], columns="rater", values="value", aggfunc="first")
    wide = wide.reindex(columns=list(trial.raters)).dropna()
    frames = [
        wide[[REFERENCE, rater]].set_axis(["reference", "prediction"], axis=1).reset_index().assign(rater=rater)
        for rater in trial.raters
        if rater != REFERENCE
    ]
    return pd.concat(frames, ignore_index=True).assign(quantity=quantity) if frames else pd.DataFrame(columns=COLUMNS)


def _method(statistic: str) -> str:
    if statistic in ("pearson_r", "lin_ccc"):
        return "intervals: formula (visits independent), and resampling patients (patient_low, patient_high)"
    if statistic == "icc_2_1":
        return "two-way random effects, absolute agreement, one rater; interval takes visits as independent"
    scale = "ratios, on logarithms; visits with a 0 left out" if statistic.endswith("_ratio") else "differences"
    return f"Bland-Altman, {scale}: bias and 95 % limits of agreement, intervals take visits as independent"
