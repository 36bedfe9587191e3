"""One statistic, one row: the long table `endpoints.csv`, from which every number of the report comes."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from nnunet_ms.statistics.cox import Cox
from nnunet_ms.tables import ENDPOINTS

NOT_ESTIMABLE = "not estimable"


@dataclass(frozen=True)
class Statistic:
    """One row of `tables.ENDPOINTS`; blank text where a key does not apply."""

    endpoint: str
    analysis: str
    population: str = ""
    rater: str = ""
    arm: str = ""
    contrast: str = ""
    visit: str = ""
    term: str = ""
    stat_name: str = ""
    stat: float = float("nan")
    unit: str = ""
    method: str = ""


def not_estimable(why: str) -> str:
    """Return the text that stands in `method` beside a blank statistic."""
    return f"{NOT_ESTIMABLE} ({why})"


def spread(base: Statistic, values: Mapping[str, tuple[float, str]], note: str = "") -> list[Statistic]:
    """Return one row per entry of `values`, all with the keys of `base`.

    Parameters
    ----------
    base : Statistic
        Gives every column but `stat_name`, `stat` and `unit`.
    values : mapping
        `stat_name` -> (value, unit). A value that is not finite becomes blank.
    note : str, optional
        Why blank values are blank, such as `not_estimable("no events")`; added to their `method`.
    """
    rows = []
    for name, (value, unit) in values.items():
        finite = bool(np.isfinite(value))
        reason = note or not_estimable("the estimate is not finite")
        method = base.method if finite else "; ".join(filter(None, (base.method, reason)))
        rows.append(replace(base, stat_name=name, stat=value if finite else float("nan"), unit=unit, method=method))
    return rows


def hazard_values(fit: Cox, unit: str = "") -> dict[str, tuple[float, str]]:
    """Return a hazard ratio as the values that `spread` takes.

    Parameters
    ----------
    fit : Cox
        Its fields are NaN where there is no estimate.
    unit : str, optional
        Of the covariate, such as "per unit of log(TLV in ml)"; blank for an arm.

    Examples
    --------
    >>> hazard_values(Cox(n=60, events=9, hazard_ratio=0.5))["hazard_ratio"]
    (0.5, '')
    """
    return {
        "n": (float(fit.n), "patients"),
        "events": (float(fit.events), "patients"),
        "coefficient": (fit.coefficient, unit),
        "se": (fit.se, unit),
        "hazard_ratio": (fit.hazard_ratio, unit),
        "low": (fit.low, unit),
        "high": (fit.high, unit),
        "p": (fit.p, ""),
    }


def to_frame(statistics: Iterable[Statistic]) -> pd.DataFrame:
    """Return the rows as a table with the columns of `tables.ENDPOINTS`, in the order given."""
    return pd.DataFrame([asdict(row) for row in statistics], columns=ENDPOINTS.names)


def select(frame: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """Return the rows whose columns equal `keys`."""
    chosen = np.ones(len(frame), dtype=bool)
    for column, value in keys.items():
        chosen &= (frame[column] == value).to_numpy()
    return frame[chosen]


def value_of(frame: pd.DataFrame, **keys: str) -> float:
    """Return the one statistic with these keys; NaN if it is absent or blank."""
    found = select(frame, **keys)
    return float(found["stat"].iloc[0]) if len(found) else float("nan")


def reason_of(frame: pd.DataFrame, **keys: str) -> str:
    """Return why the statistic with these keys is blank; empty text if it is absent or not blank."""
    found = select(frame, **keys)
    if found.empty or not np.isnan(found["stat"].iloc[0]):
        return ""
    return str(found["method"].iloc[0]).split("; ")[-1]
