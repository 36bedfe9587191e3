"""Rims called by trained models, per lesion and per visit: `nnunet-ms-rim predict`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ms import commands
from nnunet_ms.errors import ModelError, OptionError, SettingsError
from nnunet_ms.options import known_keywords
from nnunet_ms.progress import Progress, unseen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from nnunet_ms.classification.rim.case_images import CaseImages
    from nnunet_ms.classification.rim.cohort import RimCase
    from nnunet_ms.classification.rim.lesion_boxes import BoxSettings
    from nnunet_ms.classification.rim.lesion_set import LesionSet
    from nnunet_ms.classification.rim.mosaics import Portrait
    from nnunet_ms.parallel import Workers

    Visit = tuple[str, str, float]  # patient, visit, week

PROGRAM = "nnunet-ms-rim"
LESIONS, VISITS, MASKS, PICTURES = "rim_lesions.csv", "visits.csv", "masks", "pictures"
FEATURES = "features"
LESION_TYPE = "t2_lesions"  # all lesions of a visit, of which `prl_count` have a rim


@known_keywords
def predict_rims(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    manifest: str | Path | None = None,
    pictures: int = 12,
    qsm_unit: str | None = None,
    device: str = "cpu",
    workers: "Workers" = 1,
    progress: Progress = unseen,
) -> "pd.DataFrame":
    """Judge lesions by the mean of a model's folds.

    Parameters
    ----------
    model : str or Path
        `OUTPUT/<model>` of `train_rim_models`, or an output that holds one model.
    source : str or Path
        Folder of `nnunet-ms-rim features`, or a manifest: its lesions are measured as those that the model was trained
        on, into `features` of the output.
    output : str or Path
        A new folder: `rim_lesions.csv`, `visits.csv` and, with a manifest, `masks` and `pictures`. After a kill the
        next run goes on.
    manifest : str or Path, optional
        Of the images that a folder of features is of: for masks of the rim+ lesions in the input's grid, and pictures.
    pictures : int, optional
        Lesions in each mosaic; 0 draws none.
    qsm_unit : {"ppb", "ppm", "unchecked"}, optional
        Of the maps of a manifest, where it is not that of the training; not of a folder, whose maps have been read.
    workers : int or Dask, optional
        For measuring, as in `parallel.map_cases`.
    device : str, optional
        Of torch.
    progress : Progress, optional

    Returns
    -------
    pandas.DataFrame
        As `rim_lesions.csv`: what the lesions' table has, `probability` (mean of the folds), `probability_sd` (of the
        folds), `threshold` (mean of the folds'), `rim` (1 where probability >= threshold) and `model`.

    Raises
    ------
    ModelError
        If there is no model or more than one, a fold lacks, a file is damaged, or it takes other features or patches.
    OptionError
        If a unit or a second manifest is given that nothing would read.
    TableError, ImageError
        If the lesions or images cannot be read, or do not belong together.
    FileExistsError
        If the output exists.

    Examples
    --------
    >>> from nnunet_ms.classification.rim.train_models import train_rim_models
    >>> _ = train_rim_models("rim_data", "rim_models", ["radiomics"], folds=2)
    >>> table = predict_rims("rim_models/radiomics", "rim_data", "predicted")
    >>> bool((table["rim"] == table["label"]).mean() > 0.9), sorted(path.name for path in Path("predicted").iterdir())
    (True, ['rim_lesions.csv', 'visits.csv'])
    """
    from nnunet_ms.classification.rim.lesion_boxes import settings_from
    from nnunet_ms.classification.rim.lesion_set import read_lesion_set
    from nnunet_ms.outputs import resumable_folder
    from nnunet_ms.tables import write_table

    if isinstance(pictures, bool) or not isinstance(pictures, int) or pictures < 0:
        raise OptionError(f"pictures: expected a whole number >= 0, found {pictures!r}. 12 are usual.")
    _check_source(source, manifest, qsm_unit)
    models = _models(model_folder(model), device)
    with resumable_folder(output) as work:
        if not Path(source).is_dir():
            measured = work.folder / FEATURES
            _measure(source, measured, models[0], qsm_unit, workers)
            source, manifest = measured, source
        lesions = read_lesion_set(source)
        table = lesions.rows.assign(**_judged(models, lesions, device, progress))
        visits = _visits(Path(source), table)
        cases = _cases(manifest, visits)
        write_table(table, work.folder / LESIONS)
        write_table(visit_counts(table, visits, models[0]["model"]), work.folder / VISITS)
        if cases:
            _write_images(table, cases, settings_from(lesions.settings, str(source)), work.folder, pictures, progress)
    return table


def _check_source(source: str | Path, manifest: str | Path | None, qsm_unit: str | None) -> None:
    """Raise OptionError for an option that would be passed over, or is no unit."""
    from typing import get_args

    from nnunet_ms.images.qsm_units import QsmUnit
    from nnunet_ms.options import chosen

    if qsm_unit is not None:
        chosen(qsm_unit, get_args(QsmUnit), "qsm_unit")
    if Path(source).is_dir() and qsm_unit is not None:
        raise OptionError(
            f"qsm_unit: expected none, since {source} is a folder of features, whose maps have been read, found "
            f"{qsm_unit!r}. Leave it out, or give the manifest."
        )
    if not Path(source).is_dir() and manifest is not None:
        raise OptionError(
            f"manifest: expected none, since {source} is one, found {str(manifest)!r}. Leave it out, or give a "
            "folder of features first."
        )


def model_folder(model: str | Path) -> Path:
    """Folder with the folds of one model.

    Raises
    ------
    ModelError
        If there is none, or more than one.
    """
    model = Path(model)
    if list(model.glob("fold_*/model.pth")):
        return model
    inside = sorted({path.parent.parent for path in model.glob("*/fold_*/model.pth")})
    if len(inside) == 1:
        return inside[0]
    found = f"models {', '.join(path.name for path in inside)}" if inside else "none"
    step = f"Name one of them: {inside[0]}." if inside else "Train one with nnunet-ms-rim train."
    raise ModelError(f"{model}: expected a folder with one trained model (fold_0/model.pth), found {found}. {step}")


def visit_counts(table: "pd.DataFrame", visits: "Sequence[Visit]", model: str) -> "pd.DataFrame":
    """Lesions and rims per visit, in the columns of `visits.csv` (`tables.VISITS`) and `prl_count`.

    Parameters
    ----------
    table : pandas.DataFrame
        As `predict_rims` returns it.
    visits : sequence of (patient, visit, week)
        All visits; those without a lesion have 0 of them, and no rim.
    model : str
        The rater.

    Examples
    --------
    >>> table = pd.DataFrame({"patient_id": ["1", "1"], "visit": "a", "volume_ml": 0.5, "rim": [1, 0]})
    >>> counts = visit_counts(table, [("1", "a", 0.0), ("2", "a", 0.0)], "aprl")
    >>> counts[["patient_id", "lesion_count", "volume_ml", "prl_count"]].to_dict("list")
    {'patient_id': ['1', '2'], 'lesion_count': [2, 0], 'volume_ml': [1.0, 0.0], 'prl_count': [1, 0]}
    """
    import pandas as pd

    groups = dict(list(table.groupby(["patient_id", "visit"], sort=False)))
    rows = []
    for patient, visit, week in visits:
        lesions = groups.get((patient, visit), table.iloc[:0])
        rows.append(
            {
                "case_id": f"{patient}_{visit}",
                "patient_id": patient,
                "visit": visit,
                "week": week,
                "rater": model,
                "lesion_type": LESION_TYPE,
                "lesion_count": len(lesions),
                "volume_ml": float(lesions["volume_ml"].sum()) if "volume_ml" in lesions else float("nan"),
                "prl_count": int((lesions["rim"] == 1).sum()),
            }
        )
    return pd.DataFrame(rows)


def _measure(
    manifest: str | Path, folder: Path, contents: Mapping[str, Any], qsm_unit: str | None, workers: "Workers"
) -> None:
    """Measure the lesions of a manifest as those of the training were."""
    from dataclasses import replace

    from nnunet_ms.classification.rim.dataset import rim_dataset
    from nnunet_ms.classification.rim.lesion_boxes import settings_from

    settings = settings_from(contents["lesion_settings"], "model")
    if qsm_unit is not None:
        settings = replace(settings, qsm_unit=qsm_unit)  # type: ignore[arg-type]
    rim_dataset(manifest, folder, settings, workers)


def _models(folder: Path, device: str) -> list[dict[str, Any]]:
    """The folds of a model; ModelError unless they are of one."""
    from nnunet_ms.classification.rim.fold_models import WEIGHTS, load_fold_model
    from nnunet_ms.classification.torch_runs import check_device

    check_device(device)
    paths = sorted(folder.glob(f"fold_*/{WEIGHTS}"))
    models = [load_fold_model(path) for path in paths]
    if len({contents["model"] for contents in models}) > 1:
        raise ModelError(f"{folder}: expected folds of one model, found several. Copy the folder again.")
    _check_complete(folder, {int(contents["fold"]) for contents in models})
    return models


def _check_complete(folder: Path, found: set[int]) -> None:
    """Raise ModelError where a fold lacks: of a training under way, or of a copy."""
    from nnunet_ms.classification.rim.lesion_set import read_settings

    told = read_settings(folder.parent).get("folds")
    count = told if isinstance(told, int) else max(found) + 1
    lacking = sorted(set(range(count)) - found)
    if lacking:
        raise ModelError(
            f"{folder}: expected {count} folds, fold {lacking[0]} lacks ({len(found)} found). Repeat nnunet-ms-rim "
            "train to go on with it, or copy the folder again."
        )


def _judged(models: list[dict[str, Any]], lesions: "LesionSet", device: str, progress: Progress) -> dict[str, Any]:
    import numpy as np

    from nnunet_ms.classification.rim.fold_models import probabilities

    found = np.stack(
        [
            probabilities(contents, lesions, device)
            for contents in progress(models, "folds", lambda contents: f"fold {contents['fold']}")
        ]
    )
    mean, threshold = found.mean(axis=0), float(np.mean([contents["threshold"] for contents in models]))
    return {
        "probability": mean,
        "probability_sd": found.std(axis=0),
        "threshold": threshold,
        "rim": (mean >= threshold).astype(int),
        "model": models[0]["model"],
    }


def _visits(folder: Path, table: "pd.DataFrame") -> "list[Visit]":
    """Visits of a features folder, those without a lesion too where it has a table of them."""
    from nnunet_ms.classification.rim.dataset import DATASET_VISITS
    from nnunet_ms.tables import read_table

    path = folder / "rim_visits.csv"
    frame = read_table(path, DATASET_VISITS) if path.is_file() else table.drop_duplicates(["patient_id", "visit"])
    week = frame["week"] if "week" in frame else [float("nan")] * len(frame)
    return [(str(p), str(v), float(w)) for p, v, w in zip(frame["patient_id"], frame["visit"], week, strict=True)]


def _cases(manifest: str | Path | None, visits: "Sequence[Visit]") -> "list[RimCase]":
    """Cases of the visits that were measured; SettingsError if the manifest lacks one of them."""
    if manifest is None:
        return []
    from nnunet_ms.classification.rim.cohort import read_cohort

    known = {(case.patient_id, case.visit): case for case in read_cohort(manifest)}
    missing = [(patient, visit) for patient, visit, _ in visits if (patient, visit) not in known]
    if missing:
        raise SettingsError(
            f"{manifest}: expected the visits of lesions.csv, patient {missing[0][0]} visit {missing[0][1]} lacks. "
            "Give the manifest that the features were measured from."
        )
    return [known[patient, visit] for patient, visit, _ in visits]


def _write_images(
    table: "pd.DataFrame",
    cases: "Sequence[RimCase]",
    settings: "BoxSettings",
    work: Path,
    pictures: int,
    progress: Progress,
) -> None:
    """Masks of all visits, and the mosaics; each visit is read once."""
    from nnunet_ms.classification.rim.mosaics import certain
    from nnunet_ms.classification.rim.predicted_masks import read_numbered, write_rim_mask

    chosen = certain(table, pictures)
    wanted = {place for places in chosen for place in places}
    portraits: dict[int, Portrait] = {}
    for case in progress(cases, "masks", lambda case: case.case_id):
        its = (table["patient_id"] == case.patient_id) & (table["visit"] == case.visit)
        rows = table[its.to_numpy()]
        images, numbers = read_numbered(case, rows, settings)
        write_rim_mask(work / MASKS / f"{case.case_id}.nii.gz", images, numbers, rows)
        for place in wanted & set(rows.index):
            portraits[place] = _portrait(rows.loc[place], images, numbers)
    if portraits:
        told = f"{table['model'].iloc[0]}, threshold {table['threshold'].iloc[0]:.2f}"
        _draw_mosaics(chosen, portraits, told, work / PICTURES)


def _portrait(row: "pd.Series", images: "CaseImages", numbers: "npt.NDArray[np.int32]") -> "Portrait":
    from nnunet_ms.classification.rim.mosaics import caption_of, portrait_of

    mask = numbers == int(row["lesion_id"])
    return portrait_of(images.grid, images.qsm_ppb, images.flair, mask, caption_of(row))


def _draw_mosaics(
    chosen: tuple[list[int], list[int]], portraits: "dict[int, Portrait]", told: str, folder: Path
) -> None:
    from nnunet_ms.classification.rim.mosaics import draw_mosaic

    titles = {"most_certain": "Most certain: highest and lowest probability", "least_certain": "Least certain"}
    for (name, title), places in zip(titles.items(), chosen, strict=True):
        if places:
            draw_mosaic([portraits[i] for i in places], f"{title} ({told})", folder / f"{name}.png")


def add_predict_parser(to: "argparse._SubParsersAction[Any]") -> None:
    """Add `predict` to the command's sub-commands."""
    parser = to.add_parser("predict", help="judge lesions by a trained model")
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of one model that nnunet-ms-rim train wrote")
    parser.add_argument("source", type=Path, metavar="MANIFEST|FOLDER", help="images, or a folder of the step features")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    parser.add_argument("--manifest", type=Path, help="of a folder's images: writes masks and pictures too")
    parser.add_argument(
        "--qsm-unit", choices=("ppb", "ppm", "unchecked"), help="of a manifest's maps (default: as in training)"
    )
    parser.add_argument("--pictures", type=int, default=12, help="lesions in each picture (default: 12; 0: none)")
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda (default: cpu)")
    commands.add_parallel_options(parser)
    parser.set_defaults(action=run_predict)


def run_predict(args: argparse.Namespace) -> int:
    """Act on the arguments of `predict`; exit code 1 where a visit or a lesion could not be measured."""
    from nnunet_ms.classification.rim.dataset import without_qsm_note
    from nnunet_ms.progress import bar

    table = predict_rims(
        args.model,
        args.source,
        args.output,
        manifest=args.manifest,
        pictures=args.pictures,
        qsm_unit=args.qsm_unit,
        device=args.device,
        workers=args.workers,
        progress=bar,
    )
    drawn = (args.output / MASKS).is_dir()
    images = "" if drawn else " No masks and pictures: name the images by --manifest."
    print(f"{args.output / LESIONS}: {int(table['rim'].sum())} of {len(table)} lesions rim+.{images}")
    if note := without_qsm_note(table):
        print(f"{args.output / LESIONS}: {note}")
    return _told_failures(args.output / FEATURES / "failures.csv")


def _told_failures(path: Path) -> int:
    """Exit code, after one line per visit or lesion of a manifest that is in no table."""
    if not path.is_file():
        return commands.OK
    from nnunet_ms.parallel import Failure
    from nnunet_ms.tables import FAILURES, read_table

    rows = read_table(path, FAILURES)
    failures = [Failure(case, reason) for case, reason in zip(rows["case_id"], rows["reason"], strict=True)]
    commands.report_failures(failures, PROGRAM)
    return commands.SOME_CASES_FAILED if failures else commands.OK
