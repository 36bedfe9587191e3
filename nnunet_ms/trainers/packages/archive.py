"""The file of a packed model: a zip in the layout of nnU-Net's own export, read with suspicion.

`DATASET/TRAINER__PLANS__CONFIGURATION/` holds plans.json, dataset.json, `fold_X/checkpoint_final.pth`, and ours:
`model.json` and the card. So `nnUNetv2_install_pretrained_model_from_zip` takes the file too.
"""

import hashlib
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nnunet_ms.errors import ModelError, one_line
from nnunet_ms.outputs import whole_file
from nnunet_ms.trainers.packages.card import CARD, FACTS, ModelFacts, read_facts

ENDING = ".model.zip"
SUFFIXES = (".json", ".pth", ".md", ".txt", ".sha256")  # what may be inside: nothing that is run or unpickled freely
MOST_BYTES = 16 * 2**30  # unpacked
MOST_FILES = 1000
_THEN = (1980, 1, 1, 0, 0, 0)  # of every entry: the same model gives the same file
_PIECE = 2**20


def write_archive(facts: ModelFacts, sources: Mapping[str, Path], target: str | Path) -> ModelFacts:
    """Write a packed model, complete or not at all.

    Parameters
    ----------
    facts : ModelFacts
        Without hashes.
    sources : mapping of str to Path
        Path below the model's folder -> file to read.
    target : str or Path

    Returns
    -------
    ModelFacts
        With the hashes.

    Examples
    --------
    >>> told = dict(name="x", version="1", title="X", licence="CC0-1.0", dataset="Dataset001_X", trainer="T", plans="P")
    >>> facts = ModelFacts(**told, configuration="3d_fullres", folds=("0",), channels=("flair",), labels={"lesion": 1},
    ...     spacing_mm=(1.0, 1.0, 3.0), parameters=1, precision="float32", made_with="0.2.0")
    >>> _ = Path("MODEL_CARD.md").write_text("# X")
    >>> _ = write_archive(facts, {"MODEL_CARD.md": Path("MODEL_CARD.md")}, "x.model.zip")
    >>> with opened_archive("x.model.zip") as packed:
    ...     packed.facts.reference, packed.card
    ('x==1', '# X')
    """
    whole = replace(facts, files={name: _sha256(path) for name, path in sorted(sources.items())})
    with whole_file(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(f"{facts.folder}/{FACTS}"), whole.to_json())
        for name, path in sorted(sources.items()):
            with archive.open(_entry(f"{facts.folder}/{name}"), "w", force_zip64=True) as to, path.open("rb") as source:
                while piece := source.read(_PIECE):
                    to.write(piece)
    return whole


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _THEN)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class PackedModel:
    """A packed model that is open; from `opened_archive`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._entries = _checked_entries(path, archive)
        self.facts = read_facts(self._bytes(_place_of_facts(path, self._entries)), f"{path}: {FACTS}")
        self._check_members()

    @property
    def card(self) -> str:
        """Text of the card; blank where there is none."""
        found = self.content(CARD)
        return "" if found is None else found.decode("utf-8", errors="replace")

    def content(self, name: str) -> bytes | None:
        """Bytes of a file below the model's folder, compared with its hash; None if it is not there."""
        if name not in self.facts.files:
            return None
        self._check_file(name, len)
        return self._bytes(f"{self.facts.folder}/{name}")

    def unpack(self, folder: Path) -> Path:
        """Write all files below a folder, each compared with its hash; return the model's folder."""
        model = folder / self.facts.folder
        model.mkdir(parents=True)
        (model / FACTS).write_bytes(self._bytes(f"{self.facts.folder}/{FACTS}"))
        for name in self.facts.files:
            target = model / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as to:
                self._check_file(name, to.write)
        return model

    def check(self) -> None:
        """Compare every file with its hash; nothing is written."""
        for name in self.facts.files:
            self._check_file(name, len)

    def _check_file(self, name: str, use: Callable[[bytes], object]) -> None:
        """Read a file piece by piece, give each to `use`, and compare the hash."""
        digest = hashlib.sha256()
        with _readable(self.path), self._archive.open(f"{self.facts.folder}/{name}") as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                use(piece)
        expected, found = self.facts.files[name], digest.hexdigest()
        if expected != found:
            raise ModelError(
                f"{self.path}: {name}: expected SHA-256 {expected[:12]}, found {found[:12]}: damaged or changed. "
                "Get the file again from where it came from."
            )

    def _bytes(self, name: str) -> bytes:
        with _readable(self.path):
            return self._archive.read(name)

    def _check_members(self) -> None:
        listed = {f"{self.facts.folder}/{name}" for name in (*self.facts.files, FACTS)}
        for what, names in (("not listed", self._entries - listed), ("missing", listed - self._entries)):
            if names:
                raise ModelError(
                    f"{self.path}: expected the files that {FACTS} lists, found {min(names)} {what}. It was cut or "
                    "changed: get the file again."
                )


@contextmanager
def opened_archive(path: str | Path) -> Iterator[PackedModel]:
    """Open a packed model and check what it lists; hashes are compared by `check` and `unpack`.

    Raises
    ------
    ModelError
        If it is no zip, is damaged, has files that it should not have, or no `model.json`.

    Examples
    --------
    >>> with opened_archive("absent.model.zip"):
    ...     pass
    Traceback (most recent call last):
        ...
    nnunet_ms.errors.ModelError: absent.model.zip: expected a packed model, found no such file. Check the path and ...
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ModelError(f"{path}: expected a packed model, found {found}. Check the path and the spelling.")
    with _readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield PackedModel(path, archive)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: expected a packed model, a zip, cannot read it ({one_line(error)[:120]}). Get the file again."
        ) from error
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise ModelError(f"{path}: expected a packed model, found damaged data. Get the file again.") from error


def _checked_entries(path: Path, archive: zipfile.ZipFile) -> set[str]:
    entries = [one for one in archive.infolist() if not one.is_dir()]
    names = [one.filename for one in entries]
    size = sum(one.file_size for one in entries)
    if len(entries) > MOST_FILES or size > MOST_BYTES:
        raise ModelError(
            f"{path}: expected at most {MOST_FILES} files and {MOST_BYTES >> 30} GiB, found {len(entries)} and "
            f"{size / 2**30:.1f}. This is no packed model."
        )
    strange = [one.filename for one in entries if not _is_plain(one)]
    strange += sorted({name for name in names if names.count(name) > 1})
    if strange:
        raise ModelError(
            f"{path}: expected files {', '.join(SUFFIXES)} in one folder, each once, found {ascii(strange[0])[:100]}. "
            "It may write elsewhere or run code: nothing was unpacked. Ask its maker for one from nnunet-ms-model pack."
        )
    return set(names)


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename).parts
    is_inside = not any(part in ("..", "/") or ":" in part or "\\" in part for part in parts)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return is_inside and kind in (0, stat.S_IFREG) and entry.filename.endswith(SUFFIXES) and not entry.flag_bits & 1


def _place_of_facts(path: Path, entries: Collection[str]) -> str:
    found = sorted(
        name for name in entries if PurePosixPath(name).name == FACTS and len(PurePosixPath(name).parts) == 3
    )
    if len(found) == 1:
        return found[0]
    if not found and any(PurePosixPath(name).name == "plans.json" for name in entries):
        raise ModelError(
            f"{path}: expected a packed model, found nnU-Net's own export, which has no card and no hashes. Install it "
            "with nnUNetv2_install_pretrained_model_from_zip; nnunet-ms-model pack makes a packed model of the folder."
        )
    raise ModelError(f"{path}: expected a packed model with one {FACTS}, found {len(found)}. Is this the file?")
