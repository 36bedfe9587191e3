"""Tables of a model of lesion core and rim: its lesions as `nnunet-ms-rim evaluate` reads them, counts per visit."""

from pathlib import Path

import pandas as pd

from nnunet_ms import tables
from nnunet_ms.lesions.rims import RimDecision

LESIONS, VISITS = "rim_lesions.csv", "visits.csv"
KEYS = ("patient_id", "visit", "week", "lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm")


def write_rim_tables(lesions: pd.DataFrame, visits: pd.DataFrame, out: Path, decision: RimDecision) -> pd.DataFrame:
    """Write `rim_lesions.csv`, and `visits.csv` again with `prl_count`; return the latter.

    Parameters
    ----------
    lesions : DataFrame
        `tables.LESIONS` with `rim_score` and `rim`.
    visits : DataFrame
        `tables.VISITS` of the same cases; a visit without a lesion has 0.
    """
    told = pd.DataFrame(lesions, columns=[*KEYS, "rim_score", "rim", "rater"])
    told = told.rename(columns={"rim_score": "probability", "rater": "model"}).assign(threshold=decision.threshold)
    tables.write_table(told[[*KEYS, "probability", "threshold", "rim", "model"]], out / LESIONS)
    counts = lesions.groupby("case_id")["rim"].sum() if len(lesions) else pd.Series(dtype=float)
    counted = visits.assign(**{tables.PRL_COUNT: visits["case_id"].map(counts).fillna(0).astype("Int64")})
    tables.write_table(counted, out / VISITS)
    return counted
