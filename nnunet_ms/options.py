"""Options that take one word of a few: an unknown word is refused with the list of the known ones."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

from nnunet_ms.errors import OptionError

Word = TypeVar("Word", bound=str)
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
