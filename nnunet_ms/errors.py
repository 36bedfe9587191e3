"""Errors that a user can fix. Everything else is a bug and keeps its traceback."""


class NnunetMsError(Exception):
    """Base class: the message names the thing, what was expected, what was found and the next step."""


class ConversionError(NnunetMsError):
    """Source data cannot become an nnU-Net dataset."""


class ImageError(NnunetMsError):
    """An image file is missing, damaged, or not what its role asks for."""


class TableError(NnunetMsError):
    """A table lacks a column, holds a bad value, or contradicts another table."""


class ModelError(NnunetMsError):
    """A plan, channel set or label set does not fit the network that was asked for."""


class SettingsError(NnunetMsError):
    """An argument or a settings file asks for something that cannot be done."""


class OptionError(SettingsError, ValueError):
    """An argument has a value that is not among those it takes; also a `ValueError`, as callers from Python expect."""


class StatisticsError(NnunetMsError, ValueError):
    """Numbers given to a statistic contradict each other or lack something; also a `ValueError`, as numpy raises."""


def one_line(error: BaseException) -> str:
    r"""Text of another library's error on one line, to stand inside a message of ours.

    Examples
    --------
    >>> one_line(ValueError("a file\nthat is broken"))
    'a file that is broken'
    """
    return " ".join(str(error).split())


def visible(text: str) -> str:
    r"""Text with line ends, terminal codes and bytes that are no text spelled out: names come from users' disks.

    Examples
    --------
    >>> visible("P001\n\x1b[31m")
    'P001\\n\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
