"""Predicted survival curves as a table, and the patients whose curves of all models are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.classification.named_tables import named_table
from nnunet_ms.errors import OptionError, TableError
from nnunet_ms.options import different_words
from nnunet_ms.tables import Column, Table, read_table

BASELINES = ("kaplan-meier", "cox")  # keep their names where a table is given another
LEAST_PATIENTS = 3  # with fewer nobody can be compared with anybody
GRID_WEEKS = 12  # distance of the times at which curves are written
COVARIATES = ("age_years", "edss_baseline", "lesion_volume_ml")
SURVIVAL_CROSS_VALIDATION = Table(
    "survival cross-validation",
    (
        Column("model"),
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("fold", "integer", minimum=0),
        Column("time_weeks", "number", minimum=0),
        Column("event", "integer", minimum=0, maximum=1),
        Column("age_years", "number", blank=True, minimum=0, maximum=130),
        Column("edss_baseline", "number", blank=True, minimum=0, maximum=10),
        Column("lesion_volume_ml", "number", blank=True, minimum=0),
        Column("week", "number", minimum=0),
        Column("survival", "number", minimum=0, maximum=1),
    ),
    key=("model", "case_id", "week"),
)
SURVIVAL_PREDICTIONS = Table(
    "survival predictions",
    (
        Column("case_id"),
        Column("patient_id"),
        Column("visit"),
        Column("week", "number", minimum=0),
        Column("risk", "number", minimum=0, maximum=1),
        Column("median_weeks", "number", blank=True, minimum=0),
    ),
    key=("case_id", "week"),
)
_OF_PATIENT = ("patient_id", "visit", "fold", "time_weeks", "event", *COVARIATES)


@dataclass(frozen=True)
class PredictedSurvival:
    """Patients with a curve of every model.

    Attributes
    ----------
    patients : pandas.DataFrame
        One row per patient: `case_id`, `patient_id`, `fold`, `time_weeks`, `event` and the covariates.
    curves : mapping of str to (n, t) floats
        By model, in the order of the table.
    at : (t,) floats
        Weeks of the curves.
    left_out : list of str
        Which patients have no curve of which model.
    """

    patients: pd.DataFrame
    curves: Mapping[str, Floats]
    at: Floats
    left_out: list[str]

    @property
    def weeks(self) -> Floats:
        """Follow-up (n,)."""
        return self.patients["time_weeks"].to_numpy(np.float64)

    @property
    def event(self) -> Bools:
        """Whether it ended with progression (n,)."""
        return np.asarray(self.patients["event"].to_numpy() == 1)


def curve_grid(weeks: npt.ArrayLike) -> Floats:
    """Every twelve weeks up to the longest follow-up, at most sixty of them (then wider apart); at least one.

    Examples
    --------
    >>> curve_grid([30, 50])
    array([12., 24., 36., 48.])
    """
    longest = float(np.max(np.asarray(weeks, dtype=np.float64)))
    step = GRID_WEEKS * max(int(np.ceil(longest / GRID_WEEKS / 60)), 1)
    count = max(int(longest // step), 1)
    return step * np.arange(1, count + 1, dtype=np.float64)


def usual_horizon(weeks: npt.ArrayLike, at: npt.ArrayLike) -> float:
    """Latest of the times `at` beyond which a fifth of the patients is still followed; the first where none is.

    Examples
    --------
    >>> usual_horizon([10, 20, 30, 40, 50], [12, 24, 36, 48])
    36.0
    """
    time, places = np.asarray(weeks, dtype=np.float64), np.asarray(at, dtype=np.float64)
    enough = [place for place in places if (time > place).mean() >= 0.2 and (time > place).sum() >= 2]
    return float(enough[-1] if enough else places[0])


def curve_rows(model: str, patients: pd.DataFrame, curves: Floats, at: Floats) -> pd.DataFrame:
    """`SURVIVAL_CROSS_VALIDATION` of one model: a row per patient (n,) and time (t,)."""
    rows = patients.loc[patients.index.repeat(len(at)), ["case_id", *_OF_PATIENT]].reset_index(drop=True)
    rows = rows.assign(model=model, week=np.tile(at, len(patients)), survival=curves.ravel())
    return rows[SURVIVAL_CROSS_VALIDATION.names]


def read_survival(paths: Sequence[str | Path], models: Sequence[str] = ()) -> PredictedSurvival:
    """Read the curves of all models in one table or several, and keep the patients that every model has judged.

    Parameters
    ----------
    paths : sequence of path
        Tables, or folders that hold a `cross_validation.csv`.
    models : sequence of str, optional
        Only these.

    Raises
    ------
    OptionError
        If there is no such model.
    TableError
        If a table is damaged, a model stands in two of them, a patient's follow-up differs, times of curves differ, or
        no patient has a curve of every model.

    Examples
    --------
    >>> patients = pd.DataFrame({"case_id": ["P1", "P2"], "patient_id": ["P1", "P2"], "visit": "a", "fold": 0})
    >>> patients = patients.assign(time_weeks=[20.0, 40.0], event=[1, 0], **dict.fromkeys(COVARIATES, 3.0))
    >>> table = curve_rows("net", patients, np.array([[0.9, 0.4], [0.9, 0.8]]), np.array([12.0, 24.0]))
    >>> table.to_csv("cross_validation.csv", index=False)
    >>> found = read_survival(["cross_validation.csv"])
    >>> found.curves["net"].tolist(), found.weeks.tolist()
    ([[0.9, 0.4], [0.9, 0.8]], [20.0, 40.0])
    """
    if not paths:
        raise OptionError("tables: expected at least one table of curves, found none. Name a cross_validation.csv.")
    table = pd.concat([_read(path) for path in paths], ignore_index=True)
    where = ", ".join(str(path) for path in paths)
    if not isinstance(models, list | tuple) or models:
        table = table[table["model"].isin(different_words(models, dict.fromkeys(table["model"]), "models"))]
    again = table[table.duplicated(["model", "case_id", "week"])]
    if len(again):
        row = again.iloc[0]
        raise TableError(
            f"{where}: expected each model in one table, found {row['model']} twice (scan {row['case_id']}, week "
            f"{row['week']:g}). Leave one of the tables out."
        )
    patients = _patients(table, where)
    at = np.unique(table["week"].to_numpy(np.float64))
    wide = table.pivot_table(index="case_id", columns=["model", "week"], values="survival")
    names = list(dict.fromkeys(table["model"]))
    whole = {model: wide[model].reindex(columns=at).reindex(patients["case_id"]) for model in names}
    _check_times(whole, at, where)
    known = np.all([frame.notna().all(axis=1).to_numpy() for frame in whole.values()], axis=0)
    left_out = [
        f"{case}: no curve of {model}"
        for model, frame in whole.items()
        for case in frame.index[frame.isna().any(axis=1)]
    ]
    if not known.any():
        raise TableError(f"{where}: expected patients with a curve of every model, found none. Leave models out.")
    kept = patients[known].reset_index(drop=True)
    return PredictedSurvival(
        kept, {name: frame.to_numpy(np.float64)[known] for name, frame in whole.items()}, at, left_out
    )


def is_survival(path: str | Path) -> bool:
    """Whether a table is one of survival curves, by its header; False for what is not there.

    Examples
    --------
    >>> is_survival("no_such_table.csv")
    False
    """
    try:
        _, path = named_table(path, ["cross_validation.csv"])
    except TableError:
        return False
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as lines:
        return {"survival", "time_weeks"} <= set(lines.readline().strip().split(","))


def checked_horizon(horizon: float | None, predicted: PredictedSurvival) -> float:
    """The horizon that is asked for, or the usual one.

    Raises
    ------
    OptionError
        If curves are not written at that time.
    """
    if horizon is None:
        return usual_horizon(predicted.weeks, predicted.at)
    if isinstance(horizon, bool | str) or horizon not in predicted.at:
        shown = ", ".join(f"{week:g}" for week in predicted.at)
        raise OptionError(f"horizon_weeks: expected a week of the curves ({shown}), found {horizon!r}. Choose one.")
    return float(horizon)


def check_events(predicted: PredictedSurvival) -> None:
    """Raise TableError where nothing can be said of the curves.

    Examples
    --------
    >>> check_events(PredictedSurvival(pd.DataFrame({"event": [1, 0]}), {}, np.array([12.0]), []))
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.TableError: curves: expected 3 patients or more that every model has judged, and progression ...
    """
    events = int(predicted.event.sum())
    if not events or len(predicted.patients) < LEAST_PATIENTS:
        raise TableError(
            f"curves: expected {LEAST_PATIENTS} patients or more that every model has judged, and progression among "
            f"them, found {len(predicted.patients)} with {events}. Add patients, follow them longer, or leave models "
            "out."
        )


def _read(given: str | Path) -> pd.DataFrame:
    name, path = named_table(given, ["cross_validation.csv"])
    table = read_table(path, SURVIVAL_CROSS_VALIDATION)
    if table.empty:
        raise TableError(f"{path}: expected a row per curve and week, found none below the header. Train again.")
    if name:
        networks = ~table["model"].isin(BASELINES)
        several = len(set(table.loc[networks, "model"])) > 1
        table.loc[networks, "model"] = name + " " + table["model"].astype(str) if several else name
    return table


def _patients(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """One row per scan; what is told of a patient must be the same in all rows."""
    columns = ["case_id", *_OF_PATIENT]
    rows = table[columns].drop_duplicates()
    twice = rows[rows.duplicated("case_id", keep=False)]
    if len(twice):
        one, other = twice.iloc[0], twice[twice["case_id"] == twice["case_id"].iloc[0]].iloc[1]
        name = next(name for name in _OF_PATIENT if str(one[name]) != str(other[name]))
        raise TableError(
            f"{where}: scan {one['case_id']}: expected one {name}, found {one[name]} and {other[name]}. Are they "
            "tables of one training?"
        )
    again = rows[rows.duplicated("patient_id")]
    if len(again):
        raise TableError(
            f"{where}: expected one scan per patient, found two of {again['patient_id'].iloc[0]}. Leave one out."
        )
    return rows.reset_index(drop=True)


def _check_times(whole: Mapping[str, pd.DataFrame], at: Floats, where: str) -> None:
    for model, frame in whole.items():
        times = at[frame.notna().any(axis=0).to_numpy()]
        if len(times) < len(at):
            lacking = sorted(set(at.tolist()) - set(times.tolist()))
            raise TableError(
                f"{where}: expected curves at the same weeks, found none of {model} at week {lacking[0]:g}. Evaluate "
                "models of one training together."
            )
