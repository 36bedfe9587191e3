"""What is asked of an evaluation, checked before anything is read or written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_ms.analysis.evaluation.agreement_by_location import ALL_PLACES, NO_REGION
from nnunet_ms.analysis.evaluation.pairing import some
from nnunet_ms.analysis.evaluation.patient_rows import Settings, check_map_names
from nnunet_ms.analysis.evaluation.rules import rules_by_name
from nnunet_ms.errors import OptionError, SettingsError
from nnunet_ms.lesions.features import REGIONS
from nnunet_ms.plain_names import plain_name
from nnunet_ms.tables import REFERENCE, REGION_NAMES, read_table

Place = str | Path
Places = Mapping[str, Place]  # name -> folder


@dataclass(frozen=True)
class Further:
    """What is evaluated beside the masks: a prediction's uncertainty, and models' probabilities by name.

    `rater` and `lesion_type` are the names in the tables of the uncertainty.
    """

    uncertainty: Path | None = None
    rater: str = "model"
    lesion_type: str = "t2_lesions"
    probabilities: Mapping[str, Path] = field(default_factory=dict)
    candidate_threshold: float | None = None


def paths(places: Places | None) -> dict[str, Path]:
    """Named folders as paths; none of none."""
    return {name.strip(): Path(place) for name, place in (places or {}).items()}


def path(place: Place | None) -> Path | None:
    """A folder that may be left out, as a path."""
    return None if place is None else Path(place)


def folders_by_model(predictions: Place | Places, rater: str | None) -> dict[str, Path]:
    """Folders of masks by the model's name; one folder is of `rater`, or of "model".

    Raises
    ------
    SettingsError
        If one name is given beside several named folders.
    """
    if isinstance(predictions, str | Path):
        return {"model" if rater is None else rater.strip(): Path(predictions)}
    if rater is not None:
        raise SettingsError(f"rater: expected no name beside models that have names, found {rater!r}. Leave it out.")
    return paths(predictions)


def probabilities_by_model(given: Place | Places | None, models: Sequence[str]) -> dict[str, Path]:
    """Folders of probabilities by the model's name, none if none are given; one folder is that of a single model.

    Raises
    ------
    SettingsError
        If they are not those of the same models.
    """
    if given is None:
        return {}
    named = paths({models[0]: given} if isinstance(given, str | Path) and len(models) == 1 else _as_named(given))
    if set(named) != set(models):
        raise SettingsError(
            f"lesion_auc: expected a folder of probabilities for each of {list(models)}, found {list(named)}. "
            "Name one for each model."
        )
    return named


def _as_named(given: Place | Places) -> Places:
    return {"one folder": given} if isinstance(given, str | Path) else given


def region_names_of(labels: Place | None, names: Place | Mapping[int, str] | None) -> dict[int, str]:
    """Names of the labels of a map of regions, from a table or a mapping; none without a map.

    Raises
    ------
    SettingsError
        If one of the two is given without the other, or a label is no whole number above 0.
    TableError
        If the table is not `tables.REGION_NAMES`.

    Examples
    --------
    >>> region_names_of("labels", {7: "frontal"})
    {7: 'frontal'}
    """
    if labels is None or names is None:
        if labels is not None or names is not None:
            there, lacking = ("region_labels", "region_names") if names is None else ("region_names", "region_labels")
            raise SettingsError(f"{there}: expected {lacking} beside it, found none. Name both, or neither.")
        return {}
    if isinstance(names, str | Path):
        table = read_table(names, REGION_NAMES)
        names = dict(zip(table["label"].astype(int), table["name"], strict=True))
    wrong = [label for label, name in names.items() if label < 1 or not name.strip() or name in (NO_REGION, ALL_PLACES)]
    if wrong or not names:
        raise SettingsError(
            f"region_names: expected labels from 1 with names other than {NO_REGION!r} and {ALL_PLACES!r}, found "
            f"{({label: names[label] for label in wrong}) or 'none'}. Correct them."
        )
    return {int(label): name.strip() for label, name in names.items()}


def check_settings(settings: Settings, further: Further, images: Path | None, qc: int) -> None:
    """Raise SettingsError unless names, labels, rules and numbers are such as can be, and the folders are there."""
    rules_by_name(settings.rules)
    _check_names(settings)
    check_map_names(list(settings.extras.maps))
    strange = sorted(set(settings.extras.regions) - set(REGIONS))
    if strange:
        raise SettingsError(f"regions: expected some of {list(REGIONS)}, found {strange}. Rename them.")
    if qc < 0:
        raise OptionError(f"qc: expected a number of cases to draw, found {qc}. Give 0 or more.")
    threshold = further.candidate_threshold
    if threshold is not None and not (further.probabilities and 0 < threshold < 1):
        raise OptionError(
            f"candidate_threshold: expected 0 < p < 1 beside lesion_auc, found {threshold:g}. Correct it, or leave out."
        )
    extras = settings.extras
    lone = (extras.brain, extras.labels, images, further.uncertainty)
    single = [folder for folder in lone if folder is not None]
    for folder in (*extras.maps.values(), *extras.regions.values(), *further.probabilities.values(), *single):
        if not folder.is_dir():
            raise SettingsError(f"{folder}: expected a folder of images, found none. Check the path.")


def _check_names(settings: Settings) -> None:
    if len({name.lower() for name in settings.raters}) < len(settings.raters) or not settings.raters:
        raise SettingsError(f"raters: expected different names, found {list(settings.raters)}. Rename one.")
    for name in settings.raters:
        if name in ("", REFERENCE):
            raise SettingsError(
                f"rater: expected the model's name, found {name!r}; {REFERENCE!r} is the other rater. Rename it."
            )
        plain_name(name, "rater")
    if not settings.labels or "" in settings.labels:
        raise SettingsError("lesion type: expected a name such as t2_lesions, found a blank. Name it.")
    for what, names in (("lesion type", settings.labels), ("map", settings.extras.maps)):
        for name in names:
            plain_name(name, what)
    values = list(settings.labels.values())
    if len(set(values)) < len(values) or not all(0 < value < 256 for value in values):
        raise SettingsError(f"labels: expected different whole numbers 1 to 255, found {values}. Correct them.")


def check_output(out: Path, is_ours: Callable[[str], bool]) -> None:
    """Raise SettingsError unless the folder may be written: absent, or holding names of our own only."""
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingsError(f"{out}: expected a folder or nothing, {nearest} is a file. Choose another output folder.")
    foreign = sorted(path.name for path in out.iterdir() if not is_ours(path.name)) if out.exists() else []
    if foreign:
        raise SettingsError(
            f"{out}: expected a new folder or an earlier evaluation, found {some(foreign)}. "
            "Choose another output folder."
        )
