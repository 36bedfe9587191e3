"""Names that others gave and that become parts of file names: plain ones only."""

from nnunet_ms.errors import NnunetMsError, SettingsError

LONGEST = 100  # bytes; file systems take 255, and file names hold more than one name
_FORBIDDEN = frozenset('/\\:*?"<>|')  # separators, and what Windows forbids


def plain_name(text: object, what: str, error: type[NnunetMsError] = SettingsError) -> str:
    r"""Return a name that is safe as a part of a file name; letters may be of any language, and blanks may be inside.

    Parameters
    ----------
    text : object
        The name, a text.
    what : str
        What it names and where it stands, for the message.
    error : type, optional
        Error that is raised.

    Raises
    ------
    NnunetMsError
        Of the type `error`, if it is no text or blank, is longer than 100 bytes, begins with a dot or a dash, begins or
        ends with a blank, or has a slash, a backslash, one of `:*?"<>|`, or what cannot be printed.

    Examples
    --------
    >>> plain_name("T1 black hole", "label")
    'T1 black hole'
    >>> plain_name("x/../../T", "label")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.SettingsError: label: expected a plain name (such as t2_lesions), found 'x/../../T'. Rename it...
    """
    if not isinstance(text, str) or not _is_plain(text):
        raise error(
            f"{what}: expected a plain name (such as t2_lesions), found {ascii(text)[:LONGEST]}. Rename it: "
            f'no / \\ : * ? " < > |, no dot or dash in front, 1 to {LONGEST} bytes.'
        )
    return text


def _is_plain(text: str) -> bool:
    if not text.isprintable() or text != text.strip() or text[:1] in ("", ".", "-"):
        return False
    return not _FORBIDDEN & set(text) and len(text.encode()) <= LONGEST
