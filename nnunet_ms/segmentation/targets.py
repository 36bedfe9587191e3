"""Where a run may write: not over its own inputs, and not in the place of what it has not made."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nnunet_ms.dataset_conversion.cases import Case
from nnunet_ms.dataset_conversion.raw_dataset.bids_derivative import DESCRIPTION
from nnunet_ms.errors import SettingsError
from nnunet_ms.outputs import check_writable

RECORD = "segmentation.json"
MARKS = {"-o": RECORD, "--bids-out": DESCRIPTION}  # what an earlier result has


def check_targets(targets: Mapping[str, Path], *, overwrite: bool) -> None:
    """Raise SettingsError unless each folder to write is new, or an earlier result that may be replaced.

    Parameters
    ----------
    targets : mapping of str to Path
        Option -> folder.
    overwrite : bool
        Whether an earlier result is replaced. Nothing else is: no link, and no folder with other files.

    Raises
    ------
    SettingsError

    Examples
    --------
    >>> check_targets({"-o": Path("new"), "--bids-out": Path("other")}, overwrite=False)
    """
    for option, path in targets.items():
        _check_one(option, path, overwrite=overwrite)
        check_writable(path)
    for option, path in targets.items():
        for other, place in targets.items():
            if option != other and _is_in(path, place):
                raise SettingsError(
                    f"{option} {path}: expected a folder apart from {other} {place}, found one in the other. Choose "
                    f"another {option}."
                )


def _check_one(option: str, path: Path, *, overwrite: bool) -> None:
    above = next((parent for parent in path.parents if parent.exists()), path)
    if above != path and not above.is_dir():
        raise SettingsError(f"{path}: expected a folder above it, found the file {above}. Choose another {option}.")
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise SettingsError(f"{path}: exists already. Choose another {option}, or --overwrite it.")
    if path.is_symlink() or not path.is_dir():
        raise SettingsError(f"{path}: expected a folder to write, found a file or a link. Choose another {option}.")
    if any(path.iterdir()) and not (path / MARKS[option]).is_file():
        raise SettingsError(
            f"{path}: expected an earlier result to --overwrite ({MARKS[option]} is in it), found other files. Choose "
            f"another {option}."
        )


def check_apart(
    targets: Mapping[str, Path], cases: Sequence[Case], source: str | Path | None, model: Path, *, is_bids: bool
) -> None:
    """Raise SettingsError if a folder to write holds an input, or lies where the next run would read it.

    Parameters
    ----------
    targets : mapping of str to Path
        Option -> folder.
    cases : sequence of Case
        With their images.
    source : str or Path or None
        What was named as INPUT.
    model : Path
        Its folder.
    is_bids : bool
        Whether the source is a BIDS data set, in which results may lie (`derivatives`).

    Raises
    ------
    SettingsError
    """
    for option, path in targets.items():
        held = next((one for one in _inputs(cases, source, model) if _is_in(one, path)), None)
        if held is not None:
            raise SettingsError(
                f"{path}: expected a folder apart from what is read, found {held} in it. Choose another {option}."
            )
        if source is not None and not is_bids and Path(source).is_dir() and _is_in(path, Path(source)):
            raise SettingsError(
                f"{path}: expected a folder apart from the patient's folder {source}, found one in it, whose masks the "
                f"next run would take for scans. Choose another {option}, beside it."
            )


def _inputs(cases: Sequence[Case], source: str | Path | None, model: Path) -> Iterator[Path]:
    yield model
    if source is not None:
        yield Path(source)
    for case in cases:
        yield from (path for path in (*case.images.values(), case.brain_mask) if path is not None)


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
