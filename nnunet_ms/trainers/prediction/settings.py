"""What is asked of a prediction, settled against the model: sampling, lesion types, what the files need to know."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nnunet_ms.errors import ModelError, OptionError, SettingsError
from nnunet_ms.lesions.rims import CORE, RIM, RIM_THRESHOLD, RimDecision
from nnunet_ms.options import chosen
from nnunet_ms.plain_names import plain_name
from nnunet_ms.trainers.channels import sequence_of
from nnunet_ms.trainers.networks.dropout import SITES, MaskedDropout3d, Site
from nnunet_ms.trainers.prediction.calibration_file import read_calibration
from nnunet_ms.trainers.prediction.case_measures import DETERMINISTIC, MAPS, Map, Measuring
from nnunet_ms.trainers.prediction.export import ExportSettings
from nnunet_ms.trainers.prediction.model import Model
from nnunet_ms.trainers.prediction.tiles import Sampling, TileRunner, check_sampling
from nnunet_ms.trainers.prediction.voxel_uncertainty import PARTS


def make_runner(
    model: Model,
    device: torch.device,
    *,
    mc_samples: int = 10,
    dropout_site: Site = "decoder",
    dropout: float | None = None,
    closed_form: bool = False,
    seed: int = 0,
    tta: bool = True,
    step_size: float = 0.5,
    maps: Sequence[Map] = (),
) -> TileRunner:
    """Settle how samples are made; a `dropout` of None takes the network's own probability.

    Raises
    ------
    SettingsError
        If a word is unknown or a number outside its range.
    ModelError
        If the model has no such samples.
    """
    own = [m.p for m in model.network.modules() if isinstance(m, MaskedDropout3d)]
    probability = dropout if dropout is not None else max(own, default=0.0)
    _check("dropout", probability, 0 <= probability < 1, "0 <= p < 1")
    _check("step_size", step_size, 0 < step_size <= 1, "0 < s <= 1")
    _check("mc_samples", mc_samples, mc_samples >= 0, "0 or more")
    sampling = Sampling(
        samples=mc_samples,
        site=chosen(dropout_site, SITES, "dropout_site"),
        probability=probability,
        seed=seed,
        tta=tta,
        closed_form=closed_form,
        deterministic=DETERMINISTIC in maps,
        step_size=step_size,
    )
    check_sampling(model, sampling)
    return TileRunner(model, sampling, device)


def resolve_measuring(
    runner: TileRunner,
    *,
    threshold: float = 0.5,
    fold_thresholds: Sequence[float] = (),
    maps: Sequence[Map] = (),
    minimum_voxels: int = 3,
    lesion_type: str = "",
    rim_threshold: float = RIM_THRESHOLD,
    rim_split: bool = True,
) -> Measuring:
    """Settle how the samples of a runner become masks and numbers.

    Raises
    ------
    SettingsError
        If a word is unknown, a number outside its range, or something is asked for that the samples cannot give.
    ModelError
        If nothing would differ between the samples that are asked for.
    """
    model, folds, limit = runner.model, tuple(fold_thresholds), "0 < t < 1"
    for name in maps:
        chosen(name, MAPS, "maps")
    _check("threshold", threshold, 0 < threshold < 1, limit)
    _check("minimum_voxels", minimum_voxels, minimum_voxels >= 1, "1 or more")
    of_folds = len(folds) in (0, len(model.folds)) and all(0 < one < 1 for one in folds)
    _check("fold_thresholds", list(folds), of_folds, f"{len(model.folds)} numbers, one per fold, {limit}")
    check_sample_set(runner, maps)
    pairs = model.dataset_json.get("pairs", {})
    return Measuring(
        classes=lesion_types(model, lesion_type),
        threshold=threshold,
        maps=tuple(maps),
        minimum_voxels=minimum_voxels,
        fold_thresholds=folds,
        samples_per_fold=runner.samples_per_fold(),
        flips=len(runner.flips()),
        pairs=str(pairs.get("target") or ""),
        lesions=(lesion_type or str(pairs.get("lesions") or "") or T2) if pairs else "",
        rim=_decision(model, rim_threshold, rim_split),
        **_calibrated(runner),
    )


def _calibrated(runner: TileRunner) -> dict[str, Any]:
    """The volume calibration of a model, if it has one, and whether it is of other samples than these."""
    found = read_calibration(runner.model.folder)
    if found is None:
        return {}
    values = {value for _, value in runner.model.classes}
    strange = [one.label for one in found.labels if one.value not in values]
    if strange:
        raise ModelError(
            f"{runner.model.folder}: expected a volume calibration of this model's labels, found {strange}. Calibrate "
            "it: nnunet-ms-model calibrate."
        )
    note = ""
    if found.dropout is not None and found.dropout != runner.sampling.drops:
        note = f"calibrated on predictions {'with' if found.dropout else 'without'} dropout"
    return {"calibrations": {one.value: one for one in found.labels}, "calibration_note": note}


def _check(name: str, found: object, is_good: bool, expected: str) -> None:
    if not is_good:
        raise OptionError(f"{name}: expected {expected}, found {found}. Correct it.")


def describe(runner: TileRunner) -> str:
    """Say in one line what the samples are."""
    model, sampling, total = runner.model, runner.sampling, runner.total_samples()
    folds = f"{len(model.folds)} fold{'s' if len(model.folds) > 1 else ''}"
    if not sampling.drops:
        shown = "mirrorings, each with a subset of the sequences," if runner.leaves_out else "mirrorings,"
        return f"{total} samples: {folds} and {shown} no dropout" if total > 1 else "one pass, no dropout"
    if sampling.closed_form:
        return f"{folds}, dropout p = {sampling.probability:g} before the head in closed form"
    return f"{total} samples: {folds}, dropout p = {sampling.probability:g} at {sampling.site}, seed {sampling.seed}"


def check_sample_set(runner: TileRunner, maps: Sequence[str]) -> None:
    """Raise ModelError or SettingsError when nothing would differ between the samples that are asked for."""
    sampling = runner.sampling
    if sampling.samples > 0 and not sampling.drops and runner.total_samples() < 2:
        raise ModelError(
            f"{runner.model.trainer}: trained with dropout probability 0, and one fold without mirroring: nothing to "
            "sample. Ask for dropout 0.1 (--dropout; a perturbation that the training did not see), for several folds "
            "(-f), or for mc_samples 0 (--mc-samples), the plain prediction."
        )
    if sampling.closed_form and not sampling.drops:
        raise SettingsError("closed_form: expected a dropout probability above 0, found 0. Ask for dropout 0.1.")
    parts = [name for name in maps if name in PARTS]
    if sampling.closed_form and parts:
        raise SettingsError(
            f"maps: expected no {','.join(parts)} with closed_form, which has no samples. Leave them out."
        )


def export_settings(
    runner: TileRunner, measuring: Measuring, out: Path, *, rater: str, note: str, pictures: bool
) -> ExportSettings:
    """What the export of every case needs to know."""
    model = runner.model
    names = [sequence_of(name) for name in model.channel_names]
    plain_name(rater, "rater")
    return ExportSettings(
        out=out,
        plans=model.plans.plans,
        configuration=model.configuration_name,
        measuring=measuring,
        rater=rater,
        pictures=pictures,
        background_channel=names.index("flair") if "flair" in names else 0,
        note=note,
        channels=model.channel_names,
        samples_note=f"{model.trainer}, {describe(runner)}, threshold {measuring.threshold:g}.",
    )


def lesion_types(model: Model, asked: str) -> tuple[tuple[str, int], ...]:
    """Names of the lesion types in all tables: those of `tables.REFERENCE_MASKS` for the converter's label names.

    Of a model of pairs what each label is: "new", "enlarging" ...; the type that is asked for is then what has changed.

    Raises
    ------
    SettingsError
        If one name is given for a model of several labels, or it cannot be part of a file name.
    """
    classes, pairs = model.classes, model.dataset_json.get("pairs", {})
    if asked:
        plain_name(asked, "lesion_type")
    if pairs:
        return ((str(pairs.get("target")), classes[0][1]),) if len(classes) == 1 else tuple(classes)
    if is_of_rims(model):  # core and rim together are the lesion
        return ((asked or T2, CORE), ("rim", RIM))
    if len(classes) > 1:
        if asked:
            raise SettingsError(f"lesion_type: this model has {[name for name, _ in classes]}; leave it out.")
        return tuple((_LESION_TYPES.get(name, name), value) for name, value in classes)
    name, value = classes[0]
    return ((asked or _LESION_TYPES.get(name, name), value),)


def is_of_rims(model: Model) -> bool:
    """Whether a model's labels are lesion core and rim."""
    return model.classes == [("core", CORE), ("rim", RIM)]


def _decision(model: Model, threshold: float, split: bool) -> RimDecision | None:
    if is_of_rims(model):
        return RimDecision(threshold) if split else RimDecision(threshold, splitting=None)
    _check("rim_split", split, split, "none for a model without the labels core and rim")
    _check("rim_threshold", threshold, threshold == RIM_THRESHOLD, "none for a model without the labels core and rim")
    return None


T2 = "t2_lesions"
_LESION_TYPES = {"lesion": T2, "unenhancing": "t1_unenhancing", "enhancing": "t1_enhancing"}
