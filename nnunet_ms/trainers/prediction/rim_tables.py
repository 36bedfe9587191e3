"""Tables of a model of lesion core and rim: its lesions as `nnunet-ms-rim evaluate` reads them, counts per visit.

A lesion here is a part of a confluent one, as it is for the classifier of rims; `lesions.csv` has the components, as of
every model, and of each the part that looks most like a rim+ lesion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms import tables
from nnunet_ms.lesions.labelling import Lesions
from nnunet_ms.lesions.rims import RimDecision, lesion_parts, rim_scores
from nnunet_ms.lesions.rows import lesion_columns
from nnunet_ms.trainers.prediction.image_cases import ImageCase

LESIONS, VISITS = "rim_lesions.csv", "visits.csv"
KEYS = ("patient_id", "visit", "week", "lesion_id", "voxels", "volume_ml", "x_mm", "y_mm", "z_mm")
COLUMNS = (*KEYS, "probability", "threshold", "rim", "model", "component")


@dataclass(frozen=True)
class RimParts:
    """The lesions of a case with confluent ones taken apart.

    `parts`: P of them. `table`: a row each, with the place and size, `component` (`lesion_id` of lesions.csv),
    `rim_score`, `rim_share` and `rim`, 0 or 1.
    """

    parts: Lesions
    table: pd.DataFrame

    @property
    def count(self) -> float:
        """Number of rim+ lesions."""
        return float(self.table["rim"].sum())


def rim_parts(
    lesions: Lesions,
    probability: npt.NDArray[np.floating],
    segmented: npt.NDArray[np.generic],
    decision: RimDecision,
) -> RimParts:
    """Take confluent lesions apart as the decision says, and decide on each part; arguments as `lesions.rims`."""
    parts, owner = lesion_parts(lesions, decision.splitting)
    found = rim_scores(parts, probability, segmented, decision, whole=lesions)
    told = {"rim_score": found.score, "rim_share": found.share, "rim": found.rim.astype(int)}
    return RimParts(parts, pd.DataFrame({**lesion_columns(parts), "component": owner + 1, **told}))


def highest_of_parts(table: pd.DataFrame, count: int) -> dict[str, npt.NDArray[Any]]:
    """Columns of lesions.csv: of each of the `count` components those of its part with the highest score.

    Of equals those of the first.

    Examples
    --------
    >>> told = {"component": [1, 2, 2], "rim_score": [0.1, 0.2, 0.8], "rim_share": [0.0, 0.1, 0.9], "rim": [0, 0, 1]}
    >>> {name: values.tolist() for name, values in highest_of_parts(pd.DataFrame(told), 2).items()}
    {'rim_score': [0.1, 0.8], 'rim_share': [0.0, 0.9], 'rim': [0, 1]}
    """
    first = table.sort_values(["component", "rim_score"], ascending=[True, False], kind="stable")
    first = first.drop_duplicates("component").set_index("component").reindex(range(1, count + 1))
    return {name: first[name].to_numpy() for name in ("rim_score", "rim_share", "rim")}


def case_rims(rims: RimParts, case: ImageCase, rater: str) -> pd.DataFrame:
    """Rows of `rim_lesions.csv` of one case, but for the threshold."""
    place = {"patient_id": case.patient_id, "visit": case.visit, "week": case.week}
    told = rims.table.rename(columns={"rim_score": "probability"}).assign(**place, case_id=case.case_id, model=rater)
    return told[["case_id", *(name for name in COLUMNS if name != "threshold")]]


def write_rim_tables(
    rims: Sequence[pd.DataFrame], visits: pd.DataFrame, out: Path, decision: RimDecision
) -> pd.DataFrame:
    """Write `rim_lesions.csv`, and `visits.csv` again with `prl_count`; return the latter.

    Parameters
    ----------
    rims : sequence of DataFrame
        Of `case_rims`, of each case.
    visits : DataFrame
        `tables.VISITS` of the same cases; a visit without a lesion has 0.
    """
    told = pd.concat([part for part in rims if len(part)] or list(rims[:1]), ignore_index=True)
    tables.write_table(told.assign(threshold=decision.threshold)[list(COLUMNS)], out / LESIONS)
    counts = told.groupby("case_id")["rim"].sum() if len(told) else pd.Series(dtype=float)
    counted = visits.assign(**{tables.PRL_COUNT: visits["case_id"].map(counts).fillna(0).astype("Int64")})
    tables.write_table(counted, out / VISITS)
    return counted


def read_rims(done: Sequence[Path]) -> list[pd.DataFrame]:
    """What `case_rims` wrote into the folders of finished cases."""
    text = dict.fromkeys(("case_id", "patient_id", "visit", "model"), str)
    return [pd.read_csv(folder / LESIONS, dtype=text, float_precision="round_trip") for folder in done]
