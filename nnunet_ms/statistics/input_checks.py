"""What every estimator asks of its input, with the true reason where it does not hold.

Two kinds of wrong input are told apart. What the caller wrote wrongly (lengths that differ, a word or a level that does
not exist) raises. What the data hold (a missing value, a negative time, an event that is neither 0 nor 1) is said in
the `problem` of estimators that have one, so that one bad endpoint of a trial does not stop the others; estimators
without `problem` raise it.
"""

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
import numpy.typing as npt
import pandas as pd

from nnunet_ms.arrays import Bools, Floats
from nnunet_ms.errors import OptionError, StatisticsError


def level(confidence: float, name: str = "confidence") -> float:
    """Return a level of confidence, which lies between 0 and 1.

    Parameters
    ----------
    confidence : float
        Such as 0.95.
    name : str, optional
        The argument's name, which begins the message.

    Raises
    ------
    OptionError
        If it is not a number between 0 and 1.

    Examples
    --------
    >>> level(95)
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: confidence: expected a number between 0 and 1, found 95. Did you mean 0.95?
    """
    if isinstance(confidence, float | int | np.number) and 0 < confidence < 1:
        return float(confidence)
    percent = isinstance(confidence, float | int | np.number) and 1 < confidence < 100
    step = f"Did you mean {confidence / 100:g}?" if percent else "0.95 is usual."
    raise OptionError(f"{name}: expected a number between 0 and 1, found {confidence!r}. {step}")


def as_numbers(values: npt.ArrayLike, name: str, dimensions: int = 1) -> Floats:
    """Return `values` as floats.

    Parameters
    ----------
    values : array
        Numbers, flags, or texts that are numbers.
    name : str
        What they are, for the message.
    dimensions : int, optional
        Expected number of axes.

    Raises
    ------
    StatisticsError
        If they are no numbers, or have another number of axes.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        found = getattr(values, "dtype", type(values).__name__)
        raise StatisticsError(f"{name}: expected numbers, found {found}. Code texts as numbers first.") from error
    if array.ndim != dimensions:
        raise StatisticsError(f"{name}: expected an array with {dimensions} axes, found shape {array.shape}.")
    return array


def equally_long(**arrays: npt.ArrayLike | None) -> None:
    """Raise unless all arrays have the same number of entries, or rows; None is left out.

    Raises
    ------
    StatisticsError
        With every length.

    Examples
    --------
    >>> equally_long(time=[1, 2, 3], event=[0, 1])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.StatisticsError: expected equal lengths, found 3 in time, 2 in event
    """
    lengths = {name: len(np.asarray(values)) for name, values in arrays.items() if values is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{n} in {name}" for name, n in lengths.items())
        raise StatisticsError(f"expected equal lengths, found {found}")


def missing_values(**arrays: npt.ArrayLike | None) -> str:
    """Say which arrays hold values that are missing or infinite; blank text if none does.

    Examples
    --------
    >>> missing_values(response=[1.0, float("nan")], arm=["a", "b"])
    '1 of 2 values of response are missing or infinite'
    >>> missing_values(arm=["a", None, "b"])
    '1 of 3 values of arm are missing'
    """
    found = []
    for name, values in arrays.items():
        if values is None:
            continue
        array = np.asarray(values)
        number = array.dtype.kind in "fiub"
        bad = int((~np.isfinite(array) if number else np.asarray(pd.isna(array))).sum())
        if bad:
            found.append(f"{bad} of {array.size} values of {name} are missing{' or infinite' * number}")
    return "; ".join(found)


def time_to_event(weeks: npt.ArrayLike, event: npt.ArrayLike) -> tuple[Floats, Bools, str]:
    """Return times, which of them ended with the event, and why they cannot be analysed (blank text: they can).

    Parameters
    ----------
    weeks : (n,) array
        Times, >= 0.
    event : (n,) array
        1 or True where the time ended with the event, 0 or False where it was censored.

    Raises
    ------
    StatisticsError
        If lengths differ or a value is no number.

    Examples
    --------
    >>> time_to_event([3.0, 5.0], [1, 2])[2]
    'event: expected 0 (censored) and 1 (event), found 2'
    >>> time_to_event([3.0, -5.0], [1, 0])[2]
    'time: expected values >= 0, found -5'
    """
    time, marks = as_numbers(weeks, "time"), as_numbers(event, "event")
    equally_long(time=time, event=marks)
    problem = missing_values(time=time, event=marks)
    if not problem and len(time) and time.min() < 0:
        problem = f"time: expected values >= 0, found {time.min():g}"
    other = marks[(marks != 0) & (marks != 1)]
    if not problem and len(other):
        problem = (
            f"event: expected 0 (censored) and 1 (event), found {', '.join(f'{v:g}' for v in np.unique(other)[:3])}"
        )
    return time, marks == 1, problem


def two_classes(**classes: npt.ArrayLike) -> tuple[list[Bools], str]:
    """Return arrays of 0 and 1 as flags, and why they cannot be analysed (blank text: they can).

    Raises
    ------
    StatisticsError
        If lengths differ or a value is no number.

    Examples
    --------
    >>> two_classes(label=[1, 0, 2])[1]
    'label: expected 0 and 1, found 2'
    """
    numbers = {name: as_numbers(values, name) for name, values in classes.items()}
    equally_long(**numbers)
    problem = missing_values(**numbers)
    for name, values in numbers.items():
        other = np.unique(values[(values != 0) & (values != 1)])
        if not problem and other.size:
            problem = f"{name}: expected 0 and 1, found {', '.join(f'{value:g}' for value in other[:3])}"
    return [values == 1 for values in numbers.values()], problem


def probabilities(values: npt.ArrayLike, name: str = "probability", dimensions: int = 1) -> tuple[Floats, str]:
    """Return probabilities as floats, and why they are none (blank text: they are).

    Raises
    ------
    StatisticsError
        If a value is no number, or there are other axes.

    Examples
    --------
    >>> probabilities([0.2, 20])[1]
    'probability: expected values from 0 to 1, found 20'
    """
    array = as_numbers(values, name, dimensions)
    problem = missing_values(**{name: array})
    outside = array[(array < 0) | (array > 1)]
    if not problem and outside.size:
        problem = f"{name}: expected values from 0 to 1, found {outside[0]:g}"
    return array, problem


def columns_there(frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Raise unless the frame has every column.

    Raises
    ------
    StatisticsError
        With the columns that there are.

    Examples
    --------
    >>> columns_there(pd.DataFrame({"arm": ["a"], "tlv": [1.2]}), ["arm", "TLV"])
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.StatisticsError: expected column 'TLV', found ['arm', 'tlv']. Did you mean 'tlv'?
    """
    there = [str(name) for name in frame.columns]
    for name in names:
        if name not in frame.columns:
            close = get_close_matches(str(name).lower(), [other.lower() for other in there], n=1)
            meant = next((f" Did you mean {other!r}?" for other in there if [other.lower()] == close), "")
            raise StatisticsError(f"expected column {name!r}, found {there}.{meant or ' Name one of them.'}")


def missing_columns(frame: pd.DataFrame, names: Iterable[str]) -> str:
    """Say which columns hold values that are missing or infinite, as `missing_values`; blank text if none does.

    Raises
    ------
    StatisticsError
        If a column is not there.
    """
    wanted = list(dict.fromkeys(names))
    columns_there(frame, wanted)
    return missing_values(**{name: frame[name] for name in wanted})


def refuse(problem: str) -> None:
    """Raise a problem, in estimators that have no place for it in their result.

    Raises
    ------
    StatisticsError
        Unless the text is blank.
    """
    if problem:
        raise StatisticsError(f"{problem}. Leave these rows out, or correct them.")
