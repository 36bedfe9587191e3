"""Whether a model can be trusted to be what it says: hashes, safe loading, one pass of the network."""

from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.checkpoints import sha256_of
from nnunet_ms.errors import ModelError
from nnunet_ms.trainers.packages.archive import opened_archive
from nnunet_ms.trainers.packages.card import CARD, FACTS, ModelFacts, card_problems, read_facts
from nnunet_ms.trainers.packages.installed import model_path
from nnunet_ms.trainers.prediction.check_model import check_forward
from nnunet_ms.trainers.prediction.model import read_model


@dataclass(frozen=True)
class CheckedModel:
    """A model that passed, and what was looked at.

    Attributes
    ----------
    folder : Path
        Or the file, of a packed one.
    facts : ModelFacts or None
        None for a folder of nnU-Net's results that was never packed: nothing is known of its hashes.
    found : tuple of str
        One line for each check.
    """

    folder: Path
    facts: ModelFacts | None
    found: tuple[str, ...]


def check_model(model: str | Path) -> CheckedModel:
    """Check a packed file, an installed model, or a folder of nnU-Net's results.

    Parameters
    ----------
    model : str or Path
        File `*.model.zip`, name (`NAME` or `NAME==VERSION`), or folder `TRAINER__PLANS__CONFIGURATION`.

    Returns
    -------
    CheckedModel

    Raises
    ------
    ModelError
        If a hash differs, a file is missing or added, a checkpoint could run code, or logits are not finite.

    Examples
    --------
    >>> check_model("trained").found[1]
    'folds 0, 1: safe to load, finite logits for a patch of 8 x 16 x 16'
    """
    path = Path(model)
    if path.is_file():
        with opened_archive(path) as packed:
            packed.check()
            return CheckedModel(path, packed.facts, (_hashes(packed.facts), _about_card(packed.card)))
    folder = model_path(model)
    facts_file = folder / FACTS
    if not facts_file.is_file():
        return CheckedModel(folder, None, (f"no {FACTS}: never packed, hashes unknown", _forward(folder, None)))
    facts = check_hashes(folder)
    card = (folder / CARD).read_text(encoding="utf-8", errors="replace") if CARD in facts.files else ""
    return CheckedModel(folder, facts, (_hashes(facts), _about_card(card), _forward(folder, facts)))


def check_hashes(folder: Path) -> ModelFacts:
    """Compare every file of an installed model with what its `model.json` lists.

    Raises
    ------
    ModelError
        If one differs, is missing, or is there besides.

    Examples
    --------
    >>> check_hashes(Path("trained"))
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'trained/model.json'
    """
    path = folder / FACTS
    facts = read_facts(path.read_bytes(), path)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {FACTS}
    for what, names in (("added", there - set(facts.files)), ("missing", set(facts.files) - there)):
        if names:
            raise ModelError(f"{folder}: expected the files of {FACTS}, found {min(names)} {what}. Install it again.")
    for name, expected in facts.files.items():
        if (found := sha256_of(folder / name)) != expected:
            raise ModelError(
                f"{folder / name}: expected SHA-256 {expected[:12]}, found {found[:12]}: it was damaged or changed. "
                "Install the model again."
            )
    return facts


def _hashes(facts: ModelFacts) -> str:
    return f"{len(facts.files)} files as {FACTS} lists them (SHA-256)"


def _about_card(card: str) -> str:
    problems = card_problems(card)
    return f"card lacks: {'; '.join(problems)}" if problems else "card is whole"


def _forward(folder: Path, facts: ModelFacts | None) -> str:
    opened = read_model(folder, None if facts is None else facts.folds)
    patch = " x ".join(map(str, check_forward(opened)))
    return f"folds {', '.join(opened.folds)}: safe to load, finite logits for a patch of {patch}"
