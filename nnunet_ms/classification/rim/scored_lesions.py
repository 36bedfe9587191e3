"""The lesions on which models are compared: labelled and scored by every model; the others are listed, with why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Floats
from nnunet_ms.classification.named_tables import named_table
from nnunet_ms.errors import OptionError, TableError
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import Column, Table, check_unique, read_table

KEYS = ("patient_id", "visit", "lesion_id")
# what training, prediction and segmentation write: label, threshold, fold, model or decision may be missing
PREDICTIONS = Table(
    "rim predictions",
    (
        Column("patient_id"),
        Column("visit"),
        Column("lesion_id", "integer", minimum=1),
        Column("label", "number", required=False, blank=True, minimum=0, maximum=1),
        Column("probability", "number", blank=True, minimum=0, maximum=1),
        Column("threshold", "number", required=False, blank=True, minimum=0, maximum=1),
        Column("rim", "integer", required=False, blank=True, minimum=0, maximum=1),
        Column("fold", "integer", required=False, blank=True, minimum=0),
        Column("model", required=False),
    ),
    key=(),
    extra=True,
)
LABELS = Table(
    "rim labels of lesions",
    (
        Column("patient_id"),
        Column("visit"),
        Column("lesion_id", "integer", minimum=1),
        Column("label", "number", blank=True, minimum=0, maximum=1),
    ),
    key=KEYS,
    extra=True,
)
LEFT_OUT = Table(
    "lesions left out",
    (
        Column("model"),
        Column("patient_id"),
        Column("visit"),
        Column("lesion_id", "integer", minimum=1),
        Column("label", "number", blank=True),
        Column("reason"),
    ),
    key=("model", *KEYS),
)
NO_LABEL = "no label"
PLACE = ("x_mm", "y_mm", "z_mm")
APART_MM = 5.0  # centres of one lesion in two tables
FOLDER_TABLES = ("cross_validation.csv", "rim_lesions.csv")


@dataclass(frozen=True)
class Model:
    """What a model says of the lesions; each array (n,) in their order.

    `decision` is 1 where it calls a lesion rim+, 0 where not, NaN where the table tells neither `rim` nor a threshold;
    `fold` is NaN where there are no folds.
    """

    name: str
    probability: Floats
    decision: Floats
    fold: Floats


@dataclass(frozen=True)
class ScoredLesions:
    """Lesions with a label that every model has scored.

    Attributes
    ----------
    rows : (n,) pandas.DataFrame
        `KEYS` and `label`, 1 rim+ and 0 rim-.
    models : tuple of Model
        In the order of the tables.
    left_out : pandas.DataFrame
        `LEFT_OUT`: lesions that are not among the rows, and why.
    relabelled : int
        Lesions whose label in a model's table is not that of the table of labels, which counts.
    """

    rows: pd.DataFrame
    models: tuple[Model, ...]
    left_out: pd.DataFrame
    relabelled: int = 0

    @property
    def rim(self) -> Floats:
        """1 rim+, 0 rim-; (n,)."""
        return self.rows["label"].to_numpy(np.float64)

    @property
    def missing(self) -> int:
        """Lesions with a label that some model has not scored."""
        lacking = self.left_out[self.left_out["reason"] != NO_LABEL]
        return len(lacking.drop_duplicates(list(KEYS)))


def read_scored(
    tables: str | Path | Sequence[str | Path], labels: str | Path | None = None, threshold: float | None = None
) -> ScoredLesions:
    r"""Read tables of predictions, and keep the labelled lesions that all models have scored.

    Parameters
    ----------
    tables : str, Path or sequence of them
        Each a table of `PREDICTIONS`, or a folder that holds one; "NAME=PATH" names the model of a table without
        column `model` (else the file's or the folder's name).
    labels : str or Path, optional
        Table of `LABELS`, such as `lesions.csv` of `nnunet-ms-rim features`; without it the column `label` of the
        tables.
    threshold : float, optional
        Probability from which a lesion is called rim+ in tables that say neither `rim` nor `threshold`.

    Returns
    -------
    ScoredLesions

    Raises
    ------
    OptionError
        If there is no table, or the threshold is no probability.
    TableError
        If a table is damaged, a lesion or a model stands twice, labels of tables differ, a lesion lies elsewhere in
        another table, a patient is in two folds of one model, or no lesion is left.

    Examples
    --------
    >>> rows = "patient_id,visit,lesion_id,label,probability,threshold\nP1,a,1,1,0.9,0.5\nP1,a,2,0,,0.5\n"
    >>> _ = Path("net.csv").write_text(rows)
    >>> scored = read_scored(["net.csv"])
    >>> scored.models[0].name, scored.models[0].decision.tolist(), scored.left_out["reason"].tolist()
    ('net', [1.0], ['no probability'])
    """
    if not tables:
        raise OptionError(
            "tables: expected at least one table of predictions, found none. Name a cross_validation.csv."
        )
    if threshold is not None and not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        raise OptionError(f"threshold: expected a probability from 0 to 1, found {threshold!r}.")
    tables = [tables] if isinstance(tables, str | Path) else tables
    frames = _by_model(tables)
    given = None if labels is None else read_table(labels, LABELS).set_index(list(KEYS))
    _check_places({**({} if given is None else {str(labels): given}), **frames})
    truth = _truth(frames, given, str(labels))
    left_out, common = [], truth[truth["label"].notna()]
    for name, frame in frames.items():
        left_out.append(_lacking(name, frame, truth))
        scored = frame[frame["probability"].notna()]
        common = common[common.index.isin(scored.index)]
    if common.empty:
        raise TableError(
            f"{', '.join(str(table) for table in tables)}: expected lesions with a label that every model has scored, "
            f"found none among {len(truth)}. Do patient_id, visit and lesion_id agree, and are there labels?"
        )
    models = tuple(_model(name, frame.loc[common.index], threshold) for name, frame in frames.items())
    out = pd.concat(left_out, ignore_index=True)
    changed = 0 if given is None else _relabelled(frames, truth)
    return ScoredLesions(common.reset_index()[[*KEYS, "label"]], models, out[LEFT_OUT.names], changed)


def _by_model(tables: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    """Rows of each model, by lesion."""
    frames: dict[str, pd.DataFrame] = {}
    places: dict[str, Path] = {}
    for given in tables:
        name, path = named_table(given, FOLDER_TABLES)
        frame = read_table(path, PREDICTIONS)
        if frame.empty:
            raise TableError(f"{path}: expected a row per lesion, found none below the header. Predict again.")
        if name or "model" not in frame:
            frame = frame.assign(model=name or (path.parent.name if path.name in FOLDER_TABLES else path.stem))
        check_unique(frame, ["model", *KEYS], path)
        for model, rows in frame.groupby("model", sort=False):
            plain_name(model, f"{path}: model", TableError)
            if model in frames:
                raise TableError(
                    f"{path}: model {model!r} stands in {places[str(model)]} too. Give one of them another name: "
                    f"NAME={path}."
                )
            frames[str(model)], places[str(model)] = rows.set_index(list(KEYS)), path
            _check_folds(rows, str(model), path)
    return frames


def _check_folds(rows: pd.DataFrame, model: str, path: Path) -> None:
    if "fold" not in rows:
        return
    counts = rows.groupby("patient_id")["fold"].nunique()
    several = counts[counts > 1]
    if len(several):
        raise TableError(
            f"{path}: model {model}: patient {several.index[0]} is in {several.iloc[0]} folds ({len(several)} such "
            "patients); expected folds by patient, else a model is tested on patients that it has seen. Train again."
        )


def _check_places(frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise TableError where a number is of one lesion in one table and of another in the next: its centre tells."""
    first: tuple[str, pd.DataFrame] | None = None
    for name, frame in frames.items():
        if not set(PLACE) <= set(frame):
            continue
        place = frame[list(PLACE)].apply(pd.to_numeric, errors="coerce")
        if first is None:
            first = name, place
            continue
        both = place.index.intersection(first[1].index)
        distance = ((place.loc[both] - first[1].loc[both]) ** 2).sum(axis=1, skipna=False) ** 0.5
        apart = distance[distance > APART_MM]
        if len(apart):
            patient, visit, number = apart.index[0]
            raise TableError(
                f"{name}: lesion {number} of patient {patient}, visit {visit}: expected it where {first[0]} has it, "
                f"found it {apart.iloc[0]:.1f} mm away ({len(apart)} of {len(both)} lesions): the tables number their "
                "lesions differently. Give one lesion the same number in both."
            )


def _relabelled(frames: Mapping[str, pd.DataFrame], truth: pd.DataFrame) -> int:
    """How many lesions have a label in the table of labels and another in a model's."""
    other = pd.Series(data=False, index=truth.index)
    for frame in frames.values():
        if "label" in frame:
            its = frame["label"].reindex(truth.index)
            other |= its.notna() & truth["label"].notna() & (its != truth["label"])
    return int(other.sum())


def _truth(frames: Mapping[str, pd.DataFrame], given: pd.DataFrame | None, where: str) -> pd.DataFrame:
    """Label of every lesion, NaN where there is none; index as of the models."""
    if given is not None:
        found = given[["label"]]
        every = pd.concat([frame[[]] for frame in frames.values()]).index.unique()
        found = found.reindex(found.index.append(every.difference(found.index, sort=False)))
        _check_labels(found, where)
        return found
    told = {name: frame["label"] for name, frame in frames.items() if "label" in frame}
    if not told:
        raise TableError(
            "labels: expected a column label in one of the tables, found none. Name the table with them, such as "
            "lesions.csv of nnunet-ms-rim features."
        )
    together = pd.DataFrame({**{name: frame["probability"] * np.nan for name, frame in frames.items()}, **told})
    low, high = together.min(axis=1), together.max(axis=1)
    unlike = low != high
    unlike &= low.notna()
    if unlike.any():
        lesion, row = together.index[unlike][0], together[unlike].iloc[0].dropna()
        raise TableError(
            f"labels: lesion {lesion[2]} of patient {lesion[0]}, visit {lesion[1]}: expected one label, found "
            f"{', '.join(f'{value:g} in {name}' for name, value in row.items())} ({int(unlike.sum())} such lesions). "
            "Are the tables of one set of labels?"
        )
    found = low.rename("label").to_frame()
    _check_labels(found, "labels")
    return found


def _check_labels(found: pd.DataFrame, where: str) -> None:
    strange = found["label"].notna() & ~found["label"].isin([0.0, 1.0])
    if strange.any():
        lesion = found.index[strange][0]
        raise TableError(
            f"{where}: lesion {lesion[2]} of patient {lesion[0]}, visit {lesion[1]}: expected 1 (rim+), 0 (rim-) or a "
            f"blank as label, found {found['label'][strange].iloc[0]:g} ({int(strange.sum())} such). Correct it."
        )


def _lacking(model: str, frame: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Rows of `LEFT_OUT` of one model."""
    probability = frame["probability"].reindex(truth.index)
    reason = pd.Series("", index=truth.index)
    reason[probability.isna()] = "no probability"
    reason[~truth.index.isin(frame.index)] = "not in the table"
    reason[truth["label"].isna() & (reason != "not in the table")] = NO_LABEL
    reason[truth["label"].isna() & (reason == "not in the table")] = ""  # of another model's table
    rows = truth.assign(model=model, reason=reason)
    return rows[rows["reason"] != ""].reset_index()


def _model(name: str, frame: pd.DataFrame, threshold: float | None) -> Model:
    probability = frame["probability"].to_numpy(np.float64)
    decision = np.full(len(frame), np.nan)
    if threshold is not None:
        decision = (probability >= threshold).astype(np.float64)
    if "threshold" in frame:
        own = frame["threshold"].to_numpy(np.float64)
        decision = np.where(np.isnan(own), decision, probability >= own)
    if "rim" in frame:
        said = frame["rim"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        decision = np.where(np.isnan(said), decision, said)
    fold = (
        frame["fold"].astype("Float64").to_numpy(np.float64, na_value=np.nan) if "fold" in frame else decision * np.nan
    )
    return Model(name, probability, decision, np.asarray(fold))
