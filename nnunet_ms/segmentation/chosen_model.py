"""The model that segments: by name, folder or packed file, with its hashes checked and its channels understood."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ms.errors import ConversionError, ModelError
from nnunet_ms.images.grids import Spacing
from nnunet_ms.images.limits import are_edges
from nnunet_ms.segmentation.scans import SEQUENCES
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.check_models import check_hashes
from nnunet_ms.trainers.packages.card import FACTS, ModelFacts
from nnunet_ms.trainers.packages.installed import installed_models, model_path
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.open_model import OpenModel, open_model
from nnunet_ms.trainers.prediction.settings import make_runner, resolve_measuring

DEFAULT = "ms-any-small"  # that of `nnunet_ms.shipped`, or a later version that is installed


@dataclass(frozen=True)
class ChosenModel:
    """A model that is open.

    Attributes
    ----------
    opened : OpenModel
    facts : ModelFacts or None
        Of a packed one.
    sequences : tuple of str
        Its channels, in their order.
    """

    opened: OpenModel
    facts: ModelFacts | None
    sequences: tuple[str, ...]

    @property
    def model(self) -> Model:
        """The network with its weights."""
        return self.opened.model

    @property
    def reference(self) -> str:
        """Name and version, or the folder of one that was not packed."""
        return self.facts.reference if self.facts else self.model.folder.name

    @property
    def reference_sequence(self) -> str:
        """The first sequence of a scan that has all of them: it gives the grid."""
        return next(name for name in SEQUENCES if name in self.sequences)

    @property
    def appearance(self) -> dict[str, Any]:
        """What the images of its training show, by sequence; empty where nobody noted it."""
        known = self.model.dataset_json.get("appearance")
        if not isinstance(known, dict):
            return {}
        return {sequence_of(str(name)): value for name, value in known.items() if isinstance(value, dict)}

    @property
    def is_oriented(self) -> bool:
        """Whether all images of its training had the axes right, anterior, superior, as the converter notes it."""
        return self.model.dataset_json.get("axes") == "RAS"

    @property
    def spacing(self) -> Spacing:
        """Voxels to which the images of its training were resampled, as the converter notes it; None where it does not.

        Intensities are normalised on them: resampled afterwards, lesions would be as much as a quarter less bright.
        """
        known = self.model.dataset_json.get("spacing")
        if are_edges(known):
            x, y, z = known
            return x, y, z
        return "isotropic" if known == "isotropic" else None

    @property
    def needed(self) -> tuple[str, ...]:
        """Sequences of which one is enough; empty for a model that needs all."""
        return tuple(self.sequences[number] for number in self.model.needed)

    def check_scan(self, case_id: str, there: tuple[str, ...]) -> None:
        """Raise ConversionError where a scan lacks what the model needs.

        Parameters
        ----------
        case_id : str
        there : tuple of str
            Sequences of the scan.
        """
        if self.needed and not set(self.needed) & set(there):
            expected = f"{' or '.join(self.needed)} (the model needs one of them)"
        elif not self.needed and set(self.sequences) - set(there):
            expected = f"{', '.join(self.sequences)}, all of them (model {self.reference})"
        else:
            return
        other = "Add it." if self.needed else "Add it, or take a model for any sequences (nnunet-ms-model list)."
        raise ConversionError(f"{case_id}: expected {expected}, found {', '.join(there) or 'no sequence'}. {other}")


def choose_model(model: str | Path | None, device: str | None = None) -> ChosenModel:
    """Open a model; without a name `ms-any-small`, which comes with the package.

    Parameters
    ----------
    model : str or Path or None
        Name (`NAME` or `NAME==VERSION`) of an installed one, folder `TRAINER__PLANS__CONFIGURATION`, or packed file.
    device : str, optional
        As `open_model`.

    Raises
    ------
    ModelError
        If there is none, a file of it was altered, or it takes other channels than FLAIR, T2, T1 and T1 after contrast.
    SettingsError
        If the device is not there.

    Examples
    --------
    >>> chosen = choose_model("trained", "cpu")
    >>> chosen.sequences, chosen.needed
    (('t1', 'flair', 't2'), ())
    """
    folder = _shipped() if model is None else model_path(model)
    facts = check_hashes(folder) if (folder / FACTS).is_file() else None
    opened = open_model(folder, None if facts is None else facts.folds, device=device)
    sequences = tuple(sequence_of(name) for name in opened.model.channel_names)
    strange = [name for name in opened.model.channel_names if sequence_of(name) not in SEQUENCES]
    if strange or len(set(sequences)) < len(sequences):
        raise ModelError(
            f"{folder}: expected a model of {', '.join(SEQUENCES)}, each at most once, found channels "
            f"{', '.join(opened.model.channel_names)}. nnunet-ms-predict takes such a model, with images prepared as "
            "for its training."
        )
    return ChosenModel(opened, facts, sequences)


def _shipped() -> Path:
    """Folder of the model that is taken without `--model`; one that is there and damaged says so itself."""
    models, broken = installed_models()
    fitting = [one.facts.reference for one in models if one.facts.name == DEFAULT]
    if fitting:
        return model_path(fitting[-1])
    found = f"{', '.join(one.facts.reference for one in models)}. Choose one of them" if models else "none. Get one"
    unread = f" What cannot be read: {'; '.join(f'{one.where}: {one.reason}' for one in broken)}" if broken else ""
    raise ModelError(
        f"--model: expected the model {DEFAULT} to be installed, as no other was named, found {found} (nnunet-ms-model "
        "install FILE, then --model NAME; nnunet-ms-model list shows what is there), or name a folder of nnU-Net's "
        f"results (--model FOLDER).{unread}"
    )


def samples_of(chosen: ChosenModel, samples: int, threshold: float = 0.5) -> tuple[int, str]:
    """How many samples are made, and why none where the model has nothing that could differ between them.

    Parameters
    ----------
    chosen : ChosenModel
    samples : int
        Asked for, per fold.
    threshold : float, optional
        Of the mean probability. Looked at now: the prediction comes after minutes of preparation.

    Returns
    -------
    samples, note : int, str
        The note is blank where they are made as asked for.

    Raises
    ------
    SettingsError
        If a number is outside its range.
    ModelError
        If the model's volume calibration cannot be read.
    """
    runner, note = make_runner(chosen.model, chosen.opened.device, mc_samples=samples), ""
    if samples and not runner.sampling.drops and runner.total_samples() < 2:
        note = f"{chosen.reference}: no uncertainty, the network was trained without dropout and has one fold"
        runner = make_runner(chosen.model, chosen.opened.device, mc_samples=0)
    resolve_measuring(runner, threshold=threshold)
    return (0 if note else samples), note
