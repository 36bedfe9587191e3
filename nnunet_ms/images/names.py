"""Names of NIfTI files as folders have them: upper case, with and without packing, hidden files, two forms of letters.

Some systems store an accent beside its letter (NFD), others both as one (NFC); they look alike and are one name here.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from nnunet_ms.errors import SettingsError

SUFFIXES = (".nii", ".nii.gz")
_NIFTI = re.compile(r"(.+)\.nii(?:\.gz)?", re.IGNORECASE)


def stem_of(name: str) -> str:
    """Name of a NIfTI file without its suffix, letters in one form; blank for other files and for hidden ones.

    Examples
    --------
    >>> [stem_of(name) for name in ("P1_0000.nii.gz", "P1_0000.NII", "._P1_0000.nii.gz", "notes.txt")]
    ['P1_0000', 'P1_0000', '', '']
    """
    match = None if name.startswith(".") else _NIFTI.fullmatch(name)
    return one_form(match[1]) if match else ""


def one_form(name: str) -> str:
    r"""Text with every accented letter as one character.

    Examples
    --------
    >>> one_form("Mu\u0308ller") == "M\u00fcller"
    True
    """
    return unicodedata.normalize("NFC", name)


def is_text(name: str) -> bool:
    r"""Whether a name is UTF-8; other bytes in it, such as those of Latin-1, cannot stand in a table.

    Examples
    --------
    >>> is_text("M\u00fcller"), is_text("M\udcfcller")
    (True, False)
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def file_called(folder: Path, stem: str, ending: str = ".nii.gz") -> Path:
    """The NIfTI file of a folder that is called `stem`, whatever its suffix; where there is none, what is missing.

    Examples
    --------
    >>> file_called(Path("references"), "P1").as_posix(), file_called(Path("references"), "P9").as_posix()
    ('references/P1.nii.gz', 'references/P9.nii.gz')
    """
    usual = folder / f"{stem}{ending}"
    if usual.is_file() or not folder.is_dir():
        return usual
    wanted = one_form(stem)
    return next((path for path in sorted(folder.iterdir()) if stem_of(path.name) == wanted), usual)


def as_stored(path: Path) -> Path:
    """A path in the form of letters that the disk has; itself where there is no such file in either form.

    Examples
    --------
    >>> as_stored(Path("references/P1.nii.gz")).as_posix()
    'references/P1.nii.gz'
    """
    if str(path).isascii() or path.exists() or path.parent == path:
        return path
    folder = as_stored(path.parent)
    if not folder.is_dir():
        return path
    wanted = one_form(path.name)
    return next((other for other in sorted(folder.iterdir()) if one_form(other.name) == wanted), path)


def nifti_files(places: Sequence[Path], words: str = "") -> list[Path]:
    """Files of a list of files and folders, in the order of their names.

    Parameters
    ----------
    places : sequence of Path
        Files are taken as they are, folders with all below them.
    words : str, optional
        What names of files in folders must have in them.

    Raises
    ------
    SettingsError
        If one is missing, or a folder has none.

    Examples
    --------
    >>> [path.name for path in nifti_files([Path("references")])]
    ['P1.nii.gz']
    """
    found: list[Path] = []
    for place in places:
        if place.is_file():
            found.append(place)
            continue
        below = (
            sorted(p for p in place.rglob(f"*{words}*" if words else "*") if p.name.endswith(SUFFIXES))
            if place.is_dir()
            else []
        )
        if not below:
            expected = f"NIfTI files with {words!r} in their names" if words else "NIfTI files"
            raise SettingsError(f"{place}: expected a file, or a folder with {expected}, found none. Check the path.")
        found += below
    return found
