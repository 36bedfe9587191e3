"""Which nnU-Net is installed, and whether it is one that this package works with."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from nnunet_ms.errors import SettingsError

OLDEST, BEFORE = (2, 8), (3, 0)  # as in pyproject.toml; a test compares them


def require_nnunet() -> str:
    """Return the version of the installed nnU-Net; nothing of it is imported.

    Raises
    ------
    SettingsError
        If it is missing, too old or too new: one line that says what to install.

    Examples
    --------
    >>> require_nnunet().split(".")[0]
    '2'
    """
    wanted = f"nnunetv2 >= {'.'.join(map(str, OLDEST))}, < {BEFORE[0]}"
    step = f'Install it: pip install "nnunetv2>={OLDEST[0]}.{OLDEST[1]},<{BEFORE[0]}".'
    try:
        found = version("nnunetv2")
    except PackageNotFoundError:
        if find_spec("nnunetv2") is None:
            raise SettingsError(f"nnU-Net: expected {wanted}, found none in this Python. {step}") from None
        return "unknown"  # a folder on PYTHONPATH says no version
    if not OLDEST <= _numbers(found) < BEFORE:
        raise SettingsError(f"nnU-Net: expected {wanted}, found {found}. {step}")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 8, 1) of 2.8.1.dev3."""
    numbers = []
    for part in text.split("."):
        digits = "".join(c for c in part if c.isdecimal()) if part[:1].isdecimal() else ""
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
