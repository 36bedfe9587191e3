"""What the functions on data frames share: which rows they use, how columns become terms, and how a result looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from nnunet_ms.errors import StatisticsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.design_matrix import ARM, Term, Weights, factor, number, product
from nnunet_ms.statistics.input_checks import columns_there, missing_columns

Missing = Literal["error", "drop"]
Reference = Mapping[str, object]
Names = str | Sequence[str]


@dataclass(frozen=True, eq=False)
class Result:
    """A tidy table, and the object that it was made from.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per estimate; numbers are not rounded. `table.attrs` says what the numbers are: `method`, `references`
        (column -> reference level), `rows_left_out`, `left_out` (column -> missing values), `notes`.
    fit : object
        What was fitted, for whoever wants more than the table.
    """

    table: pd.DataFrame
    fit: object

    def __str__(self) -> str:
        """The table to four digits, and under it what the numbers are."""
        return f"{self._shown().to_string(index=False, float_format=_four_digits, na_rep='')}\n{self._words()}"

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        html = self._shown().to_html(index=False, float_format=_four_digits, na_rep="", border=0)
        return f"{html}<p>{escape(self._words())}</p>"

    def _shown(self) -> pd.DataFrame:
        """The columns that say something: without `method`, which stands below, and without blank texts."""
        blank = [name for name in self.table if self.table[name].isin(["", None]).all()]
        return self.table.drop(columns=list(dict.fromkeys(["method", *blank])))

    def _words(self) -> str:
        attrs = self.table.attrs
        first = ", ".join(f"{level} of {name}" for name, level in attrs["references"].items())
        gone = attrs["rows_left_out"]
        parts = [attrs["method"], f"reference: {first}" if first else "", *attrs["notes"]]
        return "; ".join(filter(None, [*parts, f"{gone} rows with missing values left out" if gone else ""]))


@dataclass(frozen=True)
class Rows:
    """The rows that are analysed, and how many were left out: `left_out` is column -> missing values."""

    frame: pd.DataFrame
    rows_left_out: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def result(
        self,
        table: Sequence[Mapping[str, object]],
        columns: Sequence[str],
        fit: object,
        method: str,
        references: Mapping[str, str],
        notes: Sequence[str] = (),
    ) -> Result:
        """Return the result of an analysis of these rows; `table` has one mapping per row, its values by column."""
        blank = {"reference": "", "problem": "", "method": method}
        tidy = pd.DataFrame([{**blank, **row} for row in table], columns=list(columns))
        tidy.attrs = {
            "method": method,
            "references": dict(references),
            "rows_left_out": self.rows_left_out,
            "left_out": dict(self.left_out),
            "notes": list(notes),
        }
        return Result(tidy, fit)


def usable_rows(frame: pd.DataFrame, names: Sequence[str], missing: Missing) -> Rows:
    """Return the rows in which every named column has a value.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any.
    names : sequence of str
        Columns that are used.
    missing : {"error", "drop"}
        What is done with a row that lacks a value.

    Raises
    ------
    OptionError
        If `missing` is another word.
    StatisticsError
        If a column is not there, a value is missing and `missing` is "error", a value is infinite, or no row is left.

    Examples
    --------
    >>> frame = pd.DataFrame({"age": [30.0, None, 50.0], "arm": ["a", "b", None]})
    >>> usable_rows(frame, ["age"], "drop").rows_left_out
    1
    >>> usable_rows(frame, ["age"], "error")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.StatisticsError: 1 of 3 values of age are missing or infinite. Fill them in, or leave these rows
    out with missing="drop".
    """
    chosen(missing, get_args(Missing), "missing")
    _check_frame(frame)
    wanted = list(dict.fromkeys(names))
    columns_there(frame, wanted)
    lacking = frame[wanted].isna()
    rows = frame[~lacking.any(axis=1)] if missing == "drop" else frame
    problem = missing_columns(rows, wanted)
    if problem:
        raise StatisticsError(f'{problem}. Fill them in, or leave these rows out with missing="drop".')
    if rows.empty:
        raise StatisticsError(f"expected rows with values in {wanted}, found none among {len(frame)}.")
    counts = {name: int(n) for name, n in lacking.sum().items() if n}
    return Rows(rows.reset_index(drop=True), len(frame) - len(rows), counts)


def listed(names: Names) -> list[str]:
    """Return one name, or several, as a list."""
    return [names] if isinstance(names, str) else list(names)


def names_in(frame: pd.DataFrame, covariates: Names) -> list[tuple[str, ...]]:
    """Return each covariate as its column, or as the columns of a product: "arm:tlv" is ("arm", "tlv").

    A column whose own name holds a colon is that column.

    Raises
    ------
    StatisticsError
        If a product is of more than two columns.
    """
    _check_frame(frame)
    parts = [(name,) if name in frame.columns else tuple(name.split(":")) for name in listed(covariates)]
    for names in parts:
        if len(names) > 2:
            raise StatisticsError(f"{':'.join(names)}: expected a product of two columns, found {len(names)}.")
    return parts


def is_factor(values: pd.Series) -> bool:
    """Whether a column is coded by levels: texts and categories are, numbers and flags are not.

    Raises
    ------
    StatisticsError
        If it holds dates.
    """
    if is_datetime64_any_dtype(values):
        raise StatisticsError(f"{values.name}: expected numbers or texts, found dates. Turn them into weeks first.")
    return not (is_numeric_dtype(values) or is_bool_dtype(values))


def reference_levels(frame: pd.DataFrame, factors: Sequence[str], reference: Reference | None) -> dict[str, str]:
    """Return the reference level of every factor: as `reference` says, else the first in sorted order.

    Raises
    ------
    OptionError
        If `reference` names a column that is none of the factors, or a level that is not there.
    """
    for name in reference or {}:
        chosen(name, factors, "reference")
    levels = {name: sorted(set(frame[name].astype(str))) for name in factors}
    wanted = {name: str(level) for name, level in (reference or {}).items()}
    return {name: chosen(wanted.get(name, there[0]), there, f"reference of {name}") for name, there in levels.items()}


def term_of(
    frame: pd.DataFrame, names: Sequence[str], references: Mapping[str, str], weights: Weights = "equal"
) -> Term:
    """Return the term of one column, or of the product of two; columns in `references` are factors."""
    parts = [
        factor(name, frame[name].astype(str), weights, references[name])
        if name in references
        else number(name, frame[name])
        for name in names
    ]
    return parts[0] if len(parts) == 1 else product(parts[0], parts[1], weights=weights)


def reference_of(term: str, references: Mapping[str, str]) -> str:
    """Return the reference level of a coefficient called "column: level"; blank for a number or a product."""
    name, _, level = term.partition(": ")
    return references.get(name, "") if level and ":" not in level else ""


@dataclass(frozen=True)
class ArmModel:
    """A model of arms and covariates, as the estimators take it: the rows with the arms in the column `arm`.

    `references`: of the factors, without the arm, whose reference is the first of `arms`.
    """

    rows: Rows
    arms: list[str]
    numbers: list[str]
    factors: list[str]
    products: list[tuple[str, str]]
    references: dict[str, str]

    def all_references(self, arm: str) -> dict[str, str]:
        """Return every reference level, the arm's under its own column's name."""
        return {arm: self.arms[0], **self.references}


def arm_model(
    frame: pd.DataFrame,
    others: Sequence[str],
    arm: str,
    covariates: Names,
    reference: Reference | None,
    missing: Missing,
) -> ArmModel:
    """Choose rows and code columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        The user's.
    others : sequence of str
        Columns used beside the arm and the covariates.
    arm, covariates, reference, missing
        As in `frames.ancova`.

    Raises
    ------
    OptionError, StatisticsError
        If a word, level or column is not there, values are missing, there is one arm only, or the arm is a covariate.
    """
    wanted = names_in(frame, covariates)
    single = [names[0] for names in wanted if len(names) == 1]
    clash = arm if arm in single else ARM if ARM in single and arm != ARM else ""
    if clash:
        raise StatisticsError(f"covariates: {clash} is the arm's own name. Leave it out, or rename the other column.")
    pairs = [(names[0], names[1]) for names in wanted if len(names) == 2]
    columns = [*single, *(name for pair in pairs for name in pair if name != arm)]
    rows = usable_rows(frame, [*others, arm, *columns], missing)
    factors = [name for name in dict.fromkeys(columns) if is_factor(rows.frame[name])]
    coded = rows.frame.assign(**{name: rows.frame[name].astype(str) for name in factors})
    coded = coded.assign(**{ARM: rows.frame[arm].astype(str), arm: rows.frame[arm].astype(str)})
    levels = reference_levels(coded, [arm, *factors], reference)
    arms = sorted(set(coded[ARM]), key=lambda name: (name != levels[arm], name))
    if len(arms) < 2:
        raise StatisticsError(f"{arm}: expected two or more arms, found {arms}. A comparison needs two.")
    return ArmModel(
        rows=Rows(coded, rows.rows_left_out, rows.left_out),
        arms=arms,
        numbers=[name for name in single if name not in factors],
        factors=[name for name in single if name in factors],
        products=[(ARM if a == arm else a, ARM if b == arm else b) for a, b in pairs],
        references={name: level for name, level in levels.items() if name != arm},
    )


def _check_frame(frame: object) -> None:
    if not isinstance(frame, pd.DataFrame):
        found = type(frame).__name__
        raise StatisticsError(f"frame: expected a pandas.DataFrame, found {found}. Make one of it first.")


def _four_digits(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else str(value)
