"""The scans on which models of disability are compared: those that every model has judged; the others are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nnunet_ms.arrays import Bools, Floats, Ints
from nnunet_ms.classification.named_tables import named_table
from nnunet_ms.classification.stratification.baselines import (
    BASELINE_FITS,
    PREDICTORS,
    baseline_predictions,
    baseline_terms,
)
from nnunet_ms.errors import OptionError, TableError
from nnunet_ms.options import different_words
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import Column, Table, check_unique, read_table

KEYS = ["patient_id", "visit"]
JUDGED = Table(
    "disability judgements",
    (
        Column("patient_id"),
        Column("visit"),
        Column("probability", "number", minimum=0, maximum=1),
        Column("threshold", "number", required=False, blank=True, minimum=0, maximum=1),
        Column("model", required=False),
        Column("fold", "integer", required=False, blank=True, minimum=0),
        Column("truth", "integer", required=False, minimum=0, maximum=1),
    ),
    key=(),
    extra=True,
)
SCANS = Table(
    "scans of an evaluation",
    (
        Column("patient_id"),
        Column("visit"),
        Column("disabled", "integer", minimum=0, maximum=1),
        Column("age_years", "number", required=False, blank=True, minimum=0, maximum=130),
        Column("sex", "category", required=False, blank=True),
        Column("field_tesla", "number", required=False, blank=True, minimum=0.1, maximum=12),
        Column("lesion_volume_ml", "number", required=False, blank=True, minimum=0),
        *(
            Column(f"{name}_ml", "number", required=False, blank=True, minimum=0)
            for name in ("brain", "wm", "gm", "sgm", "ventricles", "brainstem")
        ),
    ),
    key=("patient_id", "visit"),
    extra=True,
)
LEFT_OUT = Table(
    "scans left out",
    (Column("model"), Column("patient_id"), Column("visit"), Column("reason")),
    key=("model", "patient_id", "visit"),
)
FOLDER_TABLES = ("cross_validation.csv", "predictions.csv")


@dataclass(frozen=True)
class Model:
    """What a model says of the scans; arrays (n,) in their order.

    `fold` is -1 of a model that was frozen before these scans came; `threshold` is NaN where its table tells none.
    """

    name: str
    probability: Floats
    threshold: Floats
    fold: Ints

    @property
    def out_of_fold(self) -> bool:
        """Whether it was trained in folds on these patients."""
        return bool((self.fold >= 0).all())

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of `baselines.PREDICTORS`."""
        return self.name in PREDICTORS

    @property
    def evaluation(self) -> str:
        """`cross-validation` or `frozen`."""
        return "cross-validation" if self.out_of_fold else "frozen"


@dataclass(frozen=True)
class JudgedScans:
    """Scans with a truth that every model has judged.

    Attributes
    ----------
    rows : (n,) pandas.DataFrame
        `KEYS`, `truth`, and the columns of the table of scans where one was given.
    models : tuple of Model
        Networks first, then baselines.
    left_out : pandas.DataFrame
        `LEFT_OUT`.
    """

    rows: pd.DataFrame
    models: tuple[Model, ...]
    left_out: pd.DataFrame

    @property
    def truth(self) -> Ints:
        """1 disabled, 0 not; (n,)."""
        return self.rows["truth"].to_numpy(dtype=np.int64)

    @property
    def patients(self) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
        """Whose scan each is; (n,)."""
        return self.rows["patient_id"].to_numpy(dtype=str)

    @property
    def field(self) -> Floats:
        """Field strength in T, NaN where not known; (n,)."""
        if "field_tesla" not in self.rows:
            return np.full(len(self.rows), np.nan)
        return pd.to_numeric(self.rows["field_tesla"]).to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def one_each(self) -> Bools:
        """One scan of each patient, the first by name of its visit: tests take rows as independent; (n,)."""
        order = self.rows.sort_values(KEYS, kind="stable").index
        first = self.rows.loc[order].drop_duplicates("patient_id").index
        return np.asarray(self.rows.index.isin(first))

    def terms(self, baseline: str) -> Floats | None:
        """Predictors of a baseline, (n, k), NaN where not known; None where the scans do not tell them."""
        if len(self.rows.columns) == len(KEYS) + 1:
            return None
        found, _ = baseline_terms(self.rows, baseline)
        return None if found is None else found.to_numpy(dtype=np.float64)


def read_judged(
    tables: str | Path | Sequence[str | Path],
    scans: str | Path | None = None,
    baselines: str | Path | None = None,
    models: Sequence[str] = (),
) -> JudgedScans:
    r"""Read tables of probabilities, and keep the scans that all models have judged.

    Parameters
    ----------
    tables : str, Path or sequence of them
        `cross_validation.csv` of `train`, `predictions.csv` of `predict`, any table of `JUDGED`, or a folder with one.
        "NAME=PATH" names the model of a table without column `model`, else the name of the file or its folder is taken.
    scans : str or Path, optional
        `scans.csv` of `prepare`: truth of tables that tell none, field strengths and the baselines' predictors.
    baselines : str or Path, optional
        `baselines.csv` of `train`: adds the frozen baselines on `scans`.
    models : sequence of str, optional
        Only these; all of the tables without it.

    Raises
    ------
    OptionError
        If there is no table, a model is not there, or `baselines` come without `scans`.
    TableError
        If a table is damaged, a scan or model stands twice, truths differ or are missing, a patient is in two folds of
        one model, all scans are of one class, or none is left.

    Examples
    --------
    >>> rows = "patient_id,visit,truth,probability,threshold\nP1,a,1,0.9,0.5\nP2,a,0,0.2,0.5\n"
    >>> _ = Path("net.csv").write_text(rows)
    >>> judged = read_judged("net.csv")
    >>> judged.models[0].name, judged.models[0].evaluation, judged.truth.tolist()
    ('net', 'frozen', [1, 0])
    """
    tables = [tables] if isinstance(tables, str | Path) else list(tables)
    if not tables:
        raise OptionError(
            "tables: expected at least one table of probabilities, found none. Name a cross_validation.csv."
        )
    table = None if scans is None else read_table(scans, SCANS).set_index(KEYS)
    frames = _by_model(tables)
    if baselines is not None:
        frames |= _frozen(baselines, table)
    frames = _chosen(frames, models)
    truth = _truth(frames, table, scans)
    common, out = truth, []
    for name, frame in frames.items():
        out.append(_lacking(name, frame, truth))
        common = common[common.index.isin(frame.index)]
    _check_classes(common, tables, len(truth))
    rows = common.to_frame("truth") if table is None else table.loc[common.index].assign(truth=common)
    found = [_model(name, frame.loc[common.index]) for name, frame in frames.items()]
    found.sort(key=lambda model: model.is_baseline)
    return JudgedScans(rows.reset_index(), tuple(found), pd.concat(out, ignore_index=True)[LEFT_OUT.names])


def _by_model(tables: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    frames: dict[str, pd.DataFrame] = {}
    for given in tables:
        name, path = named_table(given, FOLDER_TABLES)
        frame = read_table(path, JUDGED)
        if frame.empty:
            raise TableError(f"{path}: expected a row per scan, found none below the header. Predict again.")
        if name or "model" not in frame:
            several = "model" in frame and len(frame["model"].unique()) > 1
            own = name or (path.parent.name if path.name in FOLDER_TABLES else path.stem)
            frame = frame.assign(model=own + " " + frame["model"].astype(str) if several else own)
        check_unique(frame, ["model", *KEYS], path)
        for model, rows in frame.groupby("model", sort=False):
            plain_name(str(model), f"{path}: model", TableError)
            if model in frames:
                raise TableError(
                    f"{path}: model {model!r} stands in another table too. Give one of them another name: NAME={path}."
                )
            _check_folds(rows, str(model), path)
            frames[str(model)] = rows.set_index(KEYS)
    return frames


def _check_folds(rows: pd.DataFrame, model: str, path: Path) -> None:
    if "fold" not in rows or rows["fold"].isna().all():
        return
    if rows["fold"].isna().any():
        raise TableError(f"{path}: model {model}: expected a fold in each row or in none, found blanks. Train again.")
    counts = rows.groupby("patient_id")["fold"].nunique()
    several = counts[counts > 1]
    if len(several):
        raise TableError(
            f"{path}: model {model}: patient {several.index[0]} is in {several.iloc[0]} folds ({len(several)} such "
            "patients); expected folds by patient, else a model is judged on patients that it has seen. Train again."
        )


def _frozen(path: str | Path, scans: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    if scans is None:
        raise OptionError(
            "baselines: expected the table of scans beside it, found none. Name scans.csv of the prepared folder: "
            "--scans."
        )
    rows = baseline_predictions(read_table(path, BASELINE_FITS), scans.reset_index())
    return {str(model): part.set_index(KEYS) for model, part in rows.groupby("model", sort=False)}


def _chosen(frames: dict[str, pd.DataFrame], models: Sequence[str]) -> dict[str, pd.DataFrame]:
    if isinstance(models, list | tuple) and not models:
        return frames
    return {name: frames[name] for name in different_words(models, frames, "models")}


def _truth(frames: dict[str, pd.DataFrame], scans: pd.DataFrame | None, where: str | Path | None) -> "pd.Series[int]":
    """Truth of every scan; index as of the models."""
    told = {name: frame["truth"] for name, frame in frames.items() if "truth" in frame}
    if scans is not None:
        told = {str(where): scans["disabled"], **told}
    if not told:
        raise TableError(
            "truth: expected a column truth, or the table of scans, found neither. Name scans.csv of the prepared "
            "folder: --scans."
        )
    together = pd.concat(told, axis=1)
    unlike = together.min(axis=1) != together.max(axis=1)
    if unlike.any():
        key, row = together.index[unlike][0], together[unlike].iloc[0].dropna()
        raise TableError(
            f"truth: patient {key[0]}, visit {key[1]}: expected one, found "
            f"{', '.join(f'{value:g} in {name}' for name, value in row.items())} ({int(unlike.sum())} such scans). Are "
            "the tables of one preparation?"
        )
    found = together.min(axis=1)
    if scans is not None:
        outside = found.index.difference(scans.index)
        if len(outside):
            raise TableError(
                f"{where}: expected all scans that are judged, found none of patient {outside[0][0]}, visit "
                f"{outside[0][1]} ({len(outside)} such). Name the table of this preparation."
            )
    return found.astype(int)


def _lacking(model: str, frame: pd.DataFrame, truth: "pd.Series[int]") -> pd.DataFrame:
    missing = truth.index.difference(frame.index, sort=False).to_frame(index=False)
    return missing.assign(model=model, reason="no probability of this model")


def _check_classes(common: "pd.Series[int]", tables: Sequence[str | Path], every: int) -> None:
    if 0 < common.sum() < len(common):
        return
    raise TableError(
        f"{', '.join(str(table) for table in tables)}: expected scans of both classes that every model has judged, "
        f"found {len(common)} of {every}, {int(common.sum())} of them disabled. Do patient_id and visit agree? "
        "--models leaves models out."
    )


def _model(name: str, frame: pd.DataFrame) -> Model:
    def column(of: str, missing: float) -> Floats:
        if of not in frame:
            return np.full(len(frame), missing)
        return frame[of].astype("Float64").to_numpy(np.float64, na_value=missing)

    return Model(name, column("probability", np.nan), column("threshold", np.nan), column("fold", -1).astype(np.int64))
