"""What is asked of `nnunet-ms-predict`, settled against the model: sampling, lesion types, settings of the export."""

from dataclasses import dataclass
from pathlib import Path

from nnunet_ms.errors import ModelError, SettingsError
from nnunet_ms.parallel import Workers
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.networks.dropout import MaskedDropout3d
from nnunet_ms.trainers.prediction.export import DETERMINISTIC, ExportSettings
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.tiles import Sampling, TileRunner
from nnunet_ms.trainers.prediction.voxel_uncertainty import PARTS


@dataclass(frozen=True)
class PredictSettings:
    """What is asked for besides the model; `dropout` None takes the network's own probability.

    `fold_thresholds`, one per fold, are those of the samples' masks in LSU+ and PSU+.

    Examples
    --------
    >>> settings = PredictSettings(Path("imagesTs"), Path("predictions"), samples=10, maps=("entropy",))
    >>> settings.threshold, settings.site
    (0.5, 'decoder')
    """

    images: Path
    out: Path
    cases: Path | None = None
    samples: int = 10
    site: str = "decoder"
    dropout: float | None = None
    closed_form: bool = False
    seed: int = 0
    threshold: float = 0.5
    fold_thresholds: tuple[float, ...] = ()
    tta: bool = True
    step_size: float = 0.5
    maps: tuple[str, ...] = ()
    minimum_voxels: int = 3
    rater: str = "model"
    lesion_type: str = ""
    note: str = ""
    pictures: bool = True
    workers: Workers = 1
    resume: bool = False


def resolve_sampling(model: Model, settings: PredictSettings) -> Sampling:
    """Settle the dropout probability, by default the network's own.

    Raises
    ------
    SettingsError
        If a number is outside its range.
    """
    own = [m.p for m in model.network.modules() if isinstance(m, MaskedDropout3d)]
    probability = settings.dropout if settings.dropout is not None else max(own, default=0.0)
    _check_numbers(model, settings, probability)
    return Sampling(
        samples=settings.samples,
        site=settings.site,
        probability=probability,
        seed=settings.seed,
        tta=settings.tta,
        closed_form=settings.closed_form,
        deterministic=DETERMINISTIC in settings.maps,
        step_size=settings.step_size,
    )


def _check_numbers(model: Model, settings: PredictSettings, probability: float) -> None:
    folds, limit = settings.fold_thresholds, "0 < t < 1"
    limits = {
        "--dropout": (probability, 0 <= probability < 1, "0 <= p < 1"),
        "--threshold": (settings.threshold, 0 < settings.threshold < 1, limit),
        "--step-size": (settings.step_size, 0 < settings.step_size <= 1, "0 < s <= 1"),
        "--mc-samples": (settings.samples, settings.samples >= 0, "0 or more"),
        "--fold-thresholds": (
            list(folds),
            len(folds) in (0, len(model.folds)) and all(0 < one < 1 for one in folds),
            f"{len(model.folds)} numbers, one per fold, {limit}",
        ),
    }
    for name, (found, is_good, expected) in limits.items():
        if not is_good:
            raise SettingsError(f"{name}: expected {expected}, found {found}. Correct it.")


def describe(model: Model, sampling: Sampling, total: int) -> str:
    """Say in one line what the samples are."""
    folds = f"{len(model.folds)} fold{'s' if len(model.folds) > 1 else ''}"
    if not sampling.drops:
        return f"{total} samples: {folds} and mirrorings, no dropout" if total > 1 else "one pass, no dropout"
    if sampling.closed_form:
        return f"{folds}, dropout p = {sampling.probability:g} before the head in closed form"
    return f"{total} samples: {folds}, dropout p = {sampling.probability:g} at {sampling.site}, seed {sampling.seed}"


def check_sample_set(model: Model, settings: PredictSettings, sampling: Sampling, total: int) -> None:
    """Raise ModelError or SettingsError when nothing would differ between the samples that are asked for."""
    if settings.samples > 0 and not sampling.drops and total < 2:
        raise ModelError(
            f"{model.trainer}: trained with dropout probability 0, and one fold without mirroring: nothing to sample. "
            "Give --dropout 0.1 (a perturbation that the training did not see), several folds with -f, or --mc-samples "
            "0 for the plain prediction."
        )
    if sampling.closed_form and not sampling.drops:
        raise SettingsError("--closed-form: expected a dropout probability above 0, found 0. Give --dropout 0.1.")
    parts = [name for name in settings.maps if name in PARTS]
    if sampling.closed_form and parts:
        raise SettingsError(
            f"--maps: expected no {','.join(parts)} with --closed-form, which has no samples. Leave out."
        )


def export_settings(model: Model, settings: PredictSettings, runner: TileRunner) -> ExportSettings:
    """What the export of every case needs to know."""
    per_fold = runner.samples_per_fold()
    names = [sequence_of(name) for name in model.dataset_json["channel_names"].values()]
    samples = describe(model, runner.sampling, per_fold * len(model.folds))
    return ExportSettings(
        out=settings.out,
        plans=model.plans.plans,
        configuration=configuration_name(model),
        classes=lesion_types(model, settings.lesion_type),
        rater=settings.rater,
        threshold=settings.threshold,
        maps=settings.maps,
        minimum_voxels=settings.minimum_voxels,
        pictures=settings.pictures,
        background_channel=names.index("flair") if "flair" in names else 0,
        note=settings.note,
        samples_per_fold=per_fold,
        flips=len(runner.flips()),
        member_thresholds=tuple(one for one in settings.fold_thresholds for _ in range(per_fold)),
        samples_note=f"{model.trainer}, {samples}, threshold {settings.threshold:g}.",
    )


def lesion_types(model: Model, asked: str) -> tuple[tuple[str, int], ...]:
    """Names of the lesion types in all tables: those of `tables.REFERENCE_MASKS` for the converter's label names.

    Raises
    ------
    SettingsError
        If one name is given for a model of several labels.
    """
    classes = model.classes
    if len(classes) > 1:
        if asked:
            raise SettingsError(f"--lesion-type: this model has {[name for name, _ in classes]}; leave the option out.")
        return tuple((_LESION_TYPES.get(name, name), value) for name, value in classes)
    name, value = classes[0]
    return ((asked or _LESION_TYPES.get(name, name), value),)


_LESION_TYPES = {"lesion": "t2_lesions", "unenhancing": "t1_unenhancing", "enhancing": "t1_enhancing"}


def configuration_name(model: Model) -> str:
    """The configuration that the model's folder names."""
    return model.folder.name.split("__")[-1]
