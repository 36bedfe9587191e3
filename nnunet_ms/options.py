"""Options that take one word of a few: an unknown word is refused with the list of the known ones."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from operator import index
from typing import ParamSpec, SupportsIndex, TypeVar

from nnunet_ms.errors import OptionError

Word = TypeVar("Word", bound=str)
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def chosen(value: Word, allowed: Iterable[str], name: str) -> Word:
    """Return `value` if it is one of the allowed words.

    Parameters
    ----------
    value : str
        What the caller asked for; spelled exactly, capitals included.
    allowed : iterable of str
        Every known word, in the order in which the message lists them; `typing.get_args` of a `Literal` gives them.
    name : str
        The option's name, which begins the message.

    Raises
    ------
    OptionError
        If it is none of them. It is a `ValueError` too.

    Examples
    --------
    >>> chosen("efron", ("efron", "breslow"), "ties")
    'efron'
    >>> chosen("Efron", ("efron", "breslow"), "ties")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: ties: expected one of 'efron', 'breslow', found 'Efron'. Did you mean 'efron'?
    """
    known = list(allowed)
    if value in known:
        return value
    close = get_close_matches(str(value).lower(), known, n=1)
    step = f"Did you mean {close[0]!r}?" if close else "Choose one of them."
    raise OptionError(f"{name}: expected one of {', '.join(map(repr, known))}, found {value!r}. {step}")


def by_name(value: Mapping[str, Value], name: str) -> Mapping[str, Value]:
    """Return `value` if it gives each of its entries a name.

    Raises
    ------
    OptionError
        If it is a list, a path or anything else than a mapping.

    Examples
    --------
    >>> by_name({"OPERA II": "evaluation"}, "evaluations")
    {'OPERA II': 'evaluation'}
    >>> by_name(["evaluation"], "evaluations")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: evaluations: expected names and folders, {'NAME': 'FOLDER'}, found ['evaluation']. ...
    """
    if isinstance(value, Mapping):
        return value
    raise OptionError(
        f"{name}: expected names and folders, {{'NAME': 'FOLDER'}}, found {value!r}. Give each folder a name."
    )


def switch(value: object, name: str) -> bool:
    """Return `value` if it is True or False; a word such as "no" would count as true.

    Raises
    ------
    OptionError
        If it is neither.

    Examples
    --------
    >>> switch(False, "n4")
    False
    >>> switch("no", "n4")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: n4: expected True or False, found 'no'. Write it without quotes.
    """
    if isinstance(value, bool):
        return value
    step = "Write it without quotes." if isinstance(value, str) else "Choose one of them."
    raise OptionError(f"{name}: expected True or False, found {value!r}. {step}")


def whole_from(value: object, least: int, name: str, step: str) -> int:
    """Return `value` if it is a whole number, not a bool, from `least` on.

    Raises
    ------
    OptionError
        If it is not; `step` is what the message says to do.

    Examples
    --------
    >>> whole_from(2000, 1, "replicates", "2000 are usual.")
    2000
    >>> whole_from(-1, 0, "seed", "Correct it.")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: seed: expected a whole number >= 0, found -1. Correct it.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or index(value) < least:
        raise OptionError(f"{name}: expected a whole number >= {least}, found {value!r}. {step}")
    return index(value)


def different_words(values: object, allowed: Iterable[str], name: str) -> list[str]:
    """Return a list of different words of those allowed, at least one; a text is a list of one word.

    Raises
    ------
    OptionError
        If it is no list, is empty, or has an unknown word or one twice.

    Examples
    --------
    >>> different_words("wm", ("global", "wm"), "strategies")
    ['wm']
    >>> different_words(["wm", "wm"], ("global", "wm"), "strategies")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: strategies: expected different words, at least one, found ['wm', 'wm']. Name each ...
    """
    known = list(allowed)
    given = [values] if isinstance(values, str) else list(values) if isinstance(values, Iterable) else values
    if not isinstance(given, list) or not given:
        raise OptionError(f"{name}: expected different words, at least one, found {given!r}. Name some of {known}.")
    words = [str(chosen(word, known, name)) for word in given]
    if len(set(words)) < len(words):
        raise OptionError(f"{name}: expected different words, at least one, found {words}. Name each once.")
    return words


def whole_numbers(values: object, name: str) -> list[int]:
    """Return a list of whole numbers, of Python's or NumPy's; 2.0 and "2" are none.

    Raises
    ------
    OptionError
        If it is no list, or something else is in it.

    Examples
    --------
    >>> whole_numbers([10, 20], "sizes")
    [10, 20]
    >>> whole_numbers("10,20", "sizes")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.OptionError: sizes: expected a list of whole numbers, such as [1, 2], found '10,20'. Correct it.
    """
    found = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else None
    if found is None or not all(isinstance(value, SupportsIndex) and not isinstance(value, bool) for value in found):
        shown = values if found is None else found
        raise OptionError(f"{name}: expected a list of whole numbers, such as [1, 2], found {shown!r}. Correct it.")
    return [index(value) for value in found]


def known_keywords(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function with many arguments answer a misspelt one with the name that was meant, as `TypeError`.

    Examples
    --------
    >>> @known_keywords
    ... def draw(path, *, colour="black"):
    ...     return colour
    >>> draw("x.png", color="red")
    Traceback (most recent call last):
        ...
    TypeError: draw: unknown argument 'color'. Did you mean 'colour'? It takes path, colour.
    """
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for name in kwargs:
            if name not in names:
                close = get_close_matches(name, names, n=1)
                step = f" Did you mean {close[0]!r}?" if close else ""
                takes = ", ".join(one for one in names if one != "self")
                raise TypeError(f"{function.__name__}: unknown argument {name!r}.{step} It takes {takes}.")
        return function(*args, **kwargs)

    return call
