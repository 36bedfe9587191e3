"""The design matrix that all models of the package share: terms, their products, and the reference grid.

Columns and their coding are R's `contr.treatment`; the reference grid is that of `emmeans`: numbers at their mean, the
levels of a factor by their weights, products as the product of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.errors import StatisticsError
from nnunet_ms.options import chosen
from nnunet_ms.statistics.input_checks import as_numbers, columns_there, equally_long

Weights = Literal["equal", "proportional"]
WEIGHTS = get_args(Weights)
INTERCEPT = "intercept"
ARM = "arm"


@dataclass(frozen=True)
class Term:
    """One term of a model.

    `columns` (n, k) with one name each; `grid` (k,): their value in the reference grid, of those of an arm in that arm;
    `arms` (k,): the arm in which a column is not 0, blank for all arms.
    """

    name: str
    names: tuple[str, ...]
    columns: Floats
    grid: Floats
    arms: tuple[str, ...]


def number(name: str, values: npt.ArrayLike, term: str | None = None) -> Term:
    """Return the term of a numeric covariate or a flag, (n,); `term`: its name where the column has another."""
    column = as_numbers(values, name)
    mean = float(column.mean()) if len(column) else np.nan
    return Term(term or name, (name,), column[:, None], np.array([mean]), ("",))


def factor(
    name: str,
    values: Iterable[object],
    weights: Weights = "equal",
    reference: object = None,
    unknown: Sequence[str] = (),
) -> Term:
    """Return the term of a factor: one column per level but the reference.

    Parameters
    ----------
    name : str
        Columns are called "name: level".
    values : iterable of n levels
        Without missing values.
    weights : {"equal", "proportional"}, optional
        How the reference grid weighs the levels.
    reference : level, optional
        Else the first in sorted order.
    unknown : sequence of str, optional
        Levels that stand for a missing value, such as "not read": they have a column, so that nobody is left out [1]_,
        but no weight in the reference grid, because nobody's value is "not read".

    Raises
    ------
    OptionError
        If there are no such weights, or no such level.

    References
    ----------
    .. [1] White IR, Thompson SG. Adjusting for partially missing baseline measurements in randomized trials. Stat Med
       24:993-1007, 2005.

    Examples
    --------
    >>> term = factor("region", ["US", "ROW", "US"])
    >>> term.names, term.columns.ravel().tolist(), term.grid.tolist()
    (('region: US',), [1.0, 0.0, 1.0], [0.5])
    """
    chosen(weights, WEIGHTS, "weights")
    given = list(values)
    levels = sorted(set(given))  # type: ignore[type-var]  # texts or numbers
    if reference is not None:
        chosen(str(reference), [str(level) for level in levels], f"reference of {name}")
        levels.sort(key=lambda level: str(level) != str(reference))
    columns = _flags(given, levels[1:])
    known = [str(level) not in unknown for level in levels]
    known = known if any(known) else [True] * len(levels)
    rows = _flags(given, [level for level, is_known in zip(levels, known, strict=True) if is_known]).any(axis=1)
    share = columns[rows].mean(axis=0) if rows.any() else np.full(columns.shape[1], np.nan)
    grid = np.full(columns.shape[1], 1 / max(sum(known), 1)) if weights == "equal" else share
    grid = np.where(known[1:], grid, 0.0)
    return Term(name, tuple(f"{name}: {level}" for level in levels[1:]), columns, grid, ("",) * columns.shape[1])


def arm_term(values: Iterable[object], arms: Sequence[str]) -> Term:
    """Return the term of the compared arms, one column each, called as the arm; the first of `arms` is the reference.

    Raises
    ------
    StatisticsError
        If a patient is in another arm: 0 in every column would count as the reference.
    """
    given = list(values)
    problem = outside(given, arms)
    if problem:
        raise StatisticsError(f"{problem}. Leave them out, or name their arm.")
    compared = tuple(arms[1:])
    return Term(ARM, compared, _flags(given, compared), np.ones(len(compared)), compared)


def product(first: Term, second: Term, joiner: str = ":", weights: Weights = "equal") -> Term:
    """Return the interaction of two terms: every column of the first times every column of the second.

    Parameters
    ----------
    first, second : Term
        Of the same patients; at most one of them of the arms.
    joiner : str, optional
        Between the names.
    weights : {"equal", "proportional"}, optional
        Of two factors: "proportional" weighs their cells as often as the data hold them.

    Examples
    --------
    >>> term = product(arm_term(["a", "b"], ["a", "b"]), number("tlv", [2.0, 3.0]))
    >>> term.names, term.columns.ravel().tolist()
    (('b:tlv',), [0.0, 3.0])
    """
    chosen(weights, WEIGHTS, "weights")
    equally_long(**{first.name: first.columns, second.name: second.columns})
    pairs = [(i, j) for i in range(len(first.names)) for j in range(len(second.names))]
    columns = [first.columns[:, i] * second.columns[:, j] for i, j in pairs]
    matrix = np.column_stack(columns) if columns else np.zeros((len(first.columns), 0))
    grid = np.array([first.grid[i] * second.grid[j] for i, j in pairs])
    if weights == "proportional" and not any(first.arms) and not any(second.arms) and columns:
        grid = matrix.mean(axis=0)
    names = tuple(f"{first.names[i]}{joiner}{second.names[j]}" for i, j in pairs)
    arms = tuple(first.arms[i] or second.arms[j] for i, j in pairs)
    return Term(f"{first.name}:{second.name}", names, matrix, grid, arms)


@dataclass(frozen=True)
class Design:
    """A model matrix and the point at which least-squares means are taken.

    Parameters
    ----------
    X : (n, k) float array
        The columns of all terms, the intercept first where there is one.
    names, terms : tuple of str
        One per column: its own name, and its term's.
    grid : (k,) float array
        Value of each column in the reference grid, 0 for those of an arm.
    arm_grid : (k,) float array
        The same, for those of an arm in their arm.
    column_arms : tuple of str
        The arm in which a column is not 0, blank for all.
    arms : tuple of str
        The reference first; empty for a model without arms.
    dropped : tuple of str
        Covariates left out because they are constant in these data.
    """

    X: Floats
    names: tuple[str, ...]
    terms: tuple[str, ...]
    grid: Floats
    arm_grid: Floats
    column_arms: tuple[str, ...]
    arms: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def arm_point(self, arm: str) -> Floats:
        """Return the (k,) row of the reference grid for one arm; OptionError where there is no such arm."""
        chosen(arm, self.arms, "arm")
        return np.where([owner == arm for owner in self.column_arms], self.arm_grid, self.grid)

    def columns_of(self) -> dict[str, list[int]]:
        """Return the places of the columns of every term."""
        return {term: [i for i, t in enumerate(self.terms) if t == term] for term in dict.fromkeys(self.terms)}

    def varying(self) -> "Design":
        """Return the design without constant columns; `dropped` names them. For models without intercept."""
        keep = np.ptp(self.X, axis=0) != 0 if len(self.X) else np.zeros(len(self.names), bool)
        inside = np.flatnonzero(keep)
        dropped = tuple(name for name, kept in zip(self.names, keep, strict=True) if not kept)
        names, terms, owners = (
            tuple(values[i] for i in inside) for values in (self.names, self.terms, self.column_arms)
        )
        X = np.column_stack([self.X[:, i] for i in inside]) if len(inside) else self.X[:, :0]
        return replace(
            self, X=X, names=names, terms=terms, grid=self.grid[inside], arm_grid=self.arm_grid[inside],
            column_arms=owners, dropped=(*self.dropped, *dropped),
        )  # fmt: skip

    def rank_problem(self) -> str:
        """Say why the columns cannot be told apart; blank text if they can."""
        if len(self.X) == 0:
            return "no patients"
        length = np.linalg.norm(self.X, axis=0)
        if (length == 0).any():
            return "nobody in " + ", ".join(n for n, v in zip(self.names, length, strict=True) if v == 0)
        # columns of unit length, because a volume in ml and a flag differ by orders of magnitude
        if np.linalg.matrix_rank(self.X / length) < self.X.shape[1]:
            return "arm and covariates are confounded"
        return ""


def design(terms: Sequence[Term], n: int, intercept: bool = True, arms: Sequence[str] = ()) -> Design:
    """Put terms side by side.

    Parameters
    ----------
    terms : sequence of Term
        In the order of their columns.
    n : int
        Number of rows.
    intercept : bool, optional
        Whether a column of ones comes first.
    arms : sequence of str, optional
        The reference first, where there is a term of arms.
    """
    equally_long(rows=range(n), **{term.name: term.columns for term in terms})
    one = Term(INTERCEPT, (INTERCEPT,), np.ones((n, 1)), np.ones(1), ("",))
    all_terms = [*([one] if intercept else []), *terms]
    columns = [column for term in all_terms for column in term.columns.T]
    grid = np.concatenate([np.zeros(0), *(term.grid for term in all_terms)])
    owners = tuple(arm for term in all_terms for arm in term.arms)
    return Design(
        X=np.column_stack(columns) if columns else np.zeros((n, 0)),
        names=tuple(name for term in all_terms for name in term.names),
        terms=tuple(term.name for term in all_terms for _ in term.names),
        grid=np.where([owner == "" for owner in owners], grid, 0.0),
        arm_grid=grid,
        column_arms=owners,
        arms=tuple(arms),
    )


def arm_design(
    frame: pd.DataFrame,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    weights: Weights = "equal",
    products: Sequence[tuple[str, str]] = (),
    references: Mapping[str, object] | None = None,
    unknown: Sequence[str] = (),
) -> Design:
    """Return the design of: intercept + arm + numbers + factors + products.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `arm` and the covariates, without missing values.
    arms : sequence of str
        The reference arm first.
    numbers, factors : sequence of str, optional
        Numeric covariates, and factors; a factor's first level in sorted order is its reference. Constant ones are
        left out and named in `dropped`, their products with them.
    weights : {"equal", "proportional"}, optional
        How the reference grid weighs the levels of a factor; numeric covariates are at their mean.
    products : sequence of (str, str), optional
        Interactions of two of the terms above; "arm" is the arms.
    references : mapping, optional
        Factor -> its reference level, where that is not the first.
    unknown : sequence of str, optional
        Levels that stand for a missing value, as in `factor`.

    Raises
    ------
    OptionError
        If there are no such weights, or a product names something that is no term.
    StatisticsError
        If a column is not there, or a patient is in none of the arms.

    Examples
    --------
    >>> frame = pd.DataFrame({"arm": ["a", "b", "b"], "age": [30, 40, 50]})
    >>> arm_design(frame, ["a", "b"], ["age"], products=[("arm", "age")]).names
    ('intercept', 'b', 'age', 'b:age')
    """
    chosen(weights, WEIGHTS, "weights")
    columns_there(frame, [ARM, *numbers, *factors])
    constant = tuple(name for name in (*numbers, *factors) if frame[name].nunique() < 2)
    terms = {ARM: arm_term(frame[ARM], arms)}
    terms |= {name: number(name, frame[name]) for name in numbers if name not in constant}
    first = references or {}
    inside = [name for name in factors if name not in constant]
    terms |= {name: factor(name, frame[name], weights, first.get(name), unknown) for name in inside}
    for pair in products:
        for name in pair:
            chosen(name, (*terms, *constant), "products")
    crossed = [product(terms[a], terms[b], weights=weights) for a, b in products if not {a, b} & set(constant)]
    return replace(design([*terms.values(), *crossed], len(frame), arms=arms), dropped=constant)


def unknown_notes(frame: pd.DataFrame, factors: Sequence[str], unknown: Sequence[str]) -> tuple[str, ...]:
    """Say how many patients have a level that stands for a missing value, per factor.

    Examples
    --------
    >>> unknown_notes(pd.DataFrame({"baseline": ["absent", "not read"]}), ["baseline"], ["not read"])
    ('baseline not read in 1 patient: a level of its own, not part of the adjusted means',)
    """
    found = {(name, level): int((frame[name].astype(str) == level).sum()) for name in factors for level in unknown}
    return tuple(
        f"{name} {level} in {count} patient{'s' * (count != 1)}: a level of its own, not part of the adjusted means"
        for (name, level), count in found.items()
        if count
    )


def arms_problem(frame: pd.DataFrame, arms: Sequence[str]) -> str:
    """Say which arm has too few patients, or which patients are in none; blank text if all is well."""
    return few_in_an_arm(frame, arms) or outside(list(frame[ARM]), arms)


def few_in_an_arm(frame: pd.DataFrame, arms: Sequence[str], needed: int = 2) -> str:
    """Say which arm has fewer than `needed` patients; blank text if none has."""
    for arm in arms:
        count = int((frame[ARM] == arm).sum())
        if count < needed:
            return f"{count} patient{'s' * (count != 1)} in arm {arm}, needs {needed}"
    return ""


def arms_with_patients(frame: pd.DataFrame, arms: Sequence[str], needed: int = 2) -> tuple[str, ...]:
    """Return the reference arm, and those of the others that have at least `needed` rows; all where none has.

    Examples
    --------
    >>> arms_with_patients(pd.DataFrame({"arm": ["a", "a", "b", "c", "c"]}), ["a", "b", "c"])
    ('a', 'c')
    """
    there = [arm for arm in arms[1:] if not few_in_an_arm(frame, [arm], needed)]
    return (arms[0], *(there or arms[1:]))


def outside(values: Sequence[object], arms: Sequence[str]) -> str:
    """Say who is in none of the arms; blank text where nobody is."""
    others = [str(value) for value in values if value not in set(arms)]
    if not others:
        return ""
    return f"{len(others)} patients in no arm of {list(arms)}, but in {', '.join(sorted(set(others)))}"


def _flags(given: Sequence[object], levels: Sequence[object]) -> Floats:
    array = np.empty(len(given), dtype=object)  # numbers and texts keep their kind
    array[:] = given
    flags: list[Bools] = [np.asarray(array == level, bool) for level in levels]
    return np.column_stack(flags).astype(float) if flags else np.zeros((len(given), 0))
