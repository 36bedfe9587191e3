"""The kinds of source data by name; a module is imported when its kind is asked for."""

from importlib import import_module
from typing import Literal, get_args

from nnunet_ms.dataset_conversion.sources.source import Option, Request, Source
from nnunet_ms.errors import ConversionError
from nnunet_ms.options import chosen

# in the order of the help
Kind = Literal[
    "trial",
    "open_ms",
    "ms3seg",
    "isbi2015",
    "msseg2016",
    "msseg2_2021",
    "mslesseg",
    "shifts",
    "wmh2017",
    "open_ms_longitudinal",
    "bids",
    "folder",
]
SOURCES: dict[Kind, str] = {kind: f"{__name__.rpartition('.')[0]}.{kind}" for kind in get_args(Kind)}  # their modules


def source_of(kind: Kind) -> Source:
    """Return what is known about a kind of source, the `SOURCE` of its module.

    Raises
    ------
    OptionError
        If there is no such kind; the message lists them.

    Examples
    --------
    >>> source_of("wmh2017").channels
    ('flair', 't1')
    >>> source_of("msseg2016").takes
    ('rater', 'variant')
    """
    source: Source = import_module(SOURCES[chosen(kind, SOURCES, "kind")]).SOURCE
    return source


def kinds_that_take(option: Option) -> list[str]:
    """Kinds with an option, in the order of the help.

    Examples
    --------
    >>> kinds_that_take("prefer")
    ['bids']
    """
    return [kind for kind in SOURCES if option in source_of(kind).takes]


def check_options(source: Source, request: Request) -> None:
    """Raise ConversionError if a request has an option that the kind does not take; the message says which do."""
    for option in get_args(Option):
        if getattr(request, option) and option not in source.takes:
            kinds = ", ".join(kinds_that_take(option))
            raise ConversionError(f"--{option} is for {kinds}; remove it for {source.kind}.")
