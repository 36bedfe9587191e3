"""Tables of probabilities as a command takes them: "NAME=PATH", a path, or a folder that holds one of several files."""

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.errors import TableError


def named_table(given: str | Path, in_folders: Sequence[str]) -> tuple[str, Path]:
    """Name (blank where none is given) and file of a table; a path that exists is no name.

    Parameters
    ----------
    given : str or Path
        A file, a folder, or "NAME=" before either.
    in_folders : sequence of str
        Files that are looked for in a folder; the first that is there is taken.

    Raises
    ------
    TableError
        If a folder holds none of them.

    Examples
    --------
    >>> named_table("net=models/cross_validation.csv", ["cross_validation.csv"])
    ('net', PosixPath('models/cross_validation.csv'))
    """
    found = re.fullmatch(r"([^=/\\]+)=(.+)", str(given))
    name, path = (found[1], Path(found[2])) if found and not Path(given).exists() else ("", Path(given))
    if path.is_dir():
        inside = [path / file for file in in_folders if (path / file).is_file()]
        if not inside:
            raise TableError(f"{path}: expected {' or '.join(in_folders)} in it, found neither. Name the table.")
        return name, inside[0]
    return name, path
