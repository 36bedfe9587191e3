"""Which models are installed: by `nnunet-ms-model install`, and by other Python packages through an entry point."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from nnunet_ms.errors import ModelError, one_line
from nnunet_ms.trainers.packages.archive import opened_archive
from nnunet_ms.trainers.packages.card import CARD, FACTS, ModelFacts, read_facts, version_order

PLACE = "NNUNET_MS_MODELS"  # environment variable: where models are installed
GROUP = "nnunet_ms.models"  # entry points of packages that bring models


@dataclass(frozen=True)
class InstalledModel:
    """A model that can be used by its name.

    Attributes
    ----------
    facts : ModelFacts
    folder : Path
        As `read_model` and nnU-Net take it: TRAINER__PLANS__CONFIGURATION. Or a packed file, of a package that brings
        one; `model_path` unpacks it.
    source : str
        `installed`, or the Python package that brings it.
    """

    facts: ModelFacts
    folder: Path
    source: str

    @property
    def card(self) -> str:
        """Text of the card."""
        if self.folder.is_file():
            with opened_archive(self.folder) as packed:
                return packed.card
        path = self.folder / CARD
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


@dataclass(frozen=True)
class Broken:
    """Something in the place of a model that cannot be used, and why."""

    where: str
    reason: str


def models_folder() -> Path:
    """Where models are installed: `NNUNET_MS_MODELS`, else `nnunet_ms/models` in the user's data folder.

    Examples
    --------
    >>> models_folder().name
    'models'
    """
    told = os.environ.get(PLACE)
    if told:
        return Path(told).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "nnunet_ms" / "models"


def installed_models() -> tuple[list[InstalledModel], list[Broken]]:
    """All models by name and version, and what could not be read.

    Examples
    --------
    >>> models, broken = installed_models()
    """
    found: list[InstalledModel] = []
    broken: list[Broken] = []
    for source, folder in _places(broken):
        try:
            found += [_packed(folder, source)] if folder.is_file() else _all_below(folder, source)
        except (ModelError, OSError) as error:
            broken.append(Broken(str(folder), one_line(error)))
    return sorted(found, key=lambda one: (one.facts.name, version_order(one.facts.version))), broken


def _places(broken: list[Broken]) -> Iterable[tuple[str, Path]]:
    home = models_folder()
    if home.is_dir():
        yield from (("installed", path) for path in sorted(home.glob("*/*")) if not path.name.startswith("."))
    for point in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        folder = _folder_of(point, broken)
        if folder is not None:
            yield point.dist.name if point.dist else point.value, folder


def _folder_of(point: EntryPoint, broken: list[Broken]) -> Path | None:
    """Folder or packed file that an entry point names: a path, or a function that returns one."""
    try:
        value = point.load()
        folder = Path(value() if callable(value) else value)
    except Exception as error:  # noqa: BLE001 - another package's code; it must not keep all others from being listed
        broken.append(Broken(f"{GROUP}: {point.name} = {point.value}", f"{type(error).__name__}: {one_line(error)}"))
        return None
    if not folder.is_file() and next(iter(_facts_below(folder)), None) is None:
        broken.append(Broken(f"{GROUP}: {point.name} = {point.value}", f"{folder} holds no {FACTS}"))
        return None
    return folder


def _facts_below(folder: Path) -> list[Path]:
    return [path for pattern in (FACTS, f"*/{FACTS}", f"*/*/{FACTS}") for path in sorted(folder.glob(pattern))]


def _all_below(folder: Path, source: str) -> list[InstalledModel]:
    return [_read(path, source) for path in _facts_below(folder)]


def _packed(path: Path, source: str) -> InstalledModel:
    with opened_archive(path) as packed:
        return InstalledModel(packed.facts, path, source)


def _read(path: Path, source: str) -> InstalledModel:
    return InstalledModel(read_facts(path.read_bytes(), path), path.parent, source)


def find_model(reference: str) -> InstalledModel:
    """Find an installed model by its name, or by name and version.

    Parameters
    ----------
    reference : str
        `NAME`, the newest version of it, or `NAME==VERSION`.

    Raises
    ------
    ModelError
        If there is none; the message has the names that there are.

    Examples
    --------
    >>> find_model("absent")
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent: expected the name of an installed model or a folder, found neither. ...
    """
    name, _, version = reference.partition("==")
    models, broken = installed_models()
    fitting = [one for one in models if one.facts.name == name and version in ("", one.facts.version)]
    if fitting:
        return fitting[-1]
    raise ModelError(
        f"{reference}: expected the name of an installed model or a folder, found neither. "
        f"{_advice(name, models, broken)}"
    )


def _advice(name: str, models: Sequence[InstalledModel], broken: Sequence[Broken]) -> str:
    there = [one.facts.reference for one in models]
    unread = f" {len(broken)} cannot be read: see nnunet-ms-model list." if broken else ""
    if not there:
        return f"Check the path; no model is installed (nnunet-ms-model install FILE).{unread}"
    near = get_close_matches(name, [one.facts.name for one in models], 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"Installed are {', '.join(there)}.{meant}{unread}"


def model_path(model: str | Path) -> Path:
    """Folder of a model that is given as a folder, by the name under which it is installed, or as a packed file.

    A packed file is unpacked, its hashes compared, into a folder that is there as long as this process.

    Raises
    ------
    ModelError
        If it is a plain name and neither, or a packed file that is damaged or was changed.

    Examples
    --------
    >>> model_path("some/folder").as_posix()
    'some/folder'
    """
    path = Path(model)
    if path.is_file() and path.suffix == ".zip":
        return _unpacked(path.resolve(), path.stat().st_mtime_ns)
    if path.exists() or len(path.parts) != 1 or str(model).startswith("."):
        return path
    folder = find_model(str(model)).folder
    return _unpacked(folder.resolve(), folder.stat().st_mtime_ns) if folder.is_file() else folder


@lru_cache(maxsize=4)  # a file that changed is another one
def _unpacked(path: Path, changed_ns: int) -> Path:  # noqa: ARG001
    with opened_archive(path) as packed:
        aside = Path(tempfile.mkdtemp(prefix="nnunet_ms-model-"))
        atexit.register(shutil.rmtree, aside, ignore_errors=True)
        return packed.unpack(aside)
