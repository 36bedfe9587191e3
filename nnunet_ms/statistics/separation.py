"""Separation: covariates with which the likelihood of a log-linear model of counts has no maximum.

Where some covariates foretell that a group of patients has no event, a coefficient runs off to infinity and programs
print a standard error in the thousands. Whether that is so is a linear programme [1]_, solved by scipy.

References
----------
.. [1] Correia S, Guimaraes P, Zylkin T. Verifying the existence of maximum likelihood estimates for generalized linear
   models, 2019. arXiv:1903.01633. For the logistic model: Konis K. Linear programming algorithms for detecting
   separated data, thesis, Oxford 2007.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.optimize

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.statistics.design_matrix import ARM, Design, Weights, arm_design
from nnunet_ms.statistics.input_checks import equally_long

Covariate = str | tuple[str, str]  # the product of two
SMALLEST_PUSH = 1e-6  # of the linear predictor, in units of the largest column


def separated_rows(X: Floats, has_event: Bools) -> Bools:
    """Say whose expected count the likelihood would drive to 0: (n,) bool, none where there is a maximum.

    Parameters
    ----------
    X : (n, k) float array
        Design, with its intercept.
    has_event : (n,) bool array
        Whose count is above 0.

    Raises
    ------
    StatisticsError
        If lengths differ.

    Examples
    --------
    Nobody in the second group has an event: its rate would be 0, its coefficient minus infinity.

    >>> X = np.array([[1, 0], [1, 0], [1, 1], [1, 1]], float)
    >>> separated_rows(X, np.array([True, False, False, False]))
    array([False, False,  True,  True])
    >>> separated_rows(X, np.array([True, False, False, True]))
    array([False, False, False, False])
    """
    equally_long(design=X, has_event=has_event)
    return np.asarray(~has_event & (_scaled(X) @ _direction(X, has_event) < -SMALLEST_PUSH))


def _scaled(X: Floats) -> Floats:
    size = np.abs(X).max(axis=0, initial=0.0)
    return np.asarray(X / np.where(size > 0, size, 1.0))  # a volume in ml and a flag differ by orders of magnitude


def _direction(X: Floats, has_event: Bools) -> Floats:
    """Return the way of the coefficients (k,) that lowers patients without event and moves nobody with one."""
    with_event, without = (np.unique(_scaled(X)[rows], axis=0) for rows in (has_event, ~has_event))
    if not len(without):
        return np.zeros(X.shape[1])
    equal = {"A_eq": with_event, "b_eq": np.zeros(len(with_event))} if len(with_event) else {}
    found = scipy.optimize.linprog(
        without.sum(axis=0), A_ub=without, b_ub=np.zeros(len(without)), bounds=(-1, 1), method="highs", **equal
    )
    return np.asarray(found.x)


@dataclass(frozen=True)
class Kept:
    """Covariates with which the likelihood has a maximum; `notes` say which were left out and why."""

    numbers: tuple[str, ...]
    factors: tuple[str, ...]
    products: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def estimable_covariates(
    frame: pd.DataFrame,
    count: str,
    arms: Sequence[str],
    numbers: Sequence[str] = (),
    factors: Sequence[str] = (),
    products: Sequence[tuple[str, str]] = (),
    references: Mapping[str, object] | None = None,
    weights: Weights = "equal",
) -> Kept:
    """Leave out covariates until the likelihood of the counts has a maximum; every arm must have an event.

    The rule: first every factor with a level without an event; then, as long as counts are separated, the covariate
    whose leaving out ends it, products before factors before numbers and later ones before earlier ones; if no single
    one does, the last one that takes part in it.

    Parameters
    ----------
    frame, arms, numbers, factors, products, references, weights
        As in `design_matrix.arm_design`.
    count : str
        Column of whole numbers >= 0.

    Raises
    ------
    OptionError, StatisticsError
        As `design_matrix.arm_design`.

    Examples
    --------
    Every lesion of arm b is in a patient who was not read at baseline, and nobody else was not read:

    >>> frame = pd.DataFrame({"arm": ["a"] * 3 + ["b"] * 3, "new": [1, 0, 2, 0, 0, 1]})
    >>> frame["baseline"] = ["absent"] * 5 + ["not read"]
    >>> kept = estimable_covariates(frame, "new", ["a", "b"], factors=["baseline"])
    >>> kept.factors, kept.notes
    ((), ('baseline left out (with it 2 patients without a lesion would get the rate 0: no finite coefficient)',))
    """
    inside, first = levels_with_events(frame, count, factors)
    notes = list(first)
    terms: list[Covariate] = [*numbers, *inside]
    terms += [pair for pair in products if set(pair) <= {ARM, *numbers, *inside}]
    has_event = (frame[count] > 0).to_numpy(bool)

    def design_of(chosen: Sequence[Covariate]) -> Design:
        of_numbers, of_factors, pairs = _apart(chosen, numbers)
        known = {name: level for name, level in (references or {}).items() if name in of_factors}
        return arm_design(frame, arms, of_numbers, of_factors, weights, pairs, known)

    while (rows := separated_rows((design := design_of(terms)).X, has_event)).any():
        taking_part = _taking_part(design, terms, _direction(design.X, has_event))
        left = {term: _without(terms, term) for term in reversed(taking_part)}
        ends = [term for term in left if not separated_rows(design_of(left[term]).X, has_event).any()]
        if not left:  # the arms alone are separated: an arm without an event
            break
        gone = (ends or list(left))[0]
        terms = left[gone]
        notes.append(
            f"{gone if isinstance(gone, str) else ':'.join(gone)} left out (with it {int(rows.sum())} patients without "
            "a lesion would get the rate 0: no finite coefficient)"
        )
    of_numbers, of_factors, pairs = _apart(terms, numbers)
    return Kept(tuple(of_numbers), tuple(of_factors), tuple(pairs), tuple(notes))


def levels_with_events(frame: pd.DataFrame, count: str, factors: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Leave out factors with a level that has no event: its coefficient would be minus infinity.

    Examples
    --------
    >>> frame = pd.DataFrame({"new": [0, 0, 3, 1], "region": ["US", "US", "ROW", "ROW"], "sex": list("FMFM")})
    >>> levels_with_events(frame, "new", ["region", "sex"])
    (['sex'], ('region left out (no lesion in US)',))
    """
    empty = {name: frame.groupby(name)[count].sum() for name in factors}
    bad = {name: [str(level) for level, total in sums.items() if total == 0] for name, sums in empty.items()}
    kept = [name for name in factors if not bad[name]]
    notes = tuple(f"{name} left out (no lesion in {', '.join(levels)})" for name, levels in bad.items() if levels)
    return kept, notes


def _apart(terms: Sequence[Covariate], numbers: Sequence[str]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Split covariates into numbers, factors and products."""
    names = [term for term in terms if isinstance(term, str)]
    pairs = [term for term in terms if not isinstance(term, str)]
    return [name for name in names if name in numbers], [name for name in names if name not in numbers], pairs


def _without(terms: Sequence[Covariate], gone: Covariate) -> list[Covariate]:
    """Leave out a covariate, and with it its products."""
    return [term for term in terms if term != gone and (isinstance(term, str) or gone not in term)]


def _taking_part(design: Design, terms: Sequence[Covariate], direction: Floats) -> list[Covariate]:
    """Return the covariates whose coefficients would be infinite."""
    moved = {name for name, places in design.columns_of().items() if np.abs(direction[places]).max() > SMALLEST_PUSH}
    return [term for term in terms if (term if isinstance(term, str) else ":".join(term)) in moved]
